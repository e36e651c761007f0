//! Rotation of the ledger's key by the real commands: an auditor who was told of the first key only, and
//! a witness that was told of both, go along with it.

use std::path::Path;
use std::process::Command;

use harness::{Deployment, Upstream, Value, Witness, binary, json, text};

use crate::postgres_ledger::server::Server;

async fn call(gate: &Deployment) {
    let answer = gate.call("ana", "notes", "create_note", json!({ "title": "x" })).await;
    assert_eq!(answer.status, 200, "{answer:?}\n{}", gate.log());
}

fn said(gate: &Deployment, args: &[&str]) -> Value {
    serde_json::from_str(&gate.must(args)).unwrap()
}

/// What `portcullis-verify` makes of an export under a policy.
fn verified(export: &Path, policy: &Path) -> Value {
    let mut verify = Command::new(binary("portcullis-verify"));
    let output = verify.arg("--json").arg("--policy").arg(policy).arg(export).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Rotates the key of a stopped deployment and holds what comes of it against the policy of before.
async fn rotates(gate: &mut Deployment) {
    let first = text(&said(gate, &["ledger", "key", "--json"]), "/vkey").to_owned();
    let policy = gate.dir().join("first.policy");
    std::fs::write(&policy, gate.must(&["ledger", "policy"])).unwrap();
    call(gate).await;
    assert!(gate.stop().success());
    let rotated = said(gate, &["ledger", "key", "rotate", "--json"]);
    assert_eq!(text(&rotated, "/old"), first, "{rotated}");
    let second = text(&rotated, "/vkey").to_owned();
    assert_eq!(gate.must(&["ledger", "key"]).trim_end(), second);
    gate.restart().await;
    call(gate).await;
    assert!(gate.stop().success());

    let keys = said(gate, &["ledger", "key", "--json"]);
    let vkeys = [text(&keys, "/keys/0/vkey"), text(&keys, "/keys/1/vkey")];
    assert_eq!(vkeys, [second.as_str(), first.as_str()], "{keys}");
    assert_eq!(text(&keys, "/keys/1/until"), text(&keys, "/keys/0/since"), "{keys}");
    prints_the_newest(gate, &first, &second);
    let export = gate.dir().join("export");
    gate.must(&["ledger", "export", "--to", &export.display().to_string()]);
    let report = verified(&export, &policy);
    assert_eq!(
        (text(&report, "/verdict"), &report["trusted_keys"]),
        ("whole", &json!(true)),
        "{report}"
    );
    let log = &report["logs"][0];
    assert_eq!(text(log, "/keys/0/vkey"), second, "{report}");
    // A single proof, alone and with that of the key record.
    let proofs = export.join("deployment/proofs");
    let key_record = proofs.join(format!("{}.tlog-proof", log["keys"][0]["since"]));
    let last = log["records"].as_u64().unwrap() - 1;
    let alone = ["--proof".into(), proofs.join(format!("{last}.tlog-proof"))];
    let proved = |more: &[&Path]| {
        let mut verify = Command::new(binary("portcullis-verify"));
        verify.arg("--policy").arg(&policy).args(&alone).args(more);
        verify.output().unwrap().status.code()
    };
    assert_eq!(proved(&[]), Some(1));
    assert_eq!(proved(&[Path::new("--key-record"), &key_record]), Some(0));
    let checked = gate.must(&["ledger", "verify"]);
    assert!(checked.starts_with("whole") && checked.contains("on its key is "), "{checked}");

    // The record on a page and on a line.
    let seq = log["keys"][0]["since"].to_string();
    let page = gate.must(&["ledger", "explain", &seq, "--log", "deployment"]);
    assert!(page.contains("takes over, by its own word and the old key's"), "{page}");
    assert!(page.contains(&first) && page.contains(&second), "{page}");
    assert!(!page.contains("statement"), "{page}");
    let id = |vkey: &str| vkey.split('+').nth(1).unwrap().to_owned();
    assert!(page.contains(&format!("{} -> {}", id(&first), id(&second))), "{page}");

    // The old key file is no key of this ledger any more.
    let file = gate.data().join("keys/ledger-signing");
    let kept = std::fs::read(&file).unwrap();
    let old = std::fs::read(text(&rotated, "/retired")).unwrap();
    std::fs::write(&file, old).unwrap();
    gate.fails_to_restart();
    // It is set in lines as wide as a page.
    let said = gate.log().replace('\u{2502}', " ");
    let said: Vec<&str> = said.split_whitespace().collect();
    assert!(said.join(" ").contains("took this key out of force"), "{}", gate.log());
    std::fs::write(&file, kept).unwrap();
    gate.restart().await;
    call(gate).await;
}

/// As the policy of an auditor, who gets the others only for the asking.
fn prints_the_newest(gate: &Deployment, first: &str, second: &str) {
    let printed = gate.must(&["ledger", "policy"]);
    assert!(printed.contains(second) && !printed.contains(first), "{printed}");
    let printed = gate.must(&["ledger", "policy", "--all"]);
    assert!(printed.contains(second), "{printed}");
    assert!(printed.find(second) < printed.find(first), "the newest first: {printed}");
}

#[tokio::test]
async fn whoever_has_the_first_key_follows_the_ledger_in_a_file() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    rotates(&mut gate).await;
}

