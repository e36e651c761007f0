use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::tests::any_json;

fn notes() -> Value {
    json!({
        "manifest_schema_version": 3, "sdk_version": "6.3.7", "app_id": "notes",
        "version": "1.0.0", "name": "Notes of a team",
        "description": "Keeps notes for one person or for a whole team.",
        "tools": [
            {"name": "list_notes", "description": "Lists the notes.", "action_type": "read",
             "parameters": {"limit": {"type": "integer", "required": false, "default": 5}}},
            {"name": "delete_note", "description": "Deletes a note.", "params_schema":
                {"type": "object", "properties": {"note_id": {"type": "string"}},
                 "required": ["note_id"], "additionalProperties": false}}
        ]
    })
}

fn read(v: &Value) -> Result<Manifest, ManifestErrors> {
    Manifest::read(v.to_string().as_bytes(), Profile::Load)
}

/// The errors of `notes()` with one change, as `(rule, path)`.
fn errors(change: impl FnOnce(&mut Value)) -> Vec<(&'static str, String)> {
    let mut v = notes();
    change(&mut v);
    let found = read(&v).expect_err("must be refused").findings;
    let errors = found.into_iter().filter(|f| f.level == Level::Error);
    errors.map(|f| (f.rule, f.path)).collect()
}

#[test]
fn reads_tools_with_their_argument_schemas() {
    let m = read(&notes()).unwrap();
    assert_eq!((m.app_id.as_str(), m.tools.len()), ("notes", 2));
    let list = &m.tools[0].input_schema;
    assert_eq!(list["properties"]["limit"]["type"], "integer");
    assert_eq!(list["additionalProperties"], false);
    assert_eq!(m.tools[1].action_type, None);
    assert!(m.warnings.iter().any(|w| w.rule == "V4"), "{:?}", m.warnings);
}

#[test]
fn a_tool_that_declares_no_parameters_accepts_none() {
    let m = read(&{
        let mut v = notes();
        v["tools"] = json!([{"name": "ping"}]);
        v
    });
    let schema = &m.unwrap().tools[0].input_schema;
    let validator = crate::schema::compile_input(schema).unwrap();
    assert!(crate::schema::check(&validator, &json!({})).is_ok());
    assert!(crate::schema::check(&validator, &json!({"a": 1})).is_err());
}

#[test]
fn reports_every_error_at_once_with_rule_and_path() {
    let found = errors(|v| {
        v["app_id"] = json!("-Notes");
        v["version"] = json!("1.0.0+build");
        v["schedule"] = json!([]);
        v["tools"][0]["action_type"] = json!("nuke");
        v["tools"][0]["parmeters"] = json!({});
        v["tools"][1].as_object_mut().unwrap().remove("name");
        v["schedules"] = json!([{"name": "s", "cron": "a b c d e"}]);
        v["webhooks"] = json!([{"path": "/x", "method": "PATCH"}]);
    });
    for expected in [
        ("M4", "/app_id"),
        ("M4", "/version"),
        ("M3", "/schedule"),
        ("M5", "/tools/0/action_type"),
        ("M3", "/tools/0/parmeters"),
        ("M2", "/tools/1"),
        ("M5", "/schedules/0/cron"),
        ("M4", "/webhooks/0/method"),
    ] {
        assert!(found.iter().any(|(r, p)| (*r, p.as_str()) == expected), "{expected:?} {found:?}");
    }
}

#[test]
fn refuses_duplicates_that_would_make_a_name_ambiguous() {
    let twice =
        |list: &'static str, entry: Value| errors(move |v| v[list] = json!([entry.clone(), entry]));
    let has = |found: Vec<(&str, String)>, rule: &str| found.iter().any(|(r, _)| *r == rule);
    assert!(has(twice("tools", json!({"name": "a"})), "GW-TOOL-UNIQUE"));
    assert!(has(twice("webhooks", json!({"path": "/a"})), "M6.3"));
    assert!(has(twice("exposed", json!({"name": "a", "action_type": "read"})), "M8.2"));
    assert!(has(twice("secrets", json!({"name": "a", "description": "d"})), "GW-SECRET-UNIQUE"));
}

#[test]
fn refuses_what_the_sdk_lets_pass_and_the_gateway_relies_on() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 9] = [
        ("SDK-VERSION-1", |v| v["sdk_version"] = json!("4.9.9")),
        ("SDK-VERSION-1", |v| v["sdk_version"] = Value::Null),
        ("V25", |v| v["tools"][0]["name"] = json!("tool_notes_chat")),
        ("V32", |v| v["hidden_in_sidebar"] = json!(true)),
        ("V35", |v| {
            v["file_sinks"] = json!([{"tool": "gone", "accepts": ["doc"], "arg": "a"}]);
        }),
        ("M7.3", |v| v["events"] = json!({"emits": [{"type": "other.created"}]})),
        ("GW-SCHEMA", |v| v["tools"][0]["params_schema"] = json!({"type": "objekt"})),
        ("GW-SCHEMA", |v| v["tools"][0]["params_schema"] = json!({"type": "string"})),
        ("M4", |v| {
            v["secrets"] =
                json!([{"name": "k", "description": "d", "env_fallback": "IMPERAL_APPSECRET_K"}]);
        }),
    ];
    for (rule, change) in cases {
        let found = errors(change);
        assert!(found.iter().any(|(r, _)| *r == rule), "{rule}: {found:?}");
    }
}

