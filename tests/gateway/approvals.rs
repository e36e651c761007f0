//! What others have to approve before it runs ...

use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;

use crate::parts::{ours, policies_with};

/// Deleting wants one of finance and one of security, a note called `big` anybody else's word.
const RULES: &str = r#"@id("test/two-people")
@reason("one of finance and one of security have to approve")
forbid (principal, action == Portcullis::Action::"notes/delete_note", resource)
unless { context.confirmation.approvedAs.containsAll(["finance", "security"]) };

@id("test/another")
@reason("somebody else has to approve")
forbid (principal, action == Portcullis::Action::"notes/create_note", resource)
when { context.input.title == "big" }
unless { context.confirmation.byOther };
"#;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let gate = policies_with(&upstream, RULES).start().await;
    for who in ["fin", "sec"] {
        gate.token(who).await;
    }
    (gate, upstream)
}

async fn ask(gate: &Deployment) -> Answer {
    let answer = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

async fn say(gate: &Deployment, who: &str, verb: &str, asked: &Answer, more: Value) -> Answer {
    let mut body = json!({ "hash": asked.body["hash"] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = format!("/v1/confirmations/{}/{verb}", asked.confirmation());
    gate.post_as(who, &path, &body).await
}

async fn approve(gate: &Deployment, who: &str, asked: &Answer) {
    let said = say(gate, who, "approve", asked, json!({})).await;
    assert_eq!(said.status, 200, "{said:?}");
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
}

/// Not yet; and what is missing.
fn unapproved(answer: &Answer, roles: &[&str]) {
    refused(answer, 409, "CONFIRMATION_UNAPPROVED");
    assert_eq!(answer.body["approver_roles"], json!(roles), "{answer:?}");
}

#[tokio::test]
async fn runs_once_when_one_of_finance_and_one_of_security_have_approved_it() {
    let (gate, upstream) = start().await;
    let asked = ask(&gate).await;
    let id = asked.confirmation();
    assert_eq!(asked.body["by_other"], true);
    assert_eq!(asked.body["approver_roles"], json!(["finance", "security"]));
    unapproved(&gate.decide("ana", &id, "confirm").await, &["finance", "security"]);

    let listed = gate.get_as("fin", "/v1/confirmations/approvals").await;
    assert_eq!(listed.body[0]["confirmation_id"], json!(id), "{listed:?}");
    assert_eq!(listed.body[0]["approve_as"], json!(["finance"]));
    assert_eq!(listed.body[0]["arguments"], json!({ "note_id": "note-1" }));
    let said = say(&gate, "fin", "approve", &asked, json!({ "reason": "invoice checked" })).await;
    assert_eq!((said.status, said.op()), (200, asked.op()), "one story: {said:?}");
    unapproved(&gate.decide("ana", &id, "confirm").await, &["security"]);
    assert_eq!(gate.get_as("fin", "/v1/confirmations/approvals").await.text(), "[]");
    approve(&gate, "sec", &asked).await;

    let seen = gate.get_as("ana", &format!("/v1/confirmations/{id}")).await;
    let said = &seen.body["approvals"];
    assert_eq!(said[0]["by"], "fin@acme.example", "{seen:?}");
    assert_eq!(
        (&said[0]["as"], &said[0]["reason"]),
        (&json!("finance"), &json!("invoice checked"))
    );
    assert_eq!((&said[1]["as"], &said[1]["verdict"]), (&json!("security"), &json!("approved")));
    assert_eq!(upstream.seen().len(), 0, "an approval runs nothing");
    let done = gate.decide("ana", &id, "confirm").await;
    assert_eq!(done.status, 200, "{done:?}");
    refused(&gate.decide("ana", &id, "confirm").await, 409, "CONFIRMATION_USED");
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(upstream.of_op(&asked.op()).len(), 1);
}

#[tokio::test]
async fn tells_its_whole_story_under_one_operation_and_every_decision_runs_again() {
    let (gate, _upstream) = start().await;
    let asked = ask(&gate).await;
    approve(&gate, "fin", &asked).await;
    approve(&gate, "sec", &asked).await;
    assert_eq!(gate.decide("ana", &asked.confirmation(), "confirm").await.status, 200);
    let story = gate.settled(&asked.op(), 7).await;
    let told: Vec<(&str, &str, &str)> = story
        .iter()
        .map(|row| (text(row, "/kind"), text(row, "/tool/name"), text(row, "/res/status")))
        .collect();
    assert_eq!(
        told,
        [
            ("decision", "delete_note", "asked"),
            ("intent", "approve", ""),
            ("outcome", "approve", "done"),
            ("intent", "approve", ""),
            ("outcome", "approve", "done"),
            ("intent", "delete_note", ""),
            ("outcome", "delete_note", "done"),
        ],
        "{story:?}"
    );
    let subjects: std::collections::BTreeSet<&str> =
        story.iter().map(|row| text(row, "/who/subject")).collect();
    assert_eq!(subjects.len(), 3, "three people");
    assert!(gate.verify().whole, "the ledger is whole");
}

#[tokio::test]
async fn is_not_for_its_asker_a_stranger_or_a_program_to_approve() {
    let (gate, upstream) = start().await;
    let asked = ask(&gate).await;
    let own = say(&gate, "ana", "approve", &asked, json!({})).await;
    refused(&own, 403, "PERMISSION_DENIED");
    assert!(own.rules().contains(&"approvals/not-the-asker"), "{own:?}");
    // Who holds every scope, the asker's too, is another person.
    let other = gate.call("ada", "notes", "delete_note", json!({ "note_id": "note-2" })).await;
    let own = say(&gate, "ada", "approve", &other, json!({})).await;
    assert_eq!(own.rules(), ["approvals/not-the-asker"], "{own:?}");
    let none = say(&gate, "ben", "approve", &asked, json!({})).await;
    assert_eq!(none.rules(), ["rbac/scope-missing"], "{none:?}");
    let seen = gate.get_as("ben", &format!("/v1/confirmations/{}", asked.confirmation())).await;
    refused(&seen, 403, "CONFIRMATION_FOREIGN");
    assert_eq!(gate.get_as("ben", "/v1/confirmations/approvals").await.text(), "[]");
    refused(&say(&gate, "gil", "approve", &asked, json!({})).await, 404, "CONFIRMATION_UNKNOWN");
    let key = gate.api_key("fin", &["confirmations:approve"]);
    let path = format!("/v1/confirmations/{}/approve", asked.confirmation());
    let body = json!({ "hash": asked.body["hash"] });
    let by_key = gate.request(Method::POST, &path).header("x-api-key", key).json(&body);
    refused(&gate.send(by_key).await, 403, "CONFIRMATION_FOREIGN");

    let role = say(&gate, "fin", "approve", &asked, json!({ "as": "security" })).await;
    assert_eq!(role.rules(), ["approvals/role-held"], "{role:?}");
    let unseen = say(&gate, "fin", "approve", &asked, json!({ "hash": "00".repeat(32) })).await;
    refused(&unseen, 422, "VALIDATION_TYPE_ERROR");
    let long = say(&gate, "fin", "approve", &asked, json!({ "reason": "x".repeat(501) })).await;
    refused(&long, 422, "VALIDATION_TYPE_ERROR");
    // What its asker alone answers is nobody else's.
    let plain =
        gate.call("ada", "notes", "create_note", json!({ "title": "big", "text": "" })).await;
    assert_eq!(plain.body["approver_roles"], Value::Null, "any other person is enough: {plain:?}");
    unapproved(
        &gate.decide("ana", &asked.confirmation(), "confirm").await,
        &["finance", "security"],
    );
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn counts_nobody_twice_and_nothing_that_is_decided() {
    let (gate, upstream) = start().await;
    let asked = ask(&gate).await;
    approve(&gate, "fin", &asked).await;
    refused(&say(&gate, "fin", "approve", &asked, json!({})).await, 409, "CONFLICT");
    unapproved(&gate.decide("ana", &asked.confirmation(), "confirm").await, &["security"]);
    assert_eq!(gate.decide("ana", &asked.confirmation(), "cancel").await.status, 200);
    refused(&say(&gate, "sec", "approve", &asked, json!({})).await, 409, "CONFIRMATION_USED");

    let declined = ask(&gate).await;
    approve(&gate, "sec", &declined).await;
    let said =
        say(&gate, "sec", "decline", &declined, json!({ "reason": "on a second look" })).await;
    assert_eq!(said.status, 200, "who approved may still decline: {said:?}");
    let id = declined.confirmation();
    refused(&gate.decide("ana", &id, "confirm").await, 409, "CONFIRMATION_USED");
    let seen = gate.get_as("ana", &format!("/v1/confirmations/{id}")).await;
    assert_eq!(
        (&seen.body["state"], &seen.body["approvals"][0]["reason"]),
        (&json!("declined"), &json!("on a second look"))
    );
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn does_not_count_who_might_not_say_so_any_more() {
    let (gate, upstream) = start().await;
    let asked = ask(&gate).await;
    let id = asked.confirmation();
    approve(&gate, "fin", &asked).await;
    approve(&gate, "sec", &asked).await;
    // Another role: the word as finance is nobody's now.
    gate.change(&["user", "set-role", &gate.user_id("fin"), "security"]).await;
    unapproved(&gate.decide("ana", &id, "confirm").await, &["finance"]);
    gate.change(&["user", "set-role", &gate.user_id("fin"), "finance"]).await;
    gate.change(&["user", "deactivate", &gate.user_id("sec")]).await;
    unapproved(&gate.decide("ana", &id, "confirm").await, &["security"]);
    gate.change(&["user", "activate", &gate.user_id("sec")]).await;
    gate.change(&["role", "set", "--tenant", "imp_t_acme", "finance", "--no-scopes"]).await;
    unapproved(&gate.decide("ana", &id, "confirm").await, &["finance"]);
    gate.change(&[
        "role",
        "set",
        "--tenant",
        "imp_t_acme",
        "finance",
        "--scope",
        "confirmations:approve",
    ])
    .await;
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200, "as they were, they count");
}

fn forge(gate: &Deployment, sql: &str) {
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
}

#[tokio::test]
async fn made_up_or_moved_in_the_database_counts_for_nothing() {
    let (gate, upstream) = start().await;
    let (fin, sec) = (gate.user_id("fin"), gate.user_id("sec"));
    let (asked, other) = (ask(&gate).await, ask(&gate).await);
    let (id, other_id) = (asked.confirmation(), other.confirmation());
    approve(&gate, "fin", &asked).await;
    approve(&gate, "sec", &other).await;
    let copy = |approver: &str, from: &str| {
        format!(
            "INSERT INTO approvals SELECT '{id}', '{approver}', 'approved', sealed, created_ms \
             FROM approvals WHERE confirmation_id = '{from}' LIMIT 1"
        )
    };
    // Another's word under a new name, the right name's word on another call, and no word at all.
    for sql in [
        copy(&sec, &id),
        copy(&sec, &other_id),
        format!("INSERT INTO approvals VALUES ('{id}', '{sec}', 'approved', 'AAAA', 1)"),
    ] {
        forge(&gate, &sql);
        let refused = gate.decide("ana", &id, "confirm").await;
        assert_eq!(refused.code(), "CONFIRMATION_QUESTION_CHANGED", "{sql}: {refused:?}");
        forge(
            &gate,
            &format!(
                "DELETE FROM approvals WHERE confirmation_id = '{id}' AND approver_id = '{sec}'"
            ),
        );
    }
    for set in ["approver_roles = '[]'", "wants = 'confirmation'"] {
        forge(&gate, &format!("UPDATE confirmations SET {set} WHERE id = '{other_id}'"));
        let refused = gate.decide("ana", &other_id, "confirm").await;
        assert_eq!(refused.code(), "CONFIRMATION_QUESTION_CHANGED", "{set}: {refused:?}");
    }
    // A no that is turned into a yes, and the call opened again.
    let declined = ask(&gate).await;
    approve(&gate, "sec", &declined).await;
    let no = say(&gate, "fin", "decline", &declined, json!({})).await;
    assert_eq!(no.status, 200, "{no:?}");
    let id = declined.confirmation();
    forge(&gate, &format!("UPDATE confirmations SET state = 'pending' WHERE id = '{id}'"));
    forge(
        &gate,
        &format!("DELETE FROM approvals WHERE confirmation_id = '{id}' AND approver_id = '{fin}'"),
    );
    refused(&gate.decide("ana", &id, "confirm").await, 409, "CONFIRMATION_USED");
    assert_eq!(upstream.seen().len(), 0);
}

/// As `who`, what is told of one call by its id.
async fn seen_by(gate: &Deployment, who: &str, asked: &Answer) -> Answer {
    gate.get_as(who, &format!("/v1/confirmations/{}", asked.confirmation())).await
}

#[tokio::test]
async fn is_shown_to_those_whose_word_is_wanted_as_long_as_it_is() {
    let (gate, _upstream) = start().await;
    let asked = ask(&gate).await;
    // Who may approve things, but as none of the roles that are asked for, has no business with it.
    let list = "/v1/confirmations/approvals";
    assert_eq!(gate.get_as("ada", list).await.text(), "[]", "an administrator is of no such role");
    refused(&seen_by(&gate, "ada", &asked).await, 403, "CONFIRMATION_FOREIGN");
    assert_eq!(seen_by(&gate, "sec", &asked).await.status, 200);
    approve(&gate, "fin", &asked).await;
    assert_eq!(gate.decide("ana", &asked.confirmation(), "cancel").await.status, 200);
    // It is over: who said something may look at it, others are not shown what nobody asks of them any more,
    // and whose word was never wanted does not learn that it is over.
    assert_eq!(seen_by(&gate, "fin", &asked).await.body["state"], "cancelled");
    refused(&seen_by(&gate, "sec", &asked).await, 409, "CONFIRMATION_USED");
    assert_eq!(gate.get_as("sec", list).await.text(), "[]");
    for who in ["ada", "ben"] {
        refused(&seen_by(&gate, who, &asked).await, 403, "CONFIRMATION_FOREIGN");
    }
}

#[tokio::test]
async fn counts_no_second_word_of_one_person_whoever_writes_it_down() {
    let (gate, upstream) = start().await;
    let (asked, sec) = (ask(&gate).await, gate.user_id("sec"));
    approve(&gate, "fin", &asked).await;
    approve(&gate, "sec", &asked).await;
    // Whoever owns the database takes its guard away first.
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let unguarded = "CREATE TABLE kept AS SELECT * FROM approvals; DROP TABLE approvals; \
                     ALTER TABLE kept RENAME TO approvals";
    database.execute_batch(unguarded).unwrap();
    let twice =
        format!("INSERT INTO approvals SELECT * FROM approvals WHERE approver_id = '{sec}'");
    forge(&gate, &twice);
    let twice = gate.decide("ana", &asked.confirmation(), "confirm").await;
    refused(&twice, 409, "CONFIRMATION_QUESTION_CHANGED");
    assert_eq!(upstream.seen().len(), 0);
    let once = "DELETE FROM approvals WHERE rowid = (SELECT max(rowid) FROM approvals)";
    forge(&gate, once);
    assert_eq!(gate.decide("ana", &asked.confirmation(), "confirm").await.status, 200);
}

#[tokio::test]
async fn is_listed_and_answered_in_a_terminal_with_the_hash_made_there() {
    let (gate, upstream) = start().await;
    let asked =
        gate.call("ana", "notes", "create_note", json!({ "title": "big", "text": "" })).await;
    let (id, token) = (asked.confirmation(), gate.token("sec").await);
    let cli = |args: &[&str]| {
        let mut all = vec!["confirm", "--gateway", gate.url()];
        all.extend(args);
        let mut command = std::process::Command::new(harness::binary("portcullis"));
        let output = command.args(all).env("PORTCULLIS_TOKEN", &token).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(cli(&["--others"]).contains(&id));
    let shown = cli(&[&id, "--approve", "--reason", "looks right"]);
    assert!(shown.contains("title = ") && shown.contains("approved"), "{shown}");
    assert!(cli(&["--others"]).contains("nothing waits for you"));
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn says_in_advance_who_would_be_asked() {
    let (gate, _upstream) = start().await;
    let explain = |more: &[&str]| {
        let mut args =
            vec!["policy", "explain", "--tenant", "imp_t_acme", "--user", "ana@acme.example"];
        args.extend(["--tool", "notes/delete_note", "--input", r#"{"note_id":"note-1"}"#]);
        args.extend(more);
        gate.must(&args)
    };
    gate.user_id("ana");
    let said = explain(&[]);
    assert!(
        said.contains("would ask somebody else first (one each of finance, security)"),
        "{said}"
    );
    let said = explain(&["--confirmed", "--approved-as", "finance", "--approved-as", "security"]);
    assert!(said.contains("would be permitted"), "{said}");
}

#[tokio::test]
async fn wants_of_its_approvers_what_the_rules_want_as_they_approved() {
    let upstream = Upstream::start();
    let example = std::fs::read_to_string(ours("../policies/examples/approvals.cedar")).unwrap();
    let gate = policies_with(&upstream, &example).settings("require_proof = true").start().await;
    let asked = ask(&gate).await;
    assert_eq!(asked.body["approver_roles"], json!(["finance", "security"]), "proved and asked");
    let password_only = say(&gate, "fin", "approve", &asked, json!({})).await;
    refused(&password_only, 401, "STEP_UP_REQUIRED");
    assert_eq!(password_only.rules(), ["approvals/with-a-second-factor"]);
    let listed = gate.get_as("fin", "/v1/confirmations/approvals").await;
    assert_eq!(listed.text(), "[]", "what one may not answer is not shown: {listed:?}");
    unapproved(
        &gate.decide("ana", &asked.confirmation(), "confirm").await,
        &["finance", "security"],
    );
}
