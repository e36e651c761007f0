//! Claims about key records as an outsider reads them.

use super::*;
use crate::entry::CallFields;
use crate::note::Checkpoint;
use crate::promise::Promise;
use crate::record::{Draft, Place, Stamp};

const LOG: &str = "d/t/x";

fn key(seed: u8) -> LogKey {
    LogKey::from_seed(&[seed; 32]).unwrap()
}

fn vkey(seed: u8) -> VerifierKey {
    VerifierKey::parse(&key(seed).vkey(LOG)).unwrap()
}

fn record_of(seq: u64, op: Uuid, note: &str) -> Record {
    let fields = CallFields {
        note: [("statement".to_owned(), note.to_owned())].into(),
        ..CallFields::default()
    };
    let draft = Draft::new(Kind::Key, "x", op, None, &fields, false).unwrap();
    let stamp = Stamp {
        ts: "2026-11-21T10:00:00.000000Z".into(),
        boot: "ab".into(),
        ns: 1,
        replica: "0".into(),
        epoch: 1,
    };
    let bytes = draft.place(&Place { log: LOG, seq, prev: &[7; 32], stamp: &stamp, session: None });
    Record::parse(&bytes).unwrap()
}

fn change(seq: u64, old: u8, new: u8) -> Record {
    record_of(seq, operation(LOG), &KeyStatement::sign(LOG, &key(old), &key(new)).unwrap())
}

#[test]
fn a_statement_counts_only_with_both_signatures_and_for_its_own_log() {
    let note = KeyStatement::sign(LOG, &key(1), &key(2)).unwrap();
    assert_eq!(KeyStatement::open(&note, LOG), Ok(KeyStatement { old: vkey(1), new: vkey(2) }));
    assert_eq!(KeyStatement::open(&note, "d/t/y"), Err(NotAKeyChange::Text));
    let (text, lines) = note.split_once("\n\n").unwrap();
    let lines: Vec<&str> = lines.split_inclusive('\n').collect();
    let only = |line: &str| format!("{text}\n\n{line}");
    assert_eq!(KeyStatement::open(&only(lines[0]), LOG), Err(NotAKeyChange::NewKey));
    assert_eq!(KeyStatement::open(&only(lines[1]), LOG), Err(NotAKeyChange::OldKey));
    // By another key, which says that it is the old one.
    let text = format!("{text}\n");
    let forged = append(&key(3).sign("d/t/x/key", &text), lines[1]).unwrap();
    assert_eq!(KeyStatement::open(&forged, LOG), Err(NotAKeyChange::OldKey));
    // Under the names of heads, of promises, and of another log.
    for name in [LOG, "d/t/x/promise", "d/t/y/key"] {
        let line = key(2).sign(name, &text);
        let line = line.rsplit_once("\n\n").unwrap().1;
        let replayed = append(&key(1).sign(name, &text), line).unwrap();
        assert_eq!(KeyStatement::open(&replayed, LOG), Err(NotAKeyChange::OldKey), "{name}");
    }
}

#[test]
fn a_statement_is_neither_a_head_nor_a_promise() {
    let note = KeyStatement::sign(LOG, &key(1), &key(2)).unwrap();
    for key in [vkey(1), vkey(2)] {
        assert!(Checkpoint::open(&note, &key).is_err());
        assert!(Promise::open(&note, &key).is_err());
    }
    let head = Checkpoint { origin: LOG.into(), size: 3, root: [9; 32] };
    assert!(KeyStatement::open(&head.sign(&key(1)), LOG).is_err());
}

#[test]
fn every_changed_bit_of_a_statement_takes_its_force() {
    let note = KeyStatement::sign(LOG, &key(1), &key(2)).unwrap();
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(KeyStatement::open(&changed, LOG).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn keys_follow_one_another_and_each_signs_the_heads_of_its_time() {
    let chain = KeyChain::of_records(LOG, &[change(5, 1, 2), change(9, 2, 3)]).unwrap().unwrap();
    assert_eq!((chain.birth(), chain.current()), (&vkey(1), &vkey(3)));
    let at = |size| chain.at(size).clone();
    assert_eq!([at(0), at(5)], [vkey(1), vkey(1)]);
    assert_eq!([at(6), at(9)], [vkey(2), vkey(2)]);
    assert_eq!([at(10), at(u64::MAX)], [vkey(3), vkey(3)]);
    let newest: Vec<_> = chain.newest_first().cloned().collect();
    assert_eq!(newest, [vkey(3), vkey(2), vkey(1)]);
    assert_eq!(KeyChain::of_records(LOG, &[]), Ok(None));
}

#[test]
fn a_key_out_of_turn_or_one_that_signed_before_is_refused() {
    let refused = |records: &[Record]| KeyChain::of_records(LOG, records).unwrap_err();
    let first = change(5, 1, 2);
    assert_eq!(refused(&[first.clone(), change(9, 1, 3)]), (9, NotAKeyChange::NotInForce));
    assert_eq!(refused(&[first.clone(), change(9, 2, 1)]), (9, NotAKeyChange::UsedBefore));
    assert_eq!(refused(&[first.clone(), first.clone()]), (5, NotAKeyChange::NotInForce));
    let note = KeyStatement::sign(LOG, &key(1), &key(2)).unwrap();
    let elsewhere = record_of(5, Uuid::from_u128(7), &note);
    assert_eq!(refused(&[elsewhere]), (5, NotAKeyChange::Operation));
    let foreign = KeyStatement::sign("d/t/y", &key(1), &key(2)).unwrap();
    let foreign = record_of(5, operation(LOG), &foreign);
    assert_eq!(refused(&[foreign]), (5, NotAKeyChange::Text));
}