#[test]
fn publishing_rules_stop_an_author_and_warn_an_operator() {
    let mut v = notes();
    v["description"] = json!("short");
    assert!(read(&v).unwrap().warnings.iter().any(|w| w.rule == "V14"));
    let refused = Manifest::read(v.to_string().as_bytes(), Profile::Publish).unwrap_err();
    assert!(refused.findings.iter().any(|f| f.rule == "V14" && f.level == Level::Error));
}

#[test]
fn a_null_counts_as_absent() {
    let mut v = notes();
    v["tools"][0]["action_type"] = Value::Null;
    v["webhooks"] = Value::Null;
    v["schedules"] = Value::Null;
    assert_eq!(read(&v).unwrap().tools[0].action_type, None);
}

#[test]
fn refuses_roots_that_are_no_manifest() {
    for bytes in [&b"[]"[..], b"", b"{", b"null", &[0xff, 0xfe], "[".repeat(10_000).as_bytes()] {
        let refused = Manifest::read(bytes, Profile::Load).unwrap_err();
        assert_eq!(refused.findings[0].rule, "M1");
    }
}

#[test]
fn refuses_more_tools_or_bytes_than_are_read() {
    let many: Vec<Value> = (0..=MAX_TOOLS).map(|i| json!({"name": format!("t{i}")})).collect();
    let found = errors(|v| v["tools"] = Value::from(many));
    assert!(found.iter().any(|(r, _)| *r == "GW-TOOL-COUNT"));
    let big = format!("{{\"name\": \"{}\"}}", "x".repeat(MAX_BYTES));
    let refused = Manifest::read(big.as_bytes(), Profile::Load).unwrap_err();
    assert_eq!(refused.findings[0].rule, "GW-SIZE");
}

#[test]
fn a_flood_of_findings_is_bounded_and_stays_an_error() {
    let mut v = notes();
    for i in 0..5_000 {
        v[format!("unknown{i}")] = json!(1);
    }
    let refused = read(&v).unwrap_err();
    assert!(refused.findings.len() <= MAX_FINDINGS + 1);
    assert_eq!(refused.findings[0].rule, "GW-TOO-MANY");
}

#[test]
fn words_follow_the_published_expressions() {
    for (s, ok) in [
        ("1.0.0", true),
        ("1.0", false),
        ("1.0.0-rc.1", true),
        ("1.0.0.4", true),
        ("1.0.0+b", false),
        ("1..0", false),
        ("1.0.0-", false),
        ("01.2.3", true),
        ("", false),
    ] {
        assert_eq!(words::semver(s), ok, "{s}");
    }
    for (s, ok) in [
        ("*", true),
        ("a:b", true),
        ("a.b.c", true),
        ("a", false),
        ("a:", false),
        ("A:b", false),
        ("mail:*", true),
        (":a", false),
        ("a b:c", false),
    ] {
        assert_eq!(words::scope(s), ok, "{s}");
    }
    for (s, ok) in [
        ("0 9 * * *", true),
        ("*/5 0-6,22 1 jan mon", true),
        ("@daily", true),
        ("60 * * * *", false),
        ("a b c d e", false),
        ("* * * *", false),
        ("5-1 * * * *", false),
        ("*/0 * * * *", false),
        ("* * * * * *", false),
        ("@often", false),
        ("+5 * * * *", false),
    ] {
        assert_eq!(words::cron(s), ok, "{s}");
    }
}

/// A valid manifest in which one value, anywhere, is replaced by arbitrary JSON.
fn mutated() -> impl Strategy<Value = Value> {
    let places = prop::sample::select(vec![
        "/tools",
        "/tools/0",
        "/tools/0/name",
        "/tools/0/parameters",
        "/tools/1/params_schema",
        "/tools/1/params_schema/properties",
        "/app_id",
        "/version",
        "/sdk_version",
        "/name",
        "/tools/0/parameters/limit",
        "/tools/0/parameters/limit/type",
        "",
    ]);
    (places, any_json()).prop_map(|(place, new)| {
        let mut v = notes();
        if let Some(at) = v.pointer_mut(place) {
            *at = new;
        }
        v
    })
}

proptest! {
    #[test]
    fn never_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Manifest::read(&bytes, Profile::Publish);
    }

    #[test]
    fn never_panics_on_arbitrary_json(v in any_json()) {
        let _ = read(&v);
    }

    #[test]
    fn what_is_read_can_always_be_compiled(v in mutated()) {
        if let Ok(m) = read(&v) {
            for tool in m.tools {
                prop_assert!(crate::schema::compile_input(&tool.input_schema).is_ok());
            }
        }
    }
}
