//! A program without a browser signs in by a code, and ...

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::people::person;
use harness::{Answer, Deployment, Upstream, Value, json, text};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::parts::{ours, part};
use crate::walker::{Walker, hidden};

const ASK: &str = "/v1/auth/cli/device/authorize";
const POLL: &str = "/v1/auth/cli/device/token";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

async fn post(gate: &Deployment, path: &str, body: Value) -> Answer {
    gate.send(gate.request(Method::POST, path).json(&body)).await
}

/// Device code and user code of a sign-in that waits.
async fn asked(gate: &Deployment) -> (String, String) {
    let body = json!({ "code_challenge": challenge(), "code_challenge_method": "S256" });
    let answer = post(gate, ASK, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let member = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    assert_eq!(member("verification_uri"), format!("{}/device", gate.url()));
    (member("device_code"), member("user_code"))
}

async fn poll(gate: &Deployment, device_code: &str, verifier: &str) -> Answer {
    post(gate, POLL, json!({ "device_code": device_code, "code_verifier": verifier })).await
}

async fn decide(person: &Walker<'_>, user_code: &str, decision: &str) -> Answer {
    let page = person.get(&format!("/device?user_code={user_code}")).await;
    let token = hidden(&page, "csrf");
    let fields = [("csrf", token.as_str()), ("user_code", user_code), ("decision", decision)];
    person.post("/device", &fields).await
}

/// The command-line client of PyPI `imperal-mcp`, until it shows its code.
async fn imperal_mcp(gate: &Deployment, home: &std::path::Path) -> (Value, Lines) {
    let mut child = tokio::process::Command::new(part("venv/bin/python"))
        .arg(ours("clients/imperal_login.py"))
        .arg(gate.url())
        .env("HOME", home)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = Lines { _child: child, lines };
    (lines.next().await, lines)
}

struct Lines {
    _child: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Lines {
    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().expect("a line")).unwrap()
    }
}

#[tokio::test]
async fn the_unmodified_imperal_mcp_signs_in_once_its_person_approves() {
    let gate = Deployment::builder().start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let home = tempfile::tempdir().unwrap();
    let (shown, mut client) = imperal_mcp(&gate, home.path()).await;
    let code = shown["user_code"].as_str().unwrap();
    assert_eq!(shown["uri"], format!("{}/device", gate.url()));
    let page = ana.get(shown["complete"].as_str().unwrap().strip_prefix(gate.url()).unwrap()).await;
    for wanted in
        [code, "ana@acme.example", "imp_t_acme", "python-httpx", "127.0.0.1", "UTC", "deny"]
    {
        assert!(page.text().contains(wanted), "{wanted}: {}", page.text());
    }
    let approved = decide(&ana, code, "approve").await;
    assert_eq!((approved.status, approved.header("location")), (303, "/device?said=approved"));
    let end = client.next().await;
    assert_eq!(
        (&end["email"], &end["refreshed"]),
        (&json!("ana@acme.example"), &json!(true)),
        "{end}"
    );
    assert_eq!(end["kept"], false, "signed out again");
    let token = end["token"].as_str().unwrap();
    let me = gate.send(gate.request(Method::GET, "/v1/auth/me").bearer_auth(token)).await;
    assert_eq!(me.body["imperal_id"], gate.user_id("ana"));

    let (shown, mut client) = imperal_mcp(&gate, home.path()).await;
    decide(&ana, shown["user_code"].as_str().unwrap(), "deny").await;
    assert_eq!(client.next().await["refused"], "login was declined in the browser.");
}

/// A session of ana's that a program holds.
pub(crate) async fn session_of_a_program(gate: &Deployment) -> String {
    let ana = Walker::sign_in(gate, "ana").await;
    let (device_code, user_code) = asked(gate).await;
    assert_eq!(decide(&ana, &user_code, "approve").await.status, 303);
    let signed_in = poll(gate, &device_code, VERIFIER).await;
    signed_in.body["access_token"].as_str().unwrap().to_owned()
}

/// A session that a program holds is its person's, but its word is not: neither at once nor after a refresh.
#[tokio::test]
async fn a_program_answers_no_question_that_its_person_is_asked() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (device_code, user_code) = asked(&gate).await;
    assert_eq!(decide(&ana, &user_code, "approve").await.status, 303);
    let signed_in = poll(&gate, &device_code, VERIFIER).await;
    let refreshed = post(
        &gate,
        "/v1/auth/refresh",
        json!({
            "refresh_token": signed_in.body["refresh_token"]
        }),
    );
    let refreshed = refreshed.await;
    let path = "/v1/extensions/notes/call";
    let wanted = json!({ "function": "delete_note", "params": { "note_id": "note-1" } });
    for session in [&signed_in, &refreshed] {
        let token = session.body["access_token"].as_str().unwrap();
        let as_program = |method, path: &str| gate.request(method, path).bearer_auth(token);
        let asked = gate.send(as_program(Method::POST, path).json(&wanted)).await;
        assert_eq!(asked.status, 202, "{asked:?}");
        let one = format!("/v1/confirmations/{}", asked.confirmation());
        for verb in ["confirm", "accept", "cancel"] {
            let refused = gate.send(as_program(Method::POST, &format!("{one}/{verb}"))).await;
            assert_eq!((refused.status, refused.code()), (403, "CONFIRMATION_FOREIGN"), "{verb}");
        }
        assert_eq!(upstream.of_op(&asked.op()).len(), 0);
        // Nor is it let in where people are: at the pages, a form of which counts as a word.
        let cookie = format!("portcullis_session={token}");
        for page in ["/confirm", "/device"] {
            let seen = gate.send(gate.request(Method::GET, page).header("cookie", &cookie)).await;
            assert_eq!(seen.status, 303, "{page}: {}", seen.text());
        }
        let shown = gate.get_as("ana", &one).await;
        assert_eq!(shown.body["asked_by"]["kind"], "program", "{shown:?}");
        // It is still there for the person.
        assert_eq!(gate.decide("ana", &asked.confirmation(), "confirm").await.status, 200);
        assert_eq!(upstream.of_op(&asked.op()).len(), 1);
    }
}

