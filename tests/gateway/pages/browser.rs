//! The same pages in Debian's chromium, through Playwright.

use std::path::Path;
use std::time::Duration;

use harness::people::person;
use harness::{Deployment, Value, json};
use reqwest::Method;

use super::{CANARY, COOKIE, PAGE, gate, hides_the_canary};
use crate::parts::{browser, part};

/// Takes steps in a fresh browser; see `tests/clients/secrets_page.mjs`.
async fn browse(gate: &Deployment, javascript: bool, viewport: Value, steps: Value) -> Value {
    let profile = tempfile::tempdir().unwrap();
    let plan = json!({
        "module": part("npm/node_modules/playwright-core/package.json"),
        "profile": profile.path(), "javascript": javascript, "viewport": viewport,
        "url": gate.url(), "steps": steps,
    });
    browser("clients/secrets_page.mjs", &plan).await
}

fn sign_in() -> Value {
    let sue = person("sue");
    json!({ "signIn": { "tenant": sue.tenant, "email": sue.email(), "password": sue.password() } })
}

/// What must hold whatever was done: no value came back in any form, nothing scrolled sideways.
fn nothing_came_back(said: &Value) {
    for response in said["responses"].as_array().unwrap() {
        for part in ["headers", "body", "url"] {
            let text = response[part].as_str().unwrap();
            assert!(hides_the_canary(text), "{part} of {}: {text}", response["url"]);
        }
    }
    let mut bodies = said["responses"].as_array().unwrap().iter().map(|r| r["body"].as_str());
    assert!(bodies.any(|body| body.unwrap().contains("Key of the weather service")));
    for step in said["seen"].as_array().unwrap() {
        assert!(hides_the_canary(&step.to_string()), "{step}");
        assert!(hides_the_canary(step["html"].as_str().unwrap()), "{step}");
        assert!(!step["html"].as_str().unwrap().contains("planted"), "not even a part: {step}");
        assert_eq!(step["scrolls"], false, "{}", step["url"]);
        let typed = step["typed"].as_array().unwrap().iter();
        assert!(
            typed.clone().all(|value| ["", "yes", "default"].contains(&value.as_str().unwrap()))
        );
    }
    assert_eq!(said["complaints"], json!([]), "the browser complains of nothing");
}

fn text(said: &Value, step: usize) -> &str {
    said["seen"][step]["text"].as_str().unwrap()
}

/// The part of a page's text that is about `api_key`, which stands first.
fn key(said: &Value, step: usize) -> &str {
    text(said, step).split("api_key\n").last().unwrap().split("\npin\n").next().unwrap()
}

/// Where pictures of the pages go; set `PORTCULLIS_SHOTS` to a folder to keep and look at them.
fn shot(gate: &Deployment, name: &str) -> String {
    let dir = std::env::var("PORTCULLIS_SHOTS");
    let dir = dir.unwrap_or_else(|_| gate.dir().display().to_string());
    Path::new(&dir).join(name).display().to_string()
}

#[tokio::test]
async fn a_person_keeps_secrets_in_a_real_browser() {
    let gate = gate().await;
    gate.user_id("sue");
    on_a_phone_without_javascript(&gate).await;
    used_by_its_app_and_not_replaced_for_forty_days(&gate).await;
    at_a_desk(&gate).await;
}

async fn on_a_phone_without_javascript(gate: &Deployment) {
    let steps = json!([
        { "open": PAGE, "shot": shot(gate, "phone-sign-in.png") },
        sign_in(),
        { "store": "api_key", "value": CANARY },
        { "store": "api_key", "value": format!("{CANARY}2"), "shot": shot(gate, "phone.png") },
        { "signOut": true },
        { "open": PAGE },
    ]);
    let phone = json!({ "width": 390, "height": 844 });
    let said = browse(gate, false, phone, steps).await;
    nothing_came_back(&said);
    assert!(said["seen"][0]["url"].as_str().unwrap().contains("/signin?next="), "{said}");
    assert!(text(&said, 1).contains("Secrets of vaulty"), "{}", text(&said, 1));
    assert!(text(&said, 1).contains("required, not set"), "{}", text(&said, 1));
    assert!(
        key(&said, 1).contains("not set") && key(&said, 1).contains("Store"),
        "{}",
        key(&said, 1)
    );
    for step in [2, 3] {
        assert!(text(&said, step).contains("Stored: api_key"), "{}", text(&said, step));
        let key = key(&said, step);
        assert!(key.contains("Replace") && key.contains("UTC") && key.contains("never"), "{key}");
    }
    let cookie = &said["seen"][3]["cookies"][0];
    assert_eq!((&cookie["name"], &cookie["httpOnly"]), (&json!(COOKIE), &json!(true)));
    assert_eq!((&cookie["sameSite"], &cookie["path"]), (&json!("Strict"), &json!("/")));
    assert!(text(&said, 4).contains("You are signed out."), "{}", text(&said, 4));
    assert_eq!(said["seen"][4]["cookies"], json!([]));
    assert!(said["seen"][5]["url"].as_str().unwrap().contains("/signin?next="), "{said}");
}

async fn used_by_its_app_and_not_replaced_for_forty_days(gate: &Deployment) {
    let ext = gate.extension_token("vaulty", "sue");
    let lent = gate.request(Method::GET, "/v1/secrets/vaulty/api_key").bearer_auth(ext);
    let lent = gate.send(lent).await;
    assert_eq!(lent.body, json!({ "value": format!("{CANARY}2") }), "what was typed last");
    // A use is shown about a second later.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let database = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    let past = "UPDATE secrets SET set_ms = set_ms - 40 * 86400000 WHERE name = 'api_key'";
    assert_eq!(database.execute(past, []).unwrap(), 1);
}

async fn at_a_desk(gate: &Deployment) {
    let steps = json!([
        { "open": PAGE },
        { "signIn": sign_in()["signIn"], "shot": shot(gate, "desk.png") },
        { "store": "api_key", "value": CANARY },
        { "forget": "api_key", "shot": shot(gate, "desk-forgotten.png") },
        { "open": "/ext/nowhere/secrets", "shot": shot(gate, "desk-nowhere.png") },
    ]);
    let said = browse(gate, true, json!({ "width": 1280, "height": 900 }), steps).await;
    let complaints = said["complaints"].as_array().unwrap();
    assert!(complaints.iter().all(|said| said.as_str().unwrap().contains("404")), "{complaints:?}");
    let quiet = json!({ "seen": said["seen"], "responses": said["responses"], "complaints": [] });
    nothing_came_back(&quiet);
    assert!(key(&said, 1).contains("rotation overdue"), "{}", key(&said, 1));
    assert!(key(&said, 1).contains("by vaulty"), "{}", key(&said, 1));
    assert!(!key(&said, 2).contains("overdue"), "{}", key(&said, 2));
    assert!(text(&said, 3).contains("Forgotten: api_key"), "{}", text(&said, 3));
    assert!(
        key(&said, 3).contains("not set") && key(&said, 3).contains("Store"),
        "{}",
        key(&said, 3)
    );
    assert!(text(&said, 4).contains("nothing at this address"), "{}", text(&said, 4));
}
