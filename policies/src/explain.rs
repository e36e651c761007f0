//! Why: which rules decided, and why each of the others did not.

use std::fmt;

use serde::Serialize;

use crate::question::Frame;
use crate::rulebook::{Reach, Rule, Rulebook, set_of};
use crate::verdict::{Decision, Question, VerdictKind};

/// A decision told in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The verdict.
    pub verdict: VerdictKind,
    /// Digest of the policy set, lowercase hex.
    pub policy_set: String,
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
        let frame = match Frame::of(self, q) {
            Ok(frame) => frame,
            Err(why) => {
                return Account { verdict, policy_set, unasked: Some(why), rules: Vec::new() };
            }
        };
        let decided = decision.explanation.rules;
        let account = |rule: &Rule| RuleAccount {
            id: rule.id.clone(),
            effect: if rule.forbids() { "forbid" } else { "permit" },
            reason: rule.reason.clone(),
            file: rule.file.path.clone(),
            part: self.part(rule, &frame, q, &decided),
        };
        let rules = self.rules.iter().map(account).collect();
        Account { verdict, policy_set, unasked: None, rules }
    }

    fn part(&self, rule: &Rule, frame: &Frame<'_>, q: &Question<'_>, decided: &[String]) -> Part {
        if !self.in_scope(rule, frame, q) {
            return Part::NotApplicable;
        }
        let set = match set_of([rule.policy.clone()]) {
            Ok(set) => set,
            Err(why) => return Part::Failed(why),
        };
        let request = frame.request(&self.engine, q.confirmation);
        let alone = self.engine.ask(&set, request, &frame.entities);
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
    fn in_scope(&self, rule: &Rule, frame: &Frame<'_>, q: &Question<'_>) -> bool {
        if rule.tenant.as_ref().is_some_and(|t| t != q.target_tenant) {
            return false;
        }
        let reach = Reach::of(&rule.policy);
        if !reach.groups.contains(&frame.tool.group) && !reach.named.contains(&q.tool.to_string()) {
            return false;
        }
        let scope = rule.scope_only().and_then(|p| set_of([p]));
        scope.is_ok_and(|set| {
            let request = frame.request(&self.engine, q.confirmation);
            !self.engine.ask(&set, request, &frame.entities).determining().is_empty()
        })
    }
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
