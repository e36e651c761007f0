//! Retention: what has expired goes, and nobody can take more than that.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use portcullis_audit::note::VerifierKey;
use portcullis_audit::policy::Policy;
use portcullis_audit::prune::{NotPrunable, Prefix, examine, prune};
use portcullis_audit::rotate::rotate;
use portcullis_audit::verify::{Checker, Examined, Report, Trust, Verdict, verify, verify_ledger};
use portcullis_audit::{Draft, FaultKind, Place, Stamp, Unavailable, chain};

mod processes;

const LOG: &str = "test/t/t1";
const MARK: &str = "p_the_only_mark_of_this_test";
const APPROVERS: [&str; 2] = ["ana", "ben"];

fn years(count: i64) -> Timestamp {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    now.checked_add(count.years()).unwrap().timestamp()
}

fn policy(house: &House) -> Policy {
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    Policy::of_logs([VerifierKey::parse(&key.vkey("test/deployment")).unwrap()])
}

fn examined(house: &House, export: &Path, now: Timestamp) -> Result<Prefix, NotPrunable> {
    examine(&house.reader(), (LOG, "t1"), export, policy(house), now)
}

fn whole(report: &Report) {
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
}

fn verified(house: &House, folder: &Path) -> Report {
    verify(folder, &Trust { policy: Some(policy(house)), ..Trust::default() })
}

fn kind_of(report: &Report) -> FaultKind {
    match &report.verdict {
        Verdict::Forged(fault) | Verdict::Torn(fault) => fault.kind,
        other => panic!("{other:?}"),
    }
}

/// A ledger whose log has `pairs` closed intents, the first with a mark, after one erase certificate.
async fn written(house: &House, pairs: usize) {
    let (ledger, _) = house.open();
    ledger.append(Entry { kind: Kind::Erase, ..refusal("t1") }).await.unwrap();
    let mut first = intent("t1");
    first.fields.who.subject = Some(MARK.to_owned());
    let receipt = ledger.intent(first).await.unwrap();
    ledger.outcome(outcome("t1", receipt.op(), receipt.reference())).await.unwrap();
    fill(&ledger, "t1", pairs - 1).await;
    ledger.close().await.unwrap();
}

/// A ledger that shows heads, for which pruning waits.
fn open_to_prune(house: &House) -> Ledger {
    let options = LedgerOptions { publish_every: Duration::from_millis(20), ..house.options() };
    Ledger::open(options).unwrap().0
}

async fn pruned(house: &House, export: &Path) -> u64 {
    let prefix = examined(house, export, years(2)).unwrap();
    let ledger = open_to_prune(house);
    let seq = prune(&ledger, prefix, APPROVERS).await.unwrap();
    ledger.close().await.unwrap();
    seq
}

