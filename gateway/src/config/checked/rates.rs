//! Rate limits: what was written, and the published ones for what was not.

use super::{HOUR, SECOND};
use crate::config::checker::Checker;
use crate::config::document::At;
use crate::config::mistakes::Kind;
use crate::config::settings::{Rate, RateLimits, Rule};
use crate::config::written::{self, RateForm};
use std::num::NonZeroU32;
use std::time::Duration;

pub(super) fn rates(
    c: &mut Checker<'_>,
    at: &At,
    written: &written::RateLimits,
) -> Option<RateLimits> {
    let mut limits = RateLimits::default();
    let mut whole = true;
    for rule in Rule::ALL {
        match form(written, rule) {
            None => {}
            Some(RateForm::Off(_)) => {
                limits.0.remove(&rule);
            }
            Some(RateForm::Rate(written)) => match rate(c, &at.key(rule.name()), written) {
                Some(rate) => {
                    limits.0.insert(rule, rate);
                }
                // The others are looked at all the same, so that every mistake is told.
                None => whole = false,
            },
        }
    }
    whole.then_some(limits)
}

fn form(written: &written::RateLimits, rule: Rule) -> Option<&RateForm> {
    let form = match rule {
        Rule::Address => &written.address,
        Rule::Login => &written.login,
        Rule::Register => &written.register,
        Rule::Refresh => &written.refresh,
        Rule::Me => &written.me,
        Rule::Keys => &written.keys,
        Rule::User => &written.user,
        Rule::Tenant => &written.tenant,
        Rule::App => &written.app,
        Rule::Tool => &written.tool,
    };
    form.as_ref()
}

fn rate(c: &mut Checker<'_>, at: &At, written: &written::Rate) -> Option<Rate> {
    let minute = Duration::from_secs(60);
    let per = c.duration(&at.key("per"), Some(&written.per), minute, SECOND..=24 * HOUR)?;
    let count = NonZeroU32::new(written.count)?;
    let burst = NonZeroU32::new(written.burst.unwrap_or(written.count))?;
    let rate = Rate { count, per, burst };
    if rate.interval().checked_mul(burst.get()).is_none_or(|all| all > Rate::LONGEST) {
        let message = format!("`{at}`: so large a burst would take more than 7 days to come back");
        c.wrong(Kind::Value, &at.key("burst"), message, "leave `burst` out, or raise `count`");
        return None;
    }
    Some(rate)
}
