//! Claims about what a witness remembers. The protocol itself is tried in `portcullis_audit`.

use portcullis_audit::chain::Hash;
use portcullis_audit::merkle::{prove_consistency, root};
use portcullis_audit::note::LogKey;

use super::*;

const ORIGIN: &str = "acme/t/default";

fn key() -> LogKey {
    LogKey::from_seed(&[7; 32]).unwrap()
}

fn trust() -> Trust {
    let mut trust = Trust::default();
    trust.deployment("acme", &key().vkey("acme/deployment")).unwrap();
    trust
}

fn open(folder: &Path) -> Witness {
    Witness::open(folder, None, trust()).unwrap()
}

/// A log whose leaves are all `kind`.
fn leaves(kind: u8, size: u64) -> Vec<Hash> {
    (0..size).map(|_| [kind; 32]).collect()
}

fn request(kind: u8, old: u64, size: u64) -> String {
    request_by(&key(), kind, old, size)
}

fn request_by(key: &LogKey, kind: u8, old: u64, size: u64) -> String {
    let all = leaves(kind, size);
    let subtree = |at: portcullis_audit::merkle::Subtree| {
        let from = usize::try_from(at.index << at.level).unwrap();
        Ok::<_, ()>(root(&all[from..from + (1 << at.level)]))
    };
    let proof = prove_consistency(old.min(size), size, subtree).unwrap();
    let head = Checkpoint { origin: ORIGIN.to_owned(), size, root: root(&all) };
    AddCheckpoint::new(old, proof, &head.sign(key)).unwrap().to_string()
}

fn status(answer: Result<String, NotCosigned>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(NotCosigned::Refused(refusal)) => refusal.status(),
        Err(_) => 500,
    }
}

#[test]
fn it_goes_on_where_it_was_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let witness = open(folder.path());
    assert_eq!(status(witness.add_checkpoint(&request(1, 0, 3), 9)), 200);
    drop(witness);
    let witness = open(folder.path());
    assert_eq!(status(witness.add_checkpoint(&request(1, 0, 5), 9)), 409);
    assert_eq!(status(witness.add_checkpoint(&request(1, 3, 2), 9)), 400);
    assert_eq!(status(witness.add_checkpoint(&request(1, 3, 5), 9)), 200);
    assert_eq!(status(witness.add_checkpoint(&request(1, 5, 5), 9)), 200, "the same once more");
    assert_eq!(status(witness.add_checkpoint(&request(2, 5, 6), 9)), 422, "another history");
}

/// Whoever took the old key goes on signing with it.
#[test]
fn a_key_that_was_replaced_stays_so_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let newer = LogKey::from_seed(&[8; 32]).unwrap();
    let both = || {
        let mut trust = Trust::default();
        trust.deployment("acme", &newer.vkey("acme/deployment")).unwrap();
        trust.deployment("acme", &key().vkey("acme/deployment")).unwrap();
        Witness::open(folder.path(), None, trust).unwrap()
    };
    let witness = open(folder.path());
    assert_eq!(status(witness.add_checkpoint(&request(1, 0, 3), 9)), 200);
    drop(witness);
    let witness = both();
    assert_eq!(status(witness.add_checkpoint(&request(1, 3, 4), 9)), 200, "not replaced yet");
    assert_eq!(status(witness.add_checkpoint(&request_by(&newer, 1, 4, 6), 9)), 200);
    assert_eq!(status(witness.add_checkpoint(&request(1, 6, 7), 9)), 403);
    drop(witness);
    let witness = both();
    for size in [6, 7] {
        assert_eq!(status(witness.add_checkpoint(&request(1, 6, size), 9)), 403, "{size}");
    }
    assert_eq!(status(witness.add_checkpoint(&request_by(&newer, 1, 6, 8), 9)), 200);
}

#[test]
fn only_one_witness_works_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    let second = Witness::open(folder.path(), None, trust());
    assert!(matches!(second, Err(WitnessError::Locked(_))), "{second:?}");
}

#[test]
fn a_damaged_note_refuses_the_start() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).add_checkpoint(&request(1, 0, 3), 9).unwrap();
    let path = folder.path().join("logs").join(format!("{}.note", id(ORIGIN)));
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let refused = Witness::open(folder.path(), None, trust());
        assert!(matches!(refused, Err(WitnessError::Damaged { .. })), "byte {at}: {refused:?}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(Witness::open(folder.path(), None, trust()).is_err(), "cut at {at}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(open(folder.path()).logs(), 1);
}

#[test]
fn of_two_histories_one_is_cosigned_and_the_proof_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let witness = open(folder.path());
    assert_eq!(status(witness.add_checkpoint(&request(1, 0, 3), 9)), 200);
    assert_eq!(status(witness.add_checkpoint(&request(2, 0, 3), 9)), 409);
    let forks: Vec<_> = std::fs::read_dir(folder.path().join("forks")).unwrap().collect();
    assert_eq!(forks.len(), 1);
    let proof = std::fs::read_to_string(forks[0].as_ref().unwrap().path()).unwrap();
    assert!(proof.starts_with("log `acme/t/default` has forked: two heads of 3"), "{proof}");
    for kind in [1, 2] {
        let head = Checkpoint { origin: ORIGIN.to_owned(), size: 3, root: root(&leaves(kind, 3)) };
        assert!(proof.contains(&head.sign(&key())), "{kind}: {proof}");
    }
}

#[test]
fn a_history_that_was_refused_is_held_against_the_one_that_is_cosigned() {
    let folder = tempfile::tempdir().unwrap();
    let witness = open(folder.path());
    assert_eq!(status(witness.add_checkpoint(&request(1, 0, 3), 9)), 200);
    assert_eq!(status(witness.add_checkpoint(&request(2, 3, 5), 9)), 422);
    assert_eq!(status(witness.add_checkpoint(&request(1, 3, 5), 9)), 200);
    assert_eq!(std::fs::read_dir(folder.path().join("forks")).unwrap().count(), 1);
}

#[test]
fn strangers_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let witness = open(folder.path());
    let stranger = LogKey::from_seed(&[8; 32]).unwrap();
    let head = |origin: &str| Checkpoint { origin: origin.to_owned(), size: 1, root: [1; 32] };
    let ask = |note: &str| {
        let request = AddCheckpoint::new(0, Vec::new(), note).unwrap().to_string();
        status(witness.add_checkpoint(&request, 9))
    };
    assert_eq!(ask(&head(ORIGIN).sign(&stranger)), 403);
    assert_eq!(ask(&head("other/t/x").sign(&key())), 404);
    assert_eq!(status(witness.add_checkpoint("old x\n", 9)), 400);
    assert_eq!(witness.logs(), 0);
    assert!(!folder.path().join("forks").exists());
}
