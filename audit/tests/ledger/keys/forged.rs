//! Key records that somebody wrote by hand, who lacks one of the keys.

use super::*;
use portcullis_audit::keys::{KeyStatement, NotFollowed, follow, operation};
use portcullis_audit::tlog_proof::TlogProof;
use portcullis_audit::{Draft, Place, Stamp, chain, merkle, tiles};

/// A log as somebody would write it by hand: an export of the deployment's log alone.
struct Forger {
    house: House,
    records: Vec<Vec<u8>>,
}

impl Forger {
    /// A log that begins under this key.
    fn new(birth: &LogKey) -> Self {
        let mut forger = Self { house: House::new(), records: Vec::new() };
        let genesis = chain::genesis(DEPLOYMENTS, &birth.vkey(DEPLOYMENTS));
        forger.push(&genesis, Kind::Admin, Uuid::now_v7(), None);
        forger
    }

    fn push(&mut self, prev: &chain::Hash, kind: Kind, op: Uuid, statement: Option<&str>) {
        let note = statement.map(|text| ("statement".to_owned(), text.to_owned()));
        let fields = CallFields { note: note.into_iter().collect(), ..CallFields::default() };
        let draft = Draft::new(kind, "deployment", op, None, &fields, false).unwrap();
        let stamp = Stamp {
            ts: "2026-11-21T10:00:00.000000Z".into(),
            boot: "ab".into(),
            ns: 1,
            replica: "0".into(),
            epoch: 1,
        };
        let seq = self.records.len() as u64;
        let place = Place { log: DEPLOYMENTS, seq, prev, stamp: &stamp, session: None };
        self.records.push(draft.place(&place));
    }

    /// With a key record that carries this note.
    fn change(mut self, note: &str) -> Self {
        let prev = chain::leaf(self.records.last().unwrap());
        self.push(&prev, Kind::Key, operation(DEPLOYMENTS), Some(note));
        self
    }

    fn more(mut self) -> Self {
        let prev = chain::leaf(self.records.last().unwrap());
        self.push(&prev, Kind::Admin, Uuid::now_v7(), None);
        self
    }

    /// The export, signed by `signer`; the folder names these keys.
    fn sign(&self, signer: &LogKey, named: &[&LogKey]) -> PathBuf {
        let leaves: Vec<_> = self.records.iter().map(|record| chain::leaf(record)).collect();
        let (size, root) = (leaves.len() as u64, merkle::root(&leaves));
        let head = Checkpoint { origin: DEPLOYMENTS.into(), size, root };
        let (folder, log) = (self.house.path("export"), self.house.path("export/deployment"));
        std::fs::create_dir_all(log.join("tile/entries")).unwrap();
        std::fs::create_dir_all(log.join("proofs")).unwrap();
        let put = |path: PathBuf, bytes: &[u8]| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let mut bundle = Vec::new();
        self.records.iter().for_each(|r| tiles::push_entry(&mut bundle, r).unwrap());
        put(log.join(tiles::entries_path(0, leaves.len())), &bundle);
        for (path, bytes) in tiles::hash_tiles(&leaves) {
            put(log.join(path), &bytes);
        }
        let note = head.sign(signer);
        for (at, record) in self.records.iter().enumerate() {
            let subtree = |at: merkle::Subtree| {
                let (from, width) = (at.index << at.level, 1 << at.level);
                let span = usize::try_from(from).unwrap()..usize::try_from(from + width).unwrap();
                Ok::<_, std::convert::Infallible>(merkle::root(&leaves[span]))
            };
            let hashes = merkle::prove_inclusion(at as u64, size, subtree).unwrap();
            let proof = TlogProof::new(at as u64, hashes, &note).unwrap();
            let proof = proof.with_extra(record.clone()).unwrap().to_string();
            put(log.join(format!("proofs/{at}.tlog-proof")), proof.as_bytes());
        }
        let policy = |origin: &str| {
            let keys = named.iter().map(|key| VerifierKey::parse(&key.vkey(origin)).unwrap());
            Policy::of_logs(keys).to_string()
        };
        put(log.join("checkpoint"), note.as_bytes());
        put(log.join("policy"), policy(DEPLOYMENTS).as_bytes());
        put(folder.join("policy"), policy("test/export").as_bytes());
        let line = format!("{DEPLOYMENTS} {size} {}", hex::encode(root));
        let index = format!("portcullis/export/v1\nlogs 1\n{line}\n");
        put(folder.join("index"), signer.sign("test/export", &index).as_bytes());
        folder
    }
}

