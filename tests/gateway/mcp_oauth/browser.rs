//! The consent and the sign-in of a program in Debian's chromium, by keyboard only.

use super::*;
use crate::parts::{browser, free_port, part};

const EVIL_NAME: &str = "<img src=x onerror=alert(1)><h1>Approved</h1><script>alert(2)</script>";

/// Walks pages by keyboard; see `tests/clients/consent_page.mjs`.
async fn walk(
    viewport: Value,
    open: &str,
    port: u16,
    shots: [&str; 3],
    decision: &[[Value; 2]],
) -> Value {
    let ana = person("ana");
    let profile = tempfile::tempdir().unwrap();
    let dir = std::env::var("PORTCULLIS_SHOTS");
    let dir = dir.unwrap_or_else(|_| profile.path().display().to_string());
    let [first, second, third] = shots.map(|name| format!("{dir}/{name}"));
    let sign_in = json!([
        ["Tenant", ana.tenant],
        ["Email", ana.email()],
        ["Password", ana.password()],
        ["Sign in", null],
    ]);
    let plan = json!({
        "module": part("npm/node_modules/playwright-core/package.json"), "profile": profile.path(),
        "viewport": viewport, "open": open, "port": port, "shot": first,
        "steps": [{ "keys": sign_in, "shot": second }, { "keys": decision, "shot": third }],
    });
    let said = browser("clients/consent_page.mjs", &plan).await;
    assert_eq!(said["complaints"], json!([]), "the browser complains of nothing");
    for step in said["seen"].as_array().unwrap() {
        assert_eq!(step["scrolls"], false, "{}", step["url"]);
    }
    said
}

fn seen<'a>(said: &'a Value, step: usize, what: &str) -> &'a str {
    said["seen"][step][what].as_str().unwrap()
}

#[tokio::test]
async fn a_person_decides_by_keyboard_and_markup_in_a_name_is_text() {
    let (gate, _upstream) = gate().await;
    gate.user_id("ana");
    let client = Client::register_as(
        &gate,
        json!({ "client_name": EVIL_NAME, "redirect_uris": ["http://127.0.0.1/callback"] }),
    )
    .await;
    for (width, decision) in [(390, "Approve"), (1280, "Deny")] {
        let port = free_port();
        let callback = format!("http://127.0.0.1:{port}/callback");
        let open = format!("{}{}", gate.url(), client.request(&[("redirect_uri", &callback)]));
        let names = ["sign-in", "consent", "back"].map(|name| format!("{width}-{name}.png"));
        let names = [names[0].as_str(), &names[1], &names[2]];
        let viewport = json!({ "width": width, "height": 900 });
        let said = walk(viewport, &open, port, names, &[[json!(decision), Value::Null]]).await;
        assert!(seen(&said, 0, "url").contains("/signin?next="), "{said}");
        let text = seen(&said, 1, "text");
        assert!(text.contains(EVIL_NAME), "{text}");
        assert!(
            text.contains(&format!("127.0.0.1:{port}")) && text.contains("notes:write"),
            "{text}"
        );
        let html = seen(&said, 1, "html");
        assert!(!html.contains("<img") && !html.contains("<script"), "{html}");
        let names = seen(&said, 1, "names");
        for wanted in [
            "heading \"Give a program access?\" [level=1]",
            "list \"It could\"",
            "button \"Approve\"",
            "button \"Deny\"",
        ] {
            assert!(names.contains(wanted), "{wanted}: {names}");
        }
        assert_eq!(seen(&said, 2, "text"), "back at the program");
        let came = said["came"][0].as_str().unwrap();
        assert!(came.starts_with("/callback?"), "{came}");
        assert_eq!(came.contains("code=imp_oa_"), decision == "Approve", "{came}");
        assert_eq!(came.contains("error=access_denied"), decision == "Deny", "{came}");
    }
}

#[tokio::test]
async fn a_person_signs_a_program_in_by_keyboard() {
    let (gate, _upstream) = gate().await;
    gate.user_id("ana");
    let ask = json!({ "code_challenge": challenge() });
    let request = gate.request(Method::POST, "/v1/auth/cli/device/authorize");
    let asked = gate.send(request.header("user-agent", EVIL_NAME).json(&ask)).await;
    let open = asked.body["verification_uri_complete"].as_str().unwrap();
    let viewport = json!({ "width": 390, "height": 844 });
    let shots = ["device-sign-in.png", "device.png", "device-approved.png"];
    let said = walk(viewport, open, 0, shots, &[[json!("Approve"), Value::Null]]).await;
    assert!(seen(&said, 1, "text").contains(EVIL_NAME), "{said}");
    assert!(seen(&said, 1, "names").contains("heading \"Sign in a program?\" [level=1]"), "{said}");
    assert!(seen(&said, 2, "text").contains("Approved. Go back to your terminal"), "{said}");
}
