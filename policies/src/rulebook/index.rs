//! The index by action: which rules can apply to a call, so that the others cost nothing.
//!
//! A rule whose scope does not match the action can neither be satisfied nor fail, so leaving it out changes no
//! answer and no diagnostic (test `sliced_and_whole_decisions_are_equal`). A tool that no rule names shares its group's slice:
//! 10,000 tools do not mean 10,000 copies.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::{Policy, PolicySet};

use super::parse::{Rule, widened};
use super::validate::{GROUPS, Reach};
use crate::approvals;
use crate::engine::ReadyRules;
use crate::schema::Actions;
use crate::step_up::SignInWords;
use crate::vocabulary::ActionType;

/// The rules of one layer that can apply to one action.
#[derive(Default)]
pub(crate) struct Slice {
    /// Those that decide.
    pub(crate) rules: ReadyRules,
    /// The same as far as they are known before a call comes: what reads a call forbids nothing and permits everything.
    pub(crate) outline: ReadyRules,
    /// What they ask about how somebody signed in.
    pub(crate) asks: SignInWords,
    /// Those in shadow, each alone.
    pub(crate) shadows: Vec<(String, ReadyRules)>,
}

/// One layer, the platform's or a tenant's, by action.
pub(crate) struct LayerIndex {
    groups: BTreeMap<ActionType, Arc<Slice>>,
    named: HashMap<String, Arc<Slice>>,
    /// Roles that the rules of this layer may want approvals of.
    pub(crate) approver_roles: BTreeSet<String>,
}

impl LayerIndex {
    /// Indexes the rules of one layer.
    ///
    /// # Errors
    /// When the engine refuses a policy that it has parsed: a defect.
    pub(crate) fn build(rules: &[&Rule], actions: &Actions) -> Result<Self, String> {
        let mut by_group: BTreeMap<ActionType, BTreeSet<usize>> = BTreeMap::new();
        let mut by_name: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (at, rule) in rules.iter().enumerate() {
            let reach = Reach::of(&rule.policy);
            for group in reach.groups {
                by_group.entry(group).or_default().insert(at);
            }
            for id in reach.named {
                by_name.entry(id).or_default().insert(at);
            }
        }
        let approver_roles = approvals::roles_in(rules.iter().map(|rule| &rule.policy));
        let mut index = Self { groups: BTreeMap::new(), named: HashMap::new(), approver_roles };
        for group in GROUPS {
            let members = by_group.entry(group).or_default();
            index.groups.insert(group, Arc::new(slice(rules, members)?));
        }
        for (id, mut members) in by_name {
            let Some(shape) = actions.shapes.get(&id) else { continue };
            members.extend(by_group.get(&shape.group).into_iter().flatten());
            index.named.insert(id, Arc::new(slice(rules, &members)?));
        }
        Ok(index)
    }

    /// The rules that can apply to an action of a group.
    pub(crate) fn slice(&self, action: &str, group: ActionType) -> Option<&Arc<Slice>> {
        self.named.get(action).or_else(|| self.groups.get(&group))
    }
}

fn slice(rules: &[&Rule], members: &BTreeSet<usize>) -> Result<Slice, String> {
    let mut slice = Slice::default();
    for rule in members.iter().filter_map(|at| rules.get(*at)) {
        if rule.shadow {
            slice.shadows.push((rule.id.clone(), [rule.policy.clone()].into_iter().collect()));
            continue;
        }
        slice.rules.add(rule.policy.clone());
        slice.asks.add(&rule.policy);
        match (rule.reads.call, rule.forbids()) {
            (false, _) => slice.outline.add(rule.policy.clone()),
            (true, false) => slice.outline.add(widened(&rule.policy)?),
            (true, true) => {}
        }
    }
    Ok(slice)
}

/// A set of policies whose ids are unique.
pub(crate) fn set_of(policies: impl IntoIterator<Item = Policy>) -> Result<PolicySet, String> {
    let mut set = PolicySet::new();
    policies.into_iter().try_for_each(|p| set.add(p)).map_err(|e| e.to_string())?;
    Ok(set)
}
