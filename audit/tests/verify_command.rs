//! Claims about the `portcullis-verify` command: what a script and an auditor see.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy's allow-*-in-tests does not reach helper functions"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portcullis_audit::{CallFields, Entry, Kind, Ledger, LedgerOptions, Reader, export, load_key};
use uuid::Uuid;

fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis-verify")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// An export with three records of the deployment.
async fn exported(folder: &Path) -> PathBuf {
    let (file, key) = (folder.join("ledger.db"), folder.join("log.key"));
    let (ledger, _) = Ledger::open(LedgerOptions::new(file.clone(), "test", key.clone())).unwrap();
    for _ in 0..3 {
        let entry = Entry {
            tenant: portcullis_audit::DEPLOYMENT.into(),
            kind: Kind::Admin,
            op: Uuid::now_v7(),
            reference: None,
            fields: CallFields::default(),
            body: None,
        };
        ledger.append(entry).await.unwrap();
    }
    ledger.close().await.unwrap();
    let out = folder.join("export");
    export(&Reader::open(&file).unwrap(), &load_key(&key).unwrap(), "test", &out).unwrap();
    out
}

#[tokio::test]
async fn says_whole_and_exits_with_zero() {
    let folder = tempfile::tempdir().unwrap();
    let export = exported(folder.path()).await;
    let output = verify(&[export.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).starts_with("whole: 3 records in 1 logs\n"), "{}", text(&output));
    assert!(!text(&output).contains('\u{1b}'), "colour without a terminal");
}

#[tokio::test]
async fn names_the_changed_record_in_text_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let export = exported(folder.path()).await;
    let bundle = export.join("deployment/tile/entries/000.p/3");
    let mut bytes = std::fs::read(&bundle).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let output = verify(&[export.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("record 2 of log `test/deployment`"), "{}", text(&output));
    let output = verify(&["--json", export.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (json["verdict"].as_str(), json["fault"]["seq"].as_u64()),
        (Some("forged"), Some(2))
    );
}

#[test]
fn absent_and_misused_exit_with_codes_of_their_own() {
    assert_eq!(verify(&["/nowhere/at/all"]).status.code(), Some(4));
    assert_eq!(verify(&[]).status.code(), Some(2));
    assert_eq!(verify(&["--vkey", "nonsense", "x"]).status.code(), Some(2));
    assert!(text(&verify(&["--help"])).contains("Exit status:"));
}
