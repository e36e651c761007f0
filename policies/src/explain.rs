//! Why: which rules decided, and why each of the others did not.

use std::fmt;

use cedar_policy_core::ast::PolicySet;
use serde::Serialize;

use crate::capsule::{Asked, Capsule, RecordedSet, ReplayError};
use crate::engine::Ruling;
use crate::question::Frame;
use crate::rulebook::{Rule, Rulebook, set_of};
use crate::verdict::{Decision, Question, Verdict, VerdictKind};

/// A decision told in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The verdict.
    pub verdict: VerdictKind,
    /// Digest of the policy set, lowercase hex.
    pub policy_set: String,
    /// Roles as each of which another person has to approve it first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<String>,
    /// Why the question could not be asked at all, if so; then no rule was asked.
    pub unasked: Option<String>,
    /// Every rule of the set, in the order of its files.
    pub rules: Vec<RuleAccount>,
}

/// What one rule did in one decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleAccount {
    /// The rule's id.
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Its `@reason`.
    pub reason: String,
    /// The file that it stands in.
    pub file: String,
    /// What it did.
    pub part: Part,
}

/// What a rule did in a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "why")]
pub enum Part {
    /// It decided.
    Decided,
    /// It permits, but a forbid decided.
    Overruled,
    /// Its scope does not match the principal, the action or the resource, or it is another tenant's.
    NotApplicable,
    /// Its scope matches, its condition is false.
    ConditionFalse,
    /// It could not be evaluated, which refuses the call.
    Failed(String),
    /// It is in shadow and would have applied.
    ShadowApplies,
}

impl Rulebook {
    /// Tells for one call which rules decided and why the others did not.
    ///
    /// It makes no permit: it asks every rule alone, beside the decision.
    pub fn explain(&self, q: &Question<'_>) -> Account {
        let decision: Decision = self.decide(q);
        let verdict = decision.verdict.kind();
        let policy_set = self.digest().to_string();
        let approvals = match decision.verdict {
            Verdict::AskFirst(ask) => ask.approvals,
            Verdict::Permit(_) | Verdict::Refusal(_) => Vec::new(),
        };
        let frame = match Frame::of(self, q) {
            Ok(frame) => frame,
            Err(why) => {
                let (unasked, rules) = (Some(why), Vec::new());
                return Account { verdict, policy_set, approvals, unasked, rules };
            }
        };
        let ask = |set: &PolicySet| {
            self.engine.ask(set, frame.request(&self.engine, q.confirmation), &frame.entities)
        };
        let decided = decision.explanation.rules;
        let tenant = q.target_tenant.as_str();
        let rules = self.rules.iter().map(|rule| account(rule, tenant, &decided, ask)).collect();
        Account { verdict, policy_set, approvals, unasked: None, rules }
    }
}

impl RecordedSet {
    /// Tells for a recorded decision which rules decided and why the others did not.
    ///
    /// # Errors
    /// As [`RecordedSet::replay`].
    pub fn explain(&self, capsule: &Capsule) -> Result<Account, ReplayError> {
        let replayed = self.replay(capsule)?;
        let asked = Asked::of(capsule)?;
        let request = asked.request(&asked.stands)?;
        let ask = |set: &PolicySet| {
            self.engine.ask(set, request.as_ref().clone(), asked.entities.as_ref())
        };
        let tenant = asked.target_tenant().unwrap_or_default();
        let rules = self.rules.iter().map(|rule| account(rule, &tenant, &replayed.rules, ask));
        Ok(Account {
            verdict: replayed.verdict,
            policy_set: self.digest().to_owned(),
            approvals: replayed.approvals,
            unasked: None,
            rules: rules.collect(),
        })
    }
}

fn account(
    rule: &Rule,
    target_tenant: &str,
    decided: &[String],
    ask: impl Fn(&PolicySet) -> Ruling,
) -> RuleAccount {
    RuleAccount {
        id: rule.id.clone(),
        effect: if rule.forbids() { "forbid" } else { "permit" },
        reason: rule.reason.clone(),
        file: rule.file.path.clone(),
        part: part(rule, target_tenant, decided, ask),
    }
}

fn part(
    rule: &Rule,
    target_tenant: &str,
    decided: &[String],
    ask: impl Fn(&PolicySet) -> Ruling,
) -> Part {
    if !in_scope(rule, target_tenant, &ask) {
        return Part::NotApplicable;
    }
    let alone = match set_of([rule.policy.clone()]) {
        Ok(set) => ask(&set),
        Err(why) => return Part::Failed(why),
    };
    if let Some((_, why)) = alone.errors.first() {
        return Part::Failed(why.clone());
    }
    match alone.determining().is_empty() {
        true => Part::ConditionFalse,
        false if rule.shadow => Part::ShadowApplies,
        false if decided.contains(&rule.id) => Part::Decided,
        false => Part::Overruled,
    }
}

/// The scope alone, asked of Cedar as a policy without conditions.
fn in_scope(rule: &Rule, target_tenant: &str, ask: impl Fn(&PolicySet) -> Ruling) -> bool {
    if rule.tenant.as_ref().is_some_and(|tenant| tenant.as_str() != target_tenant) {
        return false;
    }
    let scope = rule.scope_only().and_then(|policy| set_of([policy]));
    scope.is_ok_and(|set| !ask(&set).determining().is_empty())
}

impl Account {
    /// The account as JSON, for scripts.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl fmt::Display for Account {
    /// One aligned line a rule; rules that did not apply are last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict      {}", self.verdict)?;
        writeln!(f, "policy set   {}", self.policy_set)?;
        if let Some(why) = &self.unasked {
            return writeln!(f, "not asked    {why}");
        }
        let width = self.rules.iter().map(|r| r.id.len()).max().unwrap_or_default();
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_by_key(|r| r.part.rank());
        for rule in rules {
            writeln!(
                f,
                "{:<16} {:<7} {:<width$}  {}",
                rule.part.to_string(),
                rule.effect,
                rule.id,
                rule.reason
            )?;
            if let Part::Failed(why) = &rule.part {
                writeln!(f, "{:<16} {why}", "")?;
            }
        }
        Ok(())
    }
}

impl Part {
    fn rank(&self) -> u8 {
        match self {
            Self::Failed(_) => 0,
            Self::Decided => 1,
            Self::Overruled => 2,
            Self::ShadowApplies => 3,
            Self::ConditionFalse => 4,
            Self::NotApplicable => 5,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decided => "decided",
            Self::Overruled => "overruled",
            Self::NotApplicable => "not applicable",
            Self::ConditionFalse => "condition false",
            Self::Failed(_) => "failed",
            Self::ShadowApplies => "shadow",
        })
    }
}
