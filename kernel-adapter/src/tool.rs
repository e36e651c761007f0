//! One tool of the catalogue, and what may be called.

use std::fmt;

use portcullis_policies::{ActionType, ToolName, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::{self, SchemaError, Violation};

/// Who said what a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionSource {
    /// `action_type` of the manifest.
    Manifest,
    /// `readOnlyHint` and `destructiveHint` of MCP: the server's own word.
    McpHints,
    /// The HTTP method of a proxied route.
    RouteMethod,
    /// The operator, in the configuration.
    Operator,
    /// Nobody: so it counts as destructive.
    Missing,
}

/// Whether a tool may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolState {
    /// It may, if the rules permit.
    Active,
    /// It changed upstream, or appeared, after the operator last accepted its app's tools.
    Quarantined {
        /// What is different, for the operator to read before accepting.
        difference: String,
    },
}

/// A tool as its source describes it, before names are checked and schemas compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDraft {
    /// Name within its app.
    pub function: String,
    /// What it says it does.
    pub description: String,
    /// What it does to the world.
    pub action_type: ActionType,
    /// Who says so.
    pub source: ActionSource,
    /// Scopes that are all needed; empty for the default rule of wire contract 1.2.
    pub scopes: Vec<String>,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// The call may outlive one request (wire contract 6: `background`, `long_running`).
    pub long_running: bool,
}

impl ToolDraft {
    /// [`schema::digest`] of the draft as it is now.
    pub fn digest(&self) -> [u8; 32] {
        schema::digest(&self.description, &self.input_schema, self.action_type)
    }
}

/// A tool with its compiled argument schema. Immutable; shared in an `Arc`.
pub struct Tool {
    /// What the rules see: name, description, action type, scopes, schema.
    pub spec: ToolSpec,
    /// Digest over description, schema and claimed action type as its source says them, before
    /// the operator's overrides; see [`schema::digest`].
    pub schema_digest: [u8; 32],
    /// Who said what its action type is.
    pub action_source: ActionSource,
    /// Whether it may be called.
    pub state: ToolState,
    /// The call may outlive one request.
    pub long_running: bool,
    validator: jsonschema::Validator,
}

impl Tool {
    /// Compiles a draft; the digest is that of the draft before the operator's overrides.
    ///
    /// # Errors
    /// When the argument schema cannot be used.
    pub(crate) fn new(
        name: ToolName,
        schema_digest: [u8; 32],
        draft: ToolDraft,
        state: ToolState,
    ) -> Result<Tool, SchemaError> {
        let validator = schema::compile_input(&draft.input_schema)?;
        Ok(Tool {
            schema_digest,
            action_source: draft.source,
            state,
            long_running: draft.long_running,
            validator,
            spec: ToolSpec {
                name,
                description: draft.description,
                action_type: draft.action_type,
                scopes: draft.scopes,
                input_schema: draft.input_schema,
            },
        })
    }

    /// A tool of the gateway itself: what it takes is made by the gateway, so it cannot change upstream.
    ///
    /// # Errors
    /// When the argument schema cannot be used.
    pub fn own(spec: ToolSpec) -> Result<Tool, SchemaError> {
        let draft = ToolDraft {
            function: spec.name.function().to_owned(),
            description: spec.description,
            action_type: spec.action_type,
            source: ActionSource::Manifest,
            scopes: spec.scopes,
            input_schema: spec.input_schema,
            long_running: false,
        };
        Tool::new(spec.name, draft.digest(), draft, ToolState::Active)
    }

    /// The tool's name.
    pub fn name(&self) -> &ToolName {
        &self.spec.name
    }

    /// Checks arguments against the schema.
    ///
    /// # Errors
    /// All violations with their paths, at most [`schema::MAX_VIOLATIONS`].
    pub fn check(&self, arguments: &Value) -> Result<(), Vec<Violation>> {
        schema::check(&self.validator, arguments)
    }

    /// Whether the state lets it be called.
    pub fn is_active(&self) -> bool {
        self.state == ToolState::Active
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool")
            .field("name", &self.spec.name)
            .field("action_type", &self.spec.action_type)
            .field("action_source", &self.action_source)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
