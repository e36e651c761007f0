//! What would run is shown to a person on a page that works on a phone, without a script and by keyboard ...

use std::path::Path;

use harness::people::person;
use harness::{Answer, Deployment, Upstream, Value, json};
use reqwest::Method;

use crate::parts::{browser, part};

const COOKIE: &str = "portcullis_session";
const MARKUP: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";

async fn browse(gate: &Deployment, (width, height): (u32, u32), steps: Value) -> Value {
    let profile = tempfile::tempdir().unwrap();
    let plan = json!({
        "module": part("npm/node_modules/playwright-core/package.json"), "profile": profile.path(),
        "viewport": { "width": width, "height": height }, "url": gate.url(), "steps": steps,
    });
    browser("clients/confirm_page.mjs", &plan).await
}

/// Where pictures of the pages go; set `PORTCULLIS_SHOTS` to a folder to keep and look at them.
fn shot(gate: &Deployment, name: &str) -> String {
    let dir = std::env::var("PORTCULLIS_SHOTS");
    let dir = dir.unwrap_or_else(|_| gate.dir().display().to_string());
    Path::new(&dir).join(name).display().to_string()
}

fn sign_in(who: &str) -> Value {
    let who = person(who);
    json!({ "signIn": { "tenant": who.tenant, "email": who.email(), "password": who.password() } })
}

/// A gateway where ana wants to be asked before every write, and her note that waits.
async fn waiting(note: Value) -> (Deployment, Upstream, Answer) {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let careful = json!({ "confirmation_enabled": true });
    let set = gate.signed("ana", Method::PATCH, "/v1/me/settings").await.json(&careful);
    assert_eq!(gate.send(set).await.status, 200);
    let asked = gate.call("ana", "notes", "create_note", note).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    (gate, upstream, asked)
}

/// A form post as a browser with this session sends it.
async fn post(
    gate: &Deployment,
    who: &str,
    path: &str,
    body: &str,
    more: &[(&str, &str)],
) -> Answer {
    let cookie = format!("{COOKIE}={}", gate.token(who).await);
    let mut request = gate.request(Method::POST, path).header("cookie", cookie);
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let kind = "application/x-www-form-urlencoded";
    gate.send(request.header("content-type", kind).body(body.to_owned())).await
}

async fn page(gate: &Deployment, who: &str, path: &str) -> Answer {
    let cookie = format!("{COOKIE}={}", gate.token(who).await);
    gate.send(gate.request(Method::GET, path).header("cookie", cookie)).await
}

