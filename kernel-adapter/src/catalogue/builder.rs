//! From what the sources say to one [`Catalogue`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use portcullis_policies::{ActionType, AppId, ToolName};
use serde::Serialize;

use super::Catalogue;
use super::mcp::McpTool;
use super::overrides::{Overridden, Overrides};
use super::quarantine::{AcceptedTools, NewTools, Sight};
use crate::app::{App, Upstream};
use crate::manifest::Manifest;
use crate::tool::{ActionSource, Tool, ToolDraft, ToolState};

/// Something that could not be served, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// App id or tool name.
    pub subject: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A finished catalogue with what the operator and the ledger should hear.
#[derive(Debug)]
pub struct Built {
    /// The snapshot.
    pub catalogue: Catalogue,
    /// What was left out.
    pub problems: Vec<Problem>,
    /// Which words of the sources the operator overrode; each belongs in the ledger.
    pub overridden: Vec<Overridden>,
    /// What is accepted now: what was before and the tools of apps seen for the first time. The
    /// gateway persists it.
    pub accepted: AcceptedTools,
}

/// Collects apps and their tools.
#[derive(Debug, Default)]
pub struct CatalogueBuilder {
    apps: BTreeMap<AppId, Arc<App>>,
    drafts: Vec<(AppId, ToolDraft, ToolState)>,
    accepted: AcceptedTools,
    new_tools: NewTools,
    problems: Vec<Problem>,
}

impl CatalogueBuilder {
    /// Starts from what the operator accepted before.
    pub fn new(accepted: AcceptedTools, new_tools: NewTools) -> Self {
        CatalogueBuilder { accepted, new_tools, ..CatalogueBuilder::default() }
    }

    /// Says what happens to new tools of the MCP apps that are added from here on.
    pub fn accept_new_tools(&mut self, new_tools: NewTools) {
        self.new_tools = new_tools;
    }

    /// Adds an app whose tools its manifest declares; its upstream is reached over HTTP.
    pub fn add_manifest_app(&mut self, app: App, manifest: &Manifest) {
        let app = App { secrets: manifest.secrets.clone().into(), ..app };
        if app.id.as_str() != manifest.app_id {
            let message = format!("its manifest says app_id {:?}", manifest.app_id);
            return self.problem(&app.id, message);
        }
        let drafts = manifest.tools.iter().map(|t| {
            let said = t.action_type.as_deref();
            ToolDraft {
                function: t.name.clone(),
                description: t.description.clone(),
                action_type: said.map_or(ActionType::Destructive, action_type),
                source: said.map_or(ActionSource::Missing, |_| ActionSource::Manifest),
                scopes: t.scopes.clone(),
                input_schema: t.input_schema.clone(),
                long_running: t.long_running,
            }
        });
        self.add_trusted(app, drafts.collect());
    }

    /// Adds an app whose tools an MCP server lists. What changed since the operator accepted is
    /// quarantined.
    pub fn add_mcp_app(&mut self, app: App, tools: &[McpTool]) {
        let Some(id) = self.add_app(app) else { return };
        let first_sight = !self.accepted.knows(&id);
        self.accepted.note_app(&id);
        for tool in tools {
            let draft = tool.draft();
            let state = self.judge(&id, &draft, first_sight);
            self.drafts.push((id.clone(), draft, state));
        }
    }

    /// Adds an app whose routes are its tools; does nothing but report when it is not a proxy.
    pub fn add_proxy_app(&mut self, app: App) {
        let Upstream::Proxy(proxy) = &app.upstream else {
            let message = "it has no route table".to_owned();
            return self.problem(&app.id, message);
        };
        let drafts = proxy.routes.drafts();
        self.add_trusted(app, drafts);
    }

    /// Adds an app that cannot be reached now: known, without tools.
    pub fn add_unreachable_app(&mut self, app: App, why: &str) {
        let message = format!("its tools are not known: {why}");
        self.problem(&app.id, message);
        self.add_app(app);
    }

    /// Checks names, applies the operator's overrides, compiles schemas.
    pub fn build(mut self, overrides: &Overrides) -> Built {
        let mut overridden = overrides.apply_to_apps(&mut self.apps);
        let mut tools = BTreeMap::new();
        let repeated = repeated(&self.drafts);
        for (app, mut draft, state) in std::mem::take(&mut self.drafts) {
            let subject = format!("{app}/{}", draft.function);
            if repeated.contains_key(&(app.clone(), draft.function.clone())) {
                self.problem(&subject, "its app lists this name twice: none is served".to_owned());
                continue;
            }
            let name = match ToolName::new(app, &draft.function) {
                Ok(name) => name,
                Err(e) => {
                    self.problem(&subject, e.to_string());
                    continue;
                }
            };
            let digest = draft.digest();
            overridden.extend(overrides.apply_to_tool(&name, &mut draft));
            match Tool::new(name.clone(), digest, draft, state) {
                Ok(tool) => drop(tools.insert(name, Arc::new(tool))),
                Err(e) => self.problem(&subject, e.to_string()),
            }
        }
        let apps = std::mem::take(&mut self.apps);
        for unknown in overrides.unknown(&apps, &tools) {
            self.problem(&unknown, "an override names it, but it does not exist".to_owned());
        }
        let catalogue = Catalogue { apps, tools };
        Built { catalogue, problems: self.problems, overridden, accepted: self.accepted }
    }

    fn add_app(&mut self, app: App) -> Option<AppId> {
        let id = app.id.clone();
        if self.apps.contains_key(&id) {
            self.problem(&id, "another app has this id: only the first is served".to_owned());
            return None;
        }
        self.apps.insert(id.clone(), Arc::new(app));
        Some(id)
    }

    /// Tools from files that the operator wrote: the file is the acceptance.
    fn add_trusted(&mut self, app: App, drafts: Vec<ToolDraft>) {
        if let Some(id) = self.add_app(app) {
            self.drafts.extend(drafts.into_iter().map(|d| (id.clone(), d, ToolState::Active)));
        }
    }

    fn judge(&mut self, app: &AppId, draft: &ToolDraft, first_sight: bool) -> ToolState {
        match self.accepted.sight(app, draft) {
            Sight::Same => ToolState::Active,
            Sight::Changed(difference) => ToolState::Quarantined { difference },
            Sight::New if first_sight || self.new_tools == NewTools::Accept => {
                self.accepted.accept(app, draft);
                ToolState::Active
            }
            Sight::New => ToolState::Quarantined {
                difference: format!(
                    "new tool ({}): {}",
                    draft.action_type,
                    super::quarantine::excerpt(&draft.description)
                ),
            },
        }
    }

    fn problem(&mut self, subject: &impl ToString, message: String) {
        self.problems.push(Problem { subject: subject.to_string(), message });
    }
}

fn action_type(word: &str) -> ActionType {
    match word {
        "read" => ActionType::Read,
        "write" => ActionType::Write,
        _ => ActionType::Destructive,
    }
}

fn repeated(drafts: &[(AppId, ToolDraft, ToolState)]) -> HashMap<(AppId, String), usize> {
    let mut count = HashMap::new();
    for (app, draft, _) in drafts {
        *count.entry((app.clone(), draft.function.clone())).or_insert(0) += 1;
    }
    count.retain(|_, n| *n > 1);
    count
}
