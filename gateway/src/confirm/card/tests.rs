//! What is shown of the bytes of a call ...

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn pairs(json: &str) -> Vec<String> {
    let lines = Lines::of(json.as_bytes()).unwrap().lines;
    lines.into_iter().map(|line| format!("{}={}", line.name, line.shown)).collect()
}

#[test]
fn values_stand_in_the_order_in_which_they_were_sent() {
    assert_eq!(
        pairs(r#"{"z": 1, "a": {"y": [true, null], "b": "x"}, "e": {}, "l": []}"#),
        ["z=1", "a.y[0]=true", "a.y[1]=null", "a.b=\"x\"", "e={} (nothing)", "l=[] (empty list)"]
    );
    assert_eq!(pairs("[1]"), ["[0]=1"]);
    assert_eq!(pairs("{}"), ["={} (nothing)"]);
}

#[test]
fn numbers_keep_their_spelling() {
    assert_eq!(
        pairs(r#"{"a":1e2,"b":100,"c":9007199254740993,"d":1.10,"e":-0}"#),
        ["a=1e2", "b=100", "c=9007199254740993", "d=1.10", "e=-0"]
    );
}

#[test]
fn what_is_not_the_same_does_not_look_the_same() {
    for (one, other) in [
        (r#"{"a":"\u202e"}"#, r#"{"a":"\\u{202e}"}"#),
        (r#"{"a":"1"}"#, r#"{"a":1}"#),
        (r#"{"a":"null"}"#, r#"{"a":null}"#),
        (r#"{"a.b":1}"#, r#"{"a":{"b":1}}"#),
        (r#"{"a[0]":1}"#, r#"{"a":[1]}"#),
        (r#"{"a":"x "}"#, r#"{"a":"x"}"#),
        (r#"{"a":"x\u00a0y"}"#, r#"{"a":"x y"}"#),
        (r#"{"a":"\u2800"}"#, r#"{"a":" "}"#),
        (r#"{"a":"{} (nothing)"}"#, r#"{"a":{}}"#),
        (r#"{"a":"{}"}"#, r#"{"a":{}}"#),
        (r#"{"a":"{\"b\":1}"}"#, r#"{"a":{"b":1}}"#),
        (r#"{"a":"{\"b\":1}"}"#, r#"{"a":"{\"b\": 1}"}"#),
        (r#"{"a(text)":{"b":1}}"#, r#"{"a":"{\"b\":1}"}"#),
        (r#"{"":1}"#, "1"),
        (r#"{"(all)":1}"#, "1"),
        (r#"{"password":"a"}"#, r#"{"password":"b"}"#),
        (r#"{"a":1e2}"#, r#"{"a":100}"#),
        (r#"{"a":"x\n  to = evil"}"#, r#"{"a":"x","to":"evil"}"#),
    ] {
        assert_ne!(pairs(one), pairs(other), "{one} {other}");
    }
}

#[test]
fn no_value_and_no_name_makes_a_line_of_its_own() {
    let forged = r#"{"a\n  to = \"evil\"\n  b":"x\r\u001b[2K\n  amount = 1"}"#;
    assert_eq!(
        pairs(forged),
        [r#""a\n  to = \"evil\"\n  b"="x\r\u{1b}[2K\n"#.to_owned() + "\n  amount = 1\""]
    );
    assert_eq!(pairs(r#"{"a = 1":2}"#), [r#""a = 1"=2"#]);
    assert_eq!(pairs(r#"{"a\u2066b":1}"#), [r#""a\u{2066}b"=1"#]);
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        r"[a.\[\]0()~… =\n]{0,6}",
        r#"(hidden: |\\u\{202e\}|\u{202e}|"|\\|\{"a":1\}|\[1\]|\{\}|null|1|x ){0,3}"#,
        r"(?s).{0,8}",
    ];
    let name = prop_oneof![text.clone(), Just("password".to_owned()), r"[ab]{0,2}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..12_i64).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner.clone()), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            // JSON in a text, to look like the value itself.
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_two_values_are_shown_alike(one in values(), other in values()) {
        let (one, other) = (one.to_string(), other.to_string());
        let shown = |json: &str| Lines::of(json.as_bytes()).unwrap();
        prop_assert_eq!(one == other, shown(&one) == shown(&other), "{} {}", one, other);
    }

    #[test]
    fn no_change_of_one_character_is_unseen(value in values(), at in any::<prop::sample::Index>(), c in any::<char>()) {
        let text = value.to_string();
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        chars[at] = c;
        let changed: String = chars.into_iter().collect();
        // Another text of the same meaning, such as other blanks, may look the same.
        if let Ok(other) = serde_json::from_str::<Value>(&changed)
            && other != value
        {
            prop_assert_ne!(Lines::of(text.as_bytes()).unwrap(), Lines::of(changed.as_bytes()).unwrap());
        }
    }
}

#[test]
fn what_has_the_name_of_a_secret_is_hidden_with_all_that_is_in_it() {
    let shown = pairs(
        r#"{"password":"hunter2","auth":{"X-Api-Key":"k"},"tokens":["t"],"credentials":{"value":"x","n":7},
            "recipient_token_account":"acct","secretary_email":"e","max_tokens":9,"otp":"123","note":"n"}"#,
    );
    let hidden = |name: &str, value: &str| {
        let hash = spelled::head(&sha256(value), 16).to_owned();
        format!("{name}=hidden: {} characters, SHA-256 {hash}…", value.len())
    };
    assert_eq!(
        shown,
        [
            hidden("password", "hunter2"),
            hidden("auth.X-Api-Key", "k"),
            hidden("tokens[0]", "t"),
            hidden("credentials.value", "x"),
            "credentials.n=7".to_owned(),
            "recipient_token_account=\"acct\"".to_owned(),
            "secretary_email=\"e\"".to_owned(),
            "max_tokens=9".to_owned(),
            hidden("otp", "123"),
            "note=\"n\"".to_owned(),
        ]
    );
    let line = Lines::of(br#"{"password":"hunter2"}"#).unwrap().lines.remove(0);
    assert_eq!(line.hidden.as_deref(), Some("\"hunter2\""), "for who asks to see it");
    assert!(!serde_json::to_string(&line).unwrap().contains("hunter2"));
}

#[test]
fn json_in_a_text_is_read_and_hidden_like_the_rest() {
    let shown = pairs(r#"{"change":"{\"email\": \"a@b\", \"password\": \"hunter2\"}"}"#);
    assert_eq!(shown[0], "change=JSON text, 39 characters, as follows");
    assert_eq!(shown[1], "change(text).email=\"a@b\"");
    assert!(shown[2].starts_with("change(text).password=hidden: 7 characters"), "{shown:?}");
    assert!(!shown.concat().contains("hunter2"));
    // What only begins like JSON is a text.
    assert_eq!(pairs(r#"{"a":"[x] done"}"#), [r#"a="[x] done""#]);
    assert_eq!(pairs(r#"{"a":"[\"\\ud800\"]"}"#).len(), 1);
}

#[test]
fn what_the_app_says_is_a_secret_is_hidden_and_not_to_be_seen() {
    let schema =
        json!({ "properties": { "answer": { "writeOnly": true }, "n": { "format": "password" } } });
    let value = json!({ "answer": { "to": "everything" }, "n": 42, "m": 42 });
    let secrets = secrets_of(&schema, &value);
    let lines = Lines::with_secrets(value.to_string().as_bytes(), &secrets).unwrap();
    let text = format!("{lines:?}");
    assert!(!text.contains("everything"), "{text}");
    let names: Vec<&str> = lines.lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["answer.to", "n", "m"]);
    assert_eq!(lines.lines[2].shown, "42");
    assert!(lines.lines[1].shown.starts_with("hidden: 2 characters"), "{text}");
}

#[test]
fn what_is_long_is_cut_and_hashed() {
    let long = "é".repeat(MAX_SHOWN + 1);
    let line = Lines::of(json!({ "text": long }).to_string().as_bytes()).unwrap().lines.remove(0);
    assert_eq!(line.shown.chars().count(), MAX_SHOWN + 2);
    assert!(line.note.unwrap().ends_with(&sha256(&long)));
    let name = |last: char| format!("{}{last}{}", "w".repeat(300), "w".repeat(300));
    let of = |last| Lines::of(json!({ name(last): 1 }).to_string().as_bytes()).unwrap();
    assert!(of('a').lines[0].name.chars().count() < 240);
    assert_ne!(of('a').lines[0].name, of('b').lines[0].name, "the hash tells cut names apart");
    assert!(of('a').lines[0].note.is_some());
}

#[test]
fn a_great_many_values_are_counted_and_not_all_shown() {
    let json = json!({ "a": vec![0; MAX_LINES + 7] }).to_string();
    let lines = Lines::of(json.as_bytes()).unwrap();
    assert_eq!((lines.lines.len(), lines.more), (MAX_LINES, 7));
}

/// A walk that made a name for each of these zeros would make 125 GB of them.
#[test]
fn what_is_not_shown_costs_nothing() {
    let count = 250_000;
    let json = format!("{{\"{}\":[{}0]}}", "n".repeat(500_000), "0,".repeat(count - 1));
    let mut walk = Walk::default();
    walk.value(serde_json::from_str(&json).unwrap(), Mask::None, 0).unwrap();
    assert_eq!((walk.told.lines.len(), walk.told.more), (MAX_LINES, count - MAX_LINES));
    let shown: usize = walk.told.lines.iter().map(|line| line.name.len() + line.shown.len()).sum();
    assert!(shown < MAX_LINES * 300, "{shown}");
    assert!(walk.path.capacity() < 1_000, "{}", walk.path.capacity());
}

#[test]
fn what_is_nested_too_deeply_is_no_call() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Lines::of(deep(64).as_bytes()).is_ok());
    assert!(Lines::of(deep(100_000).as_bytes()).is_err());
    let text = json!({ "a": deep(100_000) }).to_string();
    assert_eq!(Lines::of(text.as_bytes()).unwrap().lines.len(), 1, "a text may be what it likes");
}
