//! The gateway records ...

use harness::{Deployment, Upstream, json, people::person, text};

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).bank(&upstream, "x").start().await, upstream)
}

#[tokio::test]
async fn every_refusal_before_it_is_answered() {
    let (gate, upstream) = start().await;
    let answers = [
        gate.call("ben", "notes", "create_note", json!({ "title": "x" })).await,
        gate.call("ana", "notes", "create_note", json!({})).await,
        gate.call("ana", "notes", "nothing", json!({})).await,
        gate.call("ana", "nothing", "nothing", json!({})).await,
        gate.call_with_body("ana", "notes", "{").await,
        gate.decide("ana", "imp_c_none", "confirm").await,
        gate.decide("ana", "imp_c_none", "cancel").await,
        gate.get_as("ana", "/proxy/bank/nothing").await,
        gate.send(gate.request(reqwest::Method::POST, "/v1/extensions/notes/call")).await,
        gate.send(gate.request(reqwest::Method::GET, "/proxy/bank/invoices")).await,
    ];
    for answer in &answers {
        // Looked for only after the answer, and without waiting: it has to be there already.
        let records = gate.records_of(&answer.op());
        assert_eq!(records.len(), 1, "{answer:?}");
        assert_eq!(text(&records[0], "/res/status"), "refused");
        assert_eq!(text(&records[0], "/res/error"), answer.code().to_lowercase());
    }
    assert_eq!(upstream.seen().len(), 0);
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}

#[tokio::test]
async fn every_call_as_an_intent_before_and_an_outcome_after() {
    let (gate, upstream) = start().await;
    upstream.hold().await;
    let call = gate.call("ana", "notes", "create_note", json!({ "title": "x" }));
    let look = async {
        upstream.wait_for(1).await;
        let op = upstream.seen()[0].header("x-portcullis-op").to_owned();
        let records = gate.records_of(&op);
        upstream.release();
        records
    };
    let (answer, during) = tokio::join!(call, look);
    assert_eq!(during.len(), 1, "{during:?}");
    assert_eq!(text(&during[0], "/kind"), "intent");
    assert_eq!(gate.records_of(&answer.op()).len(), 2);
}

#[tokio::test]
async fn how_long_each_is_kept() {
    let (gate, _upstream) = start().await;
    let calls = [
        (gate.call("ana", "notes", "list_notes", json!({})).await, 200, "1y", 2),
        (gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await, 200, "7y", 2),
        (gate.call("ben", "notes", "create_note", json!({ "title": "x" })).await, 403, "7y", 1),
    ];
    for (answer, status, class, count) in calls {
        assert_eq!(answer.status, status, "{answer:?}");
        for record in gate.settled(&answer.op(), count).await {
            assert_eq!(text(&record, "/ret"), class, "{record}");
        }
    }
    let records = gate.records();
    let of = |begin: &str| -> Vec<&str> {
        let begins = |r: &&harness::Value| text(r, "/note/action").starts_with(begin);
        records.iter().filter(begins).map(|record| text(record, "/ret")).collect()
    };
    assert!(!of("user.").is_empty() && of("user.").iter().all(|class| *class == "7y"));
}

#[tokio::test]
async fn failed_and_successful_sign_ins() {
    let (gate, _upstream) = start().await;
    gate.token("ana").await;
    let before = gate.records();
    let signed_in = before.iter().filter(|record| text(record, "/res/status") == "signed_in");
    assert_eq!(signed_in.count(), 1);
    let refused = gate.log_in(&person("ana"), "not the password").await;
    assert_eq!((refused.status, refused.code()), (401, "INVALID_CREDENTIAL"));
    let nobody = gate.log_in(&person("gil"), "nobody of this name yet").await;
    assert_eq!((nobody.status, nobody.code()), (401, "INVALID_CREDENTIAL"));
    let after = gate.records();
    let failed = after.iter().filter(|record| text(record, "/res/error") == "invalid_credential");
    assert_eq!(failed.count(), 2);
}

#[tokio::test]
async fn failed_identification_at_every_door() {
    let (gate, _upstream) = start().await;
    let doors = ["/v1/auth/me", "/v1/confirmations/active", "/v1/confirmations/imp_c_x"];
    for (count, path) in doors.iter().enumerate() {
        assert_eq!(gate.get(path).await.status, 401);
        let records = gate.records();
        let refused =
            records.iter().filter(|record| text(record, "/res/error") == "unauthenticated");
        assert_eq!(refused.count(), count + 1, "{path}");
    }
}

#[tokio::test]
async fn every_change_of_the_directory() {
    let (gate, _upstream) = start().await;
    let id = gate.user_id("ana");
    gate.user_id("ben");
    gate.must(&["user", "set-role", &id, "reader"]);
    gate.must(&["user", "grant-scope", &id, "notes:write"]);
    gate.must(&["user", "deactivate", &id]);
    gate.api_key("ben", &["*"]);
    let wanted = [
        "tenant.create",
        "role.create",
        "user.create",
        "user.set_role",
        "user.grant_scope",
        "user.set_active",
        "key.create",
    ];
    let mut actions = Vec::new();
    // A change is carried over within a moment, not in the command's own process.
    for _ in 0..200 {
        let records = gate.records();
        let admin = records.iter().filter(|record| text(record, "/kind") == "admin");
        actions = admin.map(|record| text(record, "/note/action").to_owned()).collect();
        if actions.iter().any(|action| action == "key.create") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for action in wanted {
        assert!(actions.iter().any(|seen| seen == action), "{action} is not in {actions:?}");
    }
}

#[tokio::test]
async fn how_the_upstream_ended_in_the_words_of_the_ledger() {
    let (gate, upstream) = start().await;
    let cases = [
        (500, "not json", "failed", 502, "BACKEND_5XX"),
        (403, "not json", "refused", 422, "BACKEND_REFUSED"),
        (502, "not json", "unknown", 504, "BACKEND_TIMEOUT"),
        (200, "not json", "unknown", 504, "BACKEND_TIMEOUT"),
    ];
    for (upstream_status, body, recorded, status, code) in cases {
        upstream.answers("/notes/create_note", upstream_status, body);
        let answer = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
        let records = gate.records_of(&answer.op());
        let outcome = records.iter().find(|record| text(record, "/kind") == "outcome").unwrap();
        assert_eq!(text(outcome, "/res/status"), recorded);
    }
}
