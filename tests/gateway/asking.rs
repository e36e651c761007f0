//! Who is asked before what ...

use harness::{Answer, Deployment, Upstream, Value, json};
use reqwest::Method;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).start().await, upstream)
}

async fn set(gate: &Deployment, settings: Value) {
    let request = gate.signed("ana", Method::PATCH, "/v1/me/settings").await;
    let set = gate.send(request.json(&settings)).await;
    assert_eq!(set.status, 200, "{set:?}");
}

fn asked(answer: &Answer, rule: &str) {
    assert_eq!((answer.status, answer.rules()), (202, vec![rule]), "{answer:?}");
}

#[tokio::test]
async fn is_what_a_person_said_of_one_tool_unless_it_destroys_or_the_role_always_asks() {
    let (gate, upstream) = start().await;
    set(
        &gate,
        json!({ "confirmation_enabled": true, "confirmation_overrides": {
            "notes/list_notes": true, "notes/create_note": false, "notes/delete_note": false,
        } }),
    )
    .await;
    let list = gate.call("ana", "notes", "list_notes", json!({})).await;
    asked(&list, "confirmation/tool-unconfirmed");
    let note = json!({ "title": "x", "text": "y" });
    assert_eq!(gate.call("ana", "notes", "create_note", note.clone()).await.status, 200);
    let delete = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    asked(&delete, "action-type/destructive-unconfirmed");
    assert_eq!(upstream.seen().len(), 1);
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
    let created = gate.call("ana", "notes", "create_note", note).await;
    asked(&created, "confirmation/write-unconfirmed");
    assert_eq!(gate.decide("ana", &list.confirmation(), "confirm").await.status, 200);
}

#[tokio::test]
async fn is_the_person_too_when_a_key_of_theirs_asks() {
    let (gate, upstream) = start().await;
    let key = gate.api_key("ana", &["notes:write"]);
    set(&gate, json!({ "confirmation_enabled": true })).await;
    let body = json!({ "function": "create_note", "params": { "title": "x", "text": "y" } });
    let request = gate.request(Method::POST, "/v1/extensions/notes/call");
    let by_key = gate.send(request.header("x-api-key", &key).json(&body)).await;
    asked(&by_key, "confirmation/write-unconfirmed");
    let path = format!("/v1/confirmations/{}/confirm", by_key.confirmation());
    let by_key_again = gate.request(Method::POST, &path).header("x-api-key", &key).json(&json!({}));
    assert_eq!(gate.send(by_key_again).await.code(), "CONFIRMATION_FOREIGN");
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gate.decide("ana", &by_key.confirmation(), "confirm").await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn is_nobody_where_nobody_stands_behind_a_program_so_it_is_refused() {
    let (gate, upstream) = start().await;
    let scopes = ["notes:read", "notes:write", "notes:destructive"];
    let body = json!({ "app": "panel", "purpose": "system", "scopes": scopes });
    gate.user_id("max");
    let made = gate.post_as("max", "/v1/service-tokens", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.body["token"].as_str().unwrap();
    let call = async |function: &str, params: Value| {
        let request = gate.request(Method::POST, "/v1/extensions/notes/call");
        let body = json!({ "function": function, "params": params });
        gate.send(request.header("x-service-token", token).json(&body)).await
    };
    let refused = call("delete_note", json!({ "note_id": "note-1" })).await;
    assert_eq!((refused.status, refused.code()), (403, "PERMISSION_DENIED"), "{refused:?}");
    assert_eq!(refused.rules()[0], "action-type/destructive-unconfirmed", "{refused:?}");
    assert!(refused.rules().contains(&"automation/nobody-to-confirm"), "{refused:?}");
    assert_eq!(call("create_note", json!({ "title": "x", "text": "y" })).await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
    // For a person it asks that person, by what they want to be asked.
    set(&gate, json!({ "confirmation_enabled": true })).await;
    let (ana, amy) = (gate.user_id("ana"), gate.user_id("amy"));
    let create = async |acting: &str| {
        let request = gate.request(Method::POST, "/v1/extensions/notes/call");
        let request = request.header("x-service-token", token).header("x-acting-user", acting);
        let params = json!({ "title": "x", "text": "y" });
        gate.send(request.json(&json!({ "function": "create_note", "params": params }))).await
    };
    for _ in 0..2 {
        assert_eq!(create(&amy).await.status, 200);
        asked(&create(&ana).await, "confirmation/write-unconfirmed");
    }
}

#[tokio::test]
async fn is_nobody_for_a_write_that_a_rule_wants_approved_in_nobodys_name() {
    let upstream = Upstream::start();
    let rule = "@id(\"test/another\") @reason(\"somebody else has to approve\") forbid (principal, \
                action == Portcullis::Action::\"notes/create_note\", resource) \
                unless { context.confirmation.byOther };";
    let gate = crate::parts::policies_with(&upstream, rule).start().await;
    gate.user_id("max");
    let body = json!({ "app": "panel", "purpose": "system", "scopes": ["notes:write"] });
    let made = gate.post_as("max", "/v1/service-tokens", &body).await;
    let token = made.body["token"].as_str().unwrap();
    let request = gate.request(Method::POST, "/v1/extensions/notes/call");
    let body = json!({ "function": "create_note", "params": { "title": "x", "text": "y" } });
    let refused = gate.send(request.header("x-service-token", token).json(&body)).await;
    assert_eq!((refused.status, refused.code()), (403, "CONFIRMATION_FOREIGN"), "{refused:?}");
    assert_eq!(upstream.seen().len(), 0);
}
