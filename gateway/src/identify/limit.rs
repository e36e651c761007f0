//! Bounds on failed sign-ins: by address and by account, in this process and over all replicas.
//!
//! A try is counted before its password is checked and given back when it succeeds, so that many tries
//! at once cannot slip through together. It is counted here first, and then in Redis where there is one:
//! both have to let it through. So a Redis that is gone, or has forgotten everything, leaves what each
//! replica has counted.
//!
//! INVARIANT: guesses that are spread over replicas are bounded as one
//! (`guesses::spread_over_replicas_are_bounded_as_one_and_by_each_while_redis_is_away`).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Script;

use super::api_key::sha256;
use crate::limits::network_of;
use crate::replicas::Redis;

/// An account bears so many times what an address may fail, so that one address alone cannot lock
/// somebody else out.
const ACCOUNT_FACTOR: u32 = 4;

/// Windows kept in memory; beyond that the least used go.
const MAX_WINDOWS: u64 = 100_000;

/// How many sign-ins may fail within a window (wire-contract 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    per_source: u32,
    per_account: u32,
    window: Duration,
}

impl LoginLimits {
    /// `failures` from one address (IPv6: one /64 network) within `window`, and four times as many on
    /// one account from wherever.
    #[must_use]
    pub fn new(failures: u32, window: Duration) -> Self {
        let per_account = failures.saturating_mul(ACCOUNT_FACTOR);
        Self { per_source: failures, per_account, window }
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self::new(5, Duration::from_secs(60))
    }
}

/// Digest of what is counted, so that what clients type costs 32 bytes and stays out of memory dumps.
type Counted = [u8; 32];

#[derive(Debug)]
struct Window {
    began: Instant,
    tries: AtomicU32,
}

#[derive(Debug)]
pub(crate) struct LoginLimiter {
    /// What is bounded; its counters are nobody else's.
    what: &'static str,
    limits: LoginLimits,
    windows: moka::sync::Cache<Counted, Arc<Window>>,
    shared: Option<Shared>,
    refused: AtomicU64,
}

impl LoginLimiter {
    pub(crate) fn new(what: &'static str, limits: LoginLimits) -> Self {
        let windows = moka::sync::Cache::builder()
            .max_capacity(MAX_WINDOWS)
            .time_to_live(limits.window)
            .build();
        Self { what, limits, windows, shared: None, refused: AtomicU64::new(0) }
    }

    /// Counted over all replicas as well.
    pub(crate) fn shared(self, redis: Option<Arc<Redis>>) -> Self {
        Self { shared: redis.map(Shared::new), ..self }
    }

    /// Counts one try. `Err` is how long to wait when one of the bounds is reached.
    pub(crate) async fn try_once(&self, source: IpAddr, account: &str) -> Result<(), Duration> {
        let tried = self.count(source, account).await;
        if tried.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        tried.map_err(|wait| wait.max(Duration::from_secs(1)))
    }

    async fn count(&self, source: IpAddr, account: &str) -> Result<(), Duration> {
        let [by_source, by_account] = self.counted(source, account);
        self.count_here(by_source, self.limits.per_source)?;
        self.count_here(by_account, self.limits.per_account)?;
        let Some(shared) = &self.shared else { return Ok(()) };
        let bounds = [(by_source, self.limits.per_source), (by_account, self.limits.per_account)];
        shared.count(bounds, self.limits.window).await.unwrap_or(Ok(()))
    }

    /// Gives a try back that succeeded.
    pub(crate) async fn succeeded(&self, source: IpAddr, account: &str) {
        let counted = self.counted(source, account);
        for counted in counted {
            if let Some(window) = self.windows.get(&counted) {
                change(&window.tries, |tries| tries.saturating_sub(1));
            }
        }
        if let Some(shared) = &self.shared {
            shared.give_back(counted).await;
        }
    }

    /// How many tries were refused, and how many this replica counted by itself while Redis was away.
    fn totals(&self) -> (u64, u64) {
        let alone = self.shared.as_ref().map_or(0, |s| s.unanswered.load(Ordering::Relaxed));
        (self.refused.load(Ordering::Relaxed), alone)
    }

