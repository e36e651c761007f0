//! Tools as they were accepted, kept in the directory so that every replica judges alike.

use portcullis_kernel_adapter::catalogue::mcp::McpTool;
use portcullis_kernel_adapter::catalogue::quarantine::AcceptedTools;
use portcullis_policies::{AppId, ToolName};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::AppsError;
use crate::directory::{Actor, Directory, DirectoryError, SeenTool};

/// The accepted tools of all apps.
///
/// # Errors
/// When the directory can't be read, or holds what this program did not write.
pub async fn load(directory: &Directory) -> Result<AcceptedTools, AppsError> {
    let mut tools = Map::new();
    let mut apps = Vec::new();
    for row in directory.accepted_tools().await? {
        apps.push(json!(row.tool.app()));
        tools.insert(row.tool.to_string(), row.input_schema);
    }
    let whole = json!({ "apps": apps, "tools": tools });
    serde_json::from_value(whole).map_err(|fault| damaged(&fault))
}

/// Keeps what was accepted by itself. What an operator accepted since stays: their word is newer.
pub(super) async fn store_new(directory: &Directory, new: &AcceptedTools) -> Result<(), AppsError> {
    for (name, tool) in as_map(new)? {
        let name = parsed(&name)?;
        directory.accept_new_tool(&name, seen(&tool), &Actor::gateway()).await?;
    }
    Ok(())
}

/// Accepts one tool as its server describes it now.
///
/// # Errors
/// When the directory can't keep it.
pub async fn accept(
    directory: &Directory,
    app: &AppId,
    tool: &McpTool,
    by: &Actor,
) -> Result<(), AppsError> {
    let mut accepted = AcceptedTools::default();
    accepted.accept_mcp(app, tool);
    for (name, tool) in as_map(&accepted)? {
        let name = parsed(&name)?;
        let seen = seen(&tool);
        directory.accept_tool(&name, seen.digest, seen.description, &tool, by).await?;
    }
    Ok(())
}

/// Accepts that a tool is gone; false when it was not accepted before.
///
/// # Errors
/// When the directory can't, or when it is the last accepted tool of its app.
pub async fn forget(directory: &Directory, tool: &ToolName, by: &Actor) -> Result<bool, AppsError> {
    Ok(directory.forget_tool(tool, by).await?)
}

fn parsed(name: &str) -> Result<ToolName, AppsError> {
    name.parse().map_err(|fault| damaged(&fault))
}

fn seen(tool: &Value) -> SeenTool<'_> {
    let digest = Sha256::digest(tool.to_string()).into();
    let description = tool.get("description").and_then(Value::as_str).unwrap_or_default();
    SeenTool { digest, description, input_schema: tool }
}

fn as_map(accepted: &AcceptedTools) -> Result<Map<String, Value>, AppsError> {
    let whole = serde_json::to_value(accepted).map_err(|fault| damaged(&fault))?;
    match whole.get("tools") {
        Some(Value::Object(map)) => Ok(map.clone()),
        _ => Ok(Map::new()),
    }
}

fn damaged(fault: &dyn std::fmt::Display) -> AppsError {
    tracing::error!(%fault, "the accepted tools of the directory do not make sense");
    AppsError::Directory(DirectoryError::Invalid { what: "accepted tools", why: "their shape" })
}
