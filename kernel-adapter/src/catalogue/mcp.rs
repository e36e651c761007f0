//! What an MCP server says about one tool, without the types of the SDK.

use portcullis_policies::ActionType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;
use crate::tool::{ActionSource, ToolDraft};

/// One entry of `tools/list` (MCP 2025-06-18, "Tool").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct McpTool {
    /// `name`.
    pub name: String,
    /// `description`, empty where absent.
    pub description: String,
    /// `inputSchema`.
    pub input_schema: Value,
    /// `annotations.readOnlyHint`.
    pub read_only: Option<bool>,
    /// `annotations.destructiveHint`.
    pub destructive: Option<bool>,
}

impl McpTool {
    /// The action type that the hints stand for: read only when it says so, write only when it
    /// says that nothing is destroyed, else destructive. Hints are the server's own word, so a
    /// change of them is a change of the tool (see [`super::quarantine`]).
    pub fn action_type(&self) -> (ActionType, ActionSource) {
        match (self.read_only, self.destructive) {
            (Some(true), _) => (ActionType::Read, ActionSource::McpHints),
            (_, Some(false)) => (ActionType::Write, ActionSource::McpHints),
            (None, None) => (ActionType::Destructive, ActionSource::Missing),
            _ => (ActionType::Destructive, ActionSource::McpHints),
        }
    }

    /// [`schema::digest`] of what the server says now; equal to [`crate::Tool::schema_digest`] as
    /// long as nothing changed.
    pub(crate) fn digest(&self) -> [u8; 32] {
        schema::digest(&self.description, &self.input_schema, self.action_type().0)
    }

    pub(super) fn draft(&self) -> ToolDraft {
        let (action_type, source) = self.action_type();
        ToolDraft {
            function: self.name.clone(),
            description: self.description.clone(),
            action_type,
            source,
            scopes: Vec::new(),
            input_schema: self.input_schema.clone(),
            long_running: false,
        }
    }
}