fn statement(old: u8, new: u8) -> String {
    KeyStatement::sign(DEPLOYMENTS, &key(old), &key(new)).unwrap()
}

/// What a statement becomes when its two signatures are of these keys.
fn signed_by(statement: &str, signers: [&LogKey; 2]) -> String {
    let (text, _) = statement.split_once("\n\n").unwrap();
    let notes = signers.map(|key| key.sign("test/deployment/key", &format!("{text}\n")));
    let line = notes[1].split_once("\n\n").unwrap().1;
    portcullis_audit::note::append(&notes[0], line).unwrap()
}

#[test]
fn a_key_that_one_alone_vouches_for_is_refused_and_named() {
    // Sound, as a measure of what follows: the old key is believed, the new one signs the head.
    let sound = Forger::new(&key(1)).change(&statement(1, 2)).more();
    let folder = sound.sign(&key(2), &[&key(2), &key(1)]);
    whole(&verify(&folder, &believing(&[&vkey(1)])));
    whole(&verify(&folder, &believing(&[&vkey(2)])));
    whole(&verify(&folder, &Trust::default()));

    let other_log = KeyStatement::sign("test/t/x", &key(1), &key(2)).unwrap();
    for (what, note) in [
        ("by the new key alone", signed_by(&statement(1, 2), [&key(2), &key(2)])),
        ("by the old key alone", signed_by(&statement(1, 2), [&key(1), &key(1)])),
        ("by the new key and a stranger", signed_by(&statement(1, 2), [&key(3), &key(2)])),
        ("of another log", other_log),
        ("of another key of before", statement(3, 2)),
        ("nothing", String::new()),
    ] {
        let forged_log = Forger::new(&key(1)).change(&note).more();
        let folder = forged_log.sign(&key(2), &[&key(2), &key(1)]);
        for trust in [believing(&[&vkey(1)]), believing(&[&vkey(2)]), Trust::default()] {
            let fault = forged(verify(&folder, &trust));
            // A chain from a stranger is sound in itself: it is another log than the one that is known.
            let ends = [(FaultKind::BadKey, Some(1)), (FaultKind::Edited, Some(0))];
            let of_stranger = what == "of another key of before";
            let named = ends.contains(&(fault.kind, fault.seq))
                || (of_stranger
                    && matches!(fault.kind, FaultKind::Resigned | FaultKind::BadCheckpoint));
            assert!(named, "{what}: {fault}");
        }
    }
}

#[test]
fn a_key_that_was_replaced_signs_no_later_head() {
    let log = Forger::new(&key(1)).change(&statement(1, 2)).more();
    let folder = log.sign(&key(1), &[&key(1), &key(2)]);
    for trust in [believing(&[&vkey(1)]), believing(&[&vkey(1), &vkey(2)]), Trust::default()] {
        let fault = forged(verify(&folder, &trust));
        assert_eq!((fault.kind, fault.seq), (FaultKind::BadKey, Some(1)), "{fault}");
        assert!(fault.why.contains("out of force"), "{fault}");
    }
    // Replaced by a third one, nobody gets back in by an older statement.
    let again = Forger::new(&key(1)).change(&statement(1, 2)).change(&statement(2, 3));
    let again = again.change(&statement(1, 2));
    let fault = forged(verify(&again.sign(&key(2), &[&key(2)]), &believing(&[&vkey(1)])));
    assert_eq!((fault.kind, fault.seq), (FaultKind::BadKey, Some(3)), "{fault}");
}

