//! `portcullis policy check|test|prove` on folders of rules.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::{binary, json, run};

/// A copy of the rules of this repository, with one more file.
fn folder(extra: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new("../policies");
    for part in ["rules", "invariants", "cases", "tools"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
        for file in std::fs::read_dir(from.join(part)).unwrap().map(|f| f.unwrap()) {
            std::fs::copy(file.path(), dir.path().join(part).join(file.file_name())).unwrap();
        }
    }
    if !extra.is_empty() {
        std::fs::write(dir.path().join("rules/mine.cedar"), extra).unwrap();
    }
    dir
}

#[test]
fn the_rules_of_the_binary_are_in_order_tested_and_proved() {
    let dir = tempfile::tempdir().unwrap();
    let checked = json(dir.path(), &["policy", "check"]);
    // The gateway's own tools, and those of the demo's apps.
    let own = portcullis_policies::own_tools().unwrap().len();
    assert_eq!(checked["ok"], true);
    assert!(checked["tools"].as_u64().unwrap() > u64::try_from(own).unwrap(), "{checked}");
    assert_eq!(json(dir.path(), &["policy", "test"])["passed"], true);
    run(dir.path(), &["policy", "prove", "--receipt", "receipt.json"]).well();
    let receipt = std::fs::read_to_string(dir.path().join("receipt.json")).unwrap();
    let receipt: serde_json::Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!(receipt["policySet"], checked["policy_set"]);
    assert_eq!(receipt["schema"], checked["schema"]);
}

#[test]
fn a_folder_is_tested_with_its_own_cases_and_none_is_a_failure() {
    let dir = folder("");
    let all = run(dir.path(), &["policy", "test", "--dir", "."]).well();
    assert!(all.contains("ok      a destructive call asks first "), "{all}");
    std::fs::remove_dir_all(dir.path().join("cases")).unwrap();
    std::fs::create_dir(dir.path().join("cases")).unwrap();
    let none = run(dir.path(), &["policy", "test", "--dir", "."]).failed();
    assert!(none.contains("no case proves nothing"), "{none}");
}

#[test]
fn a_syntax_error_is_shown_with_line_and_caret() {
    let dir = folder(
        "// mine\n@id(\"a\") @reason(\"r\") forbid (principal, action, resource) wen { true };",
    );
    let said = run(dir.path(), &["policy", "check", "--dir", "."]).failed();
    for part in ["rules/mine.cedar:2:60", "wen { true }", "───", "help: "] {
        assert!(said.contains(part), "`{part}` is missing in\n{said}");
    }
}

#[test]
fn an_attribute_that_is_not_there_is_refused_and_a_near_one_named() {
    let dir = folder(
        "@id(\"a\") @reason(\"r\") forbid (principal, action, resource) when { principal.tenent == \"x\" };",
    );
    let said = json(dir.path(), &["policy", "check", "--dir", "."]);
    let first = &said["mistakes"][0];
    assert_eq!((&first["kind"], &first["line"]), (&json!("validation"), &json!(1)));
    assert!(first["help"].as_str().unwrap().contains("tenant"), "{first}");
}

#[test]
fn an_argument_that_rules_cannot_see_is_named() {
    let dir = folder("");
    let tool = json!([{ "name": "bank/quote", "action_type": "read", "input_schema": {
        "type": "object", "properties": { "rate": { "type": "number" } } } }]);
    std::fs::write(dir.path().join("tools/more.json"), tool.to_string()).unwrap();
    let said = run(dir.path(), &["policy", "check", "--dir", "."]).well();
    let line = said.lines().find(|line| line.starts_with("bank/quote")).unwrap();
    assert!(line.contains("$.rate"), "{said}");
}