fn files_contain(house: &House, text: &str) -> bool {
    let has = |name: &str| {
        let bytes = std::fs::read(house.path(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    has("ledger.db") || has("ledger.db-wal")
}

#[tokio::test]
async fn a_change_of_the_key_outlives_the_records_around_it() {
    let house = House::new();
    written(&house, 10).await;
    let first = policy(&house);
    rotate(house.options(), false).await.unwrap();
    let (ledger, _) = house.open();
    fill(&ledger, "t1", 400).await;
    ledger.close().await.unwrap();
    pruned(&house, &house.export("before")).await;
    whole(&verify_ledger(&house.reader()));
    let (ledger, _) = house.open();
    fill(&ledger, "t1", 1).await;
    ledger.close().await.unwrap();
    let after = house.export("after");
    let trust = |policy: &Policy| Trust { policy: Some(policy.clone()), ..Trust::default() };
    for policy in [&first, &policy(&house)] {
        let report = verify(&after, &trust(policy));
        whole(&report);
        let log = report.logs.iter().find(|log| log.origin == LOG).unwrap();
        assert_eq!((log.pruned, log.keys[0].seq), (768, 21), "{}", report.to_text());
    }
    // Its proof is all that an export has of it.
    std::fs::remove_file(after.join("t/t1/proofs/21.tlog-proof")).unwrap();
    assert_eq!(kind_of(&verify(&after, &trust(&first))), FaultKind::Resigned);
    assert_eq!(kind_of(&verify(&after, &trust(&policy(&house)))), FaultKind::Deleted);
}

#[tokio::test]
async fn what_expired_goes_and_what_stays_verifies() {
    let house = House::new();
    written(&house, 400).await;
    let before = house.export("before");
    assert!(files_contain(&house, MARK));
    let prefix = examined(&house, &before, years(2)).unwrap();
    assert_eq!((prefix.until(), prefix.records(), prefix.class()), (768, 767, Retention::Year1));
    let seq = pruned(&house, &before).await;
    assert_eq!(seq, 801);
    assert!(!files_contain(&house, MARK), "the bytes are gone from the file and its journal");

    // It starts, goes on, and is whole.
    let (ledger, _) = house.open();
    fill(&ledger, "t1", 3).await;
    ledger.close().await.unwrap();
    let report = verify_ledger(&house.reader());
    whole(&report);
    assert_eq!(report.logs.iter().find(|log| log.origin == LOG).unwrap().pruned, 768);

    // So is an export, also against the head that was seen before.
    let after = house.export("after");
    let seen = std::fs::read_to_string(before.join("t/t1/checkpoint")).unwrap();
    let seen = vec![("before".to_owned(), seen)];
    let trust = Trust { policy: Some(policy(&house)), seen, ..Trust::default() };
    let report = verify(&after, &trust);
    whole(&report);
    let text = report.to_text();
    assert!(text.contains("record 768 to 807") && text.contains("768 pruned"), "{text}");
    assert!(!after.join("t/t1/tile/entries/000").exists());
    assert!(after.join("t/t1/tile/0/000").exists(), "its leaf hashes stay");

    // The certificate of an erasure stays, is proved, and is counted.
    assert!(text.contains("1 erased, 768 pruned"), "{text}");
    let proof = after.join("t/t1/proofs/0.tlog-proof");
    let kept = std::fs::read_to_string(&proof).unwrap();
    let another = std::fs::read_to_string(after.join("t/t1/proofs/807.tlog-proof")).unwrap();
    for bad in
        [kept.replace("index 0", "index 1"), kept.replacen("extra ", "extra e", 1), String::new()]
    {
        std::fs::write(&proof, bad).unwrap();
        assert_eq!(kind_of(&verify(&after, &trust)), FaultKind::BadProof);
    }
    std::fs::write(&proof, another).unwrap();
    assert_eq!(kind_of(&verify(&after, &trust)), FaultKind::Deleted, "it is another's");
    std::fs::write(&proof, kept).unwrap();
    let rows = house.reader().rows(&Query { log: Some("t1".into()), ..everything() }).unwrap();
    let places: Vec<u64> = rows.iter().map(|row| row.record.seq).collect();
    assert_eq!(places[..2], [0, 768]);
    let row = rows.iter().find(|row| row.record.seq == seq).unwrap();
    assert_eq!((row.text(&["note", "until"]), row.text(&["note", "class"])), ("768", "1y"));
    assert_eq!(row.text(&["note", "export"]), hex(&chain::digest(&[&index(&before)])));
    assert_eq!((row.text(&["note", "approved_by"]), row.text(&["note", "and_by"])), ("ana", "ben"));

    // Nothing is left to prune, and an outcome may name an intent that is gone.
    assert!(matches!(examined(&house, &after, years(2)), Err(NotPrunable::Nothing(_))));
}

fn index(export: &Path) -> Vec<u8> {
    std::fs::read(export.join("index")).unwrap()
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn nothing_goes_before_its_time() {
    let house = House::new();
    written(&house, 200).await;
    let export = house.export("export");
    let Err(NotPrunable::Nothing(why)) = examined(&house, &export, Timestamp::now()) else {
        panic!("nothing has expired");
    };
    assert!(why.starts_with("record 1 is kept until ") && why.contains("class 1y"), "{why}");

    // What is kept for ever, and what is open, keeps everything after it.
    for late in [true, false] {
        let house = House::new();
        let (ledger, _) = house.open();
        fill(&ledger, "t1", 150).await;
        let open = ledger.intent(intent("t1")).await.unwrap();
        let mut held = refusal("t1");
        held.fields.ret = Some(Retention::Hold);
        if late {
            ledger.outcome(outcome("t1", open.op(), open.reference())).await.unwrap();
            ledger.append(held).await.unwrap();
        }
        fill(&ledger, "t1", 300).await;
        ledger.close().await.unwrap();
        // Opening closes the orphan only now, behind the export: it is examined as it was.
        let export = house.export("export");
        let prefix = examined(&house, &export, years(20)).unwrap();
        assert_eq!(prefix.until(), 256, "{late}");
    }
}

#[tokio::test]
async fn an_export_that_does_not_cover_it_prunes_nothing() {
    let (house, stranger) = (House::new(), House::new());
    written(&house, 200).await;
    let early = house.export("early");
    let (ledger, _) = house.open();
    fill(&ledger, "t1", 200).await;
    ledger.close().await.unwrap();
    assert_eq!(examined(&house, &early, years(2)).unwrap().until(), 256, "no further than it goes");

    let damaged = house.export("damaged");
    let bundle = damaged.join("t/t1/tile/entries/000");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let absent = house.path("absent");
    written(&stranger, 400).await;
    let foreign = stranger.export("foreign");
    let other = stranger_under_our_key(&house).await;
    for (folder, word) in [(&damaged, "FORGED"), (&absent, "absent"), (&foreign, "did not sign it")]
    {
        let Err(NotPrunable::Export(why)) = examined(&house, folder, years(2)) else {
            panic!("{}", folder.display());
        };
        assert!(why.contains(word), "{why}");
    }
    let refused = examined(&house, &other.export("other"), years(2));
    assert!(matches!(refused, Err(NotPrunable::OtherHistory(_))), "{refused:?}");
}

/// Another history under the same key.
async fn stranger_under_our_key(house: &House) -> House {
    let other = House::new();
    std::fs::copy(house.path("log.key"), other.path("log.key")).unwrap();
    written(&other, 400).await;
    other
}

#[tokio::test]
async fn a_record_that_was_edited_is_evidence_and_is_not_pruned() {
    let house = House::new();
    written(&house, 200).await;
    let export = house.export("export");
    around_the_guard(&house, "UPDATE records SET record = CAST('{}' AS BLOB) WHERE seq = 77");
    let refused = examined(&house, &export, years(2));
    assert!(matches!(refused, Err(NotPrunable::Edited(77))), "{refused:?}");
}

/// What somebody does who may change the schema, and who puts the guard back afterwards.
fn around_the_guard(house: &House, sql: &str) {
    let conn = house.raw();
    let guard = "SELECT sql FROM sqlite_schema WHERE name = 'records_never_update'";
    let guard: String = conn.query_row(guard, [], |row| row.get(0)).unwrap();
    conn.execute_batch("DROP TRIGGER records_never_update").unwrap();
    conn.execute_batch(sql).unwrap();
    conn.execute_batch(&guard).unwrap();
}

#[tokio::test]
async fn two_people_must_approve() {
    let house = House::new();
    written(&house, 200).await;
    let export = house.export("export");
    let (ledger, _) = house.open();
    for approvers in [["ana", "ana"], ["ana", ""], ["ana", "Ben Miller"]] {
        let prefix = examined(&house, &export, years(2)).unwrap();
        let refused = prune(&ledger, prefix, approvers).await;
        assert!(matches!(refused, Err(NotPrunable::Approvers)), "{approvers:?}");
    }
    let by_hand = ledger.append(Entry { kind: Kind::Prune, ..refusal("t1") }).await;
    assert!(matches!(by_hand, Err(Unavailable::Invalid(_))), "only pruning records a prune");
    assert_eq!(house.reader().pruned(LOG).unwrap(), 0);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn what_is_gone_without_a_prune_record_is_missed() {
    let house = House::new();
    written(&house, 400).await;
    // In an export: the copy is torn, or somebody took it.
    let export = house.export("export");
    std::fs::remove_file(export.join("t/t1/tile/entries/000")).unwrap();
    let report = verified(&house, &export);
    assert_eq!(kind_of(&report), FaultKind::Torn, "{}", report.to_text());
    // In the ledger: by somebody who claims that some other record is a prune record.
    let conn = house.raw();
    let claim = "INSERT INTO prunes (log, until, seq) VALUES (1, 256, 700)";
    assert!(conn.execute(claim, []).is_err(), "it is guarded");
    around_the_guard(&house, "UPDATE records SET record = x'' WHERE log = 1 AND seq < 256");
    let report = verify_ledger(&house.reader());
    assert_eq!(kind_of(&report), FaultKind::Deleted, "{}", report.to_text());
    let report = verified(&house, &house.export("after"));
    assert_eq!(kind_of(&report), FaultKind::Edited, "{}", report.to_text());
}

#[tokio::test]
async fn more_than_was_pruned_is_missed() {
    let house = House::new();
    written(&house, 200).await;
    let early = house.export("early");
    let (ledger, _) = house.open();
    fill(&ledger, "t1", 300).await;
    ledger.close().await.unwrap();
    pruned(&house, &early).await;
    let export = house.export("export");
    whole(&verified(&house, &export));
    std::fs::remove_file(export.join("t/t1/tile/entries/001")).unwrap();
    let report = verified(&house, &export);
    assert_eq!(kind_of(&report), FaultKind::Torn, "{}", report.to_text());
    assert!(report.to_text().contains("records 256 to 511 are not here"), "{}", report.to_text());
}

#[test]
fn a_prune_record_says_all_that_it_must_and_gives_up_nothing_newer_than_its_export() {
    let leaves = vec![[7; 32]; 512];
    let root = |size: usize| hex(&portcullis_audit::merkle::root(&leaves[..size]));
    let whole = |until: &str, size: &str, root: String| -> BTreeMap<String, String> {
        let facts = [
            ("until", until.to_owned()),
            ("class", "1y".to_owned()),
            ("export", "ab".repeat(32)),
            ("head_size", size.to_owned()),
            ("head_root", root),
            ("kept", "0".to_owned()),
            ("approved_by", "ana".to_owned()),
            ("and_by", "ben".to_owned()),
        ];
        facts.map(|(key, value)| (key.to_owned(), value)).into()
    };
    let good = whole("512", "512", root(512));
    assert_eq!(found(&leaves, &good), None);
    for key in good.keys() {
        let without = good.iter().filter(|(name, _)| *name != key);
        let without = without.map(|(name, value)| (name.clone(), value.clone())).collect();
        assert_eq!(found(&leaves, &without), Some(FaultKind::BadPrune), "without {key}");
    }
    for bad in [
        whole("511", "512", root(512)),
        whole("512", "513", root(512)),
        whole("512", "512", root(511)),
        whole("768", "512", root(512)),
        [good.clone(), [("and_by".to_owned(), "ANA".to_owned())].into()]
            .into_iter()
            .flatten()
            .collect(),
    ] {
        assert_eq!(found(&leaves, &bad), Some(FaultKind::BadPrune), "{bad:?}");
    }
}

/// What is wrong with a log of which only leaf hashes are here, and then a prune record with these notes.
fn found(leaves: &[[u8; 32]], note: &BTreeMap<String, String>) -> Option<FaultKind> {
    let stamp = Stamp {
        ts: "2026-11-21T10:00:00.000001Z".into(),
        boot: "0".into(),
        ns: 1,
        replica: "0".into(),
        epoch: 1,
    };
    let mut checker = Checker::new(LOG, chain::genesis(LOG, "k"), None);
    leaves.iter().for_each(|leaf| checker.pass(*leaf));
    let fields = CallFields { note: note.clone(), ..CallFields::default() };
    let draft = Draft::new(Kind::Prune, "t1", Uuid::nil(), None, &fields, false).unwrap();
    let place = Place {
        log: LOG,
        seq: leaves.len() as u64,
        prev: &leaves[0],
        stamp: &stamp,
        session: None,
    };
    checker.take(Examined::of(&draft.place(&place)));
    checker.finish(None).err().map(|fault| fault.kind)
}

/// An erasure is certified for ever: in the ledger, and in each export.
#[tokio::test]
async fn a_certificate_that_is_taken_out_is_missed() {
    let house = House::new();
    written(&house, 200).await;
    let early = house.export("early");
    pruned(&house, &early).await;
    let export = house.export("export");
    std::fs::remove_file(export.join("t/t1/proofs/0.tlog-proof")).unwrap();
    assert_eq!(kind_of(&verified(&house, &export)), FaultKind::Deleted);
    let take = "UPDATE records SET record = x'' WHERE log = 1 AND seq = 0";
    assert!(house.raw().execute(take, []).is_err(), "it is guarded");
    around_the_guard(&house, take);
    assert_eq!(kind_of(&verify_ledger(&house.reader())), FaultKind::Deleted);
    assert_eq!(kind_of(&verified(&house, &house.export("after"))), FaultKind::Deleted);
}

#[tokio::test]
async fn what_was_blanked_before_is_evidence_and_is_not_pruned() {
    let house = House::new();
    written(&house, 200).await;
    let export = house.export("export");
    around_the_guard(&house, "UPDATE records SET record = x'' WHERE log = 1 AND seq = 77");
    let refused = examined(&house, &export, years(2));
    assert!(matches!(refused, Err(NotPrunable::Edited(77))), "{refused:?}");
}

/// Pruned again further on: the first prune record stays as a certificate.
#[tokio::test]
async fn a_log_is_pruned_again_over_its_own_prune_record() {
    let house = House::new();
    written(&house, 200).await;
    let first = pruned(&house, &house.export("first")).await;
    let (ledger, _) = house.open();
    fill(&ledger, "t1", 300).await;
    ledger.close().await.unwrap();
    let before = house.export("second");
    assert_eq!(examined(&house, &before, years(2)).unwrap().records(), 512 - 1);
    pruned(&house, &before).await;
    whole(&verify_ledger(&house.reader()));
    let report = verified(&house, &house.export("after"));
    whole(&report);
    assert!(report.to_text().contains("1 erased, 768 pruned"), "{}", report.to_text());
    let rows = house.reader().rows(&Query { log: Some("t1".into()), ..everything() }).unwrap();
    assert_eq!((rows[0].record.seq, rows[1].record.seq), (0, first));
}

#[tokio::test]
async fn only_the_bytes_of_what_was_pruned_can_be_taken() {
    let house = House::new();
    written(&house, 200).await;
    let conn = house.raw();
    for sql in [
        "UPDATE records SET record = x'' WHERE seq = 3",
        "INSERT INTO prunes (log, until, seq) VALUES (1, 256, 255)",
        "INSERT INTO prunes (log, until, seq) VALUES (1, 256, 9999)",
    ] {
        assert!(conn.execute(sql, []).is_err(), "{sql}");
    }
    let export = house.export("export");
    pruned(&house, &export).await;
    for sql in [
        "UPDATE records SET record = x'00' WHERE seq = 3",
        "UPDATE records SET record = x'', leaf = x'00' WHERE seq = 3",
        "UPDATE records SET record = x'', seq = 4000 WHERE seq = 3",
        "UPDATE records SET record = x'' WHERE seq = 300",
        "DELETE FROM records WHERE seq = 3",
        "UPDATE prunes SET until = 300",
        "DELETE FROM prunes",
    ] {
        assert!(conn.execute(sql, []).is_err(), "{sql}");
    }
}
