//! What an export discloses, field by field: whatever is not what the record commits to is named.

use std::path::Path;

use super::*;
use portcullis_audit::disclose::{CAPSULE, Disclosed, Disclosure, path};
use portcullis_audit::verify::{Brought, DisclosedReport, Report, Trust, Verdict, verify};
use portcullis_audit::{Fault, FaultKind};

const LOG: &str = "test/t/default";

/// The arguments of four payments, of which nothing but their amount is not known to everybody.
const ARGUMENTS: [&str; 4] = [
    r#"{"amount":"7301"}"#,
    r#"{"amount":"0042"}"#,
    r#"{"amount":"9999"}"#,
    r#"{"amount":"0001"}"#,
];

struct Kept {
    input: Commitment,
    capsule: Commitment,
}

fn capsule(seq: usize) -> String {
    format!("{{\"version\":1,\"asked\":{seq}}}")
}

/// Four intents, each with a commitment to its arguments and to its capsule, and an export of them.
async fn exported(house: &House) -> (Vec<Kept>, PathBuf) {
    let (ledger, _) = house.open();
    let mut all = Vec::new();
    for (seq, arguments) in ARGUMENTS.iter().enumerate() {
        let kept = Kept {
            input: Commitment::of("in", arguments.as_bytes()).unwrap(),
            capsule: Commitment::of(CAPSULE, capsule(seq).as_bytes()).unwrap(),
        };
        let mut intent = intent("default");
        intent.fields.input = Some(kept.input.clone());
        let note = hex::encode(kept.capsule.digest());
        intent.fields.note.insert(CAPSULE.to_owned(), note);
        drop(ledger.intent(intent).await.unwrap());
        all.push(kept);
    }
    ledger.close().await.unwrap();
    (all, house.export("export"))
}

/// Discloses all of a record, or what is left of it.
fn disclose(folder: &Path, kept: &[Kept], seq: usize, is_wanted: impl Fn(&str) -> bool) {
    let of_input = Disclosed::new("in", kept[seq].input.key(), None);
    let of_capsule = Disclosed::new(CAPSULE, kept[seq].capsule.key(), Some(capsule(seq)));
    let fields = [of_input, of_capsule].into_iter().filter(|one| is_wanted(&one.field));
    put(folder, seq as u64, Disclosure::new(LOG, seq as u64, fields.collect()));
}

fn put(folder: &Path, seq: u64, disclosure: Disclosure) {
    let file = folder.join(path("t/default", seq));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, disclosure.to_text().unwrap()).unwrap();
}

fn brought(seq: usize, bytes: &[u8]) -> Trust {
    let (name, tenant) = ("arguments.json".to_owned(), "default".to_owned());
    let (seq, field) = (seq as u64, "in".to_owned());
    let payloads = vec![Brought { name, tenant, seq, field, bytes: bytes.to_vec() }];
    Trust { payloads, ..Trust::default() }
}

fn disclosed(report: &Report) -> DisclosedReport {
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    report.logs.iter().find(|log| log.origin == LOG).unwrap().disclosed.unwrap()
}

fn fault(folder: &Path, trust: &Trust) -> Fault {
    match verify(folder, trust).verdict {
        Verdict::Forged(fault) => fault,
        other => panic!("not noticed: {other:?}"),
    }
}

#[tokio::test]
async fn each_disclosed_field_is_what_its_record_commits_to() {
    let house = House::new();
    let (kept, folder) = exported(&house).await;
    assert!(verify(&folder, &Trust::default()).logs.iter().all(|log| log.disclosed.is_none()));
    disclose(&folder, &kept, 0, |_| true);
    disclose(&folder, &kept, 2, |field| field == CAPSULE);
    let report = verify(&folder, &Trust::default());
    assert_eq!(disclosed(&report), DisclosedReport { records: 2, fit: 2, keys_alone: 1 });
    let said = report.to_text();
    assert!(said.contains("2 fields of 2 records disclosed, all fit"), "{said}");
    assert!(said.contains("of 1 fields only the key is here"), "{said}");

    let report = verify(&folder, &brought(0, ARGUMENTS[0].as_bytes()));
    assert_eq!(disclosed(&report), DisclosedReport { records: 2, fit: 3, keys_alone: 0 });
    let other = fault(&folder, &brought(0, ARGUMENTS[1].as_bytes()));
    assert_eq!((other.seq, other.kind), (Some(0), FaultKind::BadDisclosure), "{other}");
    // Of this record no key was given away, and its arguments can't be shown to fit.
    let closed = verify(&folder, &brought(2, ARGUMENTS[2].as_bytes())).verdict;
    assert!(matches!(closed, Verdict::Unreadable(_)), "{closed:?}");
}