#[tokio::test]
async fn every_step_is_on_record() {
    let gate = Deployment::builder().start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (device_code, user_code) = asked(&gate).await;
    decide(&ana, &user_code, "approve").await;
    assert_eq!(poll(&gate, &device_code, VERIFIER).await.status, 200);
    let (_, other) = asked(&gate).await;
    decide(&ana, &other, "deny").await;
    let id = |action| {
        let records = gate.records();
        let found = records.iter().find(|record| text(record, "/note/action") == action);
        found.map(|record| text(record, "/note/target").to_owned()).unwrap_or_default()
    };
    crate::parts::wait_until("the denial is on record", || !id("device.deny").is_empty());
    let used = id("device.use");
    assert!(used.starts_with("imp_dr_"), "{used}");
    assert_eq!((id("device.ask"), id("device.approve")), (used.clone(), used));
    let actor = format!("user:{}", gate.user_id("ana"));
    let records = gate.records();
    let of = |action| records.iter().find(|r| text(r, "/note/action") == action).unwrap();
    assert_eq!(text(of("device.approve"), "/note/actor"), actor);
    assert_eq!(text(of("device.ask"), "/note/actor"), "program");
    assert_eq!(text(of("device.ask"), "/note/field_source"), "127.0.0.1");
    let everything = format!("{records:?}{}", gate.log());
    for secret in [&device_code, &user_code, &user_code.replace('-', ""), &VERIFIER.to_owned()] {
        assert!(!everything.contains(secret.as_str()), "{secret} is written down");
    }
}

#[tokio::test]
async fn a_stolen_device_code_is_worth_nothing() {
    let gate = Deployment::builder().start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (device_code, user_code) = asked(&gate).await;
    let thief = async |code: &str, verifier: &str| {
        let answer = poll(&gate, code, verifier).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_grant"), "{answer:?}");
        assert!(answer.body["error_description"].is_string(), "{answer:?}");
    };
    let wrong = "A".repeat(43);
    for verifier in [wrong.as_str(), "", &challenge(), &VERIFIER.to_lowercase()] {
        thief(&device_code, verifier).await;
    }
    decide(&ana, &user_code, "approve").await;
    thief(&device_code, &wrong).await;
    thief(&user_code, VERIFIER).await;
    thief("imp_dc_none", VERIFIER).await;
    let issued = poll(&gate, &device_code, VERIFIER).await;
    assert!(issued.body["access_token"].is_string(), "{issued:?}");
    // Used up, for its owner too.
    thief(&device_code, VERIFIER).await;
    assert_eq!(
        decide(&ana, &user_code, "approve").await.status,
        403,
        "no page gives its form token"
    );
}

#[tokio::test]
async fn a_program_that_polls_too_fast_is_slowed_down_and_told_nothing() {
    let gate = Deployment::builder().start().await;
    let (device_code, user_code) = asked(&gate).await;
    let said = async || {
        let answer = poll(&gate, &device_code, VERIFIER).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.body["error"].clone(), answer.body["interval"].clone())
    };
    assert_eq!(said().await, (json!("authorization_pending"), json!(5)));
    assert_eq!(said().await, (json!("slow_down"), json!(10)));
    assert_eq!(said().await, (json!("slow_down"), json!(15)));
    let ana = Walker::sign_in(&gate, "ana").await;
    decide(&ana, &user_code, "deny").await;
    let denied = poll(&gate, &device_code, VERIFIER).await;
    assert_eq!((denied.status, denied.code()), (400, "access_denied"), "{denied:?}");
}

