//! Claims about the `portcullis-verify` command: what a script and an auditor see.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy's allow-*-in-tests does not reach helper functions"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portcullis_audit::note::{Cosigner, append};
use portcullis_audit::rotate::{Rotated, rotate};
use portcullis_audit::tlog_proof::TlogProof;
use portcullis_audit::{
    CallFields, Entry, Kind, Ledger, LedgerOptions, PublishedLogs, Query, Reader, export, load_key,
};
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

/// The keys of a ledger, as an auditor was given them.
fn policy(folder: &Path, more: &str) -> PathBuf {
    let key = load_key(&folder.join("log.key")).unwrap();
    let path = folder.join("auditor.policy");
    std::fs::write(&path, format!("log {}\n{more}", key.vkey("test/deployment"))).unwrap();
    path
}

#[tokio::test]
async fn says_who_signed_and_cosigned_and_wants_the_quorum_of_the_auditors_own_policy() {
    let folder = tempfile::tempdir().unwrap();
    let export = exported(folder.path()).await;
    let witness = Cosigner::from_seed("witness.example", &[9; 32]).unwrap();
    let wants = format!("witness w {}\nquorum w\n", witness.key());
    let without = policy(folder.path(), "quorum none\n");
    let args = ["--policy", without.to_str().unwrap(), export.to_str().unwrap()];
    let output = verify(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("record 0 to 2, signed by test/deployment+"), "{said}");
    assert!(said.contains("witnessed by nobody, 0 erased, 0 pruned\n"), "{said}");

    policy(folder.path(), &wants);
    let output = verify(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("not_witnessed"), "{}", text(&output));

    let path = export.join("deployment/checkpoint");
    let note = std::fs::read_to_string(&path).unwrap();
    let (head, _) = note.split_once("\n\n").unwrap();
    let cosigned = append(&note, &witness.cosign(&format!("{head}\n"), 1_764_000_000)).unwrap();
    std::fs::write(&path, cosigned).unwrap();
    let output = verify(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("witnessed by w at 2025-11-24T16:00:00Z"), "{}", text(&output));
}

#[tokio::test]
async fn one_record_is_checked_by_its_proof_alone() {
    let folder = tempfile::tempdir().unwrap();
    let export = exported(folder.path()).await;
    let (file, policy) =
        (folder.path().join("one.tlog-proof"), policy(folder.path(), "quorum none\n"));
    let reader = Reader::open(&folder.path().join("ledger.db")).unwrap();
    let logs = PublishedLogs::of(&reader, "test");
    let proof = logs.prove(&reader, "test/deployment", 1).unwrap();
    std::fs::write(&file, proof.to_string()).unwrap();
    std::fs::remove_dir_all(&export).unwrap();
    let args = ["--proof", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
    let output = verify(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).starts_with("whole: record 1 of test/deployment"), "{}", text(&output));
    assert!(text(&output).contains("\"kind\":\"admin\""));

    let other = proof.extra().unwrap().iter().map(|b| if *b == b'1' { b'2' } else { *b }).collect();
    let forged = proof.clone().with_extra(other).unwrap();
    std::fs::write(&file, forged.to_string()).unwrap();
    assert_eq!(verify(&args).status.code(), Some(1));
    std::fs::write(&file, "c2sp.org/tlog-proof@v1\n").unwrap();
    assert_eq!(verify(&args).status.code(), Some(2));
    assert_eq!(verify(&["--proof", file.to_str().unwrap()]).status.code(), Some(2), "no key");
    assert!(logs.prove(&reader, "test/deployment", 3).is_err());
}

