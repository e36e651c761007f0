//! Rules across fields: what makes a manifest unusable or ambiguous, whatever the profile.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::shape::{Findings, join};
use super::{MAX_TOOLS, flag, objects, words};
use crate::schema;

/// Oldest SDK whose manifests are loaded (SDK-VERSION-1).
const OLDEST_SDK_MAJOR: u32 = 5;

/// Checks everything that holds under every [`Profile`](super::Profile).
pub(super) fn check(root: &Map<String, Value>, out: &mut Findings) {
    sdk_version(root, out);
    unique(root, "webhooks", "path", "M6.3", out);
    unique(root, "exposed", "name", "M8.2", out);
    unique(root, "tools", "name", "GW-TOOL-UNIQUE", out);
    unique(root, "secrets", "name", "GW-SECRET-UNIQUE", out);
    emits(root, out);
    tools(root, out);
    secrets(root, out);
    file_sinks(root, out);
    if flag(root, "hidden_in_sidebar") && !flag(root, "system") {
        let message = "only an app with \"system\": true may hide itself".to_owned();
        out.error("/hidden_in_sidebar", "V32", message);
    }
}

/// Loader rule: a manifest of an SDK before 5.0.0, or of an unknown one, is not loaded.
fn sdk_version(root: &Map<String, Value>, out: &mut Findings) {
    let written = root.get("sdk_version").and_then(Value::as_str);
    let major = written.filter(|v| words::semver(v)).and_then(|v| v.split('.').next());
    if major.and_then(|m| m.parse::<u32>().ok()).is_none_or(|m| m < OLDEST_SDK_MAJOR) {
        let message = format!("must be present and at least {OLDEST_SDK_MAJOR}.0.0");
        out.error("/sdk_version", "SDK-VERSION-1", message);
    }
}

fn unique(
    root: &Map<String, Value>,
    list: &str,
    field: &str,
    rule: &'static str,
    out: &mut Findings,
) {
    let mut seen = HashSet::new();
    for (i, o) in objects(root, list).enumerate() {
        if let Some(name) = o.get(field).and_then(Value::as_str)
            && !seen.insert(name)
        {
            let message = "appears more than once; names must be unique".to_owned();
            out.error(&format!("/{list}/{i}/{field}"), rule, message);
        }
    }
}

fn emits(root: &Map<String, Value>, out: &mut Findings) {
    let prefix = format!("{}.", super::text(root, "app_id"));
    let Some(events) = root.get("events").and_then(Value::as_object) else { return };
    for (i, e) in objects(events, "emits").enumerate() {
        let kind = e.get("type").and_then(Value::as_str).unwrap_or_default();
        if !kind.starts_with(&prefix) {
            let message = format!("an app may only emit events that start with {prefix:?}");
            out.error(&format!("/events/emits/{i}/type"), "M7.3", message);
        }
    }
}

fn tools(root: &Map<String, Value>, out: &mut Findings) {
    let list =
        root.get("tools").and_then(Value::as_array).map_or(<&[Value]>::default(), Vec::as_slice);
    if list.len() > MAX_TOOLS {
        let message = format!("{} tools; at most {MAX_TOOLS} are read", list.len());
        out.error("/tools", "GW-TOOL-COUNT", message);
        return;
    }
    for (i, t) in list.iter().enumerate() {
        let path = format!("/tools/{i}");
        let name = t.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.len() > "tool__chat".len() && name.starts_with("tool_") && name.ends_with("_chat") {
            let message = "orchestrator tools (tool_*_chat) are not loaded".to_owned();
            out.error(&join(&path, "name"), "V25", message);
        }
        for key in ["params_schema", "return_schema"] {
            json_schema(t, &path, key, out);
        }
    }
}

/// Not enforced by the SDK: a schema that is none would let every argument through.
fn json_schema(tool: &Value, path: &str, key: &str, out: &mut Findings) {
    let Some(schema) = tool.get(key).filter(|s| s.is_object()) else { return };
    let compiled = if key == "params_schema" && schema.as_object().is_some_and(|o| !o.is_empty()) {
        schema::compile_input(schema)
    } else {
        schema::compile(schema)
    };
    if let Err(e) = compiled {
        out.error(&join(path, key), "GW-SCHEMA", e.to_string());
    }
}

fn secrets(root: &Map<String, Value>, out: &mut Findings) {
    for (i, s) in objects(root, "secrets").enumerate() {
        let app_scope = s.get("scope").and_then(Value::as_str) == Some("app");
        if s.get("env_fallback").is_some_and(|v| !v.is_null()) && !app_scope {
            let message = "is only for secrets with \"scope\": \"app\"".to_owned();
            out.error(&format!("/secrets/{i}/env_fallback"), "M4", message);
        }
    }
}

fn file_sinks(root: &Map<String, Value>, out: &mut Findings) {
    let known: HashSet<&str> =
        objects(root, "tools").filter_map(|t| t.get("name").and_then(Value::as_str)).collect();
    for (i, sink) in objects(root, "file_sinks").enumerate() {
        let tool = sink.get("tool").and_then(Value::as_str).unwrap_or_default();
        if !known.contains(tool) {
            let message = "names a tool that this manifest does not declare".to_owned();
            out.error(&format!("/file_sinks/{i}/tool"), "V35", message);
        }
    }
}
