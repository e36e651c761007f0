//! The gateway's own tools: what it does itself instead of asking an app, so that rules decide it like anything else.

use serde::Deserialize;

use crate::vocabulary::{ActionType, ToolName, ToolSpec};

/// The app under which the gateway serves the secrets of all apps; no configured app may take its name.
pub const SECRETS_APP: &str = "secrets";
/// The app under which the gateway lets admins manage users, roles, scopes, agencies and tenants.
pub const DIRECTORY_APP: &str = "directory";
/// The app under which the gateway lets everybody look after their own account.
pub const ACCOUNT_APP: &str = "account";
/// The app under which the gateway keeps what an app's code may forget: cached values and skeleton sections.
pub const CACHE_APP: &str = "cache";
/// The app under which the gateway lets people approve, or decline, what others ask for.
pub const CONFIRMATIONS_APP: &str = "confirmations";
/// All apps that are the gateway's own.
pub const OWN_APPS: [&str; 5] =
    [ACCOUNT_APP, CACHE_APP, CONFIRMATIONS_APP, DIRECTORY_APP, SECRETS_APP];

/// A JSON array of [`ToolSpec`].
const SECRET_TOOLS: &str = include_str!("../tools/own.json");

/// Tools that share one input schema, each list an [`Alike`].
const ALIKE: [&str; 2] =
    [include_str!("own/confirmations.json"), include_str!("own/directory.json")];

/// Tools with the same arguments.
#[derive(Deserialize)]
struct Alike {
    input_schema: serde_json::Value,
    tools: Vec<AlikeTool>,
}

#[derive(Deserialize)]
struct AlikeTool {
    name: ToolName,
    description: String,
    action_type: ActionType,
    #[serde(default)]
    scopes: Vec<String>,
}

/// The tools that every deployment has.
///
/// # Errors
/// Never in practice: the lists are part of the binary and a test reads them.
pub fn own_tools() -> Result<Vec<ToolSpec>, serde_json::Error> {
    let mut own: Vec<ToolSpec> = serde_json::from_str(SECRET_TOOLS)?;
    for list in ALIKE {
        let Alike { input_schema, tools } = serde_json::from_str(list)?;
        own.extend(tools.into_iter().map(|tool| ToolSpec {
            name: tool.name,
            description: tool.description,
            action_type: tool.action_type,
            scopes: tool.scopes,
            input_schema: input_schema.clone(),
        }));
    }
    Ok(own)
}

/// The catalogue's tools with the gateway's own, which win over any of the same app.
pub(crate) fn with_own(tools: &[ToolSpec]) -> Result<Vec<ToolSpec>, String> {
    let own = own_tools().map_err(|e| e.to_string())?;
    let others = tools.iter().filter(|tool| !OWN_APPS.contains(&tool.name.app().as_str()));
    Ok(others.cloned().chain(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tools_are_readable_and_nobody_can_replace_them() {
        let own = own_tools().unwrap();
        assert!(own.iter().all(|tool| OWN_APPS.contains(&tool.name.app().as_str())));
        let mut forged = own[0].clone();
        forged.action_type = crate::ActionType::Read;
        forged.input_schema = serde_json::json!({"type": "object"});
        assert_eq!(with_own(&[forged]).unwrap(), own);
    }
}
