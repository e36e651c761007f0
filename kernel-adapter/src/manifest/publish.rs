//! The SDK's publishing rules that a manifest alone can show (wire contract 6.1): errors for an
//! author who publishes, warnings for an operator who loads what exists.

use serde_json::{Map, Value};

use super::shape::{Findings, join};
use super::{Level, Profile, flag, objects, text};

/// Scopes, names and descriptions as the SDK wants them, in the SDK's order of rules.
pub(super) fn check(root: &Map<String, Value>, profile: Profile, out: &mut Findings) {
    let error = match profile {
        Profile::Load => Level::Warning,
        Profile::Publish => Level::Error,
    };
    let mut say = |rule, level, path: &str, message: &str| {
        out.push(path, rule, level, message.to_owned());
    };
    if objects(root, "tools").all(|t| flag(t, "synthetic")) {
        say("V3", error, "/tools", "must declare at least one tool");
    }
    app_texts(root, error, &mut say);
    if !has_scope_surface(root) {
        let level = if flag(root, "system") { error } else { Level::Warning };
        say("V34", level, "/required_scopes", "no scopes are declared anywhere: deny by default");
    }
    for (i, t) in objects(root, "tools").enumerate() {
        tool(root, t, &format!("/tools/{i}"), error, &mut say);
    }
    lifecycle_hooks(root, error, &mut say);
}

type Say<'a> = &'a mut dyn FnMut(&'static str, Level, &str, &str);

fn app_texts(root: &Map<String, Value>, error: Level, say: Say<'_>) {
    let id = text(root, "app_id");
    let description = text(root, "description");
    if description.chars().count() < 40 || description == id {
        say("V14", error, "/description", "needs at least 40 characters that describe the app");
    }
    let name = text(root, "name");
    if name.chars().count() < 3 || name == id {
        say("V15", error, "/name", "needs at least 3 characters and must differ from app_id");
    }
}

fn has_scope_surface(root: &Map<String, Value>) -> bool {
    let filled = |o: &Map<String, Value>, key: &str| {
        o.get(key).and_then(Value::as_array).is_some_and(|a| !a.is_empty())
    };
    filled(root, "required_scopes")
        || filled(root, "capabilities")
        || objects(root, "tools").any(|t| filled(t, "scopes"))
}

fn tool(root: &Map<String, Value>, t: &Map<String, Value>, path: &str, error: Level, say: Say<'_>) {
    let absent = |key: &str| t.get(key).is_none_or(Value::is_null);
    let empty = |key: &str| t.get(key).and_then(Value::as_object).is_none_or(Map::is_empty);
    let action = t.get("action_type").and_then(Value::as_str);
    let changes = !matches!(action, Some("read"));
    if action.is_none() {
        say("V4", error, path, "no action_type: the tool is treated as destructive");
    }
    if !absent("owner_chat_tool") {
        if text(t, "description").chars().count() < 20 {
            say("V16", error, &join(path, "description"), "needs at least 20 characters");
        }
        if empty("params_schema") {
            say("V17", error, &join(path, "params_schema"), "typed parameters are wanted");
        }
    }
    if changes && (absent("chain_callable") || !flag(root, "actions_explicit")) {
        say(
            "V19",
            error,
            path,
            "a tool that changes things needs chain_callable, and the app actions_explicit",
        );
    }
    if empty("return_schema") {
        let (rule, level) = if changes { ("V24", Level::Warning) } else { ("V23", error) };
        say(rule, level, &join(path, "return_schema"), "says nothing about what it returns");
    }
    if text(root, "app_id").len() + 2 + text(t, "name").len() > 64 {
        say(
            "V33",
            Level::Warning,
            &join(path, "name"),
            "app id and tool name exceed 62 characters",
        );
    }
}

fn lifecycle_hooks(root: &Map<String, Value>, error: Level, say: Say<'_>) {
    let hooks = root.get("lifecycle_hooks").and_then(Value::as_object);
    for (hook, wants) in [("on_refresh", "message"), ("on_upgrade", "from_version")] {
        let signature = hooks
            .and_then(|h| h.get(hook))
            .and_then(|h| h.get("signature"))
            .and_then(Value::as_str);
        if signature.is_some_and(|s| !s.contains(wants)) {
            let message = format!("its signature must take {wants}");
            say("V22", error, &format!("/lifecycle_hooks/{hook}"), &message);
        }
    }
}
