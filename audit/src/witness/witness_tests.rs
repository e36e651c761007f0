use std::collections::BTreeMap;
use std::convert::Infallible;

use base64::Engine as _;
use proptest::prelude::*;

use super::*;
use crate::chain::{Hash, leaf};
use crate::fork::ForkProof;
use crate::merkle::{BadProof, prove_consistency, root};
use crate::note::{BadNote, Checkpoint, Cosigner, LogKey, SignedNote, VerifierKey, append};
use crate::policy::Policy;

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

const ORIGIN: &str = "d/t/default";

/// A log in memory; `salt` makes another history.
struct Log {
    leaves: Vec<Hash>,
    key: LogKey,
}

impl Log {
    fn new(salt: &str, size: u64) -> Self {
        let leaves = (0..size).map(|n| leaf(format!("{salt} {n}").as_bytes())).collect();
        Self { leaves, key: LogKey::from_seed(&[7; 32]).unwrap() }
    }

    fn vkey(&self) -> VerifierKey {
        VerifierKey::parse(&self.key.vkey(ORIGIN)).unwrap()
    }

    fn head(&self, size: u64) -> Checkpoint {
        let leaves = &self.leaves[..usize::try_from(size).unwrap()];
        Checkpoint { origin: ORIGIN.into(), size, root: root(leaves) }
    }

    fn request(&self, old: u64, new: u64) -> AddCheckpoint {
        let proof = prove_consistency(old, new, |at| {
            let (first, width) = (usize::try_from(at.index << at.level).unwrap(), 1 << at.level);
            Ok::<_, Infallible>(root(&self.leaves[first..first + width]))
        });
        AddCheckpoint::new(old, proof.unwrap(), &self.head(new).sign(&self.key)).unwrap()
    }
}

/// A witness with its storage.
struct Witness {
    key: Cosigner,
    trusted: Vec<VerifierKey>,
    stored: BTreeMap<String, TreeHead>,
    /// Who signed what is stored; here there is one log.
    by: Option<VerifierKey>,
}

impl Witness {
    fn of(log: &Log) -> Self {
        let key = Cosigner::from_seed("witness.example", &[1; 32]).unwrap();
        Self { key, trusted: vec![log.vkey()], stored: BTreeMap::new(), by: Some(log.vkey()) }
    }

    fn decide(&self, request: AddCheckpoint) -> Result<Pending, Refusal> {
        let stored = self.stored.get(&request.head().origin).copied();
        decide(request, &self.trusted, stored.zip(self.by.as_ref()))
    }

    /// Replaces what is stored if it is what is expected, and gives what is stored then.
    fn store(&mut self, pending: &Pending) -> TreeHead {
        let stored = self.stored.entry(pending.origin().to_owned()).or_default();
        if *stored == pending.expected() {
            *stored = pending.next();
        }
        *stored
    }

    fn add(&mut self, request: AddCheckpoint) -> Result<String, Refusal> {
        let pending = self.decide(request)?;
        let stored = self.store(&pending);
        Ok(pending.persisted(stored)?.cosign(&self.key, NOW))
    }
}

fn read(
    witness: &Witness,
    request: &AddCheckpoint,
    answer: &Result<String, Refusal>,
) -> Result<Answer, BadAnswer> {
    let (status, media_type, body) = match answer {
        Ok(lines) => (200, None, lines.clone()),
        Err(why) => (why.status(), why.size().map(|_| SIZE_MEDIA_TYPE), why.body()),
    };
    Answer::read(request, &witness.key.key(), status, media_type, &body)
}

#[test]
fn a_log_that_grows_is_cosigned_again_and_again() {
    let log = Log::new("a", 300);
    let mut witness = Witness::of(&log);
    let mut old = 0;
    for new in [0, 1, 1, 2, 7, 255, 256, 257, 300] {
        let request = AddCheckpoint::parse(&log.request(old, new).to_string()).unwrap();
        let answer = witness.add(request.clone());
        let Ok(Answer::Cosigned { lines, unix_seconds }) = read(&witness, &request, &answer) else {
            panic!("{old} to {new}: {answer:?}");
        };
        assert_eq!(unix_seconds, NOW);
        let note = append(request.note(), &lines).unwrap();
        assert_eq!(witness.key.key().verify(&SignedNote::parse(&note).unwrap()), Ok(NOW));
        old = new;
    }
}

