use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn names_every_violation_with_its_path_and_never_the_value() {
    let schema = json!({"type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {"id": {"type": "string"}, "n": {"type": "integer", "maximum": 5},
                       "mail": {"type": "string", "maxLength": 3}}});
    let v = compile_input(&schema).unwrap();
    let found = check(&v, &json!({"n": 77, "mail": "hunter2", "extra": 1})).unwrap_err();
    let at: Vec<(&str, &str)> =
        found.iter().map(|v| (v.path.as_str(), v.keyword.as_str())).collect();
    assert!(at.contains(&("/n", "maximum")), "{found:?}");
    assert!(at.contains(&("/mail", "maxLength")), "{found:?}");
    assert!(at.contains(&("", "required")), "{found:?}");
    let missing: Vec<&str> = found.iter().filter_map(|v| v.missing.as_deref()).collect();
    assert_eq!(missing, ["id"]);
    assert!(at.contains(&("", "additionalProperties")), "{found:?}");
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn reports_a_bounded_number_of_violations() {
    let v = compile_input(&json!({"properties": {"a": {"items": {"type": "string"}}}})).unwrap();
    let found = check(&v, &json!({"a": vec![1; 10_000]})).unwrap_err();
    assert_eq!(found.len(), MAX_VIOLATIONS);
}

#[test]
fn refuses_a_reference_outside_the_schema() {
    for target in ["http://127.0.0.1:1/x.json", "file:///etc/passwd", "other.json"] {
        let schema = json!({"properties": {"a": {"$ref": target}}});
        assert!(compile(&schema).is_err(), "{target}");
    }
}

#[test]
fn follows_a_reference_inside_the_schema() {
    let schema = json!({"$defs": {"id": {"type": "string"}}, "type": "object",
                        "properties": {"a": {"$ref": "#/$defs/id"}}});
    let v = compile_input(&schema).unwrap();
    assert!(check(&v, &json!({"a": 1})).is_err());
    assert!(check(&v, &json!({"a": "x"})).is_ok());
}

#[test]
fn survives_a_schema_that_refers_to_itself() {
    if let Ok(v) = compile(&json!({"$ref": "#"})) {
        let _ = check(&v, &json!({}));
    }
    let tree = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
    assert!(check(&compile(&tree).unwrap(), &json!({"child": {"child": 1}})).is_err());
}

#[test]
fn refuses_a_pattern_that_needs_backtracking() {
    let schema = json!({"properties": {"a": {"pattern": "^(?=a+$).*"}}});
    assert!(matches!(compile(&schema), Err(SchemaError::Invalid(_))));
}

#[test]
fn refuses_what_is_too_deep_to_compile() {
    let mut schema = json!({});
    for _ in 0..100 {
        schema = json!({ "not": schema });
    }
    assert_eq!(compile(&schema).unwrap_err(), SchemaError::TooLarge);
}

#[test]
fn refuses_arguments_that_are_not_an_object() {
    assert_eq!(compile_input(&json!({"type": "string"})).unwrap_err(), SchemaError::NotAnObject);
    assert_eq!(compile_input(&json!(true)).unwrap_err(), SchemaError::NotAnObject);
}

#[test]
fn digest_changes_with_description_schema_and_claim_and_not_with_key_order() {
    let a: Value = serde_json::from_str(r#"{"type":"object","properties":{}}"#).unwrap();
    let b: Value = serde_json::from_str(r#"{"properties":{},"type":"object"}"#).unwrap();
    let read = ActionType::Read;
    assert_eq!(digest("d", &a, read), digest("d", &b, read));
    assert_ne!(digest("d", &a, read), digest("e", &a, read));
    assert_ne!(digest("d", &a, read), digest("d", &json!({}), read));
    assert_ne!(digest("d", &a, read), digest("d", &a, ActionType::Write));
}

pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(
                prop_oneof![
                    ".{0,8}",
                    "type|properties|required|items|pattern|\\$ref|not|anyOf|enum|maximum"
                ],
                inner,
                0..6
            )
            .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn never_panics_on_arbitrary_schemas_and_arguments(schema in any_json(), args in any_json()) {
        if let Ok(v) = compile(&schema) {
            let verdict = check(&v, &args);
            prop_assert_eq!(verdict.is_ok(), v.is_valid(&args));
        }
    }

    #[test]
    fn canonical_form_reads_back_as_the_same_value(v in any_json()) {
        let back: Value = serde_json::from_slice(&canonical(&v)).unwrap();
        prop_assert_eq!(canonical(&back), canonical(&v));
    }
}
