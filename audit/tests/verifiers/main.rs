//! Verifiers that share no code with Portcullis accept what it writes, and reject what was changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy's allow-*-in-tests does not reach helper functions"
)]

mod cloudflare;
mod commands;
mod written;

use std::path::Path;

use portcullis_audit::chain::Hash;
use portcullis_audit::note::{Checkpoint, Cosigner, LogKey, append};
use portcullis_audit::witness::AddCheckpoint;
use written::Written;

/// Checks the folder of a log under a verifier key; says what it found.
type Verifier = fn(&Path, &str) -> Result<String, String>;

/// More than the width of a level 1 tile, so that there are three levels.
const LARGE: usize = 65_536 + 300;

const SMALL: usize = 3_000;

#[tokio::test]
async fn cloudflare_accepts_a_written_log_and_rejects_every_change() {
    accepts_and_rejects(cloudflare::check_log).await;
}

#[tokio::test]
async fn go_accepts_a_written_log_and_rejects_every_change() {
    accepts_and_rejects(commands::go_log).await;
}

#[tokio::test]
async fn pymerkle_accepts_a_written_log_and_rejects_every_change() {
    accepts_and_rejects(commands::python_log).await;
}

#[tokio::test]
async fn all_accept_a_log_of_three_levels_and_reject_a_changed_tile_of_each() {
    let written = Written::new(LARGE).await;
    for verify in [cloudflare::check_log, commands::go_log, commands::python_log] as [Verifier; 3] {
        let whole = verify(&written.log(), &written.vkey()).unwrap();
        assert!(whole.starts_with("65836 records and 6 proofs under "), "{whole}");
    }
    for tile in ["tile/0/255", "tile/1/001.p/1", "tile/2/000.p/1"] {
        rejects(&written, cloudflare::check_log, tile, |bytes| bytes[7] ^= 1);
        rejects(&written, commands::go_log, tile, |bytes| bytes[7] ^= 1);
    }
}

#[tokio::test]
async fn all_accept_a_log_after_a_rotation_of_its_key_under_the_key_that_signs_now() {
    let written = Written::new(SMALL).await;
    let (old, before) = (written.vkey(), written.root(3_000));
    let written = written.rotated().await;
    for verify in [cloudflare::check_log, commands::go_log, commands::python_log] as [Verifier; 3] {
        let whole = verify(&written.log(), &written.vkey()).unwrap();
        // Proved are the record of the rotation and the last one.
        assert!(whole.starts_with("3002 records and 2 proofs under "), "{whole}");
        assert!(
            verify(&written.log(), &old).is_err(),
            "the old key signs no head over that record"
        );
        rejects(&written, verify, "tile/entries/011.p/186", |bytes| bytes[1_000] ^= 1);
    }
    // It has only grown: the same tree goes on under the new key.
    let note = std::fs::read_to_string(written.log().join("checkpoint")).unwrap();
    let body = AddCheckpoint::new(3_000, written.growth(3_000), &note).unwrap();
    let path = written.folder.path().join("request");
    std::fs::write(&path, body.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let said = commands::go(&["growth", &base64(&before), path, &written.vkey()]).unwrap();
    assert_eq!(said, "3002 begins with 3000");
}

#[tokio::test]
async fn go_accepts_the_growth_of_a_log_and_no_other() {
    let written = Written::new(SMALL).await;
    let request = |old: u64| written.folder.path().join(format!("request-{old}"));
    let (vkey, key) = (written.vkey(), written.key());
    for old in [1, 2, 255, 256, 257, 1_000, 2_999, 3_000] {
        let note = std::fs::read_to_string(written.log().join("checkpoint")).unwrap();
        let body = AddCheckpoint::new(old, written.growth(old), &note).unwrap();
        std::fs::write(request(old), body.to_string()).unwrap();
        let path = request(old).to_str().unwrap().to_owned();
        let said = commands::go(&["growth", &base64(&written.root(old)), &path, &vkey]).unwrap();
        assert_eq!(said, format!("3000 begins with {old}"));
        let other = written.root(old - 1);
        assert!(commands::go(&["growth", &base64(&other), &path, &vkey]).is_err());
        let forked = Checkpoint { origin: written.origin(), size: 3_000, root: [7; 32] };
        let body = AddCheckpoint::new(old, written.growth(old), &forked.sign(&key)).unwrap();
        std::fs::write(request(old), body.to_string()).unwrap();
        assert!(commands::go(&["growth", &base64(&written.root(old)), &path, &vkey]).is_err());
    }
}

#[test]
fn go_accepts_a_cosignature_and_tells_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Cosigner::from_seed("witness.example/w1", &[1; 32]).unwrap();
    let head = Checkpoint { origin: "d/t/x".into(), size: 3, root: [9; 32] };
    let note = head.sign(&LogKey::from_seed(&[7; 32]).unwrap());
    let note = append(&note, &witness.cosign(&head.text(), 1_767_225_600)).unwrap();
    let check = |note: &str, witness: &Cosigner| {
        let path = folder.path().join("note");
        std::fs::write(&path, note).unwrap();
        commands::go(&["cosigned", path.to_str().unwrap(), &witness.key().to_string()])
    };
    assert_eq!(check(&note, &witness), Ok("cosigned at 1767225600".to_owned()));
    assert!(check(&note.replace("\n3\n", "\n4\n"), &witness).is_err());
    let other = Cosigner::from_seed("witness.example/w1", &[2; 32]).unwrap();
    assert!(check(&note, &other).is_err());
}

