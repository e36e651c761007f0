use proptest::prelude::*;

use super::*;

fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = any::<String>().prop_map(Value::Text);
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::btree_map("[a-z][a-z0-9_]{0,8}", inner, 0..6)
                .prop_map(|members| Value::Map(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_survives_its_canonical_bytes(value in any_value()) {
        prop_assert_eq!(parse(&canonical(&value)), Ok(value));
    }

    #[test]
    fn whatever_parses_is_already_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = parse(&bytes) {
            prop_assert_eq!(canonical(&value), bytes);
        }
    }

    #[test]
    fn a_changed_byte_never_parses_to_the_same_value(
        value in any_value(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let mut bytes = canonical(&value);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(parse(&bytes), Ok(value));
    }

    #[test]
    fn strings_are_written_as_serde_json_writes_them(text in any::<String>()) {
        prop_assert_eq!(canonical(&Value::Text(text.clone())), serde_json::to_vec(&text).unwrap());
    }
}

#[test]
fn refuses_what_has_more_than_one_byte_form() {
    for bad in [
        &br#"{"a":"1","a":"2"}"#[..],
        br#"{"b":"1","a":"2"}"#,
        br#"{"a": "1"}"#,
        br#"{"a":1}"#,
        br#"{"a":1.5}"#,
        br#"{"a":true}"#,
        br#"{"a":null}"#,
        br#"{"A":"1"}"#,
        br#"{"":"1"}"#,
        br#"{"1a":"1"}"#,
        br#"{"a":"1"} "#,
        br#" {"a":"1"}"#,
        br#"{"a":"1",}"#,
        br#"["1",]"#,
        br#""\u0041""#,
        br#""\u000A""#,
        br#""\u000a""#,
        br#""\u001F""#,
        br#""\ud800""#,
        br#""\/""#,
        b"\"\n\"",
        b"\"\xff\"",
        b"\"\xed\xa0\x80\"",
        b"\"open",
        b"",
        b"{",
        b"[",
    ] {
        assert!(parse(bad).is_err(), "accepted {}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn refuses_more_than_65535_bytes_and_deep_nesting() {
    let fits = format!("\"{}\"", "x".repeat(MAX_RECORD_BYTES - 2));
    assert!(parse(fits.as_bytes()).is_ok());
    let long = format!("\"{}\"", "x".repeat(MAX_RECORD_BYTES - 1));
    assert_eq!(parse(long.as_bytes()), Err(NotCanonical::TooLong(65_536)));
    let deep = "[".repeat(60_000);
    assert_eq!(parse(deep.as_bytes()), Err(NotCanonical::TooDeep(MAX_DEPTH + 1)));
}
