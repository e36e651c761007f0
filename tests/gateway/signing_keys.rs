//! The key that signs access tokens is replaced by command while services verify ...

use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use harness::people::person;
use harness::{Deployment, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::parts::{ours, part};

/// Longer than a running gateway takes to read its keys again.
const PATIENCE: Duration = Duration::from_secs(40);

/// Key id in the header of a token.
fn kid(token: &str) -> String {
    let head = token.split('.').next().unwrap();
    let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(head).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    head["kid"].as_str().unwrap().to_owned()
}

/// Refreshes until a token has the key `next`.
async fn signs_with(gate: &Deployment, next: &str) {
    let sue = person("sue");
    let mut issued = gate.log_in(&sue, &sue.password()).await;
    let begun = Instant::now();
    while kid(issued.body["access_token"].as_str().unwrap()) != next {
        assert!(begun.elapsed() < PATIENCE, "the gateway never signed with {next}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let spent = json!({ "refresh_token": issued.body["refresh_token"] });
        let refresh = gate.request(reqwest::Method::POST, "/v1/auth/refresh").json(&spent);
        issued = gate.send(refresh).await;
        assert_eq!(issued.status, 200, "{issued:?}");
    }
}

fn json_of(gate: &Deployment, args: &[&str]) -> Value {
    serde_json::from_str(&gate.must(&[args, &["--json"]].concat())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_failed_call_of_the_unmodified_sdk() {
    rotated_under("venv").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_failed_call_of_the_oldest_sdk() {
    rotated_under("venv-sdk-5").await;
}

/// Checks A3 and A4 with the SDK of this venv.
async fn rotated_under(venv: &str) {
    let gate = Deployment::builder().start().await;
    let sue = person("sue");
    let first = gate.token("sue").await;
    let mut child = tokio::process::Command::new(part(&format!("{venv}/bin/python")))
        .current_dir(ours(""))
        .args(["clients/rotation_checks.py", gate.url(), "imp_t_acme"])
        .args([sue.email(), sue.password()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = tokio::time::timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
        serde_json::from_str::<Value>(&line.expect("the checks ended early")).unwrap()
    };
    let begun = line().await;
    assert_eq!(
        (&begun["failed"], begun["kid"].as_str()),
        (&Value::Null, Some(kid(&first).as_str()))
    );

    let made = json_of(&gate, &["key", "signing", "prepare"]);
    let next = made["kid"].as_str().unwrap();
    let early = gate.portcullis(&["key", "signing", "promote", next]);
    let early = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(
        early.contains("may hold a key set without it") && early.contains("--at-once"),
        "{early}"
    );
    json_of(&gate, &["key", "signing", "promote", next, "--at-once"]);
    for action in ["signing_key.create", "signing_key.promote"] {
        gate.wait_for_admin(action, next).await;
    }
    signs_with(&gate, next).await;

    drop(child.stdin.take());
    let end = line().await;
    assert!(child.wait().await.unwrap().success());
    assert_eq!(end["failed"], Value::Array(vec![]), "{end}");
    assert_eq!((&end["first"], end["kids"][1].as_str()), (&Value::Null, Some(next)), "{end}");
    assert!(end["verified"].as_u64() > Some(10) && end["after"].as_u64() >= Some(10), "{end}");
    assert_eq!((&end["refreshed"], &end["again"]), (&200.into(), &401.into()), "{end}");
    retired(&gate, &kid(&first), &first).await;
}

/// A key goes once its tokens are dead, or at once when somebody says so; then its tokens are refused.
async fn retired(gate: &Deployment, old: &str, token: &str) {
    let early = gate.portcullis(&["key", "signing", "retire", old]);
    let early = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(early.contains("a token that it signed may be in use"), "{early}");
    json_of(gate, &["key", "signing", "retire", old, "--at-once"]);
    let keys = json_of(gate, &["key", "signing", "list"]);
    assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
    let begun = Instant::now();
    loop {
        let me =
            gate.send(gate.request(reqwest::Method::GET, "/v1/auth/me").bearer_auth(token)).await;
        if me.status == 401 {
            break assert_eq!(me.code(), "INVALID_CREDENTIAL");
        }
        assert!(begun.elapsed() < PATIENCE, "the old token still counts");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    gate.wait_for_admin("signing_key.retire", old).await;
}
