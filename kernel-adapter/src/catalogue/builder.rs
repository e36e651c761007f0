//! From what the sources say to one [`Catalogue`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_policies::{ActionType, AppId, ToolName};
use serde::Serialize;

use super::Catalogue;
use super::mcp::McpTool;
use super::overrides::{Overridden, Overrides, overridden};
use super::quarantine::{AcceptedTools, GONE, MAX_TOOLS, NewTools, Sight, UNCLEAR};
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
    /// What is accepted now: what was before, and what was accepted by itself.
    pub accepted: AcceptedTools,
    /// What was accepted by itself: tools of apps seen for the first time, and new ones where the
    /// operator wants them so. The gateway persists these, and only these: what it read before may
    /// be older than the operator's last word.
    pub newly_accepted: AcceptedTools,
}

/// Collects apps and their tools.
#[derive(Debug, Default)]
pub struct CatalogueBuilder {
    apps: BTreeMap<AppId, Arc<App>>,
    found: Vec<Found>,
    /// Accepted tools, for those that no source describes so that they can be served.
    remembered: Vec<Found>,
    accepted: AcceptedTools,
    newly_accepted: AcceptedTools,
    new_tools: NewTools,
    overridden: Vec<Overridden>,
    problems: Vec<Problem>,
}

/// One tool before its name is checked and its schema compiled.
#[derive(Debug)]
struct Found {
    app: AppId,
    draft: ToolDraft,
    /// [`ToolDraft::digest`] of what the source says.
    digest: [u8; 32],
    state: ToolState,
}

impl Found {
    fn new(app: &AppId, draft: ToolDraft, state: ToolState) -> Self {
        Found { app: app.clone(), digest: draft.digest(), draft, state }
    }

    fn subject(&self) -> String {
        format!("{}/{}", self.app, self.draft.function)
    }

    /// The tool, with the words of the operator that took effect on it.
    fn into_tool(mut self, overrides: &Overrides) -> Result<(Tool, Vec<Overridden>), String> {
        let name = ToolName::new(self.app, &self.draft.function).map_err(|e| e.to_string())?;
        let overridden = overrides.apply_to_tool(&name, &mut self.draft);
        let tool = Tool::new(name, self.digest, self.draft, self.state);
        Ok((tool.map_err(|e| e.to_string())?, overridden))
    }
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
    /// quarantined; so is what was accepted and is not listed, so that a server cannot make the
    /// rules about its tools invalid by leaving one out. A server that renames its tools again and
    /// again has no more than [`MAX_TOOLS`] of them accepted by themselves.
    pub fn add_mcp_app(&mut self, app: App, tools: &[McpTool]) {
        let Some(id) = self.add_app(app) else { return };
        let first_sight = !self.accepted.knows(&id);
        self.accepted.note_app(&id);
        self.remember_unlisted(&id, tools);
        let by_itself = first_sight || self.new_tools == NewTools::Accept;
        let room = MAX_TOOLS.saturating_sub(self.accepted.drafts(&id).count());
        let mut room = if by_itself { room } else { 0 };
        for tool in tools {
            let found = self.judge(&id, tool.draft(), &mut room);
            self.found.push(found);
        }
    }

    /// Adds an app whose routes are its tools; does nothing but report when it is not a proxy.
    pub fn add_proxy_app(&mut self, app: App) {
        let Upstream::Proxy(proxy) = &app.upstream else {
            let message = "it has no route table".to_owned();
            return self.problem(&app.id, message);
        };
        let (drafts, redefined) = (proxy.routes.drafts(), proxy.routes.redefined());
        if let Some(id) = self.add_trusted(app, drafts) {
            self.overridden.extend(redefined.into_iter().map(|(function, from, to)| {
                let subject = format!("{id}/{function}");
                overridden(&subject, "action_type", from.to_string(), to.to_string())
            }));
        }
    }

    /// Adds an app that cannot be reached now, with the tools that were accepted before. They are
    /// active: each call is compared with what the server lists on the connection that it takes,
    /// and without a connection it fails as unreachable.
    pub fn add_unreachable_app(&mut self, app: App, why: &str) {
        let message = match self.accepted.knows(&app.id) {
            true => format!("its tools are those that were accepted before: {why}"),
            false => format!("its tools are not known: {why}"),
        };
        self.problem(&app.id, message);
        if let Some(id) = self.add_app(app) {
            self.remember(&id, &ToolState::Active);
        }
    }

