//! Call tokens (wire-contract.md section 4) ...

use harness::{Deployment, MANIFEST, RedisServer, Upstream, Value, json, text};
use reqwest::Method;

use crate::parts::python_of;

const SECRET: &str = "a secret that workers share";
const SHARED: &str = "[call_tokens]\nsecrets = [{ file = \"call-token\" }]";
const KEY: &str = "0123456789abcdef";

fn body() -> Value {
    let data = json!({ "city": "Oslo" });
    json!({
        "envelope": { "model": "Weather", "version": 1, "data": data, "cached_at": "now" },
        "ttl_seconds": 60,
    })
}

/// The token that the worker of `notes` is handed with a call of this person.
async fn handed(gate: &Deployment, upstream: &Upstream, user: &str) -> String {
    let answer = gate.call(user, "notes", "list_notes", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = upstream.of_op(&answer.op())[0].header("x-imperal-call-token").to_owned();
    assert!(!token.is_empty() && token.len() <= 2_048, "{token}");
    token
}

fn at(gate: &Deployment, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
    let request = gate.request(method, path).header("x-service-token", "");
    request.header("authorization", format!("ImperalCallToken {token}"))
}

#[tokio::test]
async fn count_once_and_for_their_app_user_and_kind_only() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let (ana, amy) = (gate.user_id("ana"), gate.user_id("amy"));
    let path = |app: &str, user: &str| format!("/v1/internal/extcache/{app}/{user}/Weather/{KEY}");
    let own = path("notes", &ana);
    let token = handed(&gate, &upstream, "ana").await;
    let put = gate.send(at(&gate, Method::PUT, &own, &token).json(&body())).await;
    assert_eq!(put.status, 200, "{put:?}");
    let records = gate.records_of(&put.op());
    assert_eq!(text(&records[0], "/tool/server"), "cache");
    assert_eq!(text(&records[0], "/who/extension"), "notes");
    assert!(!format!("{records:?}").contains("Oslo"), "{records:?}");
    // Its session is this one call, which no number tells anything of.
    assert!(!text(&records[0], "/who/session").is_empty(), "{records:?}");
    assert_eq!(text(&records[0], "/who/session_seq"), "");
    assert_eq!(put.header("x-portcullis-session-seq"), "");
    // The second time it is a copy.
    let again = gate.send(at(&gate, Method::GET, &own, &token)).await;
    assert_eq!((again.status, again.code()), (401, "INVALID_CREDENTIAL"), "{again:?}");
    let fresh = async || handed(&gate, &upstream, "ana").await;
    let got = gate.send(at(&gate, Method::GET, &own, &fresh().await)).await;
    assert_eq!((got.status, &got.body), (200, &body()["envelope"]), "{got:?}");
    for other in [
        path("bank", &ana),
        path("notes", &amy),
        format!("/v1/internal/skeleton/notes/{ana}/overview"),
        "/v1/auth/me".to_owned(),
        "/v1/secrets/notes".to_owned(),
    ] {
        let answer = gate.send(at(&gate, Method::GET, &other, &fresh().await)).await;
        assert_eq!(answer.status, 401, "{other}: {answer:?}");
    }
    let call = json!({ "function": "list_notes", "params": {} });
    let call = at(&gate, Method::POST, "/v1/extensions/notes/call", &fresh().await).json(&call);
    assert_eq!(gate.send(call).await.status, 401);
    // No other credential opens the door, however much it may.
    for user in ["ana", "ada"] {
        assert_eq!(gate.get_as(user, &own).await.status, 401);
    }
    // Who was switched off keeps nothing.
    let left = fresh().await;
    gate.change(&["user", "deactivate", &ana]).await;
    assert_eq!(gate.send(at(&gate, Method::GET, &own, &left)).await.status, 401);
}

#[tokio::test]
async fn count_once_over_replicas_and_not_at_all_without_their_redis() {
    let (mut redis, upstream) = (RedisServer::start(), Upstream::start());
    let gate = Deployment::builder().notes(&upstream);
    let gate = gate.settings(&format!("[redis]\nurl = \"{}\"", redis.url())).start().await;
    let own = format!("/v1/internal/extcache/notes/{}/Weather/{KEY}", gate.user_id("ana"));
    let token = handed(&gate, &upstream, "ana").await;
    let put = gate.send(at(&gate, Method::PUT, &own, &token).json(&body())).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(gate.send(at(&gate, Method::GET, &own, &token)).await.status, 401);
    let (kept, left) =
        (handed(&gate, &upstream, "ana").await, handed(&gate, &upstream, "ana").await);
    assert_eq!(gate.send(at(&gate, Method::GET, &own, &kept)).await.body, body()["envelope"]);
    redis.kill();
    let unknown = gate.send(at(&gate, Method::GET, &own, &left)).await;
    assert_eq!((unknown.status, unknown.code()), (503, "UNAVAILABLE"), "{unknown:?}");
}

#[tokio::test]
async fn open_cache_and_skeleton_to_the_unmodified_sdk_of_both_ages() {
    for venv in ["venv", "venv-sdk-5"] {
        let upstream = Upstream::start();
        let manifest = MANIFEST.replace("list_notes", "skeleton_refresh_overview");
        let app =
            format!("[apps.notes]\nmanifest = \"notes.json\"\nurl = \"{}/notes\"", upstream.url());
        let gate = Deployment::builder().file("notes.json", &manifest).app(&app);
        let gate = gate.file("call-token", SECRET).settings(SHARED).start().await;
        let (ana, amy) = (gate.user_id("ana"), gate.user_id("amy"));
        let path = "/notes/skeleton_refresh_overview";
        upstream.answers(path, 200, r#"{"status":"success","data":{"open":3}}"#);
        let refreshed = gate.call("ana", "notes", "skeleton_refresh_overview", json!({})).await;
        assert_eq!(refreshed.status, 200, "{refreshed:?}");
        let args = ["clients/cache_checks.py", gate.url(), SECRET, &ana, &amy];
        let said = python_of(venv, &args, "").await;
        let facts: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let wanted = [
            json!({ "check": "A13", "nothing": null, "back": true, "fetched": 1, "rome": "Rome", "gone": null, "late": null }),
            json!({ "check": "A14", "first": null, "second": 401 }),
            json!({ "check": "wrong", "other_app": 401, "other_user": 401, "other_secret": 401, "expired": 401 }),
            json!({ "check": "skeleton", "there": { "open": 3 }, "other_kind": 401 }),
        ];
        assert_eq!(facts, wanted, "{venv}");
    }
}
