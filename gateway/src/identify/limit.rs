//! Bounds on failed sign-ins: by address and by account, in this process.
//!
//! A try is counted before its password is checked and given back when it succeeds, so that many tries
//! at once cannot slip through together.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::api_key::sha256;
use crate::limits::network_of;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    Source(IpAddr),
    /// Digest, so that what clients type costs 32 bytes and stays out of memory dumps.
    Account([u8; 32]),
}

#[derive(Debug)]
struct Window {
    began: Instant,
    tries: AtomicU32,
}

#[derive(Debug)]
pub(crate) struct LoginLimiter {
    limits: LoginLimits,
    windows: moka::sync::Cache<Counted, Arc<Window>>,
}

impl LoginLimiter {
    pub(crate) fn new(limits: LoginLimits) -> Self {
        let windows = moka::sync::Cache::builder()
            .max_capacity(MAX_WINDOWS)
            .time_to_live(limits.window)
            .build();
        Self { limits, windows }
    }

    /// Counts one try. `Err` is how long to wait when one of the bounds is reached.
    pub(crate) fn try_once(&self, source: IpAddr, account: &str) -> Result<(), Duration> {
        let [by_source, by_account] = counted(source, account);
        self.count(by_source, self.limits.per_source)?;
        self.count(by_account, self.limits.per_account)
    }

    /// Gives a try back that succeeded.
    pub(crate) fn succeeded(&self, source: IpAddr, account: &str) {
        for counted in counted(source, account) {
            if let Some(window) = self.windows.get(&counted) {
                change(&window.tries, |tries| tries.saturating_sub(1));
            }
        }
    }

    fn count(&self, counted: Counted, limit: u32) -> Result<(), Duration> {
        let window = self.windows.get_with(counted, || {
            Arc::new(Window { began: Instant::now(), tries: AtomicU32::new(0) })
        });
        // Saturating, so that four thousand million tries do not open the gate again.
        if change(&window.tries, |tries| tries.saturating_add(1)) < limit {
            return Ok(());
        }
        let left = self.limits.window.saturating_sub(window.began.elapsed());
        Err(left.max(Duration::from_secs(1)))
    }
}

/// Changes a counter and answers what it was before.
fn change(counter: &AtomicU32, how: impl Fn(u32) -> u32) -> u32 {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tries| Some(how(tries)))
        .unwrap_or(u32::MAX)
}

fn counted(source: IpAddr, account: &str) -> [Counted; 2] {
    [Counted::Source(network_of(source)), Counted::Account(sha256(account.as_bytes()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_sixth_failure_of_one_address_waits_and_another_address_does_not() {
        let limiter = LoginLimiter::new(LoginLimits::default());
        for n in 0..5 {
            assert!(limiter.try_once(ip("192.0.2.1"), &format!("a{n}")).is_ok());
        }
        let wait = limiter.try_once(ip("192.0.2.1"), "b").unwrap_err();
        assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(60));
        assert!(limiter.try_once(ip("::ffff:192.0.2.1"), "b").is_err(), "mapped form is the same");
        assert!(limiter.try_once(ip("192.0.2.2"), "b").is_ok());
    }

    #[test]
    fn a_success_does_not_count() {
        let limiter = LoginLimiter::new(LoginLimits::new(1, Duration::from_secs(60)));
        for _ in 0..20 {
            assert!(limiter.try_once(ip("192.0.2.1"), "a").is_ok());
            limiter.succeeded(ip("192.0.2.1"), "a");
        }
        assert!(limiter.try_once(ip("192.0.2.1"), "a").is_ok());
        assert!(limiter.try_once(ip("192.0.2.1"), "a").is_err());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bound() {
        let limiter = LoginLimiter::new(LoginLimits::new(1, Duration::from_secs(60)));
        assert!(limiter.try_once(ip("2001:db8::1"), "a").is_ok());
        assert!(limiter.try_once(ip("2001:db8::ffff:1"), "b").is_err());
        assert!(limiter.try_once(ip("2001:db8:0:1::1"), "b").is_ok());
    }

    #[test]
    fn one_account_is_bounded_over_all_addresses() {
        let limiter = LoginLimiter::new(LoginLimits::new(1, Duration::from_secs(60)));
        for n in 1..=4 {
            assert!(limiter.try_once(ip(&format!("192.0.2.{n}")), "a").is_ok());
        }
        assert!(limiter.try_once(ip("192.0.2.5"), "a").is_err());
    }
}