/// ledger-and-vault.md section 7, test 3.
#[tokio::test]
async fn bodies_of_two_records_that_changed_places_are_named() {
    let house = House::new();
    let (kept, folder) = exported(&house).await;
    for seq in 0..4 {
        disclose(&folder, &kept, seq, |_| true);
    }
    assert_eq!(disclosed(&verify(&folder, &Trust::default())).fit, 4);
    let at = |seq: u64| folder.join(path("t/default", seq));
    let (one, two) = (std::fs::read(at(1)).unwrap(), std::fs::read(at(2)).unwrap());
    std::fs::write(at(1), &two).unwrap();
    std::fs::write(at(2), &one).unwrap();
    let swapped = fault(&folder, &Trust::default());
    assert_eq!((swapped.seq, swapped.kind), (Some(1), FaultKind::BadDisclosure), "{swapped}");

    // Even when the files say that they belong where they are now.
    let as_of = |bytes: &[u8], from: u64, to: u64| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(&format!("\"seq\": \"{from}\""), &format!("\"seq\": \"{to}\""))
    };
    std::fs::write(at(1), as_of(&two, 2, 1)).unwrap();
    std::fs::write(at(2), as_of(&one, 1, 2)).unwrap();
    let swapped = fault(&folder, &Trust::default());
    assert_eq!((swapped.seq, swapped.kind), (Some(1), FaultKind::BadDisclosure), "{swapped}");
    assert!(swapped.why.contains("`capsule` is not what the record commits to"), "{swapped}");
}

/// All bytes of a folder, as text.
fn everything_in(folder: &Path) -> String {
    let mut everything = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                everything.extend(std::fs::read(path).unwrap())
            }
        }
    }
    String::from_utf8_lossy(&everything).into_owned()
}

/// Whatever 32 bytes a text holds that may be a key.
fn keys_in(text: &str) -> Vec<[u8; 32]> {
    let texts = text.split('"').filter(|text| text.len() == 64);
    texts.filter_map(|text| hex::decode(text).ok()?.try_into().ok()).collect()
}

fn candidate(amount: u32) -> String {
    format!("{{\"amount\":\"{amount:04}\"}}")
}

/// Amounts that, under one of the keys, are what a record commits to; each with the record.
fn guessed(
    known: &[String],
    keys: &[[u8; 32]],
    amounts: impl IntoIterator<Item = u32>,
) -> Vec<(u32, usize)> {
    let tried = amounts.into_iter().flat_map(|amount| keys.iter().map(move |key| (amount, *key)));
    let hits = tried.filter_map(|(amount, key)| {
        let tried = Commitment::under(key.into(), "in", candidate(amount).as_bytes());
        Some((amount, known.iter().position(|c| *c == hex::encode(tried.digest()))?))
    });
    hits.collect()
}

