//! The Cedar schema, made from the catalogue: one action a tool, in one of three groups.

mod input;
mod open;
mod typing;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::vocabulary::{ActionType, ToolName, ToolSpec};

pub(crate) use input::InputType;
pub(crate) use typing::{Typist, Untyped};

/// What every schema begins with.
const PREAMBLE: &str = r#"namespace Portcullis {
  entity Role;
  entity App;
  entity User in [Role] = {
    "tenant": String, "agency"?: String, "scopes": Set<String>, "disabledApps": Set<String>, "confirmWrites": Bool,
    "confirmTools": Set<String>, "unconfirmedTools": Set<String>, "mfa": Bool, "amr": Set<String>, "acr"?: String,
    "person"?: String
  };
  entity Service in [Role] = {
    "tenant": String, "agency"?: String, "scopes": Set<String>, "disabledApps": Set<String>, "confirmWrites": Bool,
    "confirmTools": Set<String>, "unconfirmedTools": Set<String>, "mfa": Bool, "amr": Set<String>, "acr"?: String,
    "person"?: String, "extension"?: String, "unattended": Bool
  };
  entity Target in [App] = { "tenant": String, "owner"?: String };
  type ToolFacts = { "app": String, "name": String, "othersScope": String, "scopes": Set<String>, "fallbackScopes": Set<String> };
  type RequestFacts = { "time": datetime, "source": ipaddr, "channel": String, "authAge"?: Long };
  type ConfirmationFacts = { "given": Bool, "byOther": Bool, "approvedAs": Set<String> };
  action "read", "write", "destructive";
"#;

/// One action as the schema declares it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ActionShape {
    pub(crate) group: ActionType,
    pub(crate) input: InputType,
}

/// All actions of a catalogue by their ids, and what could not be typed.
pub(crate) struct Actions {
    pub(crate) shapes: BTreeMap<String, ActionShape>,
    pub(crate) untyped: Vec<(ToolName, Untyped)>,
}

impl Actions {
    /// Types every tool.
    pub(crate) fn of(tools: &[ToolSpec]) -> Result<Self, String> {
        let mut typist = Typist::new()?;
        let mut actions = Self { shapes: BTreeMap::new(), untyped: Vec::new() };
        for tool in tools {
            let (input, untyped) = typist.type_of(&tool.input_schema);
            let shape = ActionShape { group: tool.action_type, input };
            if actions.shapes.insert(tool.name.to_string(), shape).is_some() {
                return Err(format!("the tool `{}` is in the catalogue twice", tool.name));
            }
            actions.untyped.extend(untyped.into_iter().map(|u| (tool.name.clone(), u)));
        }
        Ok(actions)
    }
}

/// The schema of some actions, as Cedar text.
pub(crate) fn schema_text<'a>(
    actions: impl IntoIterator<Item = (&'a str, &'a ActionShape)>,
) -> String {
    let mut text = String::from(PREAMBLE);
    for (id, shape) in actions {
        // A tool name holds no quote, no backslash and no control character.
        let _ = write!(
            text,
            "  action \"{id}\" in [Action::\"{}\"] appliesTo {{\n    principal: [User, Service], resource: [Target],\n    \
             context: {{ \"input\": {}, \"tool\": ToolFacts, \"request\": RequestFacts, \"confirmation\": ConfirmationFacts }}\n  }};\n",
            shape.group,
            shape.input.to_cedar(),
        );
    }
    text.push_str("}\n");
    text
}
