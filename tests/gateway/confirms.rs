//! The gateway confirms ...: what was shown is what runs, once, by who may say so.

use std::time::Duration;

use harness::{Answer, Deployment, Upstream, json, text};
use reqwest::Method;

async fn start() -> (Deployment, Upstream) {
    start_with_ttl("10m").await
}

async fn start_with_ttl(ttl: &str) -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let ttl = format!("[confirmation]\nttl = \"{ttl}\"");
    let gate = Deployment::builder().notes(&upstream).bank(&upstream, "x").settings(&ttl);
    (gate.start().await, upstream)
}

async fn ask(gate: &Deployment) -> Answer {
    let answer = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body["status"], "confirmation_required");
    answer
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
}

#[tokio::test]
async fn the_stored_bytes_run_once() {
    let (gate, upstream) = start().await;
    let asked = ask(&gate).await;
    assert_eq!(asked.body["arguments"], json!({ "note_id": "note-1" }));
    assert_eq!(asked.body["rules"], json!(["action-type/destructive-unconfirmed"]));
    assert_eq!(upstream.seen().len(), 0, "nothing runs before somebody confirms");
    let id = asked.confirmation();
    let listed = gate.get_as("ana", "/v1/confirmations/active").await;
    assert!(listed.text().contains(&id), "{listed:?}");

    let done = gate.decide("ana", &id, "confirm").await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(upstream.of_op(&done.op()).len(), 1);
    let records = gate.records_of(&done.op());
    assert_eq!(text(&records[0], "/note/confirmation"), id);
    assert_eq!(text(records.last().unwrap(), "/res/status"), "done");

    refused(&gate.decide("ana", &id, "confirm").await, 409, "CONFIRMATION_USED");
    refused(&gate.decide("ana", &id, "accept").await, 409, "CONFIRMATION_USED");
    refused(&gate.decide("ana", &id, "cancel").await, 409, "CONFIRMATION_USED");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn the_bytes_that_were_sent_whatever_their_spelling() {
    let (gate, upstream) = start().await;
    let spelled = "{ \"note_id\":\t\"note\\u002d1\"  }";
    let body = format!(r#"{{"params": {spelled} , "function":"delete_note"}}"#);
    let asked = gate.call_with_body("ana", "notes", body).await;
    // Other bytes in the confirming request are nobody's arguments.
    let path = format!("/v1/confirmations/{}/confirm", asked.confirmation());
    let other = json!({ "params": { "note_id": "note-2" }, "function": "create_note" });
    assert_eq!(gate.post_as("ana", &path, &other).await.status, 200);
    let seen = upstream.seen();
    assert_eq!(String::from_utf8_lossy(&seen[0].body), spelled);
    assert!(seen[0].target.ends_with("/delete_note"), "{seen:?}");
}

#[tokio::test]
async fn a_write_of_somebody_who_wants_to_be_asked_in_its_order_of_keys() {
    let (gate, upstream) = start().await;
    gate.user_id("ana");
    gate.change(&[
        "role",
        "set",
        "--tenant",
        "imp_t_acme",
        "editor",
        "--confirmation",
        "always_on",
    ])
    .await;
    let spelled = r#"{"title":"b",   "text":"a"}"#;
    let body = format!(r#"{{"function":"create_note","params":{spelled}}}"#);
    let asked = gate.call_with_body("ana", "notes", body).await;
    assert_eq!(asked.rules(), ["confirmation/write-unconfirmed"]);
    gate.decide("ana", &asked.confirmation(), "accept").await;
    assert_eq!(String::from_utf8_lossy(&upstream.seen()[0].body), spelled);
    assert_eq!(gate.call("ana", "notes", "list_notes", json!({})).await.status, 200);
}

#[tokio::test]
async fn exactly_one_of_many_at_once() {
    let (gate, upstream) = start().await;
    let id = ask(&gate).await.confirmation();
    let many = (0..8).map(|_| gate.decide("ana", &id, "confirm"));
    let answers = futures_util::future::join_all(many).await;
    let ran = answers.iter().filter(|answer| answer.status == 200).count();
    let late = answers.iter().filter(|answer| answer.code() == "CONFIRMATION_USED").count();
    assert_eq!((ran, late), (1, 7), "{answers:?}");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn nothing_of_somebody_else() {
    let (gate, upstream) = start().await;
    let id = ask(&gate).await.confirmation();
    for verb in ["confirm", "accept", "cancel"] {
        refused(&gate.decide("amy", &id, verb).await, 403, "CONFIRMATION_FOREIGN");
        refused(&gate.decide("gil", &id, verb).await, 404, "CONFIRMATION_UNKNOWN");
        refused(&gate.decide("ana", "imp_c_none", verb).await, 404, "CONFIRMATION_UNKNOWN");
    }
    refused(
        &gate.get_as("amy", &format!("/v1/confirmations/{id}")).await,
        403,
        "CONFIRMATION_FOREIGN",
    );
    let listed = gate.get_as("amy", "/v1/confirmations/active").await;
    assert_eq!(listed.text(), "[]");
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(
        gate.decide("ana", &id, "confirm").await.status,
        200,
        "the attempts spoiled nothing"
    );
}

#[tokio::test]
async fn nothing_that_has_expired() {
    let (gate, upstream) = start_with_ttl("1s").await;
    let id = ask(&gate).await.confirmation();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    refused(&gate.decide("ana", &id, "confirm").await, 410, "CONFIRMATION_EXPIRED");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn nothing_that_was_cancelled() {
    let (gate, upstream) = start().await;
    let id = ask(&gate).await.confirmation();
    let cancelled = gate.decide("ana", &id, "cancel").await;
    assert_eq!(cancelled.body["status"], "cancelled", "{cancelled:?}");
    let records = gate.records_of(&cancelled.op());
    assert_eq!(text(records.last().unwrap(), "/res/status"), "cancelled");
    refused(&gate.decide("ana", &id, "confirm").await, 409, "CONFIRMATION_USED");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn only_what_the_rules_still_permit() {
    let (gate, upstream) = start().await;
    let id = ask(&gate).await.confirmation();
    gate.user_id("ben");
    gate.change(&["user", "set-role", &gate.user_id("ana"), "reader"]).await;
    refused(&gate.decide("ana", &id, "confirm").await, 403, "PERMISSION_DENIED");
    assert_eq!(upstream.seen().len(), 0);
    // It was answered: getting the role back does not bring the question back.
    gate.change(&["user", "set-role", &gate.user_id("ana"), "editor"]).await;
    refused(&gate.decide("ana", &id, "confirm").await, 409, "CONFIRMATION_USED");
}

#[tokio::test]
async fn nothing_whose_stored_bytes_or_hash_were_changed() {
    let (gate, upstream) = start().await;
    for (column, forged) in [("args_digest", [7_u8; 32].to_vec()), ("sealed_args", vec![7; 200])] {
        let id = ask(&gate).await.confirmation();
        let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
        let update = format!("UPDATE confirmations SET {column} = ?1 WHERE id = ?2");
        // The columns hold either bytes or their base64; neither spelling may run.
        assert_eq!(database.execute(&update, rusqlite::params![forged, id]).unwrap(), 1);
        let answer = gate.decide("ana", &id, "confirm").await;
        assert!(answer.status >= 400, "{column}: {answer:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_question_that_outlived_a_kill() {
    let (mut gate, upstream) = start().await;
    let id = ask(&gate).await.confirmation();
    gate.kill();
    gate.restart().await;
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn nothing_for_an_api_key_which_could_else_confirm_what_it_asks_for() {
    let (gate, upstream) = start().await;
    let key = gate.api_key("ana", &["notes:read", "notes:destructive"]);
    let id = ask(&gate).await.confirmation();
    for verb in ["confirm", "accept", "cancel"] {
        let path = format!("/v1/confirmations/{id}/{verb}");
        let request = gate.request(Method::POST, &path).header("x-api-key", &key);
        refused(&gate.send(request).await, 403, "CONFIRMATION_FOREIGN");
    }
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gate.decide("ana", &id, "confirm").await.status, 200, "her own it stays");
}

#[tokio::test]
async fn again_what_a_limit_refused_after_the_yes() {
    let upstream = Upstream::start();
    let builder = Deployment::builder().notes(&upstream);
    let gate = builder.limits("tool = { count = 1, per = \"3s\" }").start().await;
    let id = ask(&gate).await.confirmation();
    refused(&gate.decide("ana", &id, "confirm").await, 429, "RATE_LIMITED");
    let seen = gate.get_as("ana", &format!("/v1/confirmations/{id}")).await;
    assert_eq!(seen.body["state"], "pending", "a limit is no answer: {seen:?}");
    assert_eq!(upstream.seen().len(), 0);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let done = loop {
        let answer = gate.decide("ana", &id, "confirm").await;
        if answer.status != 429 {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "the limit never passed");
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(upstream.seen().len(), 1);
}
