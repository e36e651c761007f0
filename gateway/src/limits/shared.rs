//! The same rules over all replicas: the same algorithm in a script that Redis runs, with its own clock.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Script;

use super::Key;
use crate::config::Rate;
use crate::replicas::Redis;

/// Refusals that are remembered, so that a flood over a limit does not reach Redis.
const MAX_REFUSED: u64 = 100_000;

/// How long one is believed at most.
const BELIEVED: Duration = Duration::from_secs(1);

/// What Redis said: everything is let through, or the key of this index has to wait.
pub(super) type Said = Result<(), (usize, Duration)>;

/// Limits in Redis.
pub(super) struct Shared {
    redis: Arc<Redis>,
    script: Script,
    refused: moka::sync::Cache<Key, Instant>,
    unanswered: AtomicU64,
}

impl Shared {
    pub(super) fn new(redis: Arc<Redis>) -> Self {
        let refused =
            moka::sync::Cache::builder().max_capacity(MAX_REFUSED).time_to_live(BELIEVED).build();
        let script = Script::new(include_str!("gcra.lua"));
        Self { redis, script, refused, unanswered: AtomicU64::new(0) }
    }

    /// Counts one of each key, in their order, up to the first that has to wait. None when Redis is away.
    pub(super) async fn check(&self, wanted: &[(Key, Rate)]) -> Option<Said> {
        // Nobody is let through before the time that Redis said, whatever comes in between.
        let until = |(n, (key, _)): (usize, &(Key, Rate))| Some((n, self.refused.get(key)?));
        if let Some((index, until)) = wanted.iter().enumerate().find_map(until) {
            let wait = until.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Some(Err((index, wait)));
            }
        }
        let said = self.ask(wanted, None).await;
        match &said {
            None => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            Some(Err((index, wait))) => {
                if let (Some((key, _)), Some(until)) =
                    (wanted.get(*index), Instant::now().checked_add(*wait))
                {
                    self.refused.insert(*key, until);
                }
            }
            Some(Ok(())) => {}
        }
        said
    }

    /// How it is with Redis, in the Prometheus text format.
    pub(super) fn write_metrics(&self, text: &mut String) {
        let rows = [
            ("portcullis_redis_up", "gauge", "1 while Redis answers.", self.redis.is_up().into()),
            (
                "portcullis_redis_faults_total",
                "counter",
                "Questions to Redis without an answer.",
                self.redis.faults(),
            ),
            (
                "portcullis_rate_limit_local_total",
                "counter",
                "Checks that this replica answered by itself while Redis was away.",
                self.unanswered.load(Ordering::Relaxed),
            ),
        ];
        for (name, kind, help, value) in rows {
            // Writing into a String cannot fail.
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").ok();
        }
    }

    /// Runs the script; `now` in microseconds is for tests, otherwise the clock of Redis counts.
    async fn ask(&self, wanted: &[(Key, Rate)], now: Option<u64>) -> Option<Said> {
        let mut invocation = self.script.prepare_invoke();
        invocation.arg(now.map(|now| now.to_string()).unwrap_or_default());
        for (key, rate) in wanted {
            let interval = micros(rate.interval());
            let tolerance = interval.saturating_mul(u64::from(rate.burst.get()) - 1);
            invocation.key(self.redis.name("limit", &hex::encode(key)));
            invocation.arg(interval).arg(tolerance);
        }
        let said: (usize, u64) = self
            .redis
            .ask(async |mut connection| invocation.invoke_async(&mut connection).await)
            .await?;
        Some(match said {
            (0, _) => Ok(()),
            (number, wait) => Err((number.saturating_sub(1), Duration::from_micros(wait))),
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::super::meter::Meter;
    use super::super::redis_server::RedisServer;
    use super::*;
    use crate::config::RedisSettings;

    fn shared(server: &RedisServer) -> Shared {
        let mut settings = RedisSettings::at(&server.url());
        settings.timeout = Duration::from_secs(5);
        Shared::new(Arc::new(Redis::new(&settings).unwrap()))
    }

    /// A rate whose keys outlive the test: Redis forgets by its own clock, whatever time the test says.
    fn rates() -> impl Strategy<Value = Rate> {
        (1_u32..20, 60_u64..3600, 1_u32..20).prop_map(|(count, per, burst)| Rate {
            count: NonZeroU32::new(count).unwrap(),
            per: Duration::from_secs(per * u64::from(count)),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    #[test]
    fn redis_and_this_process_give_the_same_answers_to_the_same_instants() {
        let server = RedisServer::start();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let shared = runtime.block_on(async { shared(&server) });
        let refused = AtomicU64::new(0);
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
        proptest!(config, |(rate in rates(), steps in prop::collection::vec(0_u64..400_000_000, 1..60))| {
            let key = uuid::Uuid::new_v4().into_bytes();
            let clock = FakeRelativeClock::default();
            let meter = Meter::with(rate, clock.clone(), 10);
            let mut now = 0;
            for step in steps {
                // Half of them come in a bunch.
                let step = if step % 2 == 0 { 0 } else { step };
                now += step;
                clock.advance(Duration::from_micros(step));
                let here = meter.check(&key);
                let there = runtime.block_on(shared.ask(&[(key, rate)], Some(now)));
                let there = there.expect("Redis answers").map_err(|(_, wait)| wait);
                refused.fetch_add(here.is_err().into(), Ordering::Relaxed);
                prop_assert_eq!(here, there, "after {} us", now);
            }
        });
        assert!(refused.into_inner() > 100, "too few of them reached a limit to prove anything");
    }

    #[tokio::test]
    async fn the_clock_of_redis_counts_and_the_first_key_that_has_to_wait_is_named() {
        let server = RedisServer::start();
        let shared = shared(&server);
        let rate = |count: u32| {
            let count = NonZeroU32::new(count).unwrap();
            Rate { count, per: Duration::from_secs(3600), burst: count }
        };
        let wanted = [([1; 16], rate(3)), ([2; 16], rate(2))];
        for _ in 0..2 {
            assert_eq!(shared.check(&wanted).await, Some(Ok(())));
        }
        let Some(Err((index, wait))) = shared.check(&wanted).await else { panic!("let through") };
        assert_eq!(index, 1);
        assert!(wait > Duration::from_secs(1700) && wait <= Duration::from_secs(1800), "{wait:?}");
        // The first key was counted three times.
        assert!(matches!(shared.check(&wanted[..1]).await, Some(Err((0, _)))));
    }

    #[tokio::test]
    async fn a_redis_that_is_away_or_hangs_costs_one_deadline_and_is_found_again() {
        let mut server = RedisServer::start();
        let mut settings = RedisSettings::at(&server.url());
        settings.timeout = Duration::from_millis(200);
        let shared = Shared::new(Arc::new(Redis::new(&settings).unwrap()));
        let count = NonZeroU32::new(1000).unwrap();
        let wanted = [([1; 16], Rate { count, per: Duration::from_secs(1), burst: count })];
        assert_eq!(shared.check(&wanted).await, Some(Ok(())));
        for trouble in ["hangs", "killed"] {
            if trouble == "hangs" {
                server.pause()
            } else {
                server.kill()
            }
            let began = Instant::now();
            for _ in 0..200 {
                assert_eq!(shared.check(&wanted).await, None, "{trouble}");
            }
            assert!(began.elapsed() < Duration::from_secs(2), "{trouble}: {:?}", began.elapsed());
            assert!(!shared.redis.is_up());
            if trouble == "hangs" {
                server.go_on()
            } else {
                server.restart()
            }
            let began = Instant::now();
            while shared.check(&wanted).await.is_none() {
                assert!(began.elapsed() < Duration::from_secs(10), "{trouble}: not found again");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(shared.redis.is_up());
        }
    }
}
