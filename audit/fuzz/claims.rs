//! What must hold for whatever bytes: nothing panics, what is read has one spelling, and what was
//! changed is never believed. Shared by the fuzz targets and by `tests/fuzz.rs`.

use std::convert::Infallible;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_audit::chain::{Hash, leaf};
use portcullis_audit::merkle::{self, Subtree, prove_consistency, prove_inclusion};
use portcullis_audit::note::{Checkpoint, Cosigner, LogKey, SignedNote, VerifierKey, append};
use portcullis_audit::policy::Policy;
use portcullis_audit::tiles::{TilePath, entries, push_entry};
use portcullis_audit::tlog_proof::TlogProof;
use portcullis_audit::witness::{AddCheckpoint, TreeHead, decide};
use portcullis_audit::{Record, canonical};

/// A target: its name, its claim, and where the search begins.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) claim: fn(&[u8]),
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target, by the name of its file in `fuzz_targets/`.
pub(crate) const TARGETS: [Target; 8] = [
    Target { name: "note", claim: note, seeds: notes },
    Target { name: "checkpoint", claim: checkpoint, seeds: checkpoints },
    Target { name: "tile_path", claim: tile_path, seeds: tile_paths },
    Target { name: "entry_bundle", claim: entry_bundle, seeds: entry_bundles },
    Target { name: "proof", claim: proof, seeds: proofs },
    Target { name: "policy", claim: policy, seeds: policies },
    Target { name: "record", claim: record, seeds: records },
    Target { name: "request", claim: request, seeds: requests },
];

const ORIGIN: &str = "d/t/default";

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

/// Place of the record that is proved.
const PROVED: u64 = 3;

fn log_key() -> LogKey {
    LogKey::from_seed(&[7; 32]).unwrap()
}

fn vkey() -> VerifierKey {
    VerifierKey::parse(&log_key().vkey(ORIGIN)).unwrap()
}

fn witness() -> Cosigner {
    Cosigner::from_seed("witness.example/w1", &[1; 32]).unwrap()
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf(format!("record {n}").as_bytes())).collect()
}

/// The only head that the log's key signs here.
fn head() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 7, root: merkle::root(&leaves(7)) }
}

fn cosigned() -> String {
    append(&head().sign(&log_key()), &witness().cosign(&head().text(), NOW)).unwrap()
}

fn subtree(at: Subtree) -> Result<Hash, Infallible> {
    let first = usize::try_from(at.index << at.level).unwrap();
    Ok(merkle::root(&leaves(7)[first..first + (1 << at.level)]))
}

fn trust() -> Policy {
    let (log, witness) = (vkey(), witness().key());
    Policy::parse(&format!("log {log}\nwitness W {witness}\nquorum W\n")).unwrap()
}

/// A note is its text and its signatures, and neither key signed another text.
pub(crate) fn note(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(note) = SignedNote::parse(text) else { return };
    let mut again = format!("{}\n", note.text());
    for signature in note.signatures() {
        let bytes = BASE64.encode([&signature.id, signature.bytes.as_slice()].concat());
        writeln!(again, "\u{2014} {} {bytes}", signature.name).unwrap();
    }
    assert_eq!(again, text, "two spellings");
    if vkey().verify(&note).is_ok() {
        assert_eq!(note.text(), head().text(), "forged");
    }
    if let Ok(seconds) = witness().key().verify(&note) {
        assert_eq!((note.text(), seconds), (head().text().as_str(), NOW), "forged");
    }
    if let Ok(grown) = append(text, &witness().cosign(note.text(), NOW)) {
        assert!(grown.starts_with(text), "appending changed the note");
        assert_eq!(SignedNote::parse(&grown).map(|note| note.text()), Ok(note.text()));
    }
}

fn notes() -> Vec<Vec<u8>> {
    let go = "If you think cryptography is the answer to your problem,\n\
              then you don't know what your problem is.\n\n\
              \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    [head().sign(&log_key()), cosigned(), go.to_owned()].map(String::into_bytes).into()
}

/// What is read of a checkpoint is written as it was; only extension lines may follow.
pub(crate) fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(head) = Checkpoint::parse(text) {
        assert!(text.starts_with(&head.text()), "two spellings");
    }
    if let Ok(opened) = Checkpoint::open(text, &vkey()) {
        assert_eq!(opened, head(), "forged");
    }
}

fn checkpoints() -> Vec<Vec<u8>> {
    let large = Checkpoint { size: u64::MAX, ..head() };
    [head().text(), large.text(), format!("{}extension\n", head().text()), cosigned()]
        .map(String::into_bytes)
        .into()
}

/// A tile has one name.
pub(crate) fn tile_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text, "two spellings");
        assert!((1..=256).contains(&path.width()));
    }
}

fn tile_paths() -> Vec<Vec<u8>> {
    let paths = [
        "tile/0/000",
        "tile/0/x001/x234/067",
        "tile/63/x018/x446/x744/x073/x709/x551/615.p/255",
        "tile/entries/000.p/5",
        "tile/entries/x001/000",
    ];
    paths.map(|path| path.as_bytes().to_vec()).into()
}

