//! The gateway refuses ..., and no upstream sees anything of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;

async fn start() -> (Deployment, Upstream) {
    let upstream = Upstream::start();
    (Deployment::builder().notes(&upstream).bank(&upstream, "x").start().await, upstream)
}

/// Refused in the shape of the contract, with a record, and nothing sent on.
fn refused(gate: &Deployment, upstream: &Upstream, answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    let records = gate.records_of(&answer.op());
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(text(&records[0], "/kind"), "decision");
    assert_eq!(text(&records[0], "/res/status"), "refused");
    assert_eq!(text(&records[0], "/res/error"), code.to_lowercase());
    assert_eq!(upstream.seen().len(), 0, "{:?}", upstream.seen());
}

fn milk() -> Value {
    json!({ "title": "Milk" })
}

#[tokio::test]
async fn a_call_without_the_scope() {
    let (gate, upstream) = start().await;
    let answer = gate.call("ben", "notes", "create_note", milk()).await;
    refused(&gate, &upstream, &answer, 403, "PERMISSION_DENIED");
    assert_eq!(answer.rules(), ["rbac/scope-missing"]);
    for field in ["detail", "error", "message", "status", "i18n_key", "rules"] {
        assert!(!answer.body[field].is_null(), "{field}: {answer:?}");
    }
}

#[tokio::test]
async fn somebody_without_any_scope() {
    let (gate, upstream) = start().await;
    let answer = gate.call("nil", "notes", "list_notes", json!({})).await;
    refused(&gate, &upstream, &answer, 403, "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_call_on_another_tenants_app() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let app = format!(
        "[apps.notes]\nmanifest = \"notes.json\"\nurl = \"{url}\"\ntenant = \"imp_t_acme\""
    );
    let builder = Deployment::builder().file("notes.json", harness::MANIFEST).app(&app);
    let gate = builder.start().await;
    let answer = gate.call("gil", "notes", "list_notes", json!({})).await;
    refused(&gate, &upstream, &answer, 403, "TENANT_SCOPE_VIOLATION");
    assert!(answer.rules().contains(&"tenant/other-tenant"));
}

#[tokio::test]
async fn hints_that_name_somebody_else() {
    let (gate, upstream) = start().await;
    let (ana, amy) = (gate.user_id("ana"), gate.user_id("amy"));
    let path = "/v1/extensions/notes/call";
    let with_user = |id: &str| json!({ "function": "list_notes", "params": {}, "user_id": id });
    let answer = gate.post_as("ana", path, &with_user(&amy)).await;
    refused(&gate, &upstream, &answer, 403, "IDENTITY_MISMATCH");
    for (name, value) in [("x-acting-user", amy.as_str()), ("x-tenant-id", "imp_t_globex")] {
        let request = gate.signed("ana", Method::POST, path).await.header(name, value);
        let answer = gate.send(request.json(&with_user(&ana))).await;
        refused(&gate, &upstream, &answer, 403, "IDENTITY_MISMATCH");
    }
    let mut body = with_user(&ana);
    body["tenant_id"] = json!("imp_t_globex");
    let answer = gate.post_as("ana", path, &body).await;
    refused(&gate, &upstream, &answer, 403, "TENANT_SCOPE_VIOLATION");
    let truthful = gate.post_as("ana", path, &with_user(&ana)).await;
    assert_eq!(truthful.status, 200, "{truthful:?}");
}