#[tokio::test]
async fn whoever_has_the_first_key_follows_the_ledger_in_postgresql() {
    let (server, upstream) = (Server::start(), Upstream::start());
    let mut gate = Deployment::builder()
        .notes(&upstream)
        .settings("[ledger]\npostgres = { file = \"ledger-address\" }")
        .file("ledger-address", &server.url())
        .start()
        .await;
    rotates(&mut gate).await;
}

#[tokio::test]
async fn a_witness_that_is_told_of_both_keys_cosigns_across_the_rotation() {
    let upstream = Upstream::start();
    let mut gate = Deployment::builder().notes(&upstream).start().await;
    let first = gate.must(&["ledger", "key"]).trim_end().to_owned();
    let mut witness = Witness::of_deployment("portcullis", &first);
    assert!(gate.stop().success());
    let file = gate.dir().join("portcullis.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let section = format!(
        "[ledger.witness]\npolicy = \"required\"\nmax_lag = \"3s\"\n\
         witnesses = [{{ name = \"w1\", url = \"{}\", key = \"{}\" }}]\n",
        witness.url, witness.vkey
    );
    std::fs::write(&file, config + &section).unwrap();
    gate.restart().await;
    ready(&gate).await;
    call(&gate).await;
    assert!(gate.stop().success());
    let rotated = said(&gate, &["ledger", "key", "rotate", "--json"]);

    // Told of the old one only, it has nothing to say of the new head.
    gate.restart().await;
    let shown = gate.data().join("ledger.sqlite.published/deployment/checkpoint");
    let refused = wait(|| gate.log().contains("the witness did not cosign")).await;
    assert!(refused, "{}\n{}", witness.log(), gate.log());
    let name = witness.vkey.split('+').next().unwrap().to_owned();
    let cosigned =
        || std::fs::read_to_string(&shown).unwrap().contains(&format!("\u{2014} {name} "));
    assert!(!cosigned());
    witness.kill();
    witness.believes("portcullis", text(&rotated, "/vkey"));
    witness.restart();
    assert!(wait(cosigned).await, "{}\n{}", witness.log(), gate.log());
    ready(&gate).await;
    call(&gate).await;
    // The newest head has to be cosigned for that.
    assert!(wait(|| gate.verify().whole).await, "{}", gate.verify().said);
}

async fn ready(gate: &Deployment) {
    for _ in 0..400 {
        if gate.get("/readyz").await.status == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it never became ready: {}", gate.log());
}

async fn wait(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..400 {
        if is_so() {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    false
}
