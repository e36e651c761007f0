//! A caller sees from its own answers ...

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Answer, Deployment, Upstream, Value, json, text};
use portcullis_audit::chain::{self, Hash};
use portcullis_audit::note::Checkpoint;
use portcullis_audit::{Counted, Record, load_key, merkle, tiles};
use reqwest::Method;

async fn call(gate: &Deployment, function: &str, params: Value) -> Answer {
    let request = gate.signed("ana", Method::POST, "/v1/extensions/notes/call").await;
    let request = request.header("x-portcullis-promise", "1");
    gate.send(request.json(&json!({ "function": function, "params": params }))).await
}

fn counted(answer: &Answer) -> Counted {
    let told = answer.header("x-portcullis-session-seq");
    Counted::parse(told).unwrap_or_else(|| panic!("`{told}` in {answer:?}"))
}

/// What a careful client keeps: the headers as they came.
fn kept(answers: &[&Answer]) -> String {
    let lines = answers.iter().flat_map(|answer| {
        let ours = answer.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-portc"));
        ours.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
    });
    lines.collect()
}

/// Verdict and words of the auditor's verifier.
fn verify(gate: &Deployment, args: &[&str]) -> (Option<i32>, String) {
    let verify = Command::new(harness::binary("portcullis-verify"))
        .current_dir(gate.dir())
        .args(args)
        .output()
        .unwrap();
    let said = [verify.stdout, verify.stderr].concat();
    (verify.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Calls of every end: a read, a write, a refusal, a question and what became of it.
async fn calls(gate: &Deployment) -> Vec<Answer> {
    let mut answers = vec![
        call(gate, "list_notes", json!({})).await,
        call(gate, "create_note", json!({ "title": "x" })).await,
        call(gate, "nothing", json!({})).await,
    ];
    for verb in ["confirm", "cancel"] {
        let asked = call(gate, "delete_note", json!({ "note_id": "note-1" })).await;
        assert_eq!(asked.status, 202, "{asked:?}");
        let done = gate.decide("ana", &asked.confirmation(), verb).await;
        assert_eq!(done.status, 200, "{done:?}");
        answers.extend([asked, done]);
    }
    answers
}

#[tokio::test]
async fn the_number_of_each_record_whatever_became_of_the_call() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    let answers = calls(&gate).await;
    let first = counted(&answers[0]);
    for (index, answer) in answers.iter().enumerate() {
        let told = counted(answer);
        assert_eq!((told.at.since, &told.log), (first.at.since, &first.log));
        assert_eq!(told.at.number, first.at.number + index as u64, "{answer:?}");
        let number = told.at.number.to_string();
        let records = gate.records_of(&answer.op());
        let ours = records.iter().filter(|record| text(record, "/who/session_seq") == number);
        assert_eq!(ours.count(), 1, "{records:?}");
        assert!(records.iter().all(|record| {
            let kind = text(record, "/kind");
            text(record, "/who/session_seq").is_empty() == (kind == "outcome")
        }));
    }
    let stranger = gate.send(gate.request(Method::POST, "/v1/extensions/notes/call")).await;
    assert_eq!((stranger.status, stranger.header("x-portcullis-session-seq")), (401, ""));

    // The gateway dies: a count begins anew, and nobody is accused.
    gate.kill();
    gate.restart().await;
    let again = call(&gate, "list_notes", json!({})).await;
    let told = counted(&again);
    assert!(told.at.since > first.at.since, "{told:?}");
    assert_eq!(told.at.number, 1);
    let verified = gate.verify();
    assert!(verified.whole && verified.said.contains("none missing"), "{}", verified.said);
}

#[tokio::test]
async fn the_number_over_mcp_too() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let before = counted(&call(&gate, "list_notes", json!({})).await);
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "notes__list_notes", "arguments": {} },
    });
    let request = gate.signed("ana", Method::POST, "/mcp").await;
    let request = request.header("accept", "application/json, text/event-stream");
    let answer = gate.send(request.header("x-portcullis-promise", "1").json(&message)).await;
    let meta = &answer.body["result"]["_meta"];
    let told = Counted::parse(meta["portcullis/session-seq"].as_str().unwrap()).unwrap();
    assert_eq!((told.at.since, told.at.number), (before.at.since, before.at.number + 1));
    assert!(!gate.records_of(meta["portcullis/op"].as_str().unwrap()).is_empty(), "{meta}");
    std::fs::write(gate.dir().join("kept"), meta["portcullis/promise"].as_str().unwrap()).unwrap();
    gate.must(&["ledger", "export", "--to", "export"]);
    let (code, said) = verify(&gate, &["--kept", "kept", "export"]);
    assert!(code == Some(0) && said.contains("1 are here"), "{said}");
}

