//! How often something may be done: by address before anybody is identified; by user, tenant, app and
//! tool after it.
//!
//! It decides nothing about rights, and it is no protection of passwords: guessing is bounded by
//! [`crate::identify`], which counts failures by account. Here every request counts alike.
//!
//! Vocabulary: a *rule* is what is limited ([`Rule`]); a *rate* is how often ([`Rate`]); a *subject* is
//! who is counted, an address or an id; a *key* is the digest of rule and subject, so that what clients
//! write costs 16 bytes and stays out of memory dumps.
//!
//! The life of one check: 1. rule and subject become a key; 2. the generic cell rate algorithm (GCRA) says
//! whether one more is let through, or how long to wait: in Redis over all replicas (`shared.rs`) where
//! there is one, in this process (`meter.rs`) where there is none or it does not answer; 3. a refusal says
//! which limit was reached, and when to come back.
//!
//! INVARIANT: memory is bounded however many addresses ask, and none of them is unlimited
//! (`meter::tests::a_crowd_of_addresses_shares_what_is_left_and_fills_no_memory`).
//! INVARIANT: Redis and the process give the same answers
//! (`shared::tests::redis_and_this_process_give_the_same_answers_to_the_same_instants`).
//! INVARIANT: a Redis that is gone opens nothing: the process counts
//! (`replicas::count_a_limit_together_and_each_by_itself_while_redis_is_away`).
//! INVARIANT: a flood over a limit does not fill the ledger
//! (`throttles::a_flood_is_counted_and_fills_no_ledger`).
//!
//! Begin reading at [`Limits::check`].

mod meter;
#[cfg(test)]
#[path = "../../../tests/harness/redis.rs"]
#[expect(
    unreachable_pub,
    dead_code,
    reason = "it is the harness's own, where everybody may use it"
)]
pub(crate) mod redis_server;
mod shared;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_policies::{ACCOUNT_APP, ToolName};
use sha2::{Digest as _, Sha256};

use crate::config::{Rate, RateLimits, Rule};
use crate::identify::Caller;
use crate::manage::Verb;
use crate::record::Bounded;
use crate::refusal::Refusal;
use crate::replicas::Redis;
use crate::resolve::ToolCall;

use meter::Meter;
use shared::{Said, Shared};

/// Records of refusals over a limit, in one second, of one tenant or of all strangers together.
const RECORDS_PER_SECOND: u32 = 10;

/// Tenants whose records are bounded apart from each other; beyond that the least used begin anew.
const MAX_LOGS: u64 = 10_000;

/// Rule and subject, as they are counted.
pub(crate) type Key = [u8; 16];

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit {
    /// Which.
    pub rule: Rule,
    /// How often it allows.
    pub rate: Rate,
    /// When one more is allowed, in whole seconds.
    pub retry_after: Duration,
}

/// The limits in force, and what was counted. One per process.
pub struct Limits {
    meters: Vec<Metered>,
    /// The same over all replicas.
    shared: Option<Shared>,
    /// How many refusals get a record of their own, by log.
    records: moka::sync::Cache<String, Arc<Bounded>>,
}

struct Metered {
    rule: Rule,
    rate: Rate,
    meter: Meter,
    refused: AtomicU64,
}

impl Limits {
    /// Nothing was counted yet.
    #[must_use]
    pub fn new(settings: &RateLimits, redis: Option<Arc<Redis>>) -> Self {
        let metered = |(rule, rate): (&Rule, &Rate)| {
            let (rule, rate) = (*rule, *rate);
            Metered { rule, rate, meter: Meter::new(rate), refused: AtomicU64::new(0) }
        };
        let records = moka::sync::Cache::builder().max_capacity(MAX_LOGS).build();
        let meters = settings.0.iter().map(metered).collect();
        Self { meters, shared: redis.map(Shared::new), records }
    }

    /// Counts one by a rule.
    ///
    /// # Errors
    /// [`Refusal::OverLimit`], when it is one too many.
    pub async fn check(&self, rule: Rule, subject: &str) -> Result<(), Refusal> {
        self.each(&[(rule, subject)]).await
    }