#[tokio::test]
async fn only_the_challenge_method_s256_begins() {
    let gate = Deployment::builder().start().await;
    for (challenge, method) in
        [(challenge().as_str(), "plain"), (VERIFIER, ""), ("short", "S256"), ("", "S256")]
    {
        let body = json!({ "code_challenge": challenge, "code_challenge_method": method });
        let answer = post(&gate, ASK, body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_request"),
            "{challenge}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn codes_cannot_be_guessed_and_one_decision_counts() {
    let gate = Deployment::builder().start().await;
    let (ana, ben) = (Walker::sign_in(&gate, "ana").await, Walker::sign_in(&gate, "ben").await);
    let (device_code, user_code) = asked(&gate).await;
    assert_eq!(decide(&ana, &user_code, "approve").await.status, 303);
    // Somebody else's approval is not there to be looked at, approved again, or taken back.
    let page = ben.get(&format!("/device?user_code={user_code}")).await;
    assert_eq!(page.status, 404, "{}", page.text());
    let token =
        hidden(&ben.get(&format!("/device?user_code={}", asked(&gate).await.1)).await, "csrf");
    for decision in ["approve", "deny"] {
        let fields = [("csrf", token.as_str()), ("user_code", &user_code), ("decision", decision)];
        assert_eq!(ben.post("/device", &fields).await.status, 404);
    }
    let issued = poll(&gate, &device_code, VERIFIER).await;
    let token = issued.body["access_token"].as_str().unwrap();
    let me = gate.send(gate.request(Method::GET, "/v1/auth/me").bearer_auth(token)).await;
    assert_eq!(me.body["email"], person("ana").email(), "the approval of the first counts");

    let mut statuses = Vec::new();
    for letter in "BCDFGHJKLMNP".chars() {
        let code = letter.to_string().repeat(8);
        statuses.push(ben.get(&format!("/device?user_code={code}")).await.status);
    }
    // Three were wrong above.
    assert_eq!(statuses, [404, 404, 404, 404, 404, 404, 404, 429, 429, 429, 429, 429]);
    let (_, right) = asked(&gate).await;
    let late = ben.get(&format!("/device?user_code={right}")).await;
    assert_eq!(late.status, 429, "the right one is not told either");
    assert!(!late.header("retry-after").is_empty());
}

#[tokio::test]
async fn no_other_site_and_no_stranger_approves() {
    let gate = Deployment::builder().start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (device_code, user_code) = asked(&gate).await;
    let path = format!("/device?user_code={user_code}");
    let stranger = gate.get(&path).await;
    let to_here = format!("/signin?next=%2Fdevice%3Fuser_code%3D{user_code}");
    assert_eq!((stranger.status, stranger.header("location")), (303, to_here.as_str()));
    let page = ana.get(&path).await;
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    let token = hidden(&page, "csrf");
    let fields = [("csrf", token.as_str()), ("user_code", &user_code), ("decision", "approve")];
    for (header, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let foreign = gate.send(ana.form("/device", &fields).header(header, value)).await;
        assert_eq!(foreign.status, 403, "{foreign:?}");
    }
    let other = Walker::sign_in(&gate, "ana").await;
    for (walker, fields) in [(&other, &fields[..]), (&ana, &fields[1..])] {
        assert_eq!(walker.post("/device", fields).await.status, 403, "not this session's form");
    }
    assert_eq!(gate.send(gate.request(Method::POST, "/device")).await.status, 303);
    let waiting = poll(&gate, &device_code, VERIFIER).await;
    assert_eq!(waiting.body["error"], "authorization_pending");
    assert_eq!(ana.post("/device", &fields).await.status, 303);
}

#[tokio::test]
async fn what_a_program_calls_itself_is_shown_as_text() {
    let gate = Deployment::builder().start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let body = json!({ "code_challenge": challenge() });
    let evil = format!("<h1>Portcullis</h1><script>{}", "x".repeat(500));
    let request = gate.request(Method::POST, ASK).header("user-agent", evil).json(&body);
    let asked = gate.send(request).await;
    let code = asked.body["user_code"].as_str().unwrap();
    let page = ana.get(&format!("/device?user_code={code}")).await.text();
    assert!(page.contains("&lt;h1&gt;Portcullis&lt;/h1&gt;&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains(&"x".repeat(100)), "{page}");
}

#[tokio::test]
async fn nobody_is_signed_in_who_was_switched_off_meanwhile() {
    let gate = Deployment::builder().start().await;
    let ana = Walker::sign_in(&gate, "ana").await;
    let (device_code, user_code) = asked(&gate).await;
    decide(&ana, &user_code, "approve").await;
    gate.change(&["user", "deactivate", &gate.user_id("ana")]).await;
    let answer = poll(&gate, &device_code, VERIFIER).await;
    assert_eq!((answer.status, answer.code()), (400, "access_denied"), "{answer:?}");
}

#[tokio::test]
async fn the_link_never_names_a_host_that_only_the_request_names() {
    let gate = Deployment::builder().start().await;
    let port = gate.url().rsplit_once(':').unwrap().1;
    let body = json!({ "code_challenge": challenge() });
    for (host, wanted) in [
        ("evil.example".to_owned(), gate.url().to_owned()),
        (format!("evil.example:{port}"), gate.url().to_owned()),
        (format!("localhost:{port}"), format!("http://localhost:{port}")),
    ] {
        let request = gate.request(Method::POST, ASK).header("host", &host).json(&body);
        let link = gate.send(request).await.body["verification_uri"].clone();
        assert_eq!(link, format!("{wanted}/device"), "{host}");
    }
}
