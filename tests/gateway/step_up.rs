//! A rule that wants a better sign-in ...

use std::time::Duration;

use harness::{Answer, Builder, Deployment, Upstream, json, person};
use reqwest::Method;

use crate::parts::ours;

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

/// The rules of this repository with these beside them.
pub(crate) fn with_rules(upstream: &Upstream, rules: &str) -> Builder {
    let mut builder = Deployment::builder().notes(upstream);
    for folder in ["rules", "invariants"] {
        for file in std::fs::read_dir(ours("../policies").join(folder)).unwrap() {
            let file = file.unwrap();
            let name = format!("policies/{folder}/{}", file.file_name().to_str().unwrap());
            builder = builder.file(&name, &std::fs::read_to_string(file.path()).unwrap());
        }
    }
    builder.file("policies/rules/test.cedar", rules).settings("[policies]\ndir = \"policies\"")
}

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
    let gate = with_rules(&upstream, RULES).start().await;
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
    let gate = with_rules(&upstream, RULES).start().await;
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

#[tokio::test]
async fn is_proved_to_be_without_errors_and_keeps_the_invariants() {
    let upstream = Upstream::start();
    let example = std::fs::read_to_string(ours("../policies/examples/sign-in.cedar")).unwrap();
    let strict = with_rules(&upstream, &format!("{RULES}{example}"));
    let gate = strict.settings("require_proof = true").start().await;
    let refused = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
    assert_eq!(refused.code(), "STEP_UP_REQUIRED", "{refused:?}");
}