    /// Counts one of an address; an IPv6 address counts as its /64 network, which one host owns whole.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn address(&self, rules: &[Rule], source: IpAddr) -> Result<(), Refusal> {
        let network = network_of(source).to_string();
        let wanted: Vec<_> = rules.iter().map(|rule| (*rule, network.as_str())).collect();
        self.each(&wanted).await
    }

    /// Counts one of a caller: of the user who acts, and of the tenant.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn caller(&self, caller: &Caller) -> Result<(), Refusal> {
        let tenant = caller.tenant().as_str();
        self.each(&[(Rule::User, subject(caller)), (Rule::Tenant, tenant)]).await
    }

    /// Counts one call of a tool by a caller.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn call(&self, caller: &Caller, call: &ToolCall) -> Result<(), Refusal> {
        let (tenant, tool) = (caller.tenant(), call.tool().name());
        let (app, function) = (format!("{tenant} {}", tool.app()), format!("{tenant} {tool}"));
        let keys = is_about_keys(tool).then(|| (Rule::Keys, subject(caller)));
        let of_tool = [(Rule::App, app.as_str()), (Rule::Tool, function.as_str())];
        let wanted: Vec<_> = keys.into_iter().chain(of_tool).collect();
        self.each(&wanted).await
    }

    /// Counts one of what has a limit of its own for each user.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn user(&self, rule: Rule, caller: &Caller) -> Result<(), Refusal> {
        self.check(rule, subject(caller)).await
    }

    /// Counts one by each rule in turn, up to the first that it is one too many for.
    async fn each(&self, wanted: &[(Rule, &str)]) -> Result<(), Refusal> {
        let in_force = |(rule, subject): &(Rule, &str)| {
            let metered = self.meters.iter().find(|metered| metered.rule == *rule)?;
            Some((metered, key(*rule, subject)))
        };
        let wanted: Vec<(&Metered, Key)> = wanted.iter().filter_map(in_force).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let said = match &self.shared {
            None => here(&wanted),
            Some(shared) => {
                let keys: Vec<_> = wanted.iter().map(|(of, key)| (*key, of.rate)).collect();
                match shared.check(&keys).await {
                    None => here(&wanted),
                    // Counted here, too: when Redis is gone, what was used is not forgotten.
                    Some(Ok(())) => here(&wanted).or(Ok(())),
                    Some(wait) => wait,
                }
            }
        };
        let Err((index, wait)) = said else { return Ok(()) };
        let Some((metered, _)) = wanted.get(index) else { return Ok(()) };
        metered.refused.fetch_add(1, Ordering::Relaxed);
        let (rule, rate) = (metered.rule, metered.rate);
        Err(Refusal::OverLimit(OverLimit { rule, rate, retry_after: seconds(wait) }))
    }

    /// How many refusals over a limit get a record in this log.
    #[must_use]
    pub fn records(&self, log: &str) -> Arc<Bounded> {
        let fresh = || Arc::new(Bounded::new(RECORDS_PER_SECOND));
        self.records.get_with_by_ref(log, fresh)
    }

    /// Forgets everybody who may do all again that a limit allows.
    pub fn keep_house(&self) {
        for metered in &self.meters {
            metered.meter.keep_house();
        }
    }

    /// What was counted, in the Prometheus text format.
    pub fn write_metrics(&self, text: &mut String) {
        let refused = "portcullis_rate_limited_total";
        let keys = "portcullis_rate_limit_keys";
        // Writing into a String cannot fail.
        writeln!(text, "# HELP {refused} Requests refused over a limit.\n# TYPE {refused} counter")
            .ok();
        for metered in &self.meters {
            let (rule, count) = (metered.rule.name(), metered.refused.load(Ordering::Relaxed));
            writeln!(text, "{refused}{{rule=\"{rule}\"}} {count}").ok();
        }
        writeln!(text, "# HELP {keys} Subjects that a limit counts now.\n# TYPE {keys} gauge").ok();
        for metered in &self.meters {
            let (rule, count) = (metered.rule.name(), metered.meter.keys());
            writeln!(text, "{keys}{{rule=\"{rule}\"}} {count}").ok();
        }
        if let Some(shared) = &self.shared {
            shared.write_metrics(text);
        }
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").field("rules", &self.meters.len()).finish_non_exhaustive()
    }
}

