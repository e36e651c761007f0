//! `portcullis policy explain|replay` and `portcullis ledger explain` on calls that were really made.

use serde_json::json;

use crate::deployment::{Deployment, Serving};

/// One permit, one question, one refusal; gives their operations.
fn calls(at: &Serving, key: &str) -> [String; 3] {
    [
        at.call(key, "create_note", r#"{"title":"milk"}"#).0,
        at.call(key, "delete_note", r#"{"note_id":"note-1"}"#).0,
        at.call(key, "create_note", r#"{"title":7}"#).0,
    ]
}

#[test]
fn recorded_calls_are_explained_replayed_and_held_against_a_candidate() {
    let made = Deployment::new();
    let serving = made.serve();
    let [written, asked, misfit] = calls(&serving, &made.key);

    let said = made.run(&["policy", "explain", "--op", &written]).well();
    assert!(said.contains("It was permitted, because the caller holds the scopes"), "{said}");
    let said = made.run(&["policy", "explain", "--op", &asked]).well();
    assert!(said.contains("It asked first, because a destructive action needs"), "{said}");
    assert!(said.contains("rules/action-type.cedar"), "{said}");
    let said = made.run(&["policy", "explain", "--op", &misfit]).failed();
    assert!(said.contains("no rule was asked"), "{said}");

    let said = made.json(&["policy", "replay"]);
    assert_eq!(
        (&said["replayed"], &said["differ"], &said["flips"]),
        (&json!(2), &json!(0), &json!(0))
    );
    candidate_flips(&made, &written);
    let keys = made.json(&["key", "list", &made.ana]);
    made.run(&["key", "revoke", keys[0]["id"].as_str().unwrap()]).well();
    made.run(&["policy", "explain", "--op", &written]).well();
    page_of_a_record(&made, &asked);
}

fn candidate_flips(made: &Deployment, written: &str) {
    let rules = made.dir().join("candidate/rules");
    std::fs::create_dir_all(&rules).unwrap();
    let closed = "@id(\"writes/closed\") @reason(\"r\") forbid (principal, action in Portcullis::Action::\"write\", resource);
                  @id(\"rest\") @reason(\"r\") permit (principal, action, resource) when { context.confirmation.given };";
    std::fs::write(rules.join("all.cedar"), closed).unwrap();
    let said = made.json(&["policy", "replay", "--against", "candidate"]);
    assert_eq!((&said["replayed"], &said["flips"]), (&json!(2), &json!(1)));
    assert_eq!(said["decisions"][0]["op"], json!(written));
    assert_eq!(said["decisions"][0]["candidate"]["rules"], json!(["writes/closed"]));
    let said = made.run(&["policy", "replay", "--op", written, "--against", "candidate"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("FLIPS"), "{}", said.out);
}

fn page_of_a_record(made: &Deployment, op: &str) {
    let rows = made.json(&["ledger", "find", op]);
    let seq = rows["record"]["seq"].as_str().unwrap().to_owned();
    let page = made.run(&["ledger", "explain", &seq, "--log", "default"]).well();
    for part in ["ask_first", "a destructive action needs a confirmation", "notes/delete_note", op]
    {
        assert!(page.contains(part), "`{part}` is missing in\n{page}");
    }
    let none = made.run(&["ledger", "explain", "999", "--log", "default"]).failed();
    assert!(none.contains("portcullis ledger show"), "{none}");
}

#[test]
fn a_call_that_nobody_makes_is_explained_for_a_user_as_they_stand_now() {
    let made = Deployment::new();
    let explain = |tool: &str, input: &str, more: &[&str]| {
        let args =
            ["policy", "explain", "--user", "ana@acme.example", "--tool", tool, "--input", input];
        made.run(&[&args, more].concat()).well()
    };
    let delete = r#"{"note_id":"note-1"}"#;
    for (said, part) in [
        (explain("notes/list_notes", "{}", &[]), "It would be permitted, because"),
        (explain("notes/delete_note", delete, &[]), "It would ask first, because a destructive"),
        (explain("notes/delete_note", delete, &["--confirmed"]), "It would be permitted, because"),
        (explain("notes/list_notes", "{}", &["--target-tenant", "imp_t_x"]), "another tenant"),
        (explain("notes/delete_note", "{}", &[]), "before any rule is asked"),
    ] {
        assert!(said.contains(part), "`{part}` is missing in\n{said}");
    }
    made.run(&["role", "set", "editor", "--no-scopes"]).well();
    let said = explain("notes/list_notes", "{}", &[]);
    assert!(said.contains("It would be refused, because the caller does not hold"), "{said}");
    let args = ["policy", "explain", "--user", "ana@acme.example", "--tool", "notes/list_note"];
    let said = made.run(&args).failed();
    assert!(said.contains("did you mean") && said.contains("notes/list_notes"), "{said}");
}
