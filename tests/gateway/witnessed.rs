//! The ledger, witnessed from outside ... with real witness processes, on real sockets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Builder, Deployment, Upstream, Value, Witness, json, text};
use portcullis_audit::note::{Checkpoint, CosignerKey, LogKey, SignedNote};
use portcullis_audit::policy::Policy;

/// The log key of every deployment here, so that its witness can be started first.
const SEED: &[u8; 32] = b"the seed of a log key of a test ";

/// The name that a deployment has when its configuration says nothing.
const NAME: &str = "portcullis";

fn witness() -> Witness {
    let key = LogKey::from_seed(SEED).unwrap();
    Witness::of_deployment(NAME, &key.vkey("portcullis/deployment"))
}

/// A deployment under [`SEED`] that asks these witnesses; `more` is further TOML of the section.
fn asking(upstream: &Upstream, policy: &str, witnesses: &[(&str, &str)], more: &str) -> Builder {
    let builder = Deployment::builder().notes(upstream);
    let keys = builder.dir().join("portcullis-data/keys");
    std::fs::create_dir_all(&keys).unwrap();
    let private = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::write(keys.join("ledger-signing"), SEED).unwrap();
    private(&keys.join("ledger-signing"), 0o600);
    private(&keys, 0o700);
    private(&builder.dir().join("portcullis-data"), 0o700);
    let list: Vec<String> = (1..)
        .zip(witnesses)
        .map(|(n, (url, key))| format!("{{ name = \"w{n}\", url = \"{url}\", key = \"{key}\" }}"))
        .collect();
    builder.settings(&format!(
        "[ledger.witness]\npolicy = \"{policy}\"\nmax_lag = \"3s\"\nwitnesses = [{}]\n{more}",
        list.join(", ")
    ))
}

async fn call(gate: &Deployment) -> u16 {
    let answer = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
    if answer.status != 200 {
        assert_eq!((answer.status, answer.code()), (503, "AUDIT_UNAVAILABLE"), "{answer:?}");
    }
    answer.status
}

/// The checkpoints that are shown, by origin.
fn shown(data: &Path) -> BTreeMap<String, String> {
    let root = data.join("ledger.sqlite.published");
    let tenants = std::fs::read_dir(root.join("t")).into_iter().flatten().flatten();
    let folders = tenants.map(|entry| entry.path()).chain([root.join("deployment")]);
    let notes = folders.filter_map(|path| std::fs::read_to_string(path.join("checkpoint")).ok());
    notes.map(|note| (head(&note).origin, note)).collect()
}

fn head(note: &str) -> Checkpoint {
    Checkpoint::parse(SignedNote::parse(note).unwrap().text()).unwrap()
}

fn is_cosigned(note: &str, vkey: &str) -> bool {
    CosignerKey::parse(vkey).unwrap().verify(&SignedNote::parse(note).unwrap()).is_ok()
}