impl OverLimit {
    /// `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers writes them.
    #[must_use]
    pub fn headers(&self) -> (String, String) {
        let (name, rate) = (self.rule.name(), self.rate);
        let policy = format!("\"{name}\";q={};w={}", rate.count, rate.per.as_secs());
        (policy, format!("\"{name}\";r=0;t={}", self.retry_after.as_secs()))
    }
}

/// `/v1/keys`, whatever it is asked.
fn is_about_keys(tool: &ToolName) -> bool {
    let keys = [Verb::ListKeys, Verb::CreateKey, Verb::RevokeKey];
    tool.app().as_str() == ACCOUNT_APP && keys.iter().any(|verb| verb.function() == tool.function())
}

/// Who is counted for a caller. The platform and the service of an app count by their own token when they
/// act for nobody; otherwise the user counts, so that no number of keys makes one user two.
fn subject(caller: &Caller) -> &str {
    if caller.user_id().starts_with("__") { caller.id() } else { caller.user_id() }
}

/// What this process says.
fn here(wanted: &[(&Metered, Key)]) -> Said {
    for (index, (metered, key)) in wanted.iter().enumerate() {
        metered.meter.check(key).map_err(|wait| (index, wait))?;
    }
    Ok(())
}

fn key(rule: Rule, subject: &str) -> Key {
    let mut digest = Sha256::new_with_prefix(rule.name());
    digest.update([0]);
    digest.update(subject);
    let mut key = Key::default();
    key.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
    key
}

/// One household or host owns a whole /64, so that is what is counted.
pub(crate) fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// Whole seconds, never fewer than it takes.
fn seconds(wait: Duration) -> Duration {
    let whole = wait.as_micros().div_ceil(1_000_000).max(1);
    Duration::from_secs(u64::try_from(whole).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rule: Rule, count: u32) -> Limits {
        let count = count.try_into().unwrap();
        let rate = Rate { count, per: Duration::from_secs(60), burst: count };
        Limits::new(&RateLimits([(rule, rate)].into()), None)
    }

    #[tokio::test]
    async fn one_too_many_says_which_limit_and_when_to_come_back() {
        let limits = limits(Rule::Login, 5);
        let source = "192.0.2.1".parse().unwrap();
        for _ in 0..5 {
            limits.address(&[Rule::Login], source).await.unwrap();
        }
        let Err(Refusal::OverLimit(over)) = limits.address(&[Rule::Login], source).await else {
            panic!("the sixth is let through");
        };
        assert_eq!((over.rule, over.retry_after), (Rule::Login, Duration::from_secs(12)));
        let (policy, left) = over.headers();
        assert_eq!((policy.as_str(), left.as_str()), ("\"login\";q=5;w=60", "\"login\";r=0;t=12"));
        limits.address(&[Rule::Login], "192.0.2.2".parse().unwrap()).await.unwrap();
        limits.address(&[Rule::Address], source).await.unwrap();
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_share_a_limit_and_so_do_the_two_forms_of_an_ipv4_one() {
        let limits = limits(Rule::Login, 1);
        for (first, second) in
            [("2001:db8::1", "2001:db8::ffff:1"), ("192.0.2.1", "::ffff:192.0.2.1")]
        {
            limits.address(&[Rule::Login], first.parse().unwrap()).await.unwrap();
            assert!(limits.address(&[Rule::Login], second.parse().unwrap()).await.is_err());
        }
        limits.address(&[Rule::Login], "2001:db8:0:1::1".parse().unwrap()).await.unwrap();
    }

    #[test]
    fn no_subject_is_counted_as_another_of_another_rule() {
        let mut keys: Vec<Key> = Rule::ALL.iter().map(|rule| key(*rule, "a")).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Rule::ALL.len());
    }
}