    fn count_here(&self, counted: Counted, limit: u32) -> Result<(), Duration> {
        let window = self.windows.get_with(counted, || {
            Arc::new(Window { began: Instant::now(), tries: AtomicU32::new(0) })
        });
        // Saturating, so that four thousand million tries do not open the gate again.
        if change(&window.tries, |tries| tries.saturating_add(1)) < limit {
            return Ok(());
        }
        Err(self.limits.window.saturating_sub(window.began.elapsed()))
    }

    fn counted(&self, source: IpAddr, account: &str) -> [Counted; 2] {
        let digest = |kind: &str, id: &str| sha256(format!("{} {kind} {id}", self.what).as_bytes());
        [digest("source", &network_of(source).to_string()), digest("account", account)]
    }
}

/// What these have counted, in the Prometheus text format.
pub(super) fn write_metrics(limiters: &[&LoginLimiter], text: &mut String) {
    let rows = [
        ("portcullis_guesses_refused_total", "Tries refused because too many had failed."),
        (
            "portcullis_guesses_local_total",
            "Tries that this replica counted by itself while Redis was away.",
        ),
    ];
    for (which, (name, help)) in rows.into_iter().enumerate() {
        // Writing into a String cannot fail.
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter").ok();
        for limiter in limiters {
            let (refused, alone) = limiter.totals();
            let count = if which == 0 { refused } else { alone };
            writeln!(text, "{name}{{what=\"{}\"}} {count}", limiter.what).ok();
        }
    }
}

/// The same counters over all replicas, in a script that Redis runs.
struct Shared {
    redis: Arc<Redis>,
    count: Script,
    give_back: Script,
    unanswered: AtomicU64,
}

impl Shared {
    fn new(redis: Arc<Redis>) -> Self {
        let count = Script::new(include_str!("guesses.lua"));
        let give_back = Script::new(include_str!("guess_back.lua"));
        Self { redis, count, give_back, unanswered: AtomicU64::new(0) }
    }

    /// Counts one try of each; none when Redis is away.
    async fn count(
        &self,
        bounds: [(Counted, u32); 2],
        window: Duration,
    ) -> Option<Result<(), Duration>> {
        let mut invocation = self.count.prepare_invoke();
        invocation.arg(u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1));
        for (counted, limit) in bounds {
            invocation.key(self.name(&counted)).arg(limit);
        }
        let said = self.redis.ask(async |mut connection| {
            invocation.invoke_async::<(usize, u64)>(&mut connection).await
        });
        let Some((number, wait)) = said.await else {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        Some(if number == 0 { Ok(()) } else { Err(Duration::from_millis(wait)) })
    }

    /// A Redis that is away keeps the try, which bounds more than it should and never less.
    async fn give_back(&self, counted: [Counted; 2]) {
        let mut invocation = self.give_back.prepare_invoke();
        for counted in counted {
            invocation.key(self.name(&counted));
        }
        let given = self
            .redis
            .ask(async |mut connection| invocation.invoke_async::<u64>(&mut connection).await);
        given.await;
    }

    fn name(&self, counted: &Counted) -> String {
        self.redis.name("guess", &hex::encode(counted))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("redis", &self.redis).finish_non_exhaustive()
    }
}

