//! What a proxied call would send is shown and hashed whole, and so is who asks ...

use harness::{Answer, Deployment, Upstream, json, text};
use reqwest::Method;
use reqwest::header::HeaderValue;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).bank(&upstream, "planted-bank-credential");
    (gate.start().await, upstream)
}

async fn drop_invoice(
    gate: &Deployment,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request = gate.signed("ana", Method::DELETE, "/proxy/bank/invoices/7").await;
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gate.send(request.body(body)).await
}

async fn page(gate: &Deployment, id: &str) -> String {
    let cookie = format!("portcullis_session={}", gate.token("ana").await);
    let path = format!("/confirm/{id}");
    gate.send(gate.request(Method::GET, &path).header("cookie", cookie)).await.text()
}

#[tokio::test]
async fn the_headers_and_the_body_that_are_sent_are_shown_and_hashed() {
    let (gate, upstream) = start().await;
    let body = r#"{"to":"mallory","password":"hunter2"}"#;
    let headers = [
        ("content-type", "application/json"),
        ("x-note", "quietly"),
        ("x-tenant-id", "imp_t_acme"),
    ];
    let asked = drop_invoice(&gate, &headers, body).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let request = &asked.body["request"];
    let kept = request["headers"].to_string();
    assert!(kept.contains(r#"["x-note","quietly"]"#), "{kept}");
    assert!(!kept.contains("authorization") && !kept.contains("x-tenant-id"), "{kept}");
    assert_eq!(request["body_text"], body);

    let shown = page(&gate, &asked.confirmation()).await;
    for wanted in [
        "&quot;mallory&quot;",
        "&quot;quietly&quot;",
        "x-note",
        "DELETE /invoices/7",
        "hidden: 7 characters",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    let hash = asked.body["request_hash"].as_str().unwrap();
    assert!(shown.contains(hash) && hash != asked.body["hash"], "{shown}");
    let records = gate.records_of(&asked.op());
    assert_eq!(text(&records[0], "/note/shown_request_hash"), hash);
    assert_eq!(text(&records[0], "/note/shown_hash"), asked.body["hash"]);

    // Another body, another header: another hash, though it is the same call.
    for (headers, body) in [(&headers[..], "{}"), (&headers[..1], body)] {
        let other = drop_invoice(&gate, headers, body).await;
        assert_eq!(other.body["hash"], asked.body["hash"]);
        assert_ne!(other.body["request_hash"], hash);
    }

    let done = gate.decide("ana", &asked.confirmation(), "confirm").await;
    assert_eq!(done.status, 200, "{done:?}");
    let seen = &upstream.seen()[0];
    assert_eq!(String::from_utf8_lossy(&seen.body), body);
    for (name, value) in request["headers"].as_array().unwrap().iter().map(|one| (&one[0], &one[1]))
    {
        let (name, value) = (name.as_str().unwrap(), value.as_str().unwrap());
        if name != "host" {
            assert_eq!(seen.header(name), value, "what is shown is what is sent");
        }
    }
}

#[tokio::test]
async fn a_body_that_nobody_can_read_is_warned_of() {
    let (gate, _upstream) = start().await;
    for (kind, body) in
        [("image/png", &b"\x89PNG\xff\xfe"[..]), ("text/plain; charset=utf-16le", b"t\0o\0")]
    {
        let asked = drop_invoice(&gate, &[("content-type", kind)], body).await;
        let shown = page(&gate, &asked.confirmation()).await;
        let hash = asked.body["request"]["body_sha256"].as_str().unwrap();
        assert!(shown.contains("can't show what is sent") && shown.contains(hash), "{shown}");
        assert!(shown.contains(kind), "{shown}");
    }
}

#[tokio::test]
async fn a_body_with_more_values_than_are_shown_is_not_offered_to_be_confirmed() {
    let (gate, _upstream) = start().await;
    let body = json!({ "filler": vec![0; 600], "to": "mallory" }).to_string();
    let asked = drop_invoice(&gate, &[("content-type", "application/json")], body).await;
    let shown = page(&gate, &asked.confirmation()).await;
    assert!(
        shown.contains("can't be confirmed here") && !shown.contains("value=\"confirm\""),
        "{shown}"
    );
}

#[tokio::test]
async fn a_header_that_cannot_be_shown_is_refused_and_not_dropped() {
    let (gate, upstream) = start().await;
    let request = gate.signed("ana", Method::DELETE, "/proxy/bank/invoices/7").await;
    let request = request.header("x-note", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let refused = gate.send(request).await;
    assert_eq!((refused.status, refused.code()), (400, "MALFORMED_REQUEST"), "{refused:?}");
    assert!(refused.text().contains("x-note"), "{refused:?}");
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gate.get_as("ana", "/v1/confirmations/active").await.text(), "[]");
}

#[tokio::test]
async fn the_program_that_asks_and_the_tenant_are_named() {
    let (gate, _upstream) = start().await;
    let key = gate.api_key("ana", &["notes:read", "notes:destructive"]);
    let call = json!({ "function": "delete_note", "params": { "note_id": "note-1" } });
    let request = gate.request(Method::POST, "/v1/extensions/notes/call").header("x-api-key", &key);
    let asked = gate.send(request.json(&call)).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let by = &asked.body["asked_by"];
    assert_eq!(
        (&by["kind"], &by["name"], &by["channel"]),
        (&json!("api_key"), &json!("e2e"), &json!("http"))
    );
    assert_eq!(asked.body["target_tenant"], "imp_t_acme");
    let shown = page(&gate, &asked.confirmation()).await;
    for wanted in ["an API key, by http", "<q>e2e</q>", by["id"].as_str().unwrap(), "imp_t_acme"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    let own = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    assert_eq!(own.body["asked_by"]["kind"], "session");
}
