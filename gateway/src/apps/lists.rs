//! What the MCP servers listed last, and what the ledger has of that already.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use portcullis_kernel_adapter::catalogue::mcp::McpTool;
use portcullis_kernel_adapter::catalogue::overrides::Overridden;
use portcullis_kernel_adapter::{Built, ToolState};
use portcullis_policies::{AppId, ToolName};

/// What each MCP server listed last, so that one that is away for a moment keeps its tools: each
/// call still compares the tool with what its server lists on the connection that it takes.
#[derive(Debug, Default)]
pub struct Lists {
    listed: Mutex<HashMap<AppId, Listed>>,
    recorded: Mutex<Recorded>,
}

#[derive(Debug, Default, Clone)]
struct Listed {
    tools: Option<Vec<McpTool>>,
    away: bool,
}

/// What this process wrote to the ledger about the catalogue. Bounded by what the operator overrides
/// and by the tools that wait now: what a server says over time does not make it grow.
#[derive(Debug, Default)]
struct Recorded {
    overridden: BTreeSet<Word>,
    /// The difference of each tool that waits.
    quarantined: BTreeMap<ToolName, String>,
}

/// All of an [`Overridden`]: subject, field, from, to. The operator may override one field of one tool
/// twice, in its route and by its name.
type Word = (String, &'static str, String, String);

/// What the ledger does not have yet.
#[derive(Debug)]
pub(super) struct Unrecorded {
    pub(super) overridden: Vec<Overridden>,
    /// The tools that wait, with their differences.
    pub(super) quarantined: Vec<(ToolName, String)>,
}

impl Lists {
    /// Whether a server could not be reached when it was asked last.
    #[must_use]
    pub fn is_somebody_away(&self) -> bool {
        self.listed.lock().is_ok_and(|lists| lists.values().any(|list| list.away))
    }

    pub(super) fn came(&self, app: &AppId, tools: &[McpTool]) {
        if let Ok(mut lists) = self.listed.lock() {
            lists.insert(app.clone(), Listed { tools: Some(tools.to_vec()), away: false });
        }
    }

    pub(super) fn stayed_away(&self, app: &AppId) -> Option<Vec<McpTool>> {
        let mut lists = self.listed.lock().ok()?;
        let listed = lists.entry(app.clone()).or_default();
        listed.away = true;
        listed.tools.clone()
    }

    /// What of a catalogue the ledger does not have yet: a server that changes one tool again and
    /// again costs a record for that tool, not for every tool that waits.
    pub(super) fn unrecorded(&self, built: &Built) -> Unrecorded {
        let (mut overridden, mut quarantined) = (built.overridden.clone(), waiting(built));
        // Behind a poisoned lock everything counts as new: twice recorded is better than never.
        if let Ok(recorded) = self.recorded.lock() {
            overridden.retain(|said| !recorded.overridden.contains(&word(said)));
            quarantined.retain(|(name, waits)| recorded.quarantined.get(name) != Some(waits));
        }
        Unrecorded { overridden, quarantined }
    }

    /// Remembers that the ledger has all of a catalogue.
    pub(super) fn recorded(&self, built: &Built) {
        if let Ok(mut recorded) = self.recorded.lock() {
            // The words that stand now, of each tool and app that is there; one that is away keeps its own.
            let tools = built.catalogue.tools().map(|tool| tool.name().to_string());
            let apps = built.catalogue.apps().map(|app| app.id.to_string());
            let there: BTreeSet<String> = tools.chain(apps).collect();
            recorded.overridden.retain(|(of, ..)| !there.contains(of));
            recorded.overridden.extend(built.overridden.iter().map(word));
            // One that waits no more is forgotten, so that it is recorded when it waits again.
            recorded.quarantined = waiting(built).into_iter().collect();
        }
    }

    /// Forgets what waits no more or for another reason, when a catalogue is not written down because it
    /// is the one in force: the same change is recorded when it comes again.
    pub(crate) fn settled(&self, built: &Built) {
        if let Ok(mut recorded) = self.recorded.lock() {
            let waiting: BTreeMap<ToolName, String> = waiting(built).into_iter().collect();
            recorded.quarantined.retain(|name, why| waiting.get(name) == Some(why));
        }
    }
}

fn word(said: &Overridden) -> Word {
    (said.subject.clone(), said.field, said.from.clone(), said.to.clone())
}

fn waiting(built: &Built) -> Vec<(ToolName, String)> {
    let waits = built.catalogue.tools().filter_map(|tool| match &tool.state {
        ToolState::Quarantined { difference } => Some((tool.name().clone(), difference.clone())),
        ToolState::Active => None,
    });
    waits.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_kernel_adapter::catalogue::overrides::{Overrides, ToolOverride};
    use portcullis_kernel_adapter::catalogue::quarantine::{AcceptedTools, NewTools};
    use portcullis_kernel_adapter::{App, CatalogueBuilder, HttpUpstream, Upstream};
    use portcullis_policies::ActionType;

    use super::*;

    fn tool(name: &str, description: &str) -> McpTool {
        McpTool {
            name: name.into(),
            description: description.into(),
            input_schema: serde_json::json!({ "type": "object" }),
            read_only: Some(true),
            destructive: None,
        }
    }

    fn app() -> App {
        let base = http::Uri::from_static("http://127.0.0.1:1");
        App {
            id: "files".parse().unwrap(),
            name: "Files".into(),
            tenant: None,
            tenant_argument: None,
            owner_argument: None,
            secrets: Arc::default(),
            upstream: Upstream::McpHttp(HttpUpstream { base, credentials: Vec::new() }),
        }
    }

    /// The app as its server lists these, after the operator accepted a tool `old`.
    fn built(tools: &[McpTool]) -> Built {
        let mut accepted = AcceptedTools::default();
        accepted.accept_mcp(&app().id, &tool("old", "Looks."));
        let mut builder = CatalogueBuilder::new(accepted, NewTools::Quarantine);
        builder.add_mcp_app(app(), tools);
        let said = ToolOverride { action_type: Some(ActionType::Write), scopes: None };
        let mut overrides = Overrides::default();
        overrides.tools.insert("files/late".parse().unwrap(), said);
        builder.build(&overrides)
    }

    /// Names of the tools that are recorded: those overridden, and those that wait.
    fn record(lists: &Lists, built: &Built) -> (Vec<String>, Vec<String>) {
        let new = lists.unrecorded(built);
        lists.recorded(built);
        (
            new.overridden.into_iter().map(|word| word.subject).collect(),
            new.quarantined.into_iter().map(|(name, _)| name.to_string()).collect(),
        )
    }

    #[test]
    fn only_tools_that_wait_for_another_reason_than_before_are_recorded() {
        let lists = Lists::default();
        let (old, new) = (tool("old", "Looks."), tool("new", "Steals."));
        let both = built(&[tool("old", "Lurks."), new.clone()]);
        assert_eq!(record(&lists, &both).1, ["files/new", "files/old"]);
        assert!(record(&lists, &both).1.is_empty(), "the ledger has both");
        let again = built(&[tool("old", "Lies."), new.clone()]);
        assert_eq!(record(&lists, &again).1, ["files/old"]);
        assert!(record(&lists, &built(&[old, new])).1.is_empty(), "the old one is as it was");
        assert_eq!(record(&lists, &again).1, ["files/old"], "it waits a second time");
    }

    #[test]
    fn a_change_that_was_taken_back_is_recorded_when_it_comes_again() {
        let (lists, changed) = (Lists::default(), built(&[tool("old", "Lurks.")]));
        assert_eq!(record(&lists, &changed).1, ["files/old"]);
        lists.settled(&changed);
        assert!(record(&lists, &changed).1.is_empty(), "it still waits");
        lists.settled(&built(&[tool("old", "Looks.")]));
        assert_eq!(record(&lists, &changed).1, ["files/old"]);
    }

    #[test]
    fn a_word_that_was_not_needed_for_a_while_is_recorded_when_it_is_again() {
        let lists = Lists::default();
        let needed = built(&[tool("old", "Looks."), tool("late", "Comes.")]);
        assert_eq!(record(&lists, &needed).0, ["files/late"]);
        let mut not_needed = built(&[tool("old", "Looks."), tool("late", "Comes.")]);
        not_needed.overridden.clear();
        assert!(record(&lists, &not_needed).0.is_empty());
        assert_eq!(record(&lists, &needed).0, ["files/late"]);
    }

    #[test]
    fn two_words_on_one_field_are_each_recorded_once() {
        let lists = Lists::default();
        let mut twice = built(&[tool("old", "Looks."), tool("late", "Comes.")]);
        let mut other = twice.overridden.first().unwrap().clone();
        other.from = "destructive".into();
        twice.overridden.push(other);
        assert_eq!(record(&lists, &twice).0, ["files/late", "files/late"]);
        assert!(record(&lists, &twice).0.is_empty(), "the ledger has both");
    }

    #[test]
    fn an_override_is_recorded_once_and_when_its_tool_appears() {
        let lists = Lists::default();
        let (old, late) = (tool("old", "Looks."), tool("late", "Comes."));
        assert!(record(&lists, &built(std::slice::from_ref(&old))).0.is_empty());
        assert_eq!(record(&lists, &built(&[old.clone(), late.clone()])).0, ["files/late"]);
        assert!(record(&lists, &built(std::slice::from_ref(&old))).0.is_empty());
        assert!(record(&lists, &built(&[old, late])).0.is_empty(), "the ledger has it");
    }
}
