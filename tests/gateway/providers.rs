//! Whichever provider holds the key-encryption key, the gateway ...

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Deployment, Upstream, Value, json};

use crate::parts::python;

const PIN: &str = "planted-pin-1234";
/// Where Debian keeps the library of its package `softhsm2`.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token of its own for one test; what is missing is named.
fn token(dir: &Path) -> String {
    assert!(Path::new(MODULE).exists(), "install the Debian package softhsm2 ({MODULE})");
    let (tokens, conf) = (dir.join("tokens"), dir.join("softhsm2.conf"));
    std::fs::create_dir(&tokens).unwrap();
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    std::fs::write(&conf, text).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "portcullis", "--so-pin", "so-pin-1234"])
        .args(["--pin", PIN])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .expect("install the Debian package softhsm2 (softhsm2-util)");
    assert!(made.status.success(), "{made:?}");
    conf.display().to_string()
}

async fn on_softhsm() -> Deployment {
    let upstream = Upstream::start();
    let builder = Deployment::builder().notes(&upstream).vaulty(&upstream).file("pin", PIN);
    let conf = token(builder.dir());
    let keys = format!(
        "[key_provider]\nkind = \"pkcs11\"\ncache = \"1s\"\n\
         pkcs11 = {{ module = \"{MODULE}\", token = \"portcullis\", pin = {{ file = \"pin\" }} }}"
    );
    builder.settings(&keys).env("SOFTHSM2_CONF", &conf).start().await
}

async fn checks(gate: &Deployment, what: &str) -> Vec<Value> {
    let (ext, other) =
        (gate.extension_token("vaulty", "sue"), gate.extension_token("notes", "sue"));
    let (sue, ana) = (gate.user_id("sue"), gate.user_id("ana"));
    let args = ["clients/secrets_checks.py", gate.url(), &ext, &sue, &ana, &other, what];
    let said = python(&args, "").await;
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn lends_and_fails_closed_with_the_unmodified_sdk_on_softhsm() {
    let gate = on_softhsm().await;
    let healthy = checks(&gate, "whole").await;
    assert_eq!(healthy[0]["value"], true, "A5: {healthy:?}");
    assert!(healthy[1]["other_user"].as_str().unwrap().contains("status 403"), "A6: {healthy:?}");
    // While it is there: afterwards no command could open the vault.
    let (ext, sue) = (gate.extension_token("vaulty", "sue"), gate.user_id("sue"));
    let args = ["clients/secrets_checks.py", gate.url(), &ext, &sue, &sue, &ext, "without"];
    let (tokens, away) = (gate.dir().join("tokens"), gate.dir().join("away"));
    std::fs::rename(&tokens, &away).unwrap();
    std::fs::create_dir(&tokens).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said: Value = serde_json::from_str(python(&args, "").await.trim()).unwrap();
    for call in ["get", "set"] {
        let text = said[call].as_str().unwrap();
        assert!(text.starts_with("SecretVaultUnavailable"), "A7 {call}: {said}");
    }
    std::fs::remove_dir_all(&tokens).unwrap();
    std::fs::rename(&away, &tokens).unwrap();
    let back: Value = serde_json::from_str(python(&args, "").await.trim()).unwrap();
    assert_eq!(back["set"], "returned None", "it recovers without a restart: {back}");
    assert!(!gate.log().contains(PIN));
}

#[tokio::test]
async fn names_the_wrong_pin_and_the_missing_token_at_start() {
    let mut gate = on_softhsm().await;
    gate.stop();
    std::fs::write(gate.dir().join("pin"), "wrong-pin").unwrap();
    assert!(!gate.fails_to_restart().success());
    assert!(gate.log().to_lowercase().contains("pin"), "{}", gate.log());
    std::fs::write(gate.dir().join("pin"), PIN).unwrap();
    std::fs::rename(gate.dir().join("tokens"), gate.dir().join("away")).unwrap();
    std::fs::create_dir(gate.dir().join("tokens")).unwrap();
    assert!(!gate.fails_to_restart().success());
    assert!(gate.log().contains("portcullis"), "it names the token: {}", gate.log());
}

#[tokio::test]
async fn rotates_the_key_in_the_token_while_it_serves() {
    let gate = on_softhsm().await;
    let ext = gate.extension_token("vaulty", "sue");
    let path = "/v1/secrets/vaulty/api_key";
    let put = gate.request(reqwest::Method::PUT, path).bearer_auth(&ext);
    assert_eq!(gate.send(put.json(&json!({ "value": "x" }))).await.status, 200);
    gate.must(&["vault", "rotate"]);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let got = gate.send(gate.request(reqwest::Method::GET, path).bearer_auth(&ext)).await;
    assert_eq!(got.body, json!({ "value": "x" }), "{got:?}");
    let status: Value = serde_json::from_str(&gate.must(&["vault", "status", "--json"])).unwrap();
    assert_eq!((&status["provider"], &status["current"]), (&json!("pkcs11"), &json!(2)));
}