async fn within(what: &str, seconds: u64, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

/// Waits until every log that has records is shown under a head that the witness cosigned.
async fn cosigned(gate: &Deployment, vkey: &str) -> BTreeMap<String, String> {
    let whole = |notes: &BTreeMap<String, String>| {
        let covered: u64 = notes.values().map(|note| head(note).size).sum();
        covered == gate.records().len() as u64 && notes.values().all(|n| is_cosigned(n, vkey))
    };
    within(&format!("all is cosigned\n{}", gate.log()), 20, async || whole(&shown(&gate.data())))
        .await;
    shown(&gate.data())
}

async fn readiness(gate: &Deployment) -> (u16, Value) {
    let answer = gate.get("/readyz").await;
    (answer.status, answer.body)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn every_log_is_cosigned_within_seconds_and_says_so() {
    let (upstream, mut witness) = (Upstream::start(), witness());
    let ask = [(witness.url.as_str(), witness.vkey.as_str())];
    let gate = asking(&upstream, "required", &ask, "").start().await;
    assert_eq!(call(&gate).await, 200);
    let notes = cosigned(&gate, &witness.vkey).await;
    assert!(notes.len() >= 2, "{notes:?}");
    let (status, body) = readiness(&gate).await;
    assert_eq!((status, &body["witnesses"]["quorum"]), (200, &json!(true)), "{body}");
    let page = gate.get("/metrics").await.text();
    assert!(page.contains("portcullis_ledger_witness_lag_seconds"), "{page}");
    assert!(gate.verify().whole);
    export_has_quorum(&gate);
    assert!(witness.stop(), "it ends in order");
}

/// What an auditor makes of an export with its own policy files, which name the witness.
fn export_has_quorum(gate: &Deployment) {
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export");
    gate.must(&["ledger", "export", "--to", &export.display().to_string()]);
    for log in ["deployment", "t/imp_t_acme"] {
        let read = |name| std::fs::read_to_string(export.join(log).join(name)).unwrap();
        let policy = Policy::parse(&read("policy")).unwrap();
        assert_eq!(policy.witnesses().len(), 1, "{}", read("policy"));
        let found = policy.evaluate(&read("checkpoint"), u64::MAX).unwrap();
        assert!(found.quorum, "{}", read("checkpoint"));
    }
}

#[tokio::test]
async fn a_witness_that_was_killed_goes_on_and_never_back() {
    let (upstream, mut witness) = (Upstream::start(), witness());
    let ask = [(witness.url.clone(), witness.vkey.clone())];
    let ask = [(ask[0].0.as_str(), ask[0].1.as_str())];
    let gate = asking(&upstream, "best_effort", &ask, "").start().await;
    assert_eq!(call(&gate).await, 200);
    let first = cosigned(&gate, &witness.vkey).await;
    for round in 0..5_u64 {
        assert_eq!(call(&gate).await, 200);
        // At another moment of its work each time.
        tokio::time::sleep(Duration::from_millis(900 + 60 * round)).await;
        witness.kill();
        assert_eq!(call(&gate).await, 200);
        witness.restart();
    }
    let last = cosigned(&gate, &witness.vkey).await;
    let http = reqwest::Client::new();
    for (origin, note) in &first {
        let size = head(&last[origin]).size;
        assert!(size >= head(note).size);
        if size == head(note).size {
            continue;
        }
        // What it cosigned first, offered again as if nothing had been.
        let body = format!("old 0\n\n{note}");
        let answer = http.post(format!("{}/add-checkpoint", witness.url)).body(body).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status().as_u16(), 409);
        assert_eq!(answer.headers()["content-type"], "text/x.tlog.size");
        assert_eq!(answer.text().await.unwrap(), format!("{size}\n"));
    }
    assert!(!witness.dir().join("forks").exists(), "{}", witness.log());
}

#[tokio::test]
async fn without_a_quorum_nothing_is_admitted_until_it_is_back() {
    let (upstream, mut witness) = (Upstream::start(), witness());
    let (url, vkey) = (witness.url.clone(), witness.vkey.clone());
    let mut gate = asking(&upstream, "required", &[(&url, &vkey)], "").start().await;
    assert_eq!(call(&gate).await, 200);
    cosigned(&gate, &vkey).await;
    witness.kill();
    assert_eq!(call(&gate).await, 200, "the witness may be away for a while");
    upstream.hold().await;
    let before = upstream.seen().len();
    let running = gate.call("ana", "notes", "create_note", json!({ "title": "late" }));
    let refused = async {
        upstream.wait_for(before + 1).await;
        within("it is not ready any more", 10, async || readiness(&gate).await.0 == 503).await;
        let (_, body) = readiness(&gate).await;
        let reason = body["witnesses"]["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("no quorum of witnesses for "), "{body}");
        assert_eq!(call(&gate).await, 503);
        upstream.release();
    };
    let (running, ()) = tokio::join!(running, refused);
    assert_eq!(running.status, 200, "what was admitted ends: {running:?}");
    let outcome = gate.settled(&running.op(), 2).await;
    assert_eq!(text(&outcome[1], "/res/status"), "done");
    assert_eq!(upstream.seen().len(), before + 1, "nothing was carried out without a witness");

    // A start does not give it another while.
    assert!(gate.stop().success());
    gate.restart().await;
    let (status, body) = readiness(&gate).await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(body["witnesses"]["reason"], "no quorum of witnesses since the start");
    assert_eq!(call(&gate).await, 503);
    witness.restart();
    let took = within("it is ready again", 20, async || readiness(&gate).await.0 == 200).await;
    println!("ready again {took:?} after the witness was");
    assert_eq!(call(&gate).await, 200);
    cosigned(&gate, &vkey).await;
    assert!(gate.verify().whole);
}

#[tokio::test]
async fn best_effort_goes_on_without_a_quorum_and_warns() {
    let (upstream, mut witness) = (Upstream::start(), witness());
    let (url, vkey) = (witness.url.clone(), witness.vkey.clone());
    let gate = asking(&upstream, "best_effort", &[(&url, &vkey)], "").start().await;
    assert_eq!(call(&gate).await, 200);
    witness.kill();
    assert_eq!(call(&gate).await, 200);
    let lags = async || readiness(&gate).await.1["witnesses"]["quorum"] == json!(false);
    within("it says that there is no quorum", 10, lags).await;
    assert_eq!(readiness(&gate).await.0, 200);
    assert_eq!(call(&gate).await, 200);
    let warned = async || gate.log().contains("no quorum of witnesses for");
    within("it warns", 10, warned).await;
}

#[tokio::test]
async fn a_log_that_was_rolled_back_is_not_cosigned_and_admits_nothing() {
    let (upstream, witness) = (Upstream::start(), witness());
    let ask = [(witness.url.as_str(), witness.vkey.as_str())];
    let mut gate = asking(&upstream, "required", &ask, "").start().await;
    assert_eq!(call(&gate).await, 200);
    cosigned(&gate, &witness.vkey).await;
    assert!(gate.stop().success());
    let yesterday = tempfile::tempdir().unwrap();
    copy(&gate.data(), yesterday.path());
    gate.restart().await;
    within("it is ready again", 10, async || readiness(&gate).await.0 == 200).await;
    for _ in 0..5 {
        assert_eq!(call(&gate).await, 200);
    }
    cosigned(&gate, &witness.vkey).await;
    assert!(gate.stop().success());
    // Everything as it was, also what the gateway itself would know a rollback by.
    std::fs::remove_dir_all(gate.data()).unwrap();
    copy(yesterday.path(), &gate.data());
    gate.restart().await;
    let evidence = async || gate.log().contains("has cosigned another history of this log");
    within("the witness is heard", 10, evidence).await;
    assert!(gate.log().contains("which is more than there are"), "{}", gate.log());
    for _ in 0..3 {
        assert_eq!(readiness(&gate).await.0, 503);
        assert_eq!(call(&gate).await, 503);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn of_two_histories_under_one_key_one_is_cosigned_and_the_fork_is_proved() {
    let (upstream, witness) = (Upstream::start(), witness());
    let ask = [(witness.url.as_str(), witness.vkey.as_str())];
    let one = asking(&upstream, "best_effort", &ask, "").start().await;
    assert_eq!(call(&one).await, 200);
    let notes = cosigned(&one, &witness.vkey).await;
    let other = asking(&upstream, "best_effort", &ask, "").start().await;
    assert_eq!(call(&other).await, 200);
    let forks = witness.dir().join("forks");
    // The witness keeps the proof before it answers, and the replica logs the answer.
    let told = async || other.log().contains("another history of this log");
    within("the fork is proved and told", 20, told).await;
    let proof = std::fs::read_dir(&forks).unwrap().flatten().next().unwrap().path();
    let proof = std::fs::read_to_string(proof).unwrap();
    assert!(proof.contains("has forked: two heads of"), "{proof}");
    let within_proof = |note: &String| proof.contains(SignedNote::parse(note).unwrap().text());
    assert!(notes.values().any(within_proof), "{proof}\n{notes:?}");
    assert!(witness.log().contains("HAS FORKED"), "{}", witness.log());
    let tenant = notes.keys().find(|origin| origin.contains("/t/")).unwrap();
    let note = &shown(&other.data())[tenant];
    assert!(!is_cosigned(note, &witness.vkey), "{note}");
}

#[tokio::test]
async fn a_witness_that_never_answers_delays_nothing() {
    let (upstream, witness) = (Upstream::start(), witness());
    // The kernel accepts, and nobody ever reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let stranger = portcullis_audit::note::Cosigner::from_seed("silent", &[9; 32]).unwrap();
    let stranger = stranger.key().to_string();
    let ask = [(silent.as_str(), stranger.as_str()), (&witness.url, &witness.vkey)];
    let gate = asking(&upstream, "required", &ask, "quorum = 1").start().await;
    gate.token("ana").await;
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(6) {
        let one = Instant::now();
        assert_eq!(call(&gate).await, 200);
        slowest = slowest.max(one.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("the slowest call took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    cosigned(&gate, &witness.vkey).await;
    assert_eq!(readiness(&gate).await.0, 200);
    drop(listener);
}

#[tokio::test]
async fn a_witness_that_lies_about_its_size_is_not_followed_for_ever() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // It never has the size that the proof begins with.
    let lie = move |body: String| {
        count.fetch_add(1, Ordering::Relaxed);
        let size = if body.starts_with("old 0\n") { "1\n" } else { "0\n" };
        let kind = [("content-type", "text/x.tlog.size")];
        async move { (axum::http::StatusCode::CONFLICT, kind, size) }
    };
    let router = axum::Router::new().route("/add-checkpoint", axum::routing::post(lie));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let liar = tokio::spawn(async { axum::serve(listener, router).await });
    let upstream = Upstream::start();
    let key = portcullis_audit::note::Cosigner::from_seed("liar", &[9; 32]).unwrap().key();
    let gate = asking(&upstream, "best_effort", &[(&url, &key.to_string())], "").start().await;
    assert_eq!(call(&gate).await, 200);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let asked = asked.load(Ordering::Relaxed);
    // Two logs, three requests in a row, then pauses of 0.5, 1, 2, 4 s.
    assert!((3..=42).contains(&asked), "{asked} requests");
    assert!(gate.log().contains("it names another size whenever it is asked"), "{}", gate.log());
    assert_eq!(call(&gate).await, 200);
    liar.abort();
}
