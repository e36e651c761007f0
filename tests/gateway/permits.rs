//! The gateway permits ...

use harness::{Answer, Deployment, Upstream, json, text};
use reqwest::Method;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).start().await, upstream)
}

/// Permitted, carried out once, and on record as that.
async fn carried_out(gate: &Deployment, upstream: &Upstream, answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-portcullis-decision"), "permit");
    assert_eq!(answer.rules(), ["rbac/scopes-held"]);
    assert_eq!(upstream.of_op(&answer.op()).len(), 1);
    let records = gate.settled(&answer.op(), 2).await;
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(text(&records[0], "/kind"), "intent");
    assert_eq!(text(&records[0], "/pol/rule/0"), "rbac/scopes-held");
    assert_eq!(text(&records[1], "/kind"), "outcome");
    assert_eq!(text(&records[1], "/res/status"), "done");
}

#[tokio::test]
async fn a_read_by_somebody_with_the_scope() {
    let (gate, upstream) = start().await;
    let answer = gate.call("ben", "notes", "list_notes", json!({ "limit": 5 })).await;
    carried_out(&gate, &upstream, &answer).await;
}

#[tokio::test]
async fn a_write_by_somebody_with_the_scope_and_passes_the_apps_answer_on() {
    let (gate, upstream) = start().await;
    let answer = gate.call("ana", "notes", "create_note", json!({ "title": "Milk" })).await;
    carried_out(&gate, &upstream, &answer).await;
    assert_eq!(answer.body["data"]["received"], r#"{"title":"Milk"}"#);
    assert_eq!(answer.body["trace_id"], answer.op());
}

#[tokio::test]
async fn somebody_whose_scope_is_a_wildcard() {
    let (gate, upstream) = start().await;
    let answer = gate.call("ada", "notes", "create_note", json!({ "title": "Milk" })).await;
    carried_out(&gate, &upstream, &answer).await;
}

#[tokio::test]
async fn an_api_key_within_its_own_scopes_only() {
    let (gate, upstream) = start().await;
    let key = gate.api_key("ana", &["notes:read"]);
    let call = |function: &str, params| {
        let body = json!({ "function": function, "params": params });
        let request = gate.request(Method::POST, "/v1/extensions/notes/call");
        gate.send(request.header("x-api-key", &key).json(&body))
    };
    carried_out(&gate, &upstream, &call("list_notes", json!({})).await).await;
    let write = call("create_note", json!({ "title": "Milk" })).await;
    assert_eq!((write.status, write.code()), (403, "PERMISSION_DENIED"));
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn what_a_role_gained_as_soon_as_it_did_with_the_old_token() {
    let (gate, upstream) = start().await;
    let write = || gate.call("ben", "notes", "create_note", json!({ "title": "Milk" }));
    assert_eq!(write().await.code(), "PERMISSION_DENIED");
    gate.change(&[
        "role",
        "set",
        "--tenant",
        "imp_t_acme",
        "reader",
        "--scope",
        "notes:read",
        "--scope",
        "notes:write",
    ])
    .await;
    carried_out(&gate, &upstream, &write().await).await;
}

#[tokio::test]
async fn calls_through_the_mcp_door_by_the_same_rules() {
    let (gate, upstream) = start().await;
    let message = |name: &str, arguments| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": { "name": name, "arguments": arguments } })
    };
    let send = async |user: &str, body| {
        let request = gate.signed(user, Method::POST, "/mcp").await;
        let accept = "application/json, text/event-stream";
        gate.send(request.header("accept", accept).json(&body)).await
    };
    let read = send("ben", message("notes__list_notes", json!({}))).await;
    assert_ne!(read.body["result"]["isError"], true, "{read:?}");
    assert_eq!(read.body["error"], harness::Value::Null, "{read:?}");
    assert_eq!(upstream.seen().len(), 1);
    let write = send("ben", message("notes__create_note", json!({ "title": "x" }))).await;
    assert_eq!(write.body["result"]["isError"], true, "{write:?}");
    assert_eq!(write.body["result"]["structuredContent"]["error"], "PERMISSION_DENIED");
    assert_eq!(upstream.seen().len(), 1);
}
