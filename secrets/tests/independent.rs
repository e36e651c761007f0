//! A decryptor of another language, written from the text of the format alone, opens the vectors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn python(vectors: &Path) -> Output {
    let parts = std::env::var("PORTCULLIS_TEST_PARTS")
        .expect("missing: PORTCULLIS_TEST_PARTS; `tests/parts/install.sh` installs the parts");
    let python = PathBuf::from(parts).join("venv/bin/python");
    let script = "tests/independent/open_sev1.py";
    let run = Command::new(&python).arg(script).arg(vectors).output();
    run.unwrap_or_else(|why| panic!("missing: {}: {why}", python.display()))
}

#[test]
fn the_vectors_open_in_python_and_altered_ones_do_not() {
    let vectors = Path::new("tests/vectors/sev1.json");
    let done = python(vectors);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains("18 blobs and 2 rows open"), "{said}");

    // The test of the test: one digit of one blob.
    let text = std::fs::read_to_string(vectors).unwrap();
    let altered = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(altered.path(), text.replacen("\"blob\": \"5345", "\"blob\": \"5344", 1))
        .unwrap();
    assert!(!python(altered.path()).status.success());
}
