//! Tools that change under the operator's feet.
//!
//! An MCP server can change what a tool says, takes or claims to do at any time ("rug pull"). So
//! the operator's acceptance is remembered per tool, and a tool that differs from what was accepted
//! is quarantined with the difference in words until the operator accepts again. The claim about
//! the effect (the hints) counts as much as description and schema: a tool that turns "read" by its
//! own word would otherwise skip the confirmation gate.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policies::{ActionType, AppId, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;
use crate::tool::{ActionSource, ToolDraft};

/// Most single differences that one explanation lists.
const MAX_LISTED: usize = 8;

/// Most tools of one app that are accepted by themselves, those that are gone since among them: as
/// many as are read from a server's list.
pub const MAX_TOOLS: usize = 2_000;

/// Why a tool waits that was accepted and that its server lists no more.
pub const GONE: &str = "its server does not list it";

/// Why a tool waits that was accepted and that is not served as its server lists it now.
pub(super) const UNCLEAR: &str =
    "its server lists it more than once, or so that it can't be served";

/// What happens to a tool that appears in an app whose tools were accepted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewTools {
    /// It waits for the operator.
    #[default]
    Quarantine,
    /// It is accepted as it comes.
    Accept,
}

/// What the operator accepted. The gateway persists it (serde) between runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AcceptedTools {
    apps: BTreeSet<AppId>,
    tools: BTreeMap<ToolName, AcceptedTool>,
}

/// One accepted tool: enough to tell what changed, not only that something did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AcceptedTool {
    description: String,
    input_schema: Value,
    action_type: ActionType,
}

/// How a tool compares with what was accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Same,
    New,
    Changed(String),
}

impl AcceptedTools {
    /// Whether tools of this app were accepted before.
    pub fn knows(&self, app: &AppId) -> bool {
        self.apps.contains(app)
    }

    /// Accepts a tool as its source describes it now; returns false for a name that cannot be one.
    pub fn accept(&mut self, app: &AppId, draft: &ToolDraft) -> bool {
        self.note_app(app);
        let Ok(name) = ToolName::new(app.clone(), &draft.function) else { return false };
        let accepted = AcceptedTool {
            description: draft.description.clone(),
            input_schema: draft.input_schema.clone(),
            action_type: draft.action_type,
        };
        self.tools.insert(name, accepted);
        true
    }

    /// Accepts a tool as an MCP server lists it now: what `portcullis app accept` does.
    pub fn accept_mcp(&mut self, app: &AppId, tool: &super::mcp::McpTool) -> bool {
        self.accept(app, &tool.draft())
    }

    pub(super) fn note_app(&mut self, app: &AppId) {
        self.apps.insert(app.clone());
    }

    /// The accepted tools of one app, as they were accepted.
    pub(super) fn drafts(&self, app: &AppId) -> impl Iterator<Item = ToolDraft> {
        let of_app = self.tools.iter().filter(move |(name, _)| name.app() == app);
        of_app.map(|(name, was)| ToolDraft {
            function: name.function().to_owned(),
            description: was.description.clone(),
            action_type: was.action_type,
            source: ActionSource::McpHints,
            scopes: Vec::new(),
            input_schema: was.input_schema.clone(),
            long_running: false,
        })
    }

    /// Gives a changed tool the schema and the action type that were accepted; its description
    /// stays, for the operator to read.
    pub(super) fn type_as_accepted(&self, app: &AppId, draft: &mut ToolDraft) {
        let name = ToolName::new(app.clone(), &draft.function).ok();
        if let Some(was) = name.and_then(|name| self.tools.get(&name)) {
            draft.input_schema.clone_from(&was.input_schema);
            draft.action_type = was.action_type;
        }
    }

    pub(super) fn sight(&self, app: &AppId, draft: &ToolDraft) -> Sight {
        let name = ToolName::new(app.clone(), &draft.function).ok();
        let Some(was) = name.and_then(|n| self.tools.get(&n)) else { return Sight::New };
        let mut lines = Vec::new();
        if was.action_type != draft.action_type {
            lines.push(format!("action type: {} -> {}", was.action_type, draft.action_type));
        }
        if was.description != draft.description {
            let (from, to) = around_change(&was.description, &draft.description);
            lines.push(format!("description: \"{from}\" -> \"{to}\""));
        }
        // Compared as canonical text: the same schema with other key order is the same.
        if schema::canonical(&was.input_schema) != schema::canonical(&draft.input_schema) {
            compare(&was.input_schema, &draft.input_schema, "inputSchema", &mut lines);
        }
        if lines.is_empty() { Sight::Same } else { Sight::Changed(summary(lines)) }
    }
}

fn summary(lines: Vec<String>) -> String {
    let more = lines.len().saturating_sub(MAX_LISTED);
    let mut shown: Vec<String> = lines.into_iter().take(MAX_LISTED).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

/// Lists the differing leaves of two JSON values as `path: old -> new`.
fn compare(was: &Value, is: &Value, path: &str, out: &mut Vec<String>) {
    match (was, is) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = format!("{path}.{}", key.chars().take(60).collect::<String>());
                match (a.get(key), b.get(key)) {
                    (Some(x), Some(y)) => compare(x, y, &path, out),
                    (Some(x), None) => out.push(format!("{path}: {} -> removed", short(x))),
                    (None, Some(y)) => out.push(format!("{path}: added {}", short(y))),
                    (None, None) => {}
                }
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(format!("{path}: {} -> {}", short(a), short(b))),
    }
}

fn short(v: &Value) -> String {
    excerpt(&String::from_utf8_lossy(&schema::canonical(v)))
}

/// At most 80 characters, without control characters: the text comes from a stranger and is shown
/// on an operator's terminal.
pub(super) fn excerpt(text: &str) -> String {
    let mut shown: String =
        text.chars().take(80).map(|c| if is_tricky(c) { ' ' } else { c }).collect();
    if text.chars().count() > 80 {
        shown.push('…');
    }
    shown
}

/// Control characters, and the marks that reorder or hide text (Unicode bidi and zero width).
fn is_tricky(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The two texts from shortly before their first difference on: a change in the middle of a long
/// description must not hide behind a common beginning.
fn around_change(was: &str, is: &str) -> (String, String) {
    let same = was.chars().zip(is.chars()).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(20);
    let part = |s: &str| {
        let tail: String = s.chars().skip(start).collect();
        format!("{}{}", if start > 0 { "…" } else { "" }, excerpt(&tail))
    };
    (part(was), part(is))
}