#[test]
fn a_log_that_does_not_know_the_size_asks_with_zero_and_is_told() {
    let log = Log::new("a", 9);
    let mut witness = Witness::of(&log);
    witness.add(log.request(0, 5)).unwrap();
    let request = log.request(0, 9);
    let answer = witness.add(request.clone());
    assert_eq!(answer, Err(Refusal::OtherSize { size: 5 }));
    assert_eq!(answer.unwrap_err().body(), "5\n");
    let told = read(&witness, &request, &Err(Refusal::OtherSize { size: 5 }));
    assert_eq!(told, Ok(Answer::ProveFrom { size: 5 }));
    assert!(witness.add(log.request(5, 9)).is_ok());
}

/// The key changes at 6 leaves; then both can sign, and only one is believed.
#[test]
fn a_key_that_was_replaced_signs_nothing_that_is_cosigned_any_more() {
    let (old, mut log) = (Log::new("a", 20), Log::new("a", 20));
    log.key = LogKey::from_seed(&[8; 32]).unwrap();
    let mut witness = Witness::of(&old);
    witness.trusted.insert(0, log.vkey());
    let mut add = |log: &Log, old: u64, new: u64| {
        let answer = witness.add(log.request(old, new));
        if answer.is_ok() {
            witness.by = Some(log.vkey());
        }
        answer.map(drop)
    };
    assert_eq!(add(&old, 0, 5), Ok(()));
    assert_eq!(add(&old, 5, 6), Ok(()), "the witness was told of the new key before it signed");
    assert_eq!(add(&log, 6, 9), Ok(()));
    for size in [9, 10, 20] {
        assert_eq!(add(&old, 9, size), Err(Refusal::Retired), "{size}");
    }
    assert_eq!(add(&log, 9, 20), Ok(()));
    assert_eq!(Refusal::Retired.status(), 403);
}

#[test]
fn two_heads_of_one_size_are_never_both_cosigned() {
    let (log, fork) = (Log::new("a", 9), Log::new("b", 9));
    let mut witness = Witness::of(&log);
    witness.add(log.request(0, 5)).unwrap();
    assert_eq!(witness.add(fork.request(5, 5)), Err(Refusal::OtherRoot { size: 5 }));
    assert_eq!(witness.add(fork.request(5, 9)), Err(Refusal::Proof(BadProof::OldRoot)));
    assert_eq!(witness.add(fork.request(0, 5)), Err(Refusal::OtherSize { size: 5 }));
    let request = fork.request(5, 5);
    let told = read(&witness, &request, &Err(Refusal::OtherRoot { size: 5 }));
    assert_eq!(told, Err(BadAnswer::OtherRoot(5)), "no endless asking");
}

#[test]
fn a_log_that_was_rolled_back_is_not_cosigned() {
    let log = Log::new("a", 9);
    let mut witness = Witness::of(&log);
    witness.add(log.request(0, 9)).unwrap();
    for old in 0..=5 {
        assert_eq!(witness.add(log.request(old, 5)), Err(Refusal::OtherSize { size: 9 }));
    }
    let request = AddCheckpoint::new(9, vec![], log.request(0, 5).note()).unwrap();
    assert_eq!(witness.add(request), Err(Refusal::Sizes));
    let told = read(&witness, &log.request(0, 5), &Err(Refusal::OtherSize { size: 9 }));
    assert_eq!(told, Err(BadAnswer::Ahead(9)));
}

