//! What the operator says against the sources: action types, scopes, tenants.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_policies::{ActionType, AppId, TenantId, ToolName};
use serde::Serialize;

use crate::app::App;
use crate::tool::{ActionSource, Tool, ToolDraft};

/// All overrides of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// By app: the tenant that owns it.
    pub tenants: BTreeMap<AppId, TenantId>,
    /// By tool.
    pub tools: BTreeMap<ToolName, ToolOverride>,
}

/// What the operator says about one tool; `None` leaves the source's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolOverride {
    /// Action type.
    pub action_type: Option<ActionType>,
    /// Scopes that are all needed.
    pub scopes: Option<Vec<String>>,
}

/// One override that took effect, for the ledger. Overrides that change nothing are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overridden {
    /// App id or tool name.
    pub subject: String,
    /// `tenant`, `action_type` or `scopes`.
    pub field: &'static str,
    /// What the source says.
    pub from: String,
    /// What the operator says.
    pub to: String,
}

impl Overrides {
    pub(super) fn apply_to_apps(&self, apps: &mut BTreeMap<AppId, Arc<App>>) -> Vec<Overridden> {
        let mut done = Vec::new();
        for (id, tenant) in &self.tenants {
            let Some(app) = apps.get_mut(id).filter(|a| a.tenant.as_ref() != Some(tenant)) else {
                continue;
            };
            let from =
                app.tenant.as_ref().map_or_else(|| "every tenant".into(), TenantId::to_string);
            done.push(overridden(id, "tenant", from, tenant.to_string()));
            Arc::make_mut(app).tenant = Some(tenant.clone());
        }
        done
    }

    pub(super) fn apply_to_tool(&self, name: &ToolName, draft: &mut ToolDraft) -> Vec<Overridden> {
        let mut done = Vec::new();
        let Some(wanted) = self.tools.get(name) else { return done };
        if let Some(to) = wanted.action_type {
            if to != draft.action_type {
                let from = draft.action_type.to_string();
                done.push(overridden(name, "action_type", from, to.to_string()));
            }
            draft.action_type = to;
            draft.source = ActionSource::Operator;
        }
        if let Some(to) = &wanted.scopes
            && *to != draft.scopes
        {
            done.push(overridden(name, "scopes", draft.scopes.join(" "), to.join(" ")));
            draft.scopes.clone_from(to);
        }
        done
    }

    /// Names that an override mentions and the catalogue does not have.
    pub(super) fn unknown(
        &self,
        apps: &BTreeMap<AppId, Arc<App>>,
        tools: &BTreeMap<ToolName, Arc<Tool>>,
    ) -> Vec<String> {
        let apps = self.tenants.keys().filter(|a| !apps.contains_key(a)).map(AppId::to_string);
        let tools = self.tools.keys().filter(|t| !tools.contains_key(t)).map(ToolName::to_string);
        apps.chain(tools).collect()
    }
}

pub(super) fn overridden(
    subject: &impl ToString,
    field: &'static str,
    from: String,
    to: String,
) -> Overridden {
    Overridden { subject: subject.to_string(), field, from, to }
}