    /// Checks names, applies the operator's overrides, compiles schemas.
    pub fn build(mut self, overrides: &Overrides) -> Built {
        let mut overridden = std::mem::take(&mut self.overridden);
        overridden.extend(overrides.apply_to_apps(&mut self.apps));
        let mut tools = BTreeMap::new();
        let repeated = repeated(&self.found);
        for found in std::mem::take(&mut self.found) {
            let subject = found.subject();
            if repeated.contains_key(&subject) {
                self.problem(&subject, "its app lists this name twice: none is served".to_owned());
                continue;
            }
            match found.into_tool(overrides) {
                Ok((tool, words)) => {
                    tools.insert(tool.name().clone(), Arc::new(tool));
                    overridden.extend(words);
                }
                Err(why) => self.problem(&subject, why),
            }
        }
        for found in std::mem::take(&mut self.remembered) {
            // One that cannot be made was never served, and was named when its server listed it.
            let Ok((tool, words)) = found.into_tool(overrides) else { continue };
            if let Entry::Vacant(place) = tools.entry(tool.name().clone()) {
                place.insert(Arc::new(tool));
                overridden.extend(words);
            }
        }
        let apps = std::mem::take(&mut self.apps);
        for unknown in overrides.unknown(&apps, &tools) {
            self.problem(&unknown, "an override names it, but it does not exist".to_owned());
        }
        let catalogue = Catalogue { apps, tools };
        let CatalogueBuilder { problems, accepted, newly_accepted, .. } = self;
        Built { catalogue, problems, overridden, accepted, newly_accepted }
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
    fn add_trusted(&mut self, app: App, drafts: Vec<ToolDraft>) -> Option<AppId> {
        let id = self.add_app(app)?;
        self.found.extend(drafts.into_iter().map(|d| Found::new(&id, d, ToolState::Active)));
        Some(id)
    }

    fn remember(&mut self, app: &AppId, state: &ToolState) {
        let drafts = self.accepted.drafts(app);
        self.remembered.extend(drafts.map(|draft| Found::new(app, draft, state.clone())));
    }

    /// Remembers the accepted tools of a server that it does not list, and those that it lists in
    /// case that they can't be served as listed. None is left out, however many others it lists:
    /// rules may name it.
    fn remember_unlisted(&mut self, app: &AppId, tools: &[McpTool]) {
        let listed: BTreeSet<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        for draft in self.accepted.drafts(app) {
            let is_listed = listed.contains(draft.function.as_str());
            let difference = if is_listed { UNCLEAR } else { GONE };
            let state = ToolState::Quarantined { difference: difference.to_owned() };
            self.remembered.push(Found::new(app, draft, state));
        }
    }

    /// Compares a listed tool with what was accepted; `room` is how many more tools may be accepted
    /// by themselves.
    fn judge(&mut self, app: &AppId, draft: ToolDraft, room: &mut usize) -> Found {
        match self.accepted.sight(app, &draft) {
            Sight::Same => Found::new(app, draft, ToolState::Active),
            Sight::Changed(difference) => {
                let mut found = Found::new(app, draft, ToolState::Quarantined { difference });
                // What a server says before the operator accepts it must not reach the rules: with
                // another type, those that read the argument would no longer be valid.
                self.accepted.type_as_accepted(app, &mut found.draft);
                found
            }
            Sight::New if *room > 0 => {
                *room -= 1;
                self.accepted.accept(app, &draft);
                self.newly_accepted.accept(app, &draft);
                Found::new(app, draft, ToolState::Active)
            }
            Sight::New => {
                let description = super::quarantine::excerpt(&draft.description);
                let difference = format!("new tool ({}): {description}", draft.action_type);
                Found::new(app, draft, ToolState::Quarantined { difference })
            }
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

fn repeated(found: &[Found]) -> HashMap<String, usize> {
    let mut count = HashMap::new();
    for one in found {
        *count.entry(one.subject()).or_insert(0) += 1;
    }
    count.retain(|_, n| *n > 1);
    count
}