/// Changes a counter and answers what it was before.
fn change(counter: &AtomicU32, how: impl Fn(u32) -> u32) -> u32 {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tries| Some(how(tries)))
        .unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisSettings;
    use crate::limits::redis_server::RedisServer;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limiter(limits: LoginLimits) -> LoginLimiter {
        LoginLimiter::new("test", limits)
    }

    fn minute(failures: u32) -> LoginLimits {
        LoginLimits::new(failures, Duration::from_secs(60))
    }

    #[tokio::test]
    async fn the_sixth_failure_of_one_address_waits_and_another_address_does_not() {
        let limiter = limiter(LoginLimits::default());
        for n in 0..5 {
            assert!(limiter.try_once(ip("192.0.2.1"), &format!("a{n}")).await.is_ok());
        }
        let wait = limiter.try_once(ip("192.0.2.1"), "b").await.unwrap_err();
        assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(60));
        assert!(limiter.try_once(ip("::ffff:192.0.2.1"), "b").await.is_err(), "mapped is the same");
        assert!(limiter.try_once(ip("192.0.2.2"), "b").await.is_ok());
    }

    #[tokio::test]
    async fn a_success_does_not_count() {
        let limiter = limiter(minute(1));
        for _ in 0..20 {
            assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_ok());
            limiter.succeeded(ip("192.0.2.1"), "a").await;
        }
        assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_ok());
        assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_err());
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_share_a_bound() {
        let limiter = limiter(minute(1));
        assert!(limiter.try_once(ip("2001:db8::1"), "a").await.is_ok());
        assert!(limiter.try_once(ip("2001:db8::ffff:1"), "b").await.is_err());
        assert!(limiter.try_once(ip("2001:db8:0:1::1"), "b").await.is_ok());
    }

    #[tokio::test]
    async fn one_account_is_bounded_over_all_addresses() {
        let limiter = limiter(minute(1));
        for n in 1..=4 {
            assert!(limiter.try_once(ip(&format!("192.0.2.{n}")), "a").await.is_ok());
        }
        assert!(limiter.try_once(ip("192.0.2.5"), "a").await.is_err());
    }

    fn redis(server: &RedisServer) -> Option<Arc<Redis>> {
        let mut settings = RedisSettings::at(&server.url());
        settings.timeout = Duration::from_secs(5);
        Some(Arc::new(Redis::new(&settings).unwrap()))
    }

    #[tokio::test]
    async fn replicas_count_as_one_give_back_as_one_and_mix_up_no_kinds() {
        let server = RedisServer::start();
        let one = limiter(minute(4)).shared(redis(&server));
        let two = limiter(minute(4)).shared(redis(&server));
        let other = LoginLimiter::new("other", minute(4)).shared(redis(&server));
        for n in 0..20 {
            let (tries, gives) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
            assert!(tries.try_once(ip("192.0.2.1"), "a").await.is_ok(), "{n}");
            tries.succeeded(ip("192.0.2.1"), "a").await;
            // Nothing is left to be given back: no replica saves tries up for another.
            gives.succeeded(ip("192.0.2.1"), "a").await;
        }
        for limiter in [&one, &two, &one, &two] {
            assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_ok());
        }
        for limiter in [&one, &two] {
            let wait = limiter.try_once(ip("192.0.2.1"), "a").await.unwrap_err();
            assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(60), "{wait:?}");
        }
        assert!(other.try_once(ip("192.0.2.1"), "a").await.is_ok());
        // The account is bounded over addresses and replicas.
        let tries = (2..40).map(|n| ip(&format!("192.0.2.{n}")));
        let mut through = 0;
        for (n, source) in tries.enumerate() {
            let limiter = if n % 2 == 0 { &one } else { &two };
            through += u32::from(limiter.try_once(source, "a").await.is_ok());
        }
        assert_eq!(through, 4 * 4 - 4);
    }

    #[tokio::test]
    async fn a_redis_that_forgot_or_is_gone_leaves_what_a_replica_has_counted() {
        let mut server = RedisServer::start();
        let limiter = limiter(minute(3)).shared(redis(&server));
        assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_ok());
        server.kill();
        assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_ok(), "counted here");
        server.restart();
        assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_ok());
        assert!(limiter.try_once(ip("192.0.2.1"), "a").await.is_err());
        let (refused, alone) = limiter.totals();
        assert_eq!(refused, 1);
        assert!(alone >= 1, "{alone}");
    }

    #[tokio::test]
    async fn a_window_in_redis_ends() {
        let server = RedisServer::start();
        let window = Duration::from_millis(1_200);
        let one = limiter(LoginLimits::new(1, window)).shared(redis(&server));
        let two = limiter(LoginLimits::new(1, window)).shared(redis(&server));
        assert!(one.try_once(ip("192.0.2.1"), "a").await.is_ok());
        assert!(two.try_once(ip("192.0.2.1"), "a").await.is_err());
        let began = Instant::now();
        while two.try_once(ip("192.0.2.1"), "a").await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the window never ends");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
