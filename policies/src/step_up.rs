//! Which sign-in would be enough: derived, not annotated, as AskFirst is.
//!
//! A refusal is asked again as if the same person had signed in a moment ago, then as if with a second factor, then with
//! each context class that a rule names. The first that is not refused is what the caller is told (RFC 9470). It tells
//! and never allows: only a sign-in does.
//!
//! INVARIANT: who signs in as told is not refused for it (`a_sign_in_as_told_is_enough`).

use std::collections::BTreeSet;

use cedar_policy_core::ast::{ExprKind, Literal, Policy};

use crate::question::Frame;
use crate::rulebook::{PreparedPrincipal, Rulebook, Slice};
use crate::verdict::{Question, StepUp, VerdictKind};
use crate::vocabulary::{PrincipalKind, Strength, TenantId, ToolName};

/// The context class of a sign-in at the gateway itself with two factors.
pub const ACR_MFA: &str = "urn:portcullis:acr:mfa";
/// The context class of a sign-in at the gateway itself with a password alone.
pub const ACR_PASSWORD: &str = "urn:portcullis:acr:pwd";

/// The most context classes that are tried for one refusal.
const MAX_CLASSES: usize = 8;

/// Seconds since a sign-in of which nobody kept the time: ten years.
const UNKNOWN_AGE: i64 = 315_360_000;

/// What rules ask about how somebody signed in.
#[derive(Default)]
pub(crate) struct SignInWords {
    /// Some rule reads `mfa`, `amr`, `acr` or `authAge`.
    asked: bool,
    /// Text that stands in rules which read `acr`: its classes are among them.
    classes: BTreeSet<String>,
}

impl SignInWords {
    /// Adds what one rule reads.
    pub(crate) fn add(&mut self, policy: &Policy) {
        let condition = policy.condition();
        let reads = |names: &[&str]| {
            condition.subexpressions().any(|e| match e.expr_kind() {
                ExprKind::GetAttr { attr, .. } | ExprKind::HasAttr { attr, .. } => {
                    names.contains(&attr.as_str())
                }
                _ => false,
            })
        };
        self.asked |= reads(&["mfa", "amr", "acr", "authAge"]);
        if !reads(&["acr"]) {
            return;
        }
        for part in condition.subexpressions() {
            if let ExprKind::Lit(Literal::String(text)) = part.expr_kind() {
                self.classes.insert(text.to_string());
            }
        }
    }
}

impl Rulebook {
    /// The sign-in that would help where the rules refuse; none for programs, which cannot sign in, and none where
    /// nothing of it would help.
    pub(crate) fn step_up(&self, q: &Question<'_>, frame: &Frame<'_>) -> Option<StepUp> {
        let slices: Vec<&Slice> = self.slices_of(q.tool, frame, q.target_tenant).collect();
        let principal = q.principal.principal();
        if principal.kind != PrincipalKind::User || !slices.iter().any(|s| s.asks.asked) {
            return None;
        }
        let mut classes = std::iter::once(None).chain(classes_in(&slices).into_iter().map(Some));
        let now = principal.strength.age(q.request.time_ms).unwrap_or(UNKNOWN_AGE);
        classes.find_map(|class| self.step_up_to(q, &slices, class, now))
    }

    /// Says whether some input could be permitted or asked about if the same person signed in again, stronger or fresher:
    /// what [`Rulebook::may_ever`] says no to only because of how they signed in. Never for programs, which cannot.
    pub fn may_after_signing_in(
        &self,
        principal: &PreparedPrincipal,
        tool: &ToolName,
        target_tenant: &TenantId,
    ) -> bool {
        let Ok(frame) = Frame::outline(self, principal, tool, (target_tenant, None, None)) else {
            return false;
        };
        let slices: Vec<&Slice> = self.slices_of(tool, &frame, target_tenant).collect();
        let who = principal.principal();
        if who.kind != PrincipalKind::User || !slices.iter().any(|s| s.asks.asked) {
            return false;
        }
        classes_in(&slices).into_iter().any(|class| {
            let mut stronger = who.clone();
            stronger.strength = with_class(stronger.strength, Some(class));
            self.may_ever(&self.prepare(&stronger), tool, target_tenant)
        })
    }

    fn step_up_to(
        &self,
        q: &Question<'_>,
        slices: &[&Slice],
        class: Option<&str>,
        now: i64,
    ) -> Option<StepUp> {
        let mut stronger = q.principal.principal().clone();
        stronger.strength = with_class(stronger.strength, class);
        let stronger = self.prepare(&stronger);
        let mut frame = Frame::of(self, q).ok()?;
        let roles = self.approver_roles(q.target_tenant);
        let mut helps = |age: i64| {
            frame.signed_in(&self.engine, q, &stronger, age).is_ok()
                && self.derive(&frame, slices.iter().copied(), q.confirmation, &roles).kind
                    != VerdictKind::Refuse
        };
        if !helps(0) {
            return None;
        }
        let acr = class.map(str::to_owned);
        if class.is_some() && helps(now) {
            return Some(StepUp { acr, max_age: None });
        }
        // `fresh` helps and `stale` does not, whatever lies between; 63 halvings at most.
        let (mut fresh, mut stale) = (0, now);
        while stale.saturating_sub(fresh) > 1 {
            let between = fresh.midpoint(stale);
            if helps(between) { fresh = between } else { stale = between }
        }
        Some(StepUp { acr, max_age: Some(fresh) })
    }
}

/// The classes that are tried: two factors first, then those that rules name.
fn classes_in<'s>(slices: &[&'s Slice]) -> Vec<&'s str> {
    let named: BTreeSet<&str> =
        slices.iter().flat_map(|s| &s.asks.classes).map(String::as_str).collect();
    std::iter::once(ACR_MFA).chain(named.into_iter().take(MAX_CLASSES)).collect()
}

/// The same sign-in, with more than one factor and of this class.
fn with_class(mut strength: Strength, class: Option<&str>) -> Strength {
    let Some(class) = class else { return strength };
    for method in ["pwd", "otp", "mfa"] {
        if !strength.amr.iter().any(|known| known == method) {
            strength.amr.push(method.to_owned());
        }
    }
    strength.acr = Some(class.to_owned());
    strength
}
