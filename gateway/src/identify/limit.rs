//! Bounds on sign-in attempts: by address and by account, per minute, in this process.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::api_key::sha256;

const WINDOW: Duration = Duration::from_secs(60);

/// Windows kept in memory; beyond that the least used go.
const MAX_WINDOWS: u64 = 100_000;

/// How many sign-ins may be tried in a minute (wire-contract 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// From one address (IPv6: one /64 network).
    pub per_source: u32,
    /// On one account, from wherever.
    pub per_account: u32,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self { per_source: 5, per_account: 20 }
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
        let windows =
            moka::sync::Cache::builder().max_capacity(MAX_WINDOWS).time_to_live(WINDOW).build();
        Self { limits, windows }
    }

    /// Counts one try. `Err` is how long to wait when one of the bounds is reached.
    pub(crate) fn try_once(&self, source: IpAddr, account: &str) -> Result<(), Duration> {
        self.count(Counted::Source(network_of(source)), self.limits.per_source)?;
        self.count(Counted::Account(sha256(account.as_bytes())), self.limits.per_account)
    }

    fn count(&self, counted: Counted, limit: u32) -> Result<(), Duration> {
        let window = self.windows.get_with(counted, || {
            Arc::new(Window { began: Instant::now(), tries: AtomicU32::new(0) })
        });
        // Saturating, so that four thousand million tries do not open the gate again.
        let before = window.tries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tries| {
            Some(tries.saturating_add(1))
        });
        if before.unwrap_or(u32::MAX) < limit {
            return Ok(());
        }
        Err(WINDOW.saturating_sub(window.began.elapsed()).max(Duration::from_secs(1)))
    }
}

/// One household or host owns a whole /64, so that is what is counted.
fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_sixth_try_of_one_address_waits_and_another_address_does_not() {
        let limiter = LoginLimiter::new(LoginLimits::default());
        for n in 0..5 {
            assert!(limiter.try_once(ip("192.0.2.1"), &format!("a{n}")).is_ok());
        }
        let wait = limiter.try_once(ip("192.0.2.1"), "b").unwrap_err();
        assert!(wait >= Duration::from_secs(1) && wait <= WINDOW);
        assert!(limiter.try_once(ip("::ffff:192.0.2.1"), "b").is_err(), "mapped form is the same");
        assert!(limiter.try_once(ip("192.0.2.2"), "b").is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bound() {
        let limiter = LoginLimiter::new(LoginLimits { per_source: 1, per_account: 99 });
        assert!(limiter.try_once(ip("2001:db8::1"), "a").is_ok());
        assert!(limiter.try_once(ip("2001:db8::ffff:1"), "b").is_err());
        assert!(limiter.try_once(ip("2001:db8:0:1::1"), "b").is_ok());
    }

    #[test]
    fn one_account_is_bounded_over_all_addresses() {
        let limiter = LoginLimiter::new(LoginLimits { per_source: 5, per_account: 2 });
        assert!(limiter.try_once(ip("192.0.2.1"), "a").is_ok());
        assert!(limiter.try_once(ip("192.0.2.2"), "a").is_ok());
        assert!(limiter.try_once(ip("192.0.2.3"), "a").is_err());
    }
}