#[tokio::test]
async fn what_a_role_lost_as_soon_as_it_did_with_the_old_token() {
    let (gate, upstream) = start().await;
    let id = gate.user_id("ana");
    gate.user_id("ben");
    gate.token("ana").await;
    gate.change(&["user", "set-role", &id, "reader"]).await;
    let answer = gate.call("ana", "notes", "create_note", milk()).await;
    refused(&gate, &upstream, &answer, 403, "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_deactivated_user_or_tenant_whose_token_is_still_good() {
    let (gate, upstream) = start().await;
    let id = gate.user_id("ana");
    gate.token("ana").await;
    gate.change(&["user", "deactivate", &id]).await;
    let answer = gate.call("ana", "notes", "list_notes", json!({})).await;
    refused(&gate, &upstream, &answer, 401, "INVALID_CREDENTIAL");
    gate.change(&["user", "activate", &id]).await;
    gate.change(&["tenant", "deactivate", "imp_t_acme"]).await;
    let answer = gate.call("ana", "notes", "list_notes", json!({})).await;
    refused(&gate, &upstream, &answer, 401, "INVALID_CREDENTIAL");
}

#[tokio::test]
async fn arguments_that_do_not_fit_the_schema_with_every_place() {
    let (gate, upstream) = start().await;
    let answer = gate.call("ana", "notes", "create_note", json!({ "text": 7, "x": 1 })).await;
    refused(&gate, &upstream, &answer, 422, "VALIDATION_MISSING_FIELD");
    let keywords: Vec<_> = answer.body["violations"].as_array().unwrap().iter().collect();
    assert!(keywords.len() >= 3, "{keywords:?}");
    let answer = gate.call("ana", "notes", "create_note", json!({ "title": 7 })).await;
    refused(&gate, &upstream, &answer, 422, "VALIDATION_TYPE_ERROR");
}

#[tokio::test]
async fn a_tool_an_app_and_a_route_that_are_not_there() {
    let (gate, upstream) = start().await;
    let answer = gate.call("ada", "notes", "make_coffee", json!({})).await;
    refused(&gate, &upstream, &answer, 200, "UNKNOWN_SUB_FUNCTION");
    let answer = gate.call("ada", "nowhere", "list_notes", json!({})).await;
    refused(&gate, &upstream, &answer, 404, "UNKNOWN_TOOL");
    let answer = gate.get_as("ada", "/proxy/bank/vault").await;
    refused(&gate, &upstream, &answer, 404, "UNKNOWN_SUB_FUNCTION");
    let answer = gate.get_as("ada", "/proxy/notes/invoices").await;
    refused(&gate, &upstream, &answer, 404, "UNKNOWN_TOOL");
}

#[tokio::test]
async fn json_with_two_meanings_too_deep_or_too_long() {
    let (gate, upstream) = start().await;
    let nested = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let call = |params: &str| format!(r#"{{"function":"create_note","params":{params}}}"#);
    let cases = [
        ("duplicate arguments", call(r#"{"title":"a","title":"b"}"#), 400, "MALFORMED_BODY"),
        ("an escaped duplicate", call(r#"{"title":"a","titl\u0065":"b"}"#), 400, "MALFORMED_BODY"),
        ("two functions", r#"{"function":"a","function":"b"}"#.into(), 400, "MALFORMED_BODY"),
        ("depth", call(&format!(r#"{{"title":{nested}}}"#)), 400, "MALFORMED_BODY"),
        ("not a number", call(r#"{"title":NaN}"#), 400, "MALFORMED_BODY"),
        ("something behind", format!("{} {{}}", call("{}")), 400, "MALFORMED_BODY"),
        ("broken off", r#"{"function":"#.into(), 400, "MALFORMED_BODY"),
        ("no function", r#"{"params":{}}"#.into(), 400, "MALFORMED_BODY"),
        ("a mebibyte", call(&format!(r#""{}""#, "x".repeat(1 << 20))), 413, "BODY_TOO_LARGE"),
    ];
    for (name, body, status, code) in cases {
        let answer = gate.call_with_body("ana", "notes", body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{name}");
        refused(&gate, &upstream, &answer, status, code);
    }
}

#[tokio::test]
async fn no_credential_a_wrong_one_and_two_at_once() {
    let (gate, upstream) = start().await;
    let token = gate.token("ana").await;
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let body = json!({ "function": "list_notes", "params": {} });
    let knock = || gate.request(Method::POST, "/v1/extensions/notes/call").json(&body);
    let in_query = gate
        .request(Method::POST, &format!("/v1/extensions/notes/call?access_token={token}"))
        .json(&body);
    let cases = [
        (knock(), 401, "UNAUTHENTICATED"),
        (knock().bearer_auth("not.a.token"), 401, "INVALID_CREDENTIAL"),
        (knock().bearer_auth(forged), 401, "INVALID_CREDENTIAL"),
        (knock().basic_auth("ana", Some("x")), 401, "INVALID_CREDENTIAL"),
        (knock().header("x-api-key", "imp_live_unknown"), 401, "INVALID_CREDENTIAL"),
        (knock().bearer_auth(&token).header("x-api-key", "k"), 400, "AMBIGUOUS_CREDENTIAL"),
        (in_query.bearer_auth(&token), 400, "AMBIGUOUS_CREDENTIAL"),
    ];
    for (request, status, code) in cases {
        let answer = gate.send(request).await;
        refused(&gate, &upstream, &answer, status, code);
        assert_eq!(answer.header("www-authenticate") == "Bearer", status == 401, "{answer:?}");
    }
}

/// What a peer answers to bytes that no HTTP library would send.
pub(crate) fn raw(gate: &Deployment, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gate.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // The connection may be reset behind the answer; what came before counts.
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_with_two_meanings_and_records_each() {
    let (gate, upstream) = start().await;
    let token = gate.token("ana").await;
    let auth = format!("Host: a.example\r\nAuthorization: Bearer {token}\r\n");
    let smuggled = "0\r\n\r\nGET /proxy/bank/invoices HTTP/1.1\r\n\r\n";
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\n{auth}\r\n");
    let post = |fields: &str, body: &str| {
        format!("POST /proxy/bank/invoices HTTP/1.1\r\n{auth}{fields}\r\n\r\n{body}")
    };
    let cases = [
        post("Content-Length: 4\r\nTransfer-Encoding: chunked", smuggled),
        post("Content-Length: 4\r\nContent-Length: 5", "abcde"),
        post("Transfer-Encoding: xchunked", smuggled),
        format!("GET /proxy/bank/invoices HTTP/1.1\r\nHost: b.example\r\n{auth}\r\n"),
        get("/proxy/bank/../bank/invoices"),
        get("/proxy/bank/%2e%2e/invoices"),
        get("/proxy/bank//invoices"),
        get("/proxy/bank/in%2fvoices"),
        get("/proxy/bank/invoices%00"),
    ];
    let before = gate.records().len();
    for case in &cases {
        let answer = raw(&gate, case);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{case}\n{answer}");
        assert!(answer.contains("MALFORMED_REQUEST"), "{case}\n{answer}");
    }
    let records = gate.records();
    let malformed = records[before..].iter();
    let malformed = malformed.filter(|record| text(record, "/res/error") == "malformed_request");
    assert_eq!(malformed.count(), cases.len(), "{:#?}", &records[before..]);
    assert_eq!(upstream.seen().len(), 0, "{:?}", upstream.seen());
}