#[test]
fn an_open_schema_is_a_line_for_people_and_every_place_for_scripts() {
    let dir = folder("");
    let inner = json!({ "type": "object", "properties": { "x": { "type": "string" } } });
    let tool = json!([
        { "name": "bank/open", "action_type": "read", "input_schema": {
            "type": "object", "properties": { "of": inner } } },
        { "name": "bank/either", "action_type": "read", "input_schema": {
            "type": "object", "oneOf": [{ "properties": { "iban": { "type": "string" } } }] } },
        { "name": "bank/closed", "action_type": "read", "input_schema": {
            "type": "object", "additionalProperties": false } },
    ]);
    std::fs::write(dir.path().join("tools/more.json"), tool.to_string()).unwrap();
    let said = run(dir.path(), &["policy", "check", "--dir", "."]).well();
    let about = |tool: &str| said.lines().filter(|line| line.starts_with(tool)).collect::<Vec<_>>();
    let open = "bank/open: any argument that its schema does not name, at $.of.* and 1 more";
    assert_eq!(about("bank/open"), [open], "{said}");
    let [named, open] = about("bank/either")[..] else { panic!("{said}") };
    assert!(named.contains("$.iban"), "{said}");
    assert_eq!(open, "bank/either: any argument that its schema does not name");
    assert!(about("bank/closed").is_empty(), "{said}");

    let listed = json(dir.path(), &["policy", "check", "--dir", "."]);
    let unseen = listed["unseen"].as_array().unwrap().iter();
    let paths = unseen.filter(|of| of["tool"].as_str().unwrap().starts_with("bank/open"));
    let paths: Vec<_> = paths.map(|of| of["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["$.of.*", "$.*"]);
}

#[test]
fn the_body_of_a_proxied_request_is_named_among_what_rules_cannot_see() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[data]\ndir = \"data\"\n[apps.bank.proxy]\nurl = \"http://127.0.0.1:9\"\n\
                  routes = [{ name = \"pay\", method = \"POST\", path = \"/pay\" }]\n";
    std::fs::write(dir.path().join("p.toml"), config).unwrap();
    let listed = json(dir.path(), &["policy", "check", "--config", "p.toml"]);
    let unseen = listed["unseen"].as_array().unwrap_or_else(|| panic!("{listed}"));
    let paths: Vec<_> = unseen.iter().map(|of| (&of["tool"], &of["path"])).collect();
    let pay = &json!("bank/pay");
    // A query that is not declared is a map, which has no Cedar type either.
    assert_eq!(paths, [(pay, &json!("$.query")), (pay, &json!("$.body"))]);
}

const TRAP: &str = "@id(\"mine/product-cap\") @reason(\"over 10000 in all\")
forbid (principal, action == Portcullis::Action::\"bank/pay_invoice\", resource)
when { context.input.amount * context.input.count > 10000 };";

#[test]
fn a_rule_that_can_overflow_is_not_proved_and_its_counterexample_is_a_case_that_fails() {
    let dir = folder(TRAP);
    let said = run(dir.path(), &["policy", "prove", "--dir", ".", "--cases-dir", "found"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("mine/product-cap"), "{}", said.err);
    let file = "counterexample-mine-product-cap.json";
    assert!(said.out.contains(file), "{}", said.out);
    std::fs::rename(dir.path().join("found").join(file), dir.path().join("cases").join(file))
        .unwrap();
    let tested = json(dir.path(), &["policy", "test", "--dir", "."]);
    let failed = tested["results"].as_array().unwrap().iter();
    let failed: Vec<_> = failed.filter(|r| r["differences"] != json!([])).collect();
    assert!(failed.iter().any(|r| r["file"].as_str().unwrap().contains(file)), "{failed:?}");
}

#[test]
fn a_broken_invariant_is_not_proved() {
    let dir = folder("");
    std::fs::remove_file(dir.path().join("rules/tenant.cedar")).unwrap();
    let said = json(dir.path(), &["policy", "prove", "--dir", "."]);
    assert_eq!(said["holds"], false);
    let message = said["findings"][0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("no-permit-across-tenants"), "{message}");
    let written = said["written"][0].as_str().unwrap();
    assert!(dir.path().join(written).is_file(), "{written}");
}

#[test]
fn without_a_solver_nothing_is_called_proved() {
    let dir = tempfile::tempdir().unwrap();
    let output = binary(dir.path()).args(["policy", "prove"]).env("PATH", "").output().unwrap();
    let said = crate::Said::from(output).failed();
    assert!(said.contains("apt-get install cvc5"), "{said}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["policy"][..], &["policy", "explain"], &["policy", "explain", "--op", "7"]] {
        assert_eq!(run(dir.path(), args).code, 2, "{args:?}");
    }
}
