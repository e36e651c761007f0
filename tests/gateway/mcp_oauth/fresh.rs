//! An old session, kept alive by refreshing, as a thief has it.

use super::client::{Client, member};
use super::*;

/// A session of a person who signed in so many seconds ago, refreshed since.
async fn aged<'a>(gate: &'a Deployment, name: &str, seconds: i64) -> Walker<'a> {
    let user = gate.user_id(name);
    let first = gate.log_in(&person(name), &person(name).password()).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = i64::try_from(now.as_secs()).unwrap() - seconds;
    let directory = rusqlite::Connection::open(gate.data().join("directory.sqlite")).unwrap();
    let sql = "UPDATE refresh_tokens SET strength = json_set(strength, '$.auth_time', ?1) \
               WHERE user_id = ?2 AND state = 'whole'";
    assert!(directory.execute(sql, rusqlite::params![at, user]).unwrap() > 0);
    let refresh = json!({ "refresh_token": first.body["refresh_token"] });
    let answer = gate.send(gate.request(Method::POST, "/v1/auth/refresh").json(&refresh)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    Walker::with(gate, answer.body["access_token"].as_str().unwrap())
}

/// Device code and user code of a sign-in that waits.
async fn waiting(gate: &Deployment) -> (String, String) {
    let body = json!({ "code_challenge": challenge(), "code_challenge_method": "S256" });
    let ask = gate.request(Method::POST, "/v1/auth/cli/device/authorize").json(&body);
    let answer = gate.send(ask).await;
    let word = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    (word("device_code"), word("user_code"))
}

fn leads_to_the_sign_in(answer: &Answer, page: &str) {
    let to = answer.header("location");
    assert_eq!(answer.status, 303, "{answer:?}");
    let next = member(&format!("http://gate{to}"), "next");
    assert!(to.starts_with("/signin?") && next.starts_with(page), "{to}");
}

#[tokio::test]
async fn an_old_session_gives_programs_nothing() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let (new, old) = (aged(&gate, "ana", 3_000).await, aged(&gate, "ana", 7_200).await);
    let client = Client::register(&gate).await;
    let (device_code, user_code) = waiting(&gate).await;
    let at = format!("/device?user_code={user_code}");
    leads_to_the_sign_in(&old.get(&at).await, &at);
    leads_to_the_sign_in(&client.ask(&old, &[]).await, "/v1/oauth/authorize?");

    // Nothing was given, and a sign-in of the last hour gives it, refreshed or not.
    let poll = json!({ "device_code": device_code, "code_verifier": VERIFIER });
    let poll = gate.request(Method::POST, "/v1/auth/cli/device/token").json(&poll);
    let polled = gate.send(poll).await;
    assert_eq!(polled.body.get("access_token"), None, "{polled:?}");
    let page = client.ask(&new, &[]).await;
    assert!(!client.approved(&new, &page).await.is_empty());
}

#[tokio::test]
async fn a_page_that_was_shown_in_time_gives_nothing_once_the_session_is_old() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    // For so long it is young enough to be shown the pages, however slow this machine is.
    let ana = aged(&gate, "ana", 3_600 - 20).await;
    let client = Client::register(&gate).await;
    let (device_code, user_code) = waiting(&gate).await;
    let at = format!("/device?user_code={user_code}");
    let (device, consent) = (ana.get(&at).await, client.ask(&ana, &[]).await);
    assert_eq!((device.status, consent.status), (200, 200), "{device:?} {consent:?}");
    let began = std::time::Instant::now();
    while ana.get(&at).await.status == 200 {
        assert!(began.elapsed().as_secs() < 60, "the session never becomes old");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    let csrf = hidden(&device, "csrf");
    let fields = [("csrf", csrf.as_str()), ("user_code", &user_code), ("decision", "approve")];
    leads_to_the_sign_in(&ana.post("/device", &fields).await, "/device");
    leads_to_the_sign_in(&client.decided(&ana, &consent, "approve").await, "/v1/oauth/authorize?");
    let poll = json!({ "device_code": device_code, "code_verifier": VERIFIER });
    let poll = gate.request(Method::POST, "/v1/auth/cli/device/token").json(&poll);
    assert_eq!(gate.send(poll).await.code(), "authorization_pending");
    // To say no needs no fresh sign-in.
    let denied = client.decided(&ana, &consent, "deny").await;
    assert_eq!(member(denied.header("location"), "error"), "access_denied", "{denied:?}");
}