async fn accepts_and_rejects(verify: Verifier) {
    let written = Written::new(SMALL).await;
    let whole = verify(&written.log(), &written.vkey()).unwrap();
    assert!(whole.starts_with("3000 records and 5 proofs under "), "{whole}");
    let other = LogKey::from_seed(&[9; 32]).unwrap().vkey(&written.origin());
    assert!(verify(&written.log(), &other).is_err(), "another key");
    let elsewhere = written.key().vkey("test/t/other");
    assert!(verify(&written.log(), &elsewhere).is_err(), "another log");
    for (file, at) in [
        ("tile/entries/000", 100),
        ("tile/entries/005", 0),
        ("tile/entries/011.p/184", 1_000),
        ("tile/0/000", 0),
        ("tile/0/011.p/184", 100),
        ("tile/1/000.p/11", 351),
        ("checkpoint", 0),
    ] {
        rejects(&written, verify, file, |bytes| bytes[at] ^= 1);
        rejects(&written, verify, file, |bytes| bytes.truncate(bytes.len() - 1));
    }
    rejects(&written, verify, "checkpoint", |bytes| resize(bytes, "2999"));
    rejects(&written, verify, "checkpoint", |bytes| resize(bytes, "3001"));
    // Signed by the real key: a smaller size and another root.
    let (key, head) =
        (written.key(), |size, root| Checkpoint { origin: written.origin(), size, root });
    let smaller = head(2_999, written.root(3_000)).sign(&key);
    rejects(&written, verify, "checkpoint", |bytes| *bytes = smaller.clone().into_bytes());
    let forked = head(3_000, written.root(2_999)).sign(&key);
    rejects(&written, verify, "checkpoint", |bytes| *bytes = forked.clone().into_bytes());
    rejects(&written, verify, "proofs/5.tlog-proof", |bytes| {
        *bytes = String::from_utf8(bytes.clone()).unwrap().replace("index 5", "index 4").into();
    });
    assert!(verify(&written.log(), &written.vkey()).is_ok(), "everything was put back");
}

/// Rejected after `change` of one file, which is put back.
fn rejects(written: &Written, verify: Verifier, file: &str, change: impl Fn(&mut Vec<u8>)) {
    let path = written.log().join(file);
    let whole = std::fs::read(&path).unwrap();
    let mut changed = whole.clone();
    change(&mut changed);
    assert_ne!(whole, changed, "{file} was not changed");
    std::fs::write(&path, changed).unwrap();
    let said = verify(&written.log(), &written.vkey());
    assert!(said.is_err(), "a changed `{file}` was accepted: {said:?}");
    std::fs::write(&path, whole).unwrap();
}

fn resize(checkpoint: &mut Vec<u8>, size: &str) {
    let text = String::from_utf8(checkpoint.clone()).unwrap();
    *checkpoint = text.replace("\n3000\n", &format!("\n{size}\n")).into_bytes();
}

fn base64(hash: &Hash) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(hash)
}