fn form_token(page: &Answer) -> String {
    let text = page.text();
    let token = text.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("{text}"));
    token.split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_confirms_in_a_real_browser() {
    let (gate, upstream, asked) = waiting(json!({ "title": MARKUP, "text": "a\u{202e}b" })).await;
    let path = format!("/confirm/{}", asked.confirmation());
    let steps = json!([
        { "open": path },
        sign_in("ana"),
        { "shot": shot(&gate, "confirm-phone.png") },
        { "reach": "Confirm: do this once", "press": ["Enter"] },
        { "shot": shot(&gate, "confirmed-phone.png") },
        { "open": "/confirm" },
    ]);
    let said = browse(&gate, (390, 800), steps).await;
    let seen = |step: usize, what: &str| said["seen"][step][what].as_str().unwrap().to_owned();
    assert!(seen(0, "url").contains("/signin?next="), "who is not signed in signs in first");
    let shown = seen(1, "text");
    for wanted in [MARKUP, "a\\u{202e}b", "write", asked.body["hash"].as_str().unwrap()] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(!seen(1, "html").contains("<script>alert"), "markup is text");
    let tree = seen(1, "tree");
    assert!(tree.contains("heading \"Shall this be done?\" [level=1]"), "{tree}");
    assert!(
        tree.contains("button \"Confirm: do this once\"") && tree.contains("button \"Cancel\""),
        "{tree}"
    );
    assert!(seen(3, "text").contains("Carried out, once"), "{}", seen(3, "text"));
    assert!(!seen(3, "tree").contains("button \"Confirm"), "it is not offered again");
    assert!(seen(5, "text").contains("Nothing waits for you"), "{}", seen(5, "text"));
    assert_eq!(said["complaints"], json!([]));
    for step in said["seen"].as_array().unwrap() {
        assert_eq!(step["scrolls"], false, "{}", step["url"]);
    }
    let ran = upstream.seen();
    assert_eq!(ran.len(), 1, "once");
    let body: Value = serde_json::from_slice(&ran[0].body).unwrap();
    assert_eq!(body.pointer("/title").or(body.pointer("/params/title")), Some(&json!(MARKUP)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_cancels_in_a_real_browser_on_a_desktop() {
    let (gate, upstream, asked) =
        waiting(json!({ "title": "milk", "text": "x".repeat(3_000) })).await;
    let path = format!("/confirm/{}", asked.confirmation());
    let steps = json!([
        { "open": path },
        sign_in("ana"),
        { "shot": shot(&gate, "confirm-desktop.png") },
        { "reach": "Cancel", "press": ["Space"] },
        { "shot": shot(&gate, "cancelled-desktop.png") },
    ]);
    let said = browse(&gate, (1280, 900), steps).await;
    let long = said["seen"][1]["text"].as_str().unwrap();
    assert!(long.contains("2000 of 3000 characters; SHA-256 of all"), "{long}");
    let end = said["seen"][3]["text"].as_str().unwrap();
    assert!(end.contains("Cancelled. Nothing was done."), "{end}");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_framed_forged_or_foreign_answer_is_refused() {
    let (gate, upstream, asked) = waiting(json!({ "title": "milk" })).await;
    let path = format!("/confirm/{}", asked.confirmation());
    let shown = page(&gate, "ana", &path).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    assert!(shown.header("content-security-policy").contains("frame-ancestors 'none'"));
    let yes = format!("answer=confirm&csrf={}", form_token(&shown));
    let elsewhere = ("origin", "https://evil.example");
    let other_site = ("sec-fetch-site", "cross-site");
    for (body, more) in [
        (yes.as_str(), &[elsewhere][..]),
        (&yes, &[other_site]),
        ("answer=confirm", &[]),
        ("answer=confirm&csrf=00", &[]),
    ] {
        let refused = post(&gate, "ana", &path, body, more).await;
        assert_eq!(refused.status, 403, "{body} {more:?}: {refused:?}");
    }
    let neither = post(&gate, "ana", &path, &yes.replace("confirm&", "perhaps&"), &[]).await;
    assert_eq!(neither.status, 400, "{neither:?}");
    let of_another = page(&gate, "ada", &path).await;
    assert_eq!(of_another.status, 403, "{of_another:?}");
    assert!(!of_another.text().contains("milk"));
    let own = gate.call("ada", "notes", "delete_note", json!({ "note_id": "note-1" })).await;
    let token = form_token(&page(&gate, "ada", &format!("/confirm/{}", own.confirmation())).await);
    let by_another = post(&gate, "ada", &path, &format!("answer=confirm&csrf={token}"), &[]).await;
    assert!(
        by_another.header("location").ends_with("?refused=CONFIRMATION_FOREIGN"),
        "{by_another:?}"
    );
    let of_a_stranger = gate.send(gate.request(Method::GET, &path)).await;
    assert_eq!(of_a_stranger.status, 303, "{of_a_stranger:?}");
    assert_eq!(upstream.seen().len(), 0);
    let done = post(&gate, "ana", &path, &yes, &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(done.header("location"), format!("{path}?said=done"), "{done:?}");
    let again = post(&gate, "ana", &path, &yes, &[]).await;
    assert!(again.header("location").ends_with("?refused=CONFIRMATION_USED"), "{again:?}");
    assert_eq!(upstream.seen().len(), 1, "once");
}

/// A tool that takes any values, one of which it calls a secret.
async fn waiting_with(values: Value) -> (Deployment, Upstream, Answer) {
    let upstream = Upstream::start();
    let mut manifest: Value = serde_json::from_str(harness::MANIFEST).unwrap();
    let tool = manifest["tools"].as_array_mut().unwrap().last_mut().unwrap();
    tool["params_schema"] = json!({
        "type": "object", "properties": { "answer": { "type": "string", "writeOnly": true } },
    });
    let gate = Deployment::builder().notes(&upstream).file("notes.json", &manifest.to_string());
    let gate = gate.start().await;
    let asked = gate.call("ana", "notes", "delete_note", values).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    (gate, upstream, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_pushes_a_value_out_of_sight() {
    let name = "n".repeat(180);
    let (gate, _upstream, asked) = waiting_with(json!({
        name: "filler", "w".repeat(2_000): "filler", "to": "mallory", "amount": 9_999, "password": "hunter2",
        "answer": "forty-two",
    }))
    .await;
    let steps = json!([{ "open": format!("/confirm/{}", asked.confirmation()) }, sign_in("ana"),
        { "shot": shot(&gate, "confirm-wide-name.png") }]);
    for size in [(390, 800), (1280, 900)] {
        let said = browse(&gate, size, steps.clone()).await;
        let seen = &said["seen"][2];
        assert_eq!(seen["scrolls"], false, "{size:?}");
        let values = seen["values"].as_array().unwrap();
        assert_eq!(values.len(), 6, "{seen}");
        for value in values {
            let (x, width) = (value["x"].as_f64().unwrap(), value["width"].as_f64().unwrap());
            assert!(
                x >= 0.0 && width > 100.0 && x + width <= f64::from(size.0),
                "{size:?} {value}"
            );
        }
        let text = seen["text"].as_str().unwrap();
        for wanted in
            ["\"mallory\"", "9999", "hidden: 7 characters", "hidden: 9 characters", "Show it"]
        {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(!text.contains("hunter2"), "it is there for who opens it, and not before: {text}");
        let html = seen["html"].as_str().unwrap();
        assert!(html.contains("hunter2") && !html.contains("forty-two"), "{html}");
    }
}

#[tokio::test]
async fn what_is_not_shown_whole_is_not_offered_to_be_confirmed() {
    let mut values: Vec<(String, Value)> =
        (0..500).map(|n| (format!("filler{n}"), json!(n))).collect();
    values.push(("to".to_owned(), json!("mallory")));
    let (gate, _upstream, asked) = waiting_with(values.into_iter().collect()).await;
    let shown = page(&gate, "ana", &format!("/confirm/{}", asked.confirmation())).await.text();
    assert!(shown.contains("And 1 more values"), "{shown}");
    assert!(
        shown.contains("can't be confirmed here") && !shown.contains("value=\"confirm\""),
        "{shown}"
    );
    assert!(shown.contains("value=\"cancel\""), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_no_frame_of_another_site_and_with_a_name_for_everything_that_is_read_out() {
    let (gate, upstream, asked) = waiting(json!({ "title": "milk", "text": "two litres" })).await;
    let path = format!("/confirm/{}", asked.confirmation());
    let steps = json!([{ "open": path }, sign_in("ana"), { "frame": path }]);
    let said = browse(&gate, (1280, 900), steps).await;
    let tree = said["seen"][1]["tree"].as_str().unwrap();
    for named in [
        "region \"notes/create_note",
        "term: title",
        "term: text",
        "term: Answer until",
        "term: Asking rules",
        "button \"Confirm: do this once\"",
        "button \"Cancel\"",
        "link \"All that waits for you\"",
    ] {
        assert!(tree.contains(named), "{named}: {tree}");
    }
    let framed = &said["seen"][2];
    assert!(!framed["framed"].as_str().unwrap().starts_with(gate.url()), "{framed}");
    let inside = framed["inside"].as_str().unwrap();
    assert!(!inside.contains("milk") && !inside.contains("csrf"), "{inside}");
    assert_eq!(upstream.seen().len(), 0);
}