/// ledger-and-vault.md section 7, test 27: of these arguments there are 10,000, and the verifier's own
/// arithmetic is all that an attacker has.
#[tokio::test]
async fn low_entropy_arguments_cannot_be_guessed_from_a_bundle_without_keys() {
    let house = House::new();
    let (kept, folder) = exported(&house).await;
    let everything = everything_in(&folder);
    let known: Vec<String> = kept.iter().map(|one| hex::encode(one.input.digest())).collect();
    assert!(known.iter().all(|c| everything.contains(c)), "what is to be guessed is there");
    for amount in 0..10_000 {
        let guess = candidate(amount);
        let plain = hex::encode(portcullis_audit::chain::digest(&[guess.as_bytes()]));
        assert!(!everything.contains(&guess) && !everything.contains(&plain), "{guess}");
    }
    // Keys that an attacker has: none, and whatever 32 bytes the records hold, tried on what is true.
    const TRUE: [u32; 4] = [7301, 42, 9999, 1];
    assert_eq!(TRUE.map(candidate), ARGUMENTS);
    assert_eq!(guessed(&known, &[[0; 32], [0xff; 32]], 0..10_000), []);
    let keys = keys_in(&everything);
    assert!(keys.len() > ARGUMENTS.len(), "what the records hold is tried");
    assert_eq!(guessed(&known, &keys, TRUE), []);

    // Were one key in it, the very same search would find it, and that one and no other.
    disclose(&folder, &kept, 1, |field| field == "in");
    assert_eq!(guessed(&known, &keys_in(&everything_in(&folder)), TRUE), [(42, 1)]);
    assert_eq!(guessed(&known, &[*kept[1].input.key()], 0..10_000), [(42, 1)]);
}

#[tokio::test]
async fn what_no_record_commits_to_is_not_disclosed() {
    let house = House::new();
    let (kept, folder) = exported(&house).await;
    let bad = |what: &str, seq: Option<u64>| {
        let fault = fault(&folder, &Trust::default());
        assert_eq!((fault.seq, fault.kind), (seq, FaultKind::BadDisclosure), "{what}: {fault}");
        std::fs::remove_dir_all(folder.join("bodies")).unwrap();
    };
    let key = *kept[0].input.key();
    put(&folder, 0, Disclosure::new(LOG, 0, vec![Disclosed::new("out", &key, None)]));
    bad("a field that it does not have", Some(0));
    put(&folder, 0, Disclosure::new(LOG, 0, vec![Disclosed::new("who", &key, None)]));
    bad("what is no commitment", Some(0));
    put(&folder, 4, Disclosure::new(LOG, 4, vec![Disclosed::new("in", &key, None)]));
    bad("a record that is not there", Some(4));
    put(&folder, 0, Disclosure::new(LOG, 0, Vec::new()));
    bad("no field at all", Some(0));
    let twice = Disclosed::new("in", &key, None);
    put(&folder, 0, Disclosure::new(LOG, 0, vec![twice.clone(), twice]));
    bad("one field twice", Some(0));
    disclose(&folder, &kept, 0, |_| true);
    std::fs::write(folder.join("bodies/t/default/00.json"), "{}").unwrap();
    bad("a file of no record", None);
    disclose(&folder, &kept, 0, |_| true);
    std::fs::create_dir(folder.join("bodies/t/other")).unwrap();
    bad("a log that is not listed", None);
    // Another tenant's record, and a key that is right but for one bit.
    put(&folder, 0, Disclosure::new("test/deployment", 0, vec![Disclosed::new("in", &key, None)]));
    bad("of another log", Some(0));
    let mut wrong = *kept[0].capsule.key();
    wrong[31] ^= 1;
    let field = Disclosed::new(CAPSULE, &wrong, Some(capsule(0)));
    put(&folder, 0, Disclosure::new(LOG, 0, vec![field]));
    bad("another key", Some(0));
    assert_eq!(verify(&folder, &Trust::default()).verdict, Verdict::Whole);
}

#[tokio::test]
async fn every_flipped_bit_of_a_disclosed_capsule_and_its_key_is_noticed() {
    let house = House::new();
    let (kept, folder) = exported(&house).await;
    disclose(&folder, &kept, 0, |field| field == CAPSULE);
    let file = folder.join(path("t/default", 0));
    let whole = std::fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&file, &changed).unwrap();
        let verdict = verify(&folder, &Trust::default()).verdict;
        // White space between members, or a new line for it, says nothing.
        let is_white = |byte: u8| byte.is_ascii_whitespace();
        let says_nothing = is_white(whole[at]) && is_white(changed[at]);
        assert!(says_nothing || verdict != Verdict::Whole, "byte {at}");
    }
}