/// Whoever has the log's key can sign another history; what others saw is all that speaks against.
#[test]
fn a_history_rewritten_under_the_real_key_is_caught_by_its_witness_alone() {
    let (log, rewritten) = (Log::new("a", 9), Log::new("b", 12));
    let mut witness = Witness::of(&log);
    witness.add(log.request(0, 9)).unwrap();
    let (log_key, witness_key) = (log.vkey(), witness.key.key());
    let alone = Policy::of_logs([log_key.clone()]);
    let text = format!("log {log_key}\nwitness W {witness_key}\nquorum W\n");
    let witnessed = Policy::parse(&text).unwrap();
    for size in [8, 9, 12] {
        let head = rewritten.head(size).sign(&rewritten.key);
        assert!(alone.evaluate(&head, NOW).unwrap().quorum, "nothing shows without a witness");
        assert!(!witnessed.evaluate(&head, NOW).unwrap().quorum);
        for old in 0..=size {
            let refused = witness.add(rewritten.request(old, size)).unwrap_err();
            assert!([409, 422].contains(&refused.status()), "{refused}");
        }
    }
    let (seen, shown) = (log.head(9).sign(&log.key), rewritten.head(9).sign(&rewritten.key));
    assert!(ForkProof::find(&log_key, &seen, &shown).unwrap().is_some());
}

/// The race of the specification: both requests are checked before either is stored.
#[test]
fn of_two_requests_at_once_the_late_one_is_not_cosigned() {
    let log = Log::new("a", 20);
    let mut witness = Witness::of(&log);
    witness.add(log.request(0, 5)).unwrap();
    let slow = witness.decide(log.request(5, 10)).unwrap();
    let fast = witness.decide(log.request(5, 20)).unwrap();
    let stored = witness.store(&fast);
    assert!(fast.persisted(stored).is_ok());
    let stored = witness.store(&slow);
    assert_eq!(slow.persisted(stored), Err(Refusal::OtherSize { size: 20 }));
    assert_eq!(witness.stored[ORIGIN], TreeHead { size: 20, root: log.head(20).root });
}

#[test]
fn of_two_forks_at_once_the_late_one_is_not_cosigned() {
    let (log, fork) = (Log::new("a", 9), Log::new("b", 9));
    let mut witness = Witness::of(&log);
    let first = witness.decide(log.request(0, 9)).unwrap();
    let second = witness.decide(fork.request(0, 9)).unwrap();
    let stored = witness.store(&first);
    assert!(first.persisted(stored).is_ok());
    let stored = witness.store(&second);
    assert_eq!(second.persisted(stored), Err(Refusal::OtherRoot { size: 9 }));
}

#[test]
fn the_same_request_twice_at_once_is_cosigned_twice() {
    let log = Log::new("a", 9);
    let mut witness = Witness::of(&log);
    let (first, second) =
        (witness.decide(log.request(0, 9)).unwrap(), witness.decide(log.request(0, 9)).unwrap());
    let stored = witness.store(&first);
    assert!(first.persisted(stored).is_ok());
    let stored = witness.store(&second);
    assert!(second.persisted(stored).is_ok());
}

#[test]
fn a_head_that_was_not_stored_is_not_cosigned() {
    let log = Log::new("a", 9);
    let witness = Witness::of(&log);
    let pending = witness.decide(log.request(0, 9)).unwrap();
    assert_eq!(pending.persisted(TreeHead::default()), Err(Refusal::OtherSize { size: 0 }));
}

#[test]
fn unknown_logs_and_wrong_signatures_have_their_own_statuses() {
    let log = Log::new("a", 9);
    let mut witness = Witness::of(&log);
    let other = Checkpoint { origin: "d/t/other".into(), ..log.head(9) };
    let request = AddCheckpoint::new(0, vec![], &other.sign(&log.key)).unwrap();
    assert_eq!(witness.add(request).map_err(|why| why.status()), Err(404));
    // The known key over a foreign origin, and a foreign key over the known origin.
    let replayed = log.key.sign(ORIGIN, &other.text());
    let request = AddCheckpoint::new(0, vec![], &replayed).unwrap();
    assert_eq!(witness.add(request).map_err(|why| why.status()), Err(404));
    let forged = log.head(9).sign(&LogKey::from_seed(&[8; 32]).unwrap());
    let request = AddCheckpoint::new(0, vec![], &forged).unwrap();
    assert_eq!(witness.add(request), Err(Refusal::Signature(BadNote::Unsigned)));
    let line = log.head(8).sign(&log.key);
    let wrong = format!("{}\n{}\n", log.head(9).text(), line.lines().last().unwrap());
    let request = AddCheckpoint::new(0, vec![], &wrong).unwrap();
    assert_eq!(witness.add(request), Err(Refusal::Signature(BadNote::Signature)));
    assert_eq!(Refusal::Signature(BadNote::Signature).status(), 403);
    assert!(witness.stored.is_empty(), "nothing is stored for what is refused");
}

