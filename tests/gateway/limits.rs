//! The gateway limits ..., and ends in order.

use std::time::Duration;

use harness::{Deployment, Upstream, json, people::person, text};

fn milk() -> harness::Value {
    json!({ "title": "Milk" })
}

#[tokio::test]
async fn calls_in_flight_of_one_tenant_and_says_when_to_come_back() {
    let upstream = Upstream::start();
    let limits = "[server.limits]\ncalls_per_tenant = 1\nqueue_per_tenant = 0";
    let gate = Deployment::builder().notes(&upstream).settings(limits).start().await;
    gate.token("gil").await;
    gate.token("ana").await;
    upstream.hold().await;
    let first = gate.call("ana", "notes", "create_note", milk());
    let others = async {
        upstream.wait_for(1).await;
        let second = gate.call("ana", "notes", "create_note", milk()).await;
        assert_eq!((second.status, second.code()), (503, "BUSY"), "{second:?}");
        assert!(second.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_eq!(text(&gate.records_of(&second.op())[0], "/res/error"), "busy");
        // Another tenant has places of its own.
        let elsewhere = gate.call("gil", "notes", "create_note", milk());
        let release = async {
            upstream.wait_for(2).await;
            upstream.release();
        };
        tokio::join!(elsewhere, release).0
    };
    let (first, elsewhere) = tokio::join!(first, others);
    assert_eq!((first.status, elsewhere.status), (200, 200));
    assert_eq!(gate.call("ana", "notes", "create_note", milk()).await.status, 200);
}

#[tokio::test]
async fn sign_ins_and_says_when_to_come_back() {
    let upstream = Upstream::start();
    let limits = "[identity]\nlogin_attempts = 3\nlogin_window = \"5m\"";
    let gate = Deployment::builder().notes(&upstream).settings(limits).start().await;
    gate.user_id("ana");
    for _ in 0..3 {
        assert_eq!(gate.log_in(&person("ana"), "wrong password").await.status, 401);
    }
    // The right password does not help any more: guessing would otherwise go on to the end.
    let blocked = gate.log_in(&person("ana"), &person("ana").password()).await;
    assert_eq!((blocked.status, blocked.code()), (429, "RATE_LIMITED"), "{blocked:?}");
    assert!(blocked.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn an_end_in_order_to_the_calls_in_flight_and_exits_with_0() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    gate.token("ana").await;
    upstream.hold().await;
    let call = gate.call("ana", "notes", "create_note", milk());
    let end = async {
        upstream.wait_for(1).await;
        gate.terminate();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let refused = gate.try_send(gate.request(reqwest::Method::GET, "/healthz")).await;
        assert!(refused.is_err(), "a draining gateway takes no new connection: {refused:?}");
        upstream.release();
    };
    let (answer, ()) = tokio::join!(call, end);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(gate.wait().code(), Some(0), "{}", gate.log());
    let records = gate.records_of(&answer.op());
    assert_eq!(text(&records[1], "/res/status"), "done");
    let verified = gate.verify();
    assert!(verified.whole, "{}", verified.said);
}

#[tokio::test]
async fn how_long_an_end_waits_and_closes_what_is_left_as_unknown() {
    let upstream = Upstream::start();
    let limits = "[server.limits]\ndrain_timeout = \"1s\"";
    let mut gate = Deployment::builder().notes(&upstream).settings(limits).start().await;
    gate.token("ana").await;
    upstream.hold().await;
    let body = json!({ "function": "create_note", "params": milk() });
    let request = gate.signed("ana", reqwest::Method::POST, "/v1/extensions/notes/call").await;
    let call = gate.try_send(request.json(&body));
    let end = async {
        upstream.wait_for(1).await;
        gate.terminate();
    };
    let (answer, ()) = tokio::join!(call, end);
    assert!(answer.as_ref().is_ok_and(|a| a.status >= 500) || answer.is_err(), "{answer:?}");
    assert_eq!(gate.wait().code(), Some(0), "{}", gate.log());
    upstream.release();
    gate.restart().await;
    let op = upstream.seen()[0].header("x-portcullis-op").to_owned();
    let records = gate.settled(&op, 2).await;
    assert_eq!(text(&records[1], "/res/status"), "unknown", "{records:?}");
}

#[tokio::test]
async fn itself_to_nothing_while_the_ledger_cannot_record() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    gate.token("ana").await;
    assert_eq!(gate.get("/readyz").await.status, 200);
    std::fs::remove_file(gate.data().join("ledger.sqlite")).unwrap();
    sealed(&gate).await;
    for (function, params) in [("list_notes", json!({})), ("create_note", milk())] {
        let answer = gate.call("ana", "notes", function, params).await;
        assert_eq!((answer.status, answer.code()), (503, "AUDIT_UNAVAILABLE"), "{answer:?}");
        assert!(!answer.header("retry-after").is_empty());
    }
    let refusal = gate.call("ana", "notes", "no_such", json!({})).await;
    assert_eq!(refusal.code(), "AUDIT_UNAVAILABLE", "an unrecorded refusal is not given either");
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gate.get("/healthz").await.status, 200);
}

/// Waits until the gateway says that its ledger takes no records.
pub(crate) async fn sealed(gate: &Deployment) {
    for _ in 0..400 {
        let ready = gate.get("/readyz").await;
        if ready.status == 503 {
            assert_eq!(ready.body["ledger_sealed"], true);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the gateway did not notice that its ledger is gone\n{}", gate.log());
}
