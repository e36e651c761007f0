//! Tools as they were accepted, kept in the directory so that every replica judges alike.

use portcullis_kernel_adapter::catalogue::mcp::McpTool;
use portcullis_kernel_adapter::catalogue::quarantine::AcceptedTools;
use portcullis_policies::{AppId, ToolName};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::AppsError;
use crate::directory::{Actor, Directory, DirectoryError};

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

/// Keeps what was accepted at first sight.
pub(super) async fn store_new(
    directory: &Directory,
    before: &AcceptedTools,
    now: &AcceptedTools,
) -> Result<(), AppsError> {
    let (before, now) = (as_map(before)?, as_map(now)?);
    for (name, tool) in now {
        if before.get(&name) != Some(&tool) {
            store(directory, &name, &tool, &Actor::gateway()).await?;
        }
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
        store(directory, &name, &tool, by).await?;
    }
    Ok(())
}

async fn store(
    directory: &Directory,
    name: &str,
    tool: &Value,
    by: &Actor,
) -> Result<(), AppsError> {
    let name: ToolName = name.parse().map_err(|fault| damaged(&fault))?;
    let digest: [u8; 32] = Sha256::digest(tool.to_string()).into();
    let description = tool.get("description").and_then(Value::as_str).unwrap_or_default();
    Ok(directory.accept_tool(&name, digest, description, tool, by).await?)
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