#[test]
fn a_log_may_change_its_key() {
    let log = Log::new("a", 9);
    let mut witness = Witness::of(&log);
    let new = LogKey::from_seed(&[8; 32]).unwrap();
    witness.trusted.insert(0, VerifierKey::parse(&new.vkey(ORIGIN)).unwrap());
    witness.add(log.request(0, 5)).unwrap();
    let proof = log.request(5, 9).proof().to_vec();
    let request = AddCheckpoint::new(5, proof, &log.head(9).sign(&new)).unwrap();
    assert!(witness.add(request).is_ok());
}

#[test]
fn a_proof_that_is_not_needed_is_refused() {
    let log = Log::new("a", 9);
    let mut witness = Witness::of(&log);
    let with_proof =
        |old, new| AddCheckpoint::new(old, vec![[1; 32]], log.request(old, new).note()).unwrap();
    assert_eq!(witness.add(with_proof(0, 9)), Err(Refusal::Proof(BadProof::TooLong)));
    witness.add(log.request(0, 5)).unwrap();
    assert_eq!(witness.add(with_proof(5, 5)), Err(Refusal::Proof(BadProof::TooLong)));
    assert_eq!(witness.add(with_proof(5, 9)).map_err(|why| why.status()), Err(422));
}

#[test]
fn a_request_that_is_not_in_its_form_says_why() {
    let log = Log::new("a", 9);
    let good = log.request(5, 9).to_string();
    let hash = good.lines().nth(1).unwrap().to_owned();
    let many = format!("{hash}\n").repeat(63);
    let cases = [
        (String::new(), BadRequest::Checkpoint),
        (good.replace("old 5", "old 05"), BadRequest::OldSize),
        (good.replace("old 5", "old -5"), BadRequest::OldSize),
        (good.replace("old 5", "new 5"), BadRequest::OldSize),
        (good.replace("old 5", "old 5 "), BadRequest::OldSize),
        (good.replace("old 5", "old 18446744073709551616"), BadRequest::OldSize),
        (good.replace("old 5\n", "old 5\nAAAA\n"), BadRequest::Hash),
        (good.replace("old 5\n", &format!("old 5\n{many}")), BadRequest::TooManyHashes),
        (good.replace("old 5\n", "old 5\n\n"), BadRequest::Checkpoint),
        (good.replace("\n9\n", "\n09\n"), BadRequest::Checkpoint),
        (good.replace('\n', "\r\n"), BadRequest::Checkpoint),
        ("x".repeat(MAX_REQUEST_BYTES + 1), BadRequest::TooLong),
    ];
    for (body, why) in cases {
        assert_eq!(AddCheckpoint::parse(&body), Err(why), "{}", body.get(..200).unwrap_or(&body));
        assert_eq!(Refusal::from(why).status(), 400);
    }
    let most = AddCheckpoint::new(5, vec![[1; 32]; 63], log.request(5, 9).note()).unwrap();
    assert_eq!(AddCheckpoint::parse(&most.to_string()), Ok(most));
}

/// The example body of the specification.
#[test]
fn the_example_of_the_specification_is_read() {
    let body = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
        \n\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let request = AddCheckpoint::parse(body).unwrap();
    assert_eq!((request.old_size(), request.head().size), (20_852_014, 20_852_163));
    assert_eq!((request.proof().len(), request.to_string().as_str()), (4, body));
    assert_eq!(SignedNote::parse(request.note()).unwrap().signatures().len(), 2);
}

