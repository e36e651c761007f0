//! `portcullis ledger witness` as whoever runs one meets it; the protocol is tried in the crate `tests`.

use crate::{binary, json, run};

const WITNESS: [&str; 4] = ["ledger", "witness", "--folder", "w"];

fn witness<'a>(more: &[&'a str]) -> Vec<&'a str> {
    WITNESS.iter().copied().chain(more.iter().copied()).collect()
}

#[test]
fn the_key_is_made_once_and_needs_no_deployment() {
    let dir = tempfile::tempdir().unwrap();
    let first = binary(dir.path())
        .env("PORTCULLIS_CONFIG", "no/such/file.toml")
        .args(witness(&["--vkey", "--name", "example.org/w"]))
        .output()
        .unwrap();
    let vkey = String::from_utf8(first.stdout).unwrap();
    assert!(vkey.starts_with("example.org/w+"), "{vkey}");
    assert_eq!(run(dir.path(), &witness(&["--vkey"])).well(), vkey);
    assert_eq!(json(dir.path(), &witness(&["--vkey"]))["vkey"], vkey.trim_end());
    let other = run(dir.path(), &witness(&["--vkey", "--name", "other"])).failed();
    assert!(other.contains("leave `--name` out"), "{other}");
}

#[test]
fn what_it_watches_has_to_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = run(dir.path(), &witness(&[]));
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("portcullis ledger key"), "{}", nothing.err);
    let half = run(dir.path(), &witness(&["--deployment", "acme"]));
    assert_eq!(half.code, 2, "{}", half.err);
    let wrong = run(dir.path(), &witness(&["--deployment", "acme", "--key", "x"])).failed();
    assert!(wrong.contains("`x` is not a public key"), "{wrong}");
    assert!(!dir.path().join("w").exists(), "a mistake leaves nothing behind");
}