/// Whoever took the key that was replaced can sign a head over whatever came after.
#[tokio::test]
async fn of_two_keys_a_proof_alone_does_not_say_which_one_was_in_force() {
    let folder = tempfile::tempdir().unwrap();
    exported(folder.path()).await;
    let (file, key) = (folder.path().join("ledger.db"), folder.path().join("log.key"));
    let options = || LedgerOptions::new(file.clone(), "test", key.clone());
    let Rotated { old, new, retired, .. } = rotate(options(), false).await.unwrap();
    // Signs and shows what was written.
    Ledger::open(options()).unwrap().0.close().await.unwrap();
    let reader = Reader::open(&file).unwrap();
    let rows = reader.rows(&Query::default()).unwrap();
    let change = rows.iter().find(|row| row.record.kind == Kind::Key).unwrap().record.seq;
    let proof =
        PublishedLogs::of(&reader, "test").prove(&reader, "test/deployment", change).unwrap();
    let (text, _) = proof.checkpoint().split_once("\n\n").unwrap();
    let stolen = load_key(&retired).unwrap().sign("test/deployment", &format!("{text}\n"));
    let forged = TlogProof::new(change, proof.hashes().to_vec(), &stolen).unwrap();
    let forged = forged.with_extra(proof.extra().unwrap().to_vec()).unwrap();
    let put = |name: &str, proof: &TlogProof| {
        let path = folder.path().join(name);
        std::fs::write(&path, proof.to_string()).unwrap();
        path.display().to_string()
    };
    let (good, forged) = (put("good", &proof), put("forged", &forged));
    let (old, new) = (old.to_string(), new.to_string());
    let both = ["--vkey", &old, "--vkey", &new];
    let ask = |more: &[&str]| {
        let output = verify(more);
        let told = format!("{}{}", text_of(&output.stdout), text_of(&output.stderr));
        (output.status.code(), told)
    };
    for proof in [&good, &forged] {
        let (code, told) = ask(&[&both[..], &["--proof", proof]].concat());
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("--key-record") && told.contains("which one was in force"), "{told}");
        // Who was handed the newest key only is told the truth.
        let (code, told) = ask(&["--vkey", &new, "--proof", proof]);
        assert_eq!(code, Some(i32::from(proof == &forged)), "{told}");
    }
    for trust in [&both[..], &both[..2]] {
        let (code, told) = ask(&[trust, &["--key-record", &good, "--proof", &good]].concat());
        assert_eq!(code, Some(0), "{told}");
        assert!(
            told.contains(&format!("signed by key {}", new.split('+').nth(1).unwrap())),
            "{told}"
        );
        let (code, told) = ask(&[trust, &["--key-record", &good, "--proof", &forged]].concat());
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("has replaced"), "{told}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_same_is_found_with_one_thread_and_with_many() {
    let folder = tempfile::tempdir().unwrap();
    let export = exported(folder.path()).await;
    let folder = export.to_str().unwrap();
    let said = ["1", "2", "7"].map(|n| text(&verify(&["--threads", n, "--json", folder])));
    assert!(said[0].contains("whole") && said.iter().all(|one| *one == said[0]), "{said:?}");
}

#[test]
fn absent_and_misused_exit_with_codes_of_their_own() {
    assert_eq!(verify(&["/nowhere/at/all"]).status.code(), Some(4));
    assert_eq!(verify(&[]).status.code(), Some(2));
    assert_eq!(verify(&["--vkey", "nonsense", "x"]).status.code(), Some(2));
    assert!(text(&verify(&["--help"])).contains("Exit status:"));
}

#[tokio::test]
async fn what_a_caller_kept_must_be_of_the_form_in_which_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let export = exported(folder.path()).await;
    let kept = folder.path().join("kept");
    let check = |text: &str| {
        std::fs::write(&kept, text).unwrap();
        verify(&["--kept", kept.to_str().unwrap(), export.to_str().unwrap()])
    };
    let bad = check("x-portcullis-session-seq: three\n");
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("kept, line 1"), "{bad:?}");
    assert_eq!(check("# nothing\n").status.code(), Some(2));
    // Of a log of which there is no count: anybody can write such a line, so it accuses nobody.
    let told = check("x-portcullis-session-seq: 2;since=1;log=\"test/deployment\"\n");
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let said = text(&told);
    assert!(said.starts_with("whole: ") && !said.contains("FORGED"), "{said}");
    assert!(said.contains("1 numbers that you say that you were told are not here"), "{said}");
    assert!(said.contains("unsigned, so it proves nothing to others"), "{said}");
    assert!(said.contains("kept, line 1\n"), "{said}");
    let args = ["--json", "--kept", kept.to_str().unwrap(), export.to_str().unwrap()];
    let json: serde_json::Value = serde_json::from_slice(&verify(&args).stdout).unwrap();
    let unproved = &json["logs"][0]["kept_answers"]["unproved"];
    assert_eq!(unproved.as_array().map(Vec::len), Some(1), "{json}");
    let newer = check("x-portcullis-session-seq: 1;since=3;log=\"test/deployment\"\n");
    assert_eq!(newer.status.code(), Some(0), "{newer:?}");
    assert!(text(&newer).contains("0 are here, 1 are newer"), "{}", text(&newer));

    let payload = format!("deployment:0={}", kept.display());
    let bad = verify(&["--payload", &payload, export.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
}
