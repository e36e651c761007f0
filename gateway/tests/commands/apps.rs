//! `portcullis app` on an MCP server that changes what it says.

use crate::deployment::Deployment;
use crate::{json, run};

/// Answers `initialize` and `tools/list` from a file; a whole MCP server otherwise needs nothing.
const SERVER: &str = r#"
import json, sys
info = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        result = {"initialize": info, "tools/list": {"tools": json.load(open("tools.json"))}}.get(asked["method"], {})
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"#;

fn says(dir: &std::path::Path, description: &str) {
    let tools = serde_json::json!([{ "name": "look", "description": description,
        "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true } }]);
    std::fs::write(dir.join("tools.json"), tools.to_string()).unwrap();
}

#[test]
fn a_tool_that_changed_waits_until_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let config = "[data]\ndir = \"data\"\n[apps.srv]\nmcp = { command = [\"python3\", \"server.py\"], cwd = \".\" }\n\
                  [apps.gone]\nmcp = { command = [\"/nonexistent/server\"] }\n";
    std::fs::write(at.join("p.toml"), config).unwrap();
    std::fs::write(at.join("server.py"), SERVER).unwrap();
    let state = || {
        let shown = json(at, &["app", "show", "srv", "--config", "p.toml"]);
        let tool = &shown["apps"][0]["tools"][0];
        (tool["state"].to_string(), tool["difference"].to_string())
    };
    says(at, "Looks.");
    run(at, &["tenant", "create", "Default", "--id", "default", "--config", "p.toml"]).well();
    run(at, &["app", "accept", "srv/look", "--config", "p.toml"]).well();
    assert_eq!(state().0, "\"active\"");

    says(at, "Looks, and tells everybody.");
    let (waits, difference) = state();
    assert_eq!(waits, "\"quarantined\"");
    assert!(difference.contains("tells everybody"), "{difference}");
    run(at, &["app", "accept", "srv/look", "--config", "p.toml"]).well();
    assert_eq!(state().0, "\"active\"");

    let listed = run(at, &["app", "list", "--config", "p.toml"]);
    assert!(listed.err.contains("gone: its tools are not known"), "{}", listed.err);
    let unknown = run(at, &["app", "accept", "srv/nothing", "--config", "p.toml"]).failed();
    assert!(unknown.contains("lists no tool `nothing`"), "{unknown}");
}

#[test]
fn apps_are_listed_with_who_says_what_a_tool_does() {
    let made = Deployment::new();
    let said = made.run(&["app", "list"]).well();
    let line = said.lines().find(|line| line.starts_with("notes/delete_note")).unwrap();
    assert!(line.contains("destructive  manifest  notes:destructive"), "{said}");
    let said = made.json(&["app", "show", "notes"]);
    assert_eq!(said["apps"][0]["tools"][0]["state"], "active");
    let said = made.run(&["app", "accept", "notes/list_notes"]).failed();
    assert!(said.contains("not an MCP server"), "{said}");
    assert!(made.run(&["app", "show", "nothing"]).failed().contains("portcullis app list"));
}
