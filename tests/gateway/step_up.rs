//! A rule that wants a better sign-in ...

use std::time::Duration;

use harness::{Answer, Deployment, Upstream, json, person};
use reqwest::{Method, RequestBuilder};

use crate::parts::{ours, policies_with};

/// Reads need a sign-in of the last three seconds, writes a second factor.
const RULES: &str = r#"@id("test/fresh")
@reason("a list needs a fresh sign-in")
forbid (principal is Portcullis::User, action == Portcullis::Action::"notes/list_notes", resource)
unless { context.request has authAge && context.request.authAge < 4 };

@id("test/two-factors")
@reason("a note needs a second factor")
forbid (principal, action == Portcullis::Action::"notes/create_note", resource)
unless { principal.mfa };
"#;

async fn list(gate: &Deployment, token: &str) -> Answer {
    let request = gate.request(Method::POST, "/v1/extensions/notes/call").bearer_auth(token);
    gate.send(request.json(&json!({ "function": "list_notes", "params": {} }))).await
}

fn word<'a>(answer: &'a Answer, member: &str) -> &'a str {
    answer.body[member].as_str().unwrap_or_else(|| panic!("no {member}: {answer:?}"))
}

#[tokio::test]
async fn says_how_fresh_and_a_refresh_does_not_help_but_a_sign_in_does() {
    let upstream = Upstream::start();
    let gate = policies_with(&upstream, RULES).start().await;
    gate.user_id("ana");
    let first = gate.log_in(&person("ana"), &person("ana").password()).await;
    let token = word(&first, "access_token").to_owned();
    assert_eq!(list(&gate, &token).await.status, 200);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let refused = loop {
        let answer = list(&gate, &token).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "the sign-in never became old");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!((refused.status, refused.code()), (401, "STEP_UP_REQUIRED"), "{refused:?}");
    let challenge = refused.header("www-authenticate");
    assert_eq!(challenge, "Bearer error=\"insufficient_user_authentication\", max_age=\"3\"");
    assert_eq!(refused.body["max_age"], 3);
    assert_eq!(refused.rules(), ["test/fresh"]);
    let records = gate.records_of(&refused.op());
    assert_eq!(records.len(), 1, "{records:?}");

    let refresh = json!({ "refresh_token": first.body["refresh_token"] });
    let request = gate.request(Method::POST, "/v1/auth/refresh").json(&refresh);
    let refreshed = gate.send(request).await;
    let still = list(&gate, word(&refreshed, "access_token")).await;
    assert_eq!(still.code(), "STEP_UP_REQUIRED", "a refresh is no sign-in: {still:?}");

    let again = gate.log_in(&person("ana"), &person("ana").password()).await;
    assert_eq!(list(&gate, word(&again, "access_token")).await.status, 200);
    let old = list(&gate, &token).await;
    assert_eq!(old.code(), "STEP_UP_REQUIRED", "the older session stays old: {old:?}");
}

#[tokio::test]
async fn says_that_a_second_factor_is_missing_and_tells_programs_nothing_of_it() {
    let upstream = Upstream::start();
    let gate = policies_with(&upstream, RULES).start().await;
    let refused = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
    assert_eq!((refused.status, refused.code()), (401, "STEP_UP_REQUIRED"), "{refused:?}");
    let wanted = "Bearer error=\"insufficient_user_authentication\", \
                  acr_values=\"urn:portcullis:acr:mfa\"";
    assert_eq!(refused.header("www-authenticate"), wanted);
    let key = gate.api_key("ana", &["notes:*"]);
    let request = gate.request(Method::POST, "/v1/extensions/notes/call").header("x-api-key", key);
    let body = json!({ "function": "create_note", "params": { "title": "x" } });
    let refused = gate.send(request.json(&body)).await;
    assert_eq!((refused.status, refused.code()), (403, "PERMISSION_DENIED"), "{refused:?}");
    assert_eq!(upstream.seen().len(), 0);
}

/// The names in an answer to `tools/list`.
async fn tools(gate: &Deployment, sign: impl Fn(RequestBuilder) -> RequestBuilder) -> Vec<String> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let request = gate.request(Method::POST, "/mcp").json(&body);
    let request = request.header("accept", "application/json, text/event-stream");
    let answer = gate.send(sign(request)).await;
    let tools = answer.body["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("no tools: {answer:?}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn hides_no_tool_from_who_may_call_it_after_another_sign_in_and_every_other_tool() {
    let never = r#"
@id("test/class")
@reason("to destroy needs the gold class")
forbid (principal, action == Portcullis::Action::"notes/delete_note", resource)
unless { principal has acr && principal.acr == "urn:example:gold" };
"#;
    let upstream = Upstream::start();
    let gate = policies_with(&upstream, &format!("{RULES}{never}")).start().await;
    let (ana, ben) = (gate.token("ana").await, gate.token("ben").await);
    let all = ["notes__create_note", "notes__delete_note", "notes__list_notes"];
    let mut seen = tools(&gate, |request| request.bearer_auth(&ana)).await;
    seen.sort();
    assert_eq!(seen, all);
    // Calling one says what is missing.
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "notes__create_note", "arguments": { "title": "x" } },
    });
    let request = gate.request(Method::POST, "/mcp").bearer_auth(&ana).json(&body);
    let called = gate.send(request.header("accept", "application/json, text/event-stream")).await;
    let told = &called.body["result"]["structuredContent"];
    assert_eq!(told["error"], "STEP_UP_REQUIRED", "{called:?}");
    assert_eq!(told["acr_values"], "urn:portcullis:acr:mfa", "{called:?}");
    // No sign-in gives ben a scope, and a program cannot sign in.
    assert_eq!(tools(&gate, |request| request.bearer_auth(&ben)).await, ["notes__list_notes"]);
    let key = gate.api_key("ana", &["notes:*"]);
    let seen = tools(&gate, |request| request.header("x-api-key", &key)).await;
    assert_eq!(seen, ["notes__list_notes"]);
    let closed =
        never.replace("unless { principal has acr && principal.acr == \"urn:example:gold\" }", "");
    let gate = policies_with(&upstream, &format!("{RULES}{closed}")).start().await;
    let ana = gate.token("ana").await;
    let seen = tools(&gate, |request| request.bearer_auth(&ana)).await;
    assert!(!seen.contains(&"notes__delete_note".to_owned()), "never is never: {seen:?}");
}

#[tokio::test]
async fn is_proved_to_be_without_errors_and_keeps_the_invariants() {
    let upstream = Upstream::start();
    let example = std::fs::read_to_string(ours("../policies/examples/sign-in.cedar")).unwrap();
    let strict = policies_with(&upstream, &format!("{RULES}{example}"));
    let gate = strict.settings("require_proof = true").start().await;
    let refused = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
    assert_eq!(refused.code(), "STEP_UP_REQUIRED", "{refused:?}");
}