#[test]
fn a_single_proof_is_followed_by_those_of_the_key_records_before_it() {
    let log = Forger::new(&key(1)).change(&statement(1, 2)).change(&statement(2, 3)).more();
    let folder = log.sign(&key(3), &[&key(3)]).join("deployment/proofs");
    let proof = |at: u64| {
        let text = std::fs::read_to_string(folder.join(format!("{at}.tlog-proof"))).unwrap();
        TlogProof::parse(&text).unwrap()
    };
    // Read now: the folder is signed anew below.
    let [one, two, last] = [1, 2, 3].map(proof);
    let holds = |policy: &Policy| last.verify(last.extra().unwrap(), policy, u64::MAX).is_ok();
    let first = Policy::of_logs([vkey(1)]);
    assert!(!holds(&first.for_log(DEPLOYMENTS).unwrap()));
    let followed = follow(&first, DEPLOYMENTS, &[two.clone(), one.clone()]).unwrap();
    assert!(holds(followed.policy()));
    assert!(holds(
        follow(&Policy::of_logs([vkey(2)]), DEPLOYMENTS, std::slice::from_ref(&two))
            .unwrap()
            .policy()
    ));
    // Who has a key that was replaced can sign with it, but no head over the record that says so.
    for stolen in [1, 2] {
        let forged = log.sign(&key(stolen), &[&key(stolen)]).join("deployment/proofs");
        let forged = |at: u64| {
            let text = std::fs::read_to_string(forged.join(format!("{at}.tlog-proof"))).unwrap();
            TlogProof::parse(&text).unwrap()
        };
        let last = forged(3);
        let proved = last.verify(last.extra().unwrap(), followed.policy(), u64::MAX).unwrap();
        let replaced = NotFollowed::Replaced { seq: u64::from(stolen), size: 4 };
        assert_eq!(followed.was_in_force(&proved.head), Err(replaced.clone()));
        let refused = follow(&first, DEPLOYMENTS, &[two.clone(), one.clone(), forged(2)]).map(drop);
        assert!(refused.is_err(), "{refused:?}");
        let refused = follow(&first, DEPLOYMENTS, &[forged(1), two.clone()]).map(drop);
        assert_eq!(refused, Err(replaced));
    }
    // Not without the one between, not from a stranger's, not by another record.
    let refused =
        |keys: &Policy, proofs: &[TlogProof]| follow(keys, DEPLOYMENTS, proofs).unwrap_err();
    assert_eq!(refused(&first, std::slice::from_ref(&two)), NotFollowed::Unknown);
    assert_eq!(
        refused(&Policy::of_logs([vkey(9)]), std::slice::from_ref(&one)),
        NotFollowed::Unknown
    );
    let another = refused(&first, &[one.clone(), last.clone()]);
    assert!(matches!(another, NotFollowed::Change(_)), "{another}");
    // Nor by a record that stands in no log of a key that is believed then.
    let forger = Forger::new(&key(1)).change(&statement(1, 2));
    let beside = forger.sign(&key(9), &[&key(9)]).join("deployment/proofs/1.tlog-proof");
    let beside = TlogProof::parse(&std::fs::read_to_string(beside).unwrap()).unwrap();
    assert!(matches!(refused(&first, &[beside]), NotFollowed::Proof(_)));
}

#[test]
fn a_key_record_whose_proof_was_taken_out_is_missed() {
    let log = Forger::new(&key(1)).change(&statement(1, 2)).more();
    let folder = log.sign(&key(2), &[&key(2), &key(1)]);
    std::fs::remove_file(folder.join("deployment/proofs/1.tlog-proof")).unwrap();
    let fault = forged(verify(&folder, &believing(&[&vkey(2)])));
    assert!(matches!(fault.kind, FaultKind::BadKey | FaultKind::Edited), "{fault}");
    let fault = forged(verify(&folder, &believing(&[&vkey(1)])));
    assert!(matches!(fault.kind, FaultKind::BadCheckpoint | FaultKind::Resigned), "{fault}");
}
