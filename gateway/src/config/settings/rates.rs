//! How often something may be done.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// What is limited, and by whom it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// All requests of one address, before anybody is identified.
    Address,
    /// Sign-ins of one address.
    Login,
    /// Registrations of one address.
    Register,
    /// Refreshed sessions of one user.
    Refresh,
    /// `GET /v1/auth/me` of one user.
    Me,
    /// API keys that one user lists, makes and revokes.
    Keys,
    /// All requests of one user.
    User,
    /// All requests of one tenant.
    Tenant,
    /// Calls of one tenant to one app, so that no tenant spends what another may.
    App,
    /// Calls of one tenant to one tool.
    Tool,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Address,
        Self::Login,
        Self::Register,
        Self::Refresh,
        Self::Me,
        Self::Keys,
        Self::User,
        Self::Tenant,
        Self::App,
        Self::Tool,
    ];

    /// Its name in the configuration, in headers, records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Login => "login",
            Self::Register => "register",
            Self::Refresh => "refresh",
            Self::Me => "me",
            Self::Keys => "keys",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::App => "app",
            Self::Tool => "tool",
        }
    }

    /// So many a minute, unless the configuration says otherwise. What has a route of its own has the
    /// published limit (wire-contract.md 1.3).
    const fn a_minute(self) -> NonZeroU32 {
        let count = match self {
            Self::Address => 6_000,
            Self::Login => 5,
            Self::Register => 3,
            Self::Refresh => 30,
            Self::Me => 60,
            Self::Keys => 120,
            Self::User => 3_000,
            Self::Tenant => 60_000,
            Self::App => 30_000,
            Self::Tool => 12_000,
        };
        match NonZeroU32::new(count) {
            Some(count) => count,
            None => NonZeroU32::MIN,
        }
    }
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub per: Duration,
    /// How many may come at once after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The longest that a used-up burst may take to come back.
    pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

    /// The time between two of them at a steady pace: whole microseconds, so that every replica and the
    /// database that they share count with the same numbers.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let micros = self.per.as_micros().div_ceil(u128::from(self.count.get())).max(1);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// As it would be written: `5 per 1m`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.count, crate::config::units::show_duration(self.per))
    }
}

/// The limits; a rule that is not in it is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits(pub BTreeMap<Rule, Rate>);

impl Default for RateLimits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        let rate = |count| Rate { count, per: minute, burst: count };
        Self(Rule::ALL.iter().map(|rule| (*rule, rate(rule.a_minute()))).collect())
    }
}