#[test]
fn an_answer_of_another_witness_or_about_another_head_is_not_taken() {
    let log = Log::new("a", 9);
    let witness = Witness::of(&log);
    let request = log.request(0, 9);
    let answer = |body: &str| read(&witness, &request, &Ok(body.to_owned()));
    let other = Cosigner::from_seed("other.example", &[2; 32]).unwrap();
    let foreign = other.cosign(&log.head(9).text(), NOW);
    assert_eq!(answer(&foreign), Err(BadAnswer::Cosignature(BadNote::Unsigned)));
    let elsewhere = witness.key.cosign(&log.head(8).text(), NOW);
    assert_eq!(answer(&elsewhere), Err(BadAnswer::Cosignature(BadNote::Signature)));
    let ours = witness.key.cosign(&log.head(9).text(), NOW);
    let cosigned = Answer::Cosigned { lines: ours.clone(), unix_seconds: NOW };
    assert_eq!(answer(&format!("{foreign}{ours}")), Ok(cosigned), "unknown keys are left out");
    for bad in ["", "hello\n", ours.trim_end(), &format!("{ours}\n"), &format!("text\n\n{ours}")] {
        assert!(answer(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn an_answer_that_says_no_usable_size_is_not_taken() {
    let log = Log::new("a", 9);
    let (request, key) = (log.request(2, 9), Witness::of(&log).key.key());
    let answer = |media_type, body| Answer::read(&request, &key, 409, media_type, body);
    assert_eq!(answer(Some(SIZE_MEDIA_TYPE), "7\n"), Ok(Answer::ProveFrom { size: 7 }));
    for body in ["7", "07\n", "\n", "7\n\n", "-7\n", "7 \n", "18446744073709551616\n"] {
        assert_eq!(answer(Some(SIZE_MEDIA_TYPE), body), Err(BadAnswer::NoSize), "{body:?}");
    }
    assert_eq!(answer(Some("text/plain"), "7\n"), Err(BadAnswer::NoSize));
    assert_eq!(answer(None, "7\n"), Err(BadAnswer::NoSize));
    let long = "x".repeat(crate::note::MAX_NOTE_BYTES + 1);
    assert_eq!(answer(None, &long), Err(BadAnswer::TooLong));
    let refused = Answer::read(&request, &key, 503, None, "");
    assert_eq!(refused, Err(BadAnswer::Refused(503)));
}

#[test]
fn hashes_are_in_standard_base64() {
    let hash = [0xff; 32];
    let text = base64::engine::general_purpose::STANDARD.encode(hash);
    assert_eq!(crate::note::parse_hash(&text), Some(hash));
    assert_eq!(crate::note::parse_hash(text.replace('/', "_").as_str()), None);
}

proptest! {
    /// However a log and a fork of it ask, all that is cosigned is one growing history.
    #[test]
    fn whatever_is_asked_only_one_history_is_cosigned(
        asks in proptest::collection::vec((any::<bool>(), 0_u64..30, 0_u64..30), 0..40),
    ) {
        let (log, fork) = (Log::new("a", 30), Log::new("b", 30));
        let mut witness = Witness::of(&log);
        let mut cosigned: Vec<(bool, u64)> = Vec::new();
        for (forked, a, b) in asks {
            let (old, new) = (a.min(b), a.max(b));
            let request = if forked { fork.request(old, new) } else { log.request(old, new) };
            if witness.add(request).is_ok() {
                cosigned.push((forked, new));
            }
        }
        let cosigned: Vec<_> = cosigned.into_iter().filter(|(_, size)| *size > 0).collect();
        prop_assert!(cosigned.iter().all(|(forked, _)| *forked == cosigned[0].0), "{cosigned:?}");
        prop_assert!(cosigned.is_sorted_by_key(|(_, size)| *size), "{cosigned:?}");
    }
}
