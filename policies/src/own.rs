//! The gateway's own tools: what it does itself instead of asking an app, so that rules decide it like anything else.

use crate::vocabulary::{InvalidName, ToolSpec};

/// The app under which the gateway serves the secrets of all apps; no configured app may take its name.
pub const SECRETS_APP: &str = "secrets";

/// A JSON array of [`ToolSpec`].
const OWN_TOOLS: &str = include_str!("../tools/own.json");

/// The tools that every deployment has, in the order of their names.
///
/// # Errors
/// Never in practice: the list is part of the binary and a test reads it.
pub fn own_tools() -> Result<Vec<ToolSpec>, serde_json::Error> {
    serde_json::from_str(OWN_TOOLS)
}

/// The catalogue's tools with the gateway's own, which win over any of the same app.
pub(crate) fn with_own(tools: &[ToolSpec]) -> Result<Vec<ToolSpec>, String> {
    let own = own_tools().map_err(|e| e.to_string())?;
    let app = SECRETS_APP.parse().map_err(|e: InvalidName| e.to_string())?;
    let others = tools.iter().filter(|tool| *tool.name.app() != app);
    Ok(others.cloned().chain(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tools_are_readable_and_nobody_can_replace_them() {
        let own = own_tools().unwrap();
        assert!(own.iter().all(|tool| tool.name.app().as_str() == SECRETS_APP));
        let mut forged = own[0].clone();
        forged.action_type = crate::ActionType::Read;
        forged.input_schema = serde_json::json!({"type": "object"});
        assert_eq!(with_own(&[forged]).unwrap(), own);
    }
}