/// A bundle is its records, and says so when it is cut.
pub(crate) fn entry_bundle(data: &[u8]) {
    let mut again = Vec::new();
    let mut cut = false;
    for entry in entries(data) {
        assert!(!cut, "something follows the end");
        match entry {
            Ok(entry) => push_entry(&mut again, entry).unwrap(),
            Err(_) => cut = true,
        }
    }
    assert!(data.starts_with(&again), "another record");
    assert_eq!(cut, again.len() != data.len(), "a record is left out unsaid");
}

fn entry_bundles() -> Vec<Vec<u8>> {
    let mut bundle = Vec::new();
    for entry in [b"".as_slice(), b"a", b"record", &[0xff; 300]] {
        push_entry(&mut bundle, entry).unwrap();
    }
    vec![bundle, vec![0, 0], vec![0xff, 0xff, 1]]
}

/// A proof has one spelling, and proves the record at its place only.
pub(crate) fn proof(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(proof) = TlogProof::parse(text) else { return };
    assert_eq!(proof.to_string(), text, "two spellings");
    if let Ok(proved) = proof.verify(b"record 3", &trust(), NOW) {
        assert_eq!((proved.index, proved.head.checkpoint), (PROVED, head()), "forged");
    }
    let node = [leaves(7)[2], leaves(7)[3]].concat();
    assert!(proof.verify(&node, &trust(), NOW).is_err(), "a node taken for a record");
}

fn proofs() -> Vec<Vec<u8>> {
    let hashes = prove_inclusion(PROVED, 7, subtree).unwrap();
    let proof = TlogProof::new(PROVED, hashes, &cosigned()).unwrap();
    let extra = proof.clone().with_extra(b"extra".to_vec()).unwrap();
    [proof, extra].map(|proof| proof.to_string().into_bytes()).into()
}

/// What is read of a policy is written to the same policy, and evaluates what it is given.
pub(crate) fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(policy) = Policy::parse(text) else { return };
    assert_eq!(Policy::parse(&policy.to_string()).as_ref(), Ok(&policy), "two meanings");
    let Ok(told) = policy.evaluate(&cosigned(), NOW) else { return };
    assert_eq!((told.checkpoint, &told.log), (head(), &vkey()), "forged");
    let needed = policy.quorum().is_some();
    assert!(!told.quorum || !needed || !told.cosignatures.is_empty(), "a quorum of nobody");
}

fn policies() -> Vec<Vec<u8>> {
    let other = Cosigner::from_seed("witness.example/w2", &[2; 32]).unwrap();
    let (log, one, two) = (vkey(), witness().key(), other.key());
    let groups = format!(
        "# whom we believe\nlog {log} https://log.example\n\nwitness A {one}\nwitness B {two} \
         https://two.example\ngroup any-one any A B\ngroup G all any-one\n\tquorum  G\n"
    );
    let single = format!("log {log}\nwitness W {one}\nquorum W\n");
    let alone = format!("log {log}\nquorum none\n");
    [groups, single, alone].map(String::into_bytes).into()
}

/// A record has one spelling.
pub(crate) fn record(data: &[u8]) {
    let (value, record) = (canonical::parse(data), Record::parse(data));
    if let Ok(value) = &value {
        let mut again = Vec::new();
        value.write(&mut again);
        assert_eq!(again, data, "two spellings");
    }
    assert!(record.is_err() || value.is_ok(), "a record that is not canonical");
    if let (Ok(record), Ok(value)) = (record, value) {
        assert_eq!(value.text_at("log"), Some(record.log.as_str()));
        assert_eq!(value.text_at("seq"), Some(record.seq.to_string().as_str()));
        assert_eq!(value.text_at("ts"), Some(record.ts.as_str()));
    }
}

fn records() -> Vec<Vec<u8>> {
    let record = r#"{"in":{"c":"00","n":"8"},"kind":"intent","log":"d/t/default","mono":{"boot":"b","ns":"1"},"op":"0198c9a0-0000-7000-8000-000000000000","pol":{"bundle":"cd","decision":"permit","rule":["rbac.scope"]},"prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":"0","tool":{"name":"delete","schema":"ab","server":"notes"},"ts":"2026-01-01T00:00:00.000000Z","v":"1","w":{"epoch":"1","replica":"r"},"who":{"tenant":"default"}}"#;
    assert!(Record::parse(record.as_bytes()).is_ok(), "the seed is a record");
    vec![record.as_bytes().to_vec(), br#"{"a":["\u0001\"\\","\n"],"b":{}}"#.to_vec()]
}

/// A request has one spelling, and only the log's own growth is cosigned.
pub(crate) fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(request) = AddCheckpoint::parse(text) else { return };
    assert_eq!(request.to_string(), text, "two spellings");
    let stored = TreeHead { size: 3, root: merkle::root(&leaves(3)) };
    if let Ok(pending) = decide(request, &[vkey()], Some((stored, &vkey()))) {
        let next = TreeHead { size: 7, root: head().root };
        assert_eq!((pending.origin(), pending.next()), (ORIGIN, next), "forged");
    }
}

fn requests() -> Vec<Vec<u8>> {
    let proof = prove_consistency(3, 7, subtree).unwrap();
    let grown = AddCheckpoint::new(3, proof, &cosigned()).unwrap();
    let first = AddCheckpoint::new(0, Vec::new(), &head().sign(&log_key())).unwrap();
    [grown, first].map(|request| request.to_string().into_bytes()).into()
}
