//! While every client goes on reading, the vault's keys are ... replaced, and the one who replaces them may die
//! at any step.
//!
//! `PORTCULLIS_KILL_ROUNDS` says how often (1 when not set: each step once); `tests/soak` does more.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use harness::failpoints::{ROTATION, SCOPE_ROTATION, kill_at};
use harness::{Deployment, Upstream, Value, json};
use reqwest::Method;

/// Clients that read at once.
const CLIENTS: u64 = 16;
/// Rotations of the key-encryption key in the long rounds.
const ROTATIONS: usize = 20;

/// What the clients met.
#[derive(Default)]
struct Reads {
    stop: AtomicBool,
    good: AtomicU64,
    bad: std::sync::Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_and_killed_at_each_step() {
    let rounds = std::env::var("PORTCULLIS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds: usize = rounds.map_or(1, |long: usize| long.min(ROTATIONS / ROTATION.len()));
    let upstream = Upstream::start();
    // Without a solver the rules load at once; they are proved in other tests.
    let gate =
        Deployment::builder().notes(&upstream).vaulty(&upstream).env("PATH", "").start().await;
    let reads = Arc::new(Reads::default());
    let mut clients = Vec::new();
    for user in ["sue", "ana", "max"] {
        let token = gate.extension_token("vaulty", user);
        let put = gate.request(Method::PUT, "/v1/secrets/vaulty/api_key").bearer_auth(&token);
        let put = gate.send(put.json(&json!({ "value": format!("of {user}") }))).await;
        assert_eq!(put.status, 200, "{put:?}");
        for _ in 0..CLIENTS.div_ceil(3) {
            let request =
                gate.request(Method::GET, "/v1/secrets/vaulty/api_key").bearer_auth(&token);
            clients.push(tokio::spawn(read(request, format!("of {user}"), Arc::clone(&reads))));
        }
    }
    let mut rotated = 0;
    for round in 0..rounds {
        for place in ROTATION {
            // A rotation makes one version and moves many rows: at another row in each round.
            let passes = if place.starts_with("vault_rewrap") { round } else { 0 };
            rotate(&gate, &["vault", "rotate", "--json"], place, u32::try_from(passes).unwrap());
            rotated += 1;
        }
        for place in SCOPE_ROTATION {
            rotate(&gate, &["vault", "rotate-scopes", "--json"], place, 0);
        }
    }
    let before_the_last = reads.good.load(Ordering::Relaxed);
    gate.must(&["vault", "rotate"]);
    reads.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let bad = reads.bad.lock().unwrap();
    assert!(bad.is_empty(), "{} failed reads, the first: {:?}", bad.len(), bad.first());
    let good = reads.good.load(Ordering::Relaxed);
    assert!(good > CLIENTS && before_the_last > 0, "the clients did not read: {good}");
    under_one_version_each(&gate, rotated + 2);
    println!("{good} reads went well during {rotated} killed and repeated rotations");
}

/// Dies at a place, and goes on when called again.
fn rotate(gate: &Deployment, args: &[&str], place: &str, passes: u32) {
    let killed = gate.portcullis_with_env(args, &[("FAILPOINTS", &kill_at(place, passes))]);
    assert_eq!(killed.status.signal(), Some(9), "{place}: {killed:?}");
    gate.must(args);
}

/// Every scope key is under the current version, and nothing is under an old one.
fn under_one_version_each(gate: &Deployment, at_least: usize) {
    let status: Value = serde_json::from_str(&gate.must(&["vault", "status", "--json"])).unwrap();
    let current = status["current"].as_u64().unwrap();
    assert!(current >= u64::try_from(at_least).unwrap(), "{status}");
    for version in status["versions"].as_array().unwrap() {
        let keys = version["scope_keys"].as_u64().unwrap();
        assert_eq!(keys > 0, version["version"] == json!(current), "{status}");
    }
}

async fn read(request: reqwest::RequestBuilder, value: String, reads: Arc<Reads>) {
    let wanted = json!({ "value": value }).to_string();
    while !reads.stop.load(Ordering::Relaxed) {
        let answer = request.try_clone().unwrap().send().await;
        let body = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(fault) => fault.to_string(),
        };
        if body == wanted {
            reads.good.fetch_add(1, Ordering::Relaxed);
        } else {
            reads.bad.lock().unwrap().push(body);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn and_what_was_backed_up_comes_back() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().vaulty(&upstream).env("PATH", "").start().await;
    let token = gate.extension_token("vaulty", "sue");
    let put = gate.request(Method::PUT, "/v1/secrets/vaulty/api_key").bearer_auth(&token);
    assert_eq!(gate.send(put.json(&json!({ "value": "kept" }))).await.status, 200);
    gate.must(&["vault", "backup", "--to", "backup"]);
    let again = gate.portcullis(&["vault", "backup", "--to", "backup"]);
    assert!(!again.status.success(), "a backup never mixes with another one");
    gate.stop();
    // What the README says: everything but the key file is lost, and put back.
    let (data, backup) = (gate.data(), gate.dir().join("backup"));
    for (file, place) in [
        ("directory.sqlite", data.clone()),
        ("scope-keys.db", data.join("keys")),
        ("pseudonyms", data.join("keys")),
        ("ledger-signing", data.join("keys")),
    ] {
        for journal in ["", "-wal", "-shm"] {
            std::fs::remove_file(place.join(format!("{file}{journal}"))).ok();
        }
        std::fs::copy(backup.join(file), place.join(file)).unwrap();
    }
    gate.restart().await;
    let got = gate.request(Method::GET, "/v1/secrets/vaulty/api_key").bearer_auth(&token);
    let got = gate.send(got).await;
    assert_eq!(got.body, json!({ "value": "kept" }), "{got:?}");
}