#[tokio::test]
async fn that_a_record_was_removed_by_whoever_holds_the_log_key() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    let answers = calls(&gate).await;
    let log = counted(&answers[0]).log;
    gate.must(&["ledger", "export", "--to", "export", "--log", &log]);
    let all: Vec<&Answer> = answers.iter().collect();
    std::fs::write(gate.dir().join("kept"), kept(&all)).unwrap();
    let (code, said) = verify(&gate, &["--kept", "kept", "export"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{} are here, 0 are newer", answers.len())), "{said}");
    assert!(gate.stop().success());

    // The refusal: the third call. Its answer, too, is what the client lost.
    let gone = gate.records_of(&answers[2].op())[0].clone();
    let gone: u64 = text(&gone, "/seq").parse().unwrap();
    let without: Vec<&Answer> =
        all.iter().copied().filter(|answer| answer.op() != answers[2].op()).collect();
    std::fs::write(gate.dir().join("kept"), kept(&without)).unwrap();

    without_record(&gate, "clumsy", gone, None);
    let (code, said) = verify(&gate, &["clumsy"]);
    assert_eq!(code, Some(1), "{said}");
    let missing = format!("number {} of session", counted(&answers[2]).at.number);
    assert!(said.contains("session_gap") && said.contains(&missing), "{said}");

    // Whoever numbers the session anew is whole, but not to the client.
    without_record(&gate, "careful", gone, Some(counted(&answers[2])));
    let (code, said) = verify(&gate, &["careful"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = verify(&gate, &["--kept", "kept", "careful"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("omitted"), "{said}");
}

/// An export of the tenant's log without one record: renumbered, linked and signed anew, and when `counted` is
/// given, its session renumbered too.
fn without_record(gate: &Deployment, name: &str, gone: u64, counted: Option<Counted>) {
    let key = load_key(&gate.dir().join("portcullis-data/keys/ledger-signing")).unwrap();
    let mut records = bundle(&gate.dir().join("export/t"));
    let origin = Record::parse(&records[0]).unwrap().log;
    records.remove(usize::try_from(gone).unwrap());
    let mut prev = chain::genesis(&origin, &key.vkey(&origin));
    for record in &mut records {
        let old = Record::parse(record).unwrap();
        let mut text = String::from_utf8(record.clone()).unwrap();
        text = text.replace(&hex::encode(old.prev), &hex::encode(prev));
        for member in ["seq", "ref", "session_since"] {
            text = one_less(&text, member, |place| place > gone);
        }
        if let Some(counted) = &counted
            && let Some(old) = old.counted.filter(|old| old.at.since == counted.at.since)
            && old.at.number > counted.at.number
        {
            text = one_less(&text, "session_seq", |_| true);
        }
        *record = text.into_bytes();
        prev = chain::leaf(record);
    }
    write_export(&gate.dir().join(name), (&origin, &key), &records);
}

/// The text with a numeric member one less, where it is one of these.
fn one_less(text: &str, member: &str, is_one: impl Fn(u64) -> bool) -> String {
    let begin = format!("\"{member}\":\"");
    let Some((before, rest)) = text.split_once(&begin) else { return text.to_owned() };
    let (number, after) = rest.split_once('"').unwrap();
    let number: u64 = number.parse().unwrap();
    let number = if is_one(number) { number - 1 } else { number };
    format!("{before}{begin}{number}\"{after}")
}

/// The records of the one log of a tenant, which has one bundle.
fn bundle(tenants: &Path) -> Vec<Vec<u8>> {
    let log = std::fs::read_dir(tenants).unwrap().next().unwrap().unwrap();
    let entries = log.path().join("tile/entries");
    let files: Vec<PathBuf> = std::fs::read_dir(entries)
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let bytes = std::fs::read(&files[0]).unwrap();
    tiles::entries(&bytes).map(|entry| entry.unwrap().to_vec()).collect()
}

fn write_export(
    folder: &Path,
    (origin, key): (&str, &portcullis_audit::note::LogKey),
    records: &[Vec<u8>],
) {
    let (deployment, log) = origin.split_once('/').unwrap();
    let put = |path: String, bytes: &[u8]| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let leaves: Vec<Hash> = records.iter().map(|record| chain::leaf(record)).collect();
    let size = leaves.len() as u64;
    let head = Checkpoint { origin: origin.to_owned(), size, root: merkle::root(&leaves) };
    let mut bundle = Vec::new();
    records.iter().for_each(|record| tiles::push_entry(&mut bundle, record).unwrap());
    put(format!("{log}/{}", tiles::entries_path(0, leaves.len())), &bundle);
    for (path, tile) in tiles::hash_tiles(&leaves) {
        put(format!("{log}/{path}"), &tile);
    }
    put(format!("{log}/checkpoint"), head.sign(key).as_bytes());
    let policy = |name: &str| format!("log {}\nquorum none\n", key.vkey(name));
    put(format!("{log}/policy"), policy(origin).as_bytes());
    let export = format!("{deployment}/export");
    put("policy".to_owned(), policy(&export).as_bytes());
    let listed = format!("{origin} {size} {}", hex::encode(head.root));
    let index = format!("portcullis/export-of-one-log/v1\nlogs 1\n{listed}\n");
    put("index".to_owned(), key.sign(&export, &index).as_bytes());
}
