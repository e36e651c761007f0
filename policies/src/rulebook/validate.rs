//! Strict validation of every rule against the schema, without building the whole schema for each.
//!
//! Cedar checks a rule once for every kind of request in the schema: 2,000 rules over 10,000 tools would be 40 million checks.
//! A rule cannot tell two actions apart that it does not name and that have one group and one input type (or one
//! group, if it never reads the input), so each rule is checked against one of each such kind, and all that it names.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_core::ast::{ActionConstraint, EntityUID, ExprKind, Literal, Policy};

use super::error::{RuleError, RuleErrorKind};
use super::parse::{Rule, from_diagnostic};
use crate::schema::{ActionShape, Actions, InputType, schema_text};
use crate::vocabulary::ActionType;

/// The three action groups in the order of their index.
pub(crate) const GROUPS: [ActionType; 3] =
    [ActionType::Read, ActionType::Write, ActionType::Destructive];

/// To which actions a rule's scope applies.
pub(crate) struct Reach {
    /// Every action of these groups.
    pub(crate) groups: BTreeSet<ActionType>,
    /// And these.
    pub(crate) named: BTreeSet<String>,
}

impl Reach {
    /// Reads the action part of a policy's scope.
    pub(crate) fn of(policy: &Policy) -> Self {
        let mut reach = Self { groups: BTreeSet::new(), named: BTreeSet::new() };
        match policy.action_constraint() {
            ActionConstraint::Eq(uid) => {
                reach.named.insert(eid(uid));
            }
            ActionConstraint::In(uids) => uids.iter().for_each(|uid| reach.add(eid(uid))),
            // The unconstrained scope, and whatever later versions add: everywhere, which is always safe.
            _ => reach.groups.extend(GROUPS),
        }
        reach
    }

    fn add(&mut self, id: String) {
        match GROUPS.iter().find(|g| g.as_str() == id) {
            Some(group) => {
                self.groups.insert(*group);
            }
            None => {
                self.named.insert(id);
            }
        }
    }
}

/// Actions on which rules have to be checked or proved, with their shapes: one of each kind that the rules can tell apart.
pub(crate) fn representatives(rules: &[&Rule], actions: &Actions) -> BTreeMap<String, ActionShape> {
    let mut named = BTreeMap::new();
    let mut groups: BTreeMap<ActionType, bool> = BTreeMap::new();
    for rule in rules {
        let reach = Reach::of(&rule.policy);
        for id in reach.named.into_iter().chain(mentioned(&rule.policy)) {
            if let Some(shape) = actions.shapes.get(&id) {
                named.insert(id, shape.clone());
            }
        }
        for group in reach.groups {
            *groups.entry(group).or_default() |= rule.reads.input;
        }
    }
    let mut chosen = BTreeMap::new();
    for (group, by_input) in groups {
        add_kinds(group, by_input, actions, &named, &mut chosen);
    }
    chosen.extend(named);
    chosen
}

/// One action of each kind of a group, besides those that are named: these stand for themselves alone.
fn add_kinds(
    group: ActionType,
    by_input: bool,
    actions: &Actions,
    named: &BTreeMap<String, ActionShape>,
    chosen: &mut BTreeMap<String, ActionShape>,
) {
    let mut seen = BTreeSet::new();
    for (id, shape) in
        actions.shapes.iter().filter(|(id, s)| s.group == group && !named.contains_key(*id))
    {
        if seen.insert(by_input.then_some(&shape.input)) {
            chosen.insert(id.clone(), shape.clone());
        }
        if !by_input {
            break;
        }
    }
    if actions.shapes.values().all(|s| s.group != group) {
        // Before the first tool of a group is there, its rules are checked against a tool that takes nothing.
        // The id has a space, so no tool can have it.
        let shape = ActionShape { group, input: InputType::empty() };
        chosen.insert(format!("any {group}"), shape);
    }
}

/// Action ids that the condition names.
fn mentioned(policy: &Policy) -> Vec<String> {
    let condition = policy.condition();
    let uids = condition.subexpressions().filter_map(|e| match e.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) if uid.is_action() => Some(eid(uid)),
        _ => None,
    });
    uids.filter(|id| GROUPS.iter().all(|g| g.as_str() != id)).collect()
}

fn eid(uid: &EntityUID) -> String {
    let eid: &str = uid.eid().as_ref();
    eid.to_owned()
}

/// Checks every rule strictly.
pub(crate) fn validate(rules: &[Rule], actions: &Actions) -> Vec<RuleError> {
    let mut by_schema: BTreeMap<Vec<String>, Vec<&Rule>> = BTreeMap::new();
    for rule in rules {
        let key = representatives(&[rule], actions).into_keys().collect();
        by_schema.entry(key).or_default().push(rule);
    }
    let mut errors: Vec<_> =
        by_schema.values().flat_map(|rules| validate_together(rules, actions)).collect();
    errors.sort_by_key(|e| (e.file().to_owned(), e.position()));
    errors
}

fn validate_together(rules: &[&Rule], actions: &Actions) -> Vec<RuleError> {
    let Some(first) = rules.first() else { return Vec::new() };
    let chosen = representatives(rules, actions);
    let text = schema_text(chosen.iter().map(|(id, shape)| (id.as_str(), shape)));
    let unusable = |why: String| {
        let help = "report this as a defect of Portcullis, with the tools that this rule names";
        vec![first.error(
            RuleErrorKind::Io,
            format!("the generated schema is unusable: {why}"),
            help,
        )]
    };
    let schema = match Schema::from_cedarschema_str(&text) {
        Ok((schema, _)) => schema,
        Err(e) => return unusable(e.to_string()),
    };
    let mut set = cedar_policy_core::ast::PolicySet::new();
    for rule in rules {
        // Two rules of one id were reported before; the first stands for both here.
        let _ = set.add(rule.policy.clone());
    }
    let result = Validator::new(schema).validate(&PolicySet::from(set), ValidationMode::Strict);
    let found = result.validation_errors().filter_map(|e| {
        let id = e.policy_id().to_string();
        let rule = rules.iter().find(|r| r.id == id)?;
        Some(as_rule_error(rule, e))
    });
    found.collect()
}

fn as_rule_error(rule: &Rule, found: &cedar_policy::ValidationError) -> RuleError {
    let error = from_diagnostic(RuleErrorKind::Validation, &rule.file, found);
    if found_nowhere(found) { error.at(rule.span) } else { error }
}

fn found_nowhere(found: &cedar_policy::ValidationError) -> bool {
    miette::Diagnostic::labels(found).is_none_or(|mut l| l.next().is_none())
}
