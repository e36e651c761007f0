//! One rule in this process: the generic cell rate algorithm for each key, in bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};

use super::Key;
use crate::config::Rate;

/// Keys of one rule; some 5 MB.
const MAX_KEYS: usize = 100_000;

/// Counts by key.
pub(super) struct Meter<C: Clock = DefaultClock> {
    limiter: RateLimiter<Key, Store, C, NoOpMiddleware<C::Instant>>,
    store: Store,
    clock: C,
    sweeping: AtomicBool,
}

impl Meter {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with(rate, DefaultClock::default(), MAX_KEYS)
    }
}

impl<C: Clock + Clone> Meter<C> {
    pub(super) fn with(rate: Rate, clock: C, max_keys: usize) -> Self {
        let quota = Quota::with_period(rate.interval())
            .unwrap_or_else(|| Quota::per_second(rate.count))
            .allow_burst(rate.burst);
        let keys = DashMapStateStore::default();
        let bounded = Bounded { keys, taken: AtomicUsize::new(0), most: max_keys };
        let store = Store(Arc::new(bounded));
        let limiter = RateLimiter::new(quota, store.clone(), clock.clone());
        Self { limiter, store, clock, sweeping: AtomicBool::new(false) }
    }

    /// Lets one through, or says how long to wait.
    pub(super) fn check(&self, key: &Key) -> Result<(), Duration> {
        let checked = self.limiter.check_key(key);
        checked.map_err(|not| not.wait_time_from(self.clock.now()))
    }

    /// Forgets keys that are as good as new.
    pub(super) fn keep_house(&self) {
        // One at a time: who comes second would find the same.
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            self.limiter.retain_recent();
            self.store.0.taken.store(self.store.len(), Ordering::Relaxed);
            self.sweeping.store(false, Ordering::Release);
        }
    }

    /// How many keys are counted now.
    pub(super) fn keys(&self) -> usize {
        self.store.len()
    }
}

#[derive(Clone)]
struct Store(Arc<Bounded>);

/// Keys that are counted. When all places are taken, new keys share a few: a crowd of addresses then waits
/// together, but nobody is let through uncounted and nobody who was counted before is forgotten for it.
struct Bounded {
    keys: DashMapStateStore<Key>,
    /// About how many there are: exact after each time the house is kept.
    taken: AtomicUsize,
    most: usize,
}

impl Bounded {
    fn has_place(&self, key: &Key) -> bool {
        self.keys.contains_key(key)
            || self
                .taken
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                    (taken < self.most).then_some(taken.saturating_add(1))
                })
                .is_ok()
    }
}

impl StateStore for Store {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Bounded { keys, .. } = &*self.0;
        if self.0.has_place(key) {
            return keys.measure_and_replace(key, f);
        }
        keys.measure_and_replace(&shared(key), f)
    }
}

/// One of 256 places; a digest that looks like one is as likely as any other.
fn shared(key: &Key) -> Key {
    let mut place = Key::default();
    if let (Some(to), Some(from)) = (place.first_mut(), key.first()) {
        *to = *from;
    }
    place
}

impl ShrinkableKeyedStateStore<Key> for Store {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.keys.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.0.keys.len()
    }

    fn is_empty(&self) -> bool {
        self.0.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn meter(count: u32, burst: u32, keys: usize) -> (Meter<FakeRelativeClock>, FakeRelativeClock) {
        let of = |count| NonZeroU32::new(count).unwrap();
        let rate = Rate { count: of(count), per: Duration::from_secs(60), burst: of(burst) };
        let clock = FakeRelativeClock::default();
        (Meter::with(rate, clock.clone(), keys), clock)
    }

    fn key(number: u32) -> Key {
        let mut key = [7; 16];
        key[..4].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn a_burst_comes_back_at_the_pace_of_the_rate() {
        let (meter, clock) = meter(5, 3, 10);
        for _ in 0..3 {
            assert_eq!(meter.check(&key(1)), Ok(()));
        }
        assert_eq!(meter.check(&key(1)), Err(Duration::from_secs(12)));
        clock.advance(Duration::from_secs(11));
        assert_eq!(meter.check(&key(1)), Err(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(meter.check(&key(1)), Ok(()));
        assert!(meter.check(&key(1)).is_err());
        clock.advance(Duration::from_secs(3600));
        let let_through = (0..10).filter(|_| meter.check(&key(1)).is_ok()).count();
        assert_eq!(let_through, 3, "a long pause saves no more than a burst");
    }

    #[test]
    fn a_crowd_of_addresses_shares_what_is_left_and_fills_no_memory() {
        let (meter, clock) = meter(2, 2, 1_000);
        let let_through = (0..100_000).filter(|n| meter.check(&key(*n)).is_ok()).count();
        assert!(meter.keys() <= 1_000 + 256, "{} keys", meter.keys());
        assert!(let_through <= 1_000 + 2 * 256, "{let_through} were let through");
        // Who was counted before the crowd came is still counted.
        assert_eq!(meter.check(&key(1)), Ok(()));
        assert!(meter.check(&key(1)).is_err());
        // And when it is gone there is room again.
        clock.advance(Duration::from_secs(3600));
        meter.keep_house();
        assert_eq!(meter.keys(), 0);
        for _ in 0..2 {
            assert_eq!(meter.check(&key(1_000_000)), Ok(()));
        }
    }
}
