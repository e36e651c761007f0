use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::chain::node;
use crate::merkle::{prove_inclusion, root};
use crate::note::{Cosigner, LogKey, append};

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

const ORIGIN: &str = "d/t/default";

fn records() -> Vec<Vec<u8>> {
    (0..7_u8).map(|n| format!("record {n}").into_bytes()).collect()
}

fn key() -> LogKey {
    LogKey::from_seed(&[7; 32]).unwrap()
}

fn witness() -> Cosigner {
    Cosigner::from_seed("witness.example", &[1; 32]).unwrap()
}

fn policy(quorum: &str) -> Policy {
    let (log, witness) = (key().vkey(ORIGIN), witness().key());
    Policy::parse(&format!("log {log}\nwitness W {witness}\nquorum {quorum}\n")).unwrap()
}

fn head() -> Checkpoint {
    let leaves: Vec<Hash> = records().iter().map(|record| leaf(record)).collect();
    Checkpoint { origin: ORIGIN.into(), size: leaves.len() as u64, root: root(&leaves) }
}

fn proof(index: u64, checkpoint: &str) -> TlogProof {
    let leaves: Vec<Hash> = records().iter().map(|record| leaf(record)).collect();
    let hashes = prove_inclusion(index, 7, |at| {
        let (first, width) = (usize::try_from(at.index << at.level).unwrap(), 1 << at.level);
        Ok::<_, Infallible>(root(&leaves[first..first + width]))
    });
    TlogProof::new(index, hashes.unwrap(), checkpoint).unwrap()
}

fn witnessed() -> String {
    append(&head().sign(&key()), &witness().cosign(&head().text(), NOW)).unwrap()
}

#[test]
fn a_proof_sent_as_text_is_checked_alone() {
    for (index, record) in (0..).zip(records()) {
        let sent = proof(index, &witnessed()).to_string();
        assert!(!sent.contains("extra"), "nothing of ours in the file");
        let proved = TlogProof::parse(&sent).unwrap().verify(&record, &policy("W"), NOW).unwrap();
        assert_eq!((proved.index, proved.head.checkpoint), (index, head()));
        assert_eq!(proved.head.cosignatures[0].unix_seconds, NOW);
    }
}

#[test]
fn a_record_at_another_place_or_with_another_byte_is_not_proved() {
    let sent = proof(3, &witnessed());
    for (index, record) in (0..).zip(records()) {
        let answer = sent.verify(&record, &policy("none"), NOW);
        assert_eq!(answer.is_ok(), index == 3, "record {index}");
    }
    let answer = sent.verify(b"record 3 ", &policy("none"), NOW);
    assert_eq!(answer, Err(NotProved::Inclusion(BadProof::Root)));
    let node = [leaf(b"record 2"), leaf(b"record 3")].concat();
    assert!(sent.verify(&node, &policy("none"), NOW).is_err());
}

#[test]
fn a_checkpoint_without_its_quorum_proves_nothing() {
    let alone = proof(3, &head().sign(&key()));
    assert!(alone.verify(b"record 3", &policy("none"), NOW).is_ok());
    assert_eq!(alone.verify(b"record 3", &policy("W"), NOW), Err(NotProved::Quorum));
    let early = proof(3, &witnessed()).verify(b"record 3", &policy("W"), NOW - 1);
    assert_eq!(early, Err(NotProved::Quorum), "cosigned in the future");
    let forged = proof(3, &head().sign(&LogKey::from_seed(&[8; 32]).unwrap()));
    let answer = forged.verify(b"record 3", &policy("none"), NOW);
    assert_eq!(answer, Err(NotProved::Checkpoint(NotTrusted::Unsigned)));
}

#[test]
fn a_larger_tree_with_the_same_leaf_does_not_take_the_proof_of_a_smaller() {
    let sent = proof(3, &witnessed());
    let grown = Checkpoint { size: 8, root: node(&head().root, &leaf(b"7")), ..head() };
    let moved = TlogProof::new(3, sent.hashes().to_vec(), &grown.sign(&key())).unwrap();
    assert!(moved.verify(b"record 3", &policy("none"), NOW).is_err());
}

#[test]
fn extra_data_travels_and_changes_nothing() {
    let sent = proof(0, &witnessed()).with_extra(b"for you".to_vec()).unwrap();
    let text = sent.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra Zm9yIHlvdQ==\nindex 0\n"), "{text}");
    let read = TlogProof::parse(&text).unwrap();
    assert_eq!(read.extra(), Some(b"for you".as_slice()));
    assert!(read.verify(b"record 0", &policy("W"), NOW).is_ok());
    assert_eq!(proof(0, &witnessed()).with_extra(Vec::new()).unwrap().extra(), None);
    let long = proof(0, &witnessed()).with_extra(vec![0; MAX_EXTRA_BYTES + 1]);
    assert_eq!(long, Err(NotAProof::Extra));
    let longest = proof(0, &witnessed()).with_extra(vec![0; MAX_EXTRA_BYTES]).unwrap();
    assert_eq!(TlogProof::parse(&longest.to_string()), Ok(longest));
}

#[test]
fn what_is_not_a_proof_says_why() {
    let good = proof(3, &witnessed()).to_string();
    let hash = good.lines().nth(2).unwrap().to_owned();
    let many = format!("{hash}\n").repeat(63);
    let cases = [
        (String::new(), NotAProof::Checkpoint),
        (good.replace("proof@v1", "proof@v2"), NotAProof::Title),
        (good.replace("index 3", "index 03"), NotAProof::Index),
        (good.replace("index 3", "index +3"), NotAProof::Index),
        (good.replace("index 3", "index"), NotAProof::Index),
        (good.replace("index 3\n", ""), NotAProof::Index),
        (good.replace("index 3", "extra \nindex 3"), NotAProof::Extra),
        (good.replace("index 3", "extra x\nindex 3"), NotAProof::Extra),
        (good.replace("index 3", "extra\nindex 3"), NotAProof::Extra),
        (good.replace("index 3", "extra AA==\nextra AA==\nindex 3"), NotAProof::Index),
        (good.replace("index 3\n", "index 3\nAAAA\n"), NotAProof::Hash),
        (good.replace("index 3\n", &format!("index 3\n{many}")), NotAProof::TooManyHashes),
        (good.replace("index 3\n", "index 3\n\n"), NotAProof::Checkpoint),
        (good.replace("\n7\n", "\n07\n"), NotAProof::Checkpoint),
        (good.trim_end().to_owned(), NotAProof::Checkpoint),
        (good.replace('\n', "\r\n"), NotAProof::Checkpoint),
        ("x".repeat(MAX_PROOF_BYTES + 1), NotAProof::TooLong),
    ];
    for (text, why) in cases {
        assert_eq!(TlogProof::parse(&text), Err(why), "{}", text.get(..300).unwrap_or(&text));
    }
}

proptest! {
    #[test]
    fn no_changed_byte_of_a_proof_proves_anything(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut text = proof(3, &witnessed()).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1 << bit;
        let Ok(text) = String::from_utf8(text) else { return Ok(()) };
        if let Ok(read) = TlogProof::parse(&text) {
            prop_assert_eq!(read.to_string(), text, "a proof has one spelling");
            prop_assert!(read.verify(b"record 3", &policy("W"), NOW).is_err());
        }
    }
}
