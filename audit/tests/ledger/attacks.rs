//! The attacks and faults that an auditor tries on a ledger (ledger-and-vault.md section 7, numbers 1 to 30 and
//! 42; those of the vault are in `secrets/`), and the tests that hold each. Who renames a test is told here.

use std::collections::BTreeSet;
use std::path::Path;

use list::ATTACKS;

mod list;

/// A test by this name, that is run or may be.
fn is_there(source: &str, test: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {test}(")) else { return false };
    // Its attributes are in the same paragraph.
    before.rsplit("\n\n").next().is_some_and(|attributes| attributes.contains("test"))
}

#[test]
fn every_attack_has_tests_that_exist() {
    let numbers: BTreeSet<u8> = ATTACKS.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=30).chain([42]).collect());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (number, deed, held) in ATTACKS {
        assert!(!held.is_empty(), "{number}: {deed}");
        for (folder, file, tests) in *held {
            let path = root.join(folder).join(format!("{file}.rs"));
            let source = std::fs::read_to_string(&path).unwrap_or_else(|error| {
                panic!("attack {number}, {deed}: {}: {error}", path.display())
            });
            for test in *tests {
                assert!(is_there(&source, test), "attack {number}, {deed}: no {file}::{test}");
            }
        }
    }
}
