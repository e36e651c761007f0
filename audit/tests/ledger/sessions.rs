//! The numbers of sessions: never a gap in what the ledger writes, and a gap in what somebody took out.

use std::collections::BTreeMap;

use super::*;
use portcullis_audit::chain::{self, Hash};
use portcullis_audit::note::Checkpoint;
use portcullis_audit::promise::Promise;
use portcullis_audit::verify::{KeptFile, Report, Trust, Verdict, verify, verify_ledger};
use portcullis_audit::{Appended, Counted, Fault, FaultKind, Record, SessionSeq, merkle, tiles};

const LOG: &str = "test/t/default";

fn of_session(session: &str) -> Entry {
    let who = Who { session: Some(session.to_owned()), ..Who::default() };
    Entry { fields: CallFields { who, ..fields() }, ..refusal("default") }
}

async fn append(ledger: &Ledger, session: &str) -> Appended {
    ledger.append(of_session(session)).await.unwrap()
}

/// The numbers of the log's records by session and count, in the order of the log.
fn numbers(house: &House) -> BTreeMap<(String, u64), Vec<u64>> {
    let mut numbers: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
    for row in house.reader().rows(&everything()).unwrap() {
        if let Some(counted) = row.record.counted {
            let SessionSeq { since, number } = counted.at;
            numbers.entry((counted.session, since)).or_default().push(number);
        }
    }
    numbers
}

#[tokio::test]
async fn a_session_of_one_call_is_named_and_not_numbered() {
    let house = House::new();
    let (ledger, _) = house.open();
    let who = Who { session: Some("token".into()), once: true, ..Who::default() };
    let once = || CallFields { who: who.clone(), ..fields() };
    let refused = ledger.append(Entry { fields: once(), ..refusal("default") }).await.unwrap();
    assert_eq!(refused.session, None);
    let receipt = ledger.intent(Intent { fields: once(), ..intent("default") }).await.unwrap();
    assert_eq!(receipt.record().session, None);
    let out = outcome("default", receipt.op(), receipt.reference());
    ledger.outcome(out).await.unwrap();
    ledger.close().await.unwrap();
    let named = house.reader().rows(&everything()).unwrap().into_iter();
    let named = named.filter(|row| row.text(&["who", "session"]) == "token");
    assert!(named.map(|row| row.record.counted).eq([None, None]), "named, and not counted");
    assert_eq!(verify_ledger(&house.reader()).verdict, Verdict::Whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_callers_write_at_once_is_numbered_without_a_gap() {
    let house = House::new();
    let (ledger, _) = house.open();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..32 {
        let ledger = ledger.clone();
        callers.spawn(async move {
            let session = format!("s{}", caller % 3);
            let mut told = Vec::new();
            for call in 0..20 {
                if call % 2 == 0 {
                    told.push(append(&ledger, &session).await.counted().unwrap());
                    continue;
                }
                let mut intent = intent("default");
                intent.fields.who.session = Some(session.clone());
                let receipt = ledger.intent(intent).await.unwrap();
                told.push(receipt.record().counted().unwrap());
                let out = outcome("default", receipt.op(), receipt.reference());
                assert_eq!(ledger.outcome(out).await.unwrap().session, None, "found by its intent");
            }
            (session, told)
        });
    }
    let mut told: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while let Some(caller) = callers.join_next().await {
        let (session, counted) = caller.unwrap();
        told.entry(session).or_default().extend(counted.iter().map(|one| one.at.number));
    }
    ledger.close().await.unwrap();
    let written = numbers(&house);
    assert_eq!(written.len(), 3, "one count for each session: {:?}", written.keys());
    for ((session, _), numbers) in written {
        let mut told = told.remove(&session).unwrap();
        told.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        assert_eq!(told, numbers, "every caller was told the number of its own record");
    }
    let report = verify_ledger(&house.reader());
    assert_eq!(report.verdict, Verdict::Whole);
    let log = report.logs.iter().find(|log| log.origin == LOG).unwrap();
    assert_eq!((log.counts, log.counted), (3, 32 * 20));
}

#[tokio::test]
async fn after_a_restart_a_session_begins_a_new_count_and_nothing_is_missed() {
    let house = House::new();
    let mut since = Vec::new();
    for _ in 0..3 {
        let (ledger, _) = house.open();
        for number in 1..=4 {
            let at = append(&ledger, "s").await.session.unwrap();
            assert_eq!(at.number, number);
            since.push(at.since);
        }
        ledger.close().await.unwrap();
    }
    assert_eq!(since, [[0; 4], [4; 4], [8; 4]].concat());
    assert_eq!(verify_ledger(&house.reader()).verdict, Verdict::Whole);
}

#[tokio::test]
async fn what_was_refused_takes_no_number() {
    let house = House::new();
    let (ledger, _) = house.open();
    assert_eq!(append(&ledger, "s").await.session.unwrap().number, 1);
    ledger.suspend("no witness".to_owned());
    assert!(ledger.intent(intent("default")).await.is_err());
    ledger.resume();
    let mut bad = of_session("s");
    bad.fields.note.insert("Not a key".to_owned(), String::new());
    assert!(ledger.append(bad).await.is_err());
    assert_eq!(append(&ledger, "s").await.session.unwrap().number, 2);
}

/// Records 0 to 5 of one session, what the caller kept of them, and the records' bytes.
async fn called(house: &House) -> (Vec<Appended>, Vec<String>, Vec<Vec<u8>>) {
    let (ledger, _) = house.open();
    let (mut placed, mut promises) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let record = append(&ledger, "s").await;
        promises.push(ledger.promise(&record));
        placed.push(record);
    }
    ledger.close().await.unwrap();
    let of_log = Query { log: Some(LOG.to_owned()), ..everything() };
    let rows = house.reader().rows(&of_log).unwrap();
    let bytes = rows.iter().map(|row| row.bytes.to_vec()).collect();
    (placed, promises, bytes)
}

/// The export of this one log that somebody makes who holds its key and took records out: everything after
/// is renumbered and linked anew, and `change` makes the rest fit.
fn written_anew(
    house: &House,
    mut records: Vec<Vec<u8>>,
    change: impl Fn(usize, String) -> String,
) -> PathBuf {
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let mut prev = chain::genesis(LOG, &key.vkey(LOG));
    for (seq, record) in records.iter_mut().enumerate() {
        let old = Record::parse(record).unwrap();
        let text = String::from_utf8(record.clone()).unwrap();
        let text = text
            .replace(&hex::encode(old.prev), &hex::encode(prev))
            .replace(&format!("\"seq\":\"{}\"", old.seq), &format!("\"seq\":\"{seq}\""));
        *record = change(seq, text).into_bytes();
        prev = chain::leaf(record);
    }
    let folder = house.path(&format!("forged{}", Uuid::now_v7()));
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let leaves: Vec<Hash> = records.iter().map(|record| chain::leaf(record)).collect();
    let size = leaves.len() as u64;
    let head = Checkpoint { origin: LOG.to_owned(), size, root: merkle::root(&leaves) };
    let mut bundle = Vec::new();
    records.iter().for_each(|record| tiles::push_entry(&mut bundle, record).unwrap());
    put(&format!("t/default/{}", tiles::entries_path(0, leaves.len())), &bundle);
    for (path, tile) in tiles::hash_tiles(&leaves) {
        put(&format!("t/default/{path}"), &tile);
    }
    put("t/default/checkpoint", head.sign(&key).as_bytes());
    let policy = |name: &str| format!("log {}\nquorum none\n", key.vkey(name));
    put("t/default/policy", policy(LOG).as_bytes());
    put("policy", policy("test/export").as_bytes());
    let listed = format!("{LOG} {size} {}", hex::encode(head.root));
    let index = format!("portcullis/export-of-one-log/v1\nlogs 1\n{listed}\n");
    put("index", key.sign("test/export", &index).as_bytes());
    folder
}

fn kept(lines: &[String]) -> Trust {
    let KeptFile { promises, numbers } = KeptFile::parse("kept", &lines.join("\n")).unwrap();
    Trust { promises, answers: numbers, keeps_all: true, ..Trust::default() }
}

/// A promise as its header carries it.
fn header(note: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(note)
}

fn fault(report: &Report) -> &Fault {
    match &report.verdict {
        Verdict::Forged(fault) => fault,
        other => panic!("not noticed: {other:?}"),
    }
}

#[tokio::test]
async fn a_record_left_out_of_a_history_signed_anew_leaves_a_gap_in_its_session() {
    let house = House::new();
    let (_, _, records) = called(&house).await;
    let whole = written_anew(&house, records.clone(), |_, text| text);
    assert_eq!(verify(&whole, &Trust::default()).verdict, Verdict::Whole);
    for gone in 1..5_u64 {
        let mut left = records.clone();
        left.remove(gone as usize);
        let report = verify(&written_anew(&house, left, |_, text| text), &Trust::default());
        let fault = fault(&report);
        assert_eq!((fault.seq, fault.kind), (Some(gone), FaultKind::SessionGap), "{fault}");
        assert!(fault.why.contains(&format!("number {} of session `s`", gone + 1)), "{fault}");
    }
    // The first of all: the next one would begin a count that is already at 2.
    let report =
        verify(&written_anew(&house, records[1..].to_vec(), |_, text| text), &Trust::default());
    assert_eq!((fault(&report).seq, fault(&report).kind), (Some(0), FaultKind::SessionGap));
    // A number given twice, and a session that takes another's number.
    for (from, to) in [("_seq\":\"4\"", "_seq\":\"3\""), ("\":\"s\"", "\":\"t\"")] {
        let (from, to) = (format!("\"session{from}"), format!("\"session{to}"));
        let change = |seq: usize, text: String| {
            if seq == 3 { text.replace(&from, &to) } else { text }
        };
        let report = verify(&written_anew(&house, records.clone(), change), &Trust::default());
        assert_eq!(fault(&report).kind, FaultKind::SessionGap, "{to}");
    }
}

/// Who takes a record out and numbers the rest anew is whole in itself: only the caller can tell.
#[tokio::test]
async fn a_caller_shows_by_its_own_numbers_that_a_record_was_left_out() {
    let house = House::new();
    let (placed, promises, records) = called(&house).await;
    let mut left = records.clone();
    left.remove(1);
    let renumbered = written_anew(&house, left, |seq, text| {
        text.replace(
            &format!("\"session_seq\":\"{}\"", seq + 2),
            &format!("\"session_seq\":\"{}\"", seq + 1),
        )
    });
    assert_eq!(verify(&renumbered, &Trust::default()).verdict, Verdict::Whole);
    // The answer of the call that is gone was lost; the next one's was kept.
    let report = verify(&renumbered, &kept(&[header(&promises[2])]));
    assert_eq!((fault(&report).seq, fault(&report).kind), (Some(2), FaultKind::Omitted));

    // All records from the begin of a count are gone: a promise shows it, its bare number shows nothing.
    let other = written_anew(&house, records[..1].to_vec(), |_, text| {
        text.replace(",\"session_seq\":\"1\",\"session_since\":\"0\"", "")
    });
    let told = placed[1].counted().unwrap().to_string();
    let report = verify(&other, &kept(std::slice::from_ref(&told)));
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    let of_log = report.logs.iter().find(|log| log.origin == LOG).unwrap();
    assert_eq!(of_log.kept_answers.as_ref().unwrap().unproved, ["kept, line 1"]);
    let bare_beside = [vec![header(&promises[1]), told.clone()], vec![told, header(&promises[1])]];
    for lines in [vec![header(&promises[1])]].into_iter().chain(bare_beside) {
        let report = verify(&other, &kept(&lines));
        assert_eq!((fault(&report).seq, fault(&report).kind), (Some(0), FaultKind::Omitted));
    }
}

#[tokio::test]
async fn what_a_caller_kept_is_found_and_what_it_never_saw_is_named() {
    let house = House::new();
    let (placed, promises, records) = called(&house).await;
    let folder = house.export("export");
    let number = |at: usize| placed[at].counted().unwrap().to_string();
    let report = verify(&folder, &kept(&[number(0), header(&promises[1]), number(1), number(4)]));
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    let log = report.logs.iter().find(|log| log.origin == LOG).unwrap();
    let found = log.kept_answers.as_ref().unwrap();
    assert_eq!((found.here, found.newer.len(), found.pruned), (3, 0, 0));
    let others: Vec<(u64, u64)> = found.others.iter().map(|one| (one.seq, one.at.number)).collect();
    assert_eq!(others, [(2, 3), (3, 4), (5, 6)]);
    assert!(
        report.to_text().contains("number 3 since record 0: record 2, decision"),
        "{}",
        report.to_text()
    );
    assert!(report.to_text().contains("no answer tells the number of a sign-in"));

    // An export from before the last calls: their answers are newer, not missing.
    let early = written_anew(&house, records[..4].to_vec(), |_, text| text);
    let report = verify(&early, &kept(&[number(0), header(&promises[4]), number(5)]));
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    let newer = &report.logs[0].kept_answers.as_ref().unwrap().newer;
    assert_eq!(newer, &["kept, line 2".to_owned(), "kept, line 3".to_owned()]);

    let elsewhere = Counted { log: "test/t/x".to_owned(), at: SessionSeq { since: 0, number: 1 } };
    let report = verify(&folder, &kept(&[elsewhere.to_string()]));
    assert!(matches!(report.verdict, Verdict::Unreadable(_)), "{:?}", report.verdict);
}

#[tokio::test]
async fn a_promise_names_the_number_and_nobody_can_change_it() {
    let house = House::new();
    let (placed, promises, _) = called(&house).await;
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let log = portcullis_audit::note::VerifierKey::parse(&key.vkey(LOG)).unwrap();
    let opened = Promise::open(&promises[2], &log).unwrap();
    assert_eq!(opened.session, placed[2].session);
    let number = format!("\n{}\n{}\n", 3, 0);
    assert!(promises[2].contains(&number));
    let changed = promises[2].replace(&number, "\n2\n0\n");
    assert!(Promise::open(&changed, &log).is_err());
    let report = verify(&house.export("export"), &kept(&[header(&changed)]));
    assert!(matches!(report.verdict, Verdict::Unreadable(_)), "{:?}", report.verdict);
}

/// A count that began among what was pruned is checked from where it can be read.
#[test]
fn a_count_that_began_before_a_prune_goes_on_after_it() {
    use portcullis_audit::verify::{Checker, Examined};
    let stamp = portcullis_audit::Stamp {
        ts: "2026-11-21T10:00:00.000001Z".into(),
        boot: "0".into(),
        ns: 1,
        replica: "0".into(),
        epoch: 1,
    };
    let of_session = CallFields {
        who: Who { session: Some("s".into()), ..Who::default() },
        ..CallFields::default()
    };
    let draft = portcullis_audit::Draft::new(
        Kind::Decision,
        "default",
        Uuid::nil(),
        None,
        &of_session,
        false,
    );
    let draft = draft.unwrap();
    let found = |since: u64, numbers: &[u64]| {
        let mut checker = Checker::new(LOG, chain::genesis(LOG, "k"), None);
        let mut prev: Hash = [7; 32];
        (0..4).for_each(|_| checker.pass(prev));
        for (index, number) in numbers.iter().enumerate() {
            let session = Some(SessionSeq { since, number: *number });
            let place = portcullis_audit::Place {
                log: LOG,
                seq: 4 + index as u64,
                prev: &prev,
                stamp: &stamp,
                session,
            };
            let bytes = draft.place(&place);
            prev = chain::leaf(&bytes);
            checker.take(Examined::of(&bytes));
        }
        // No prune record says so here, which is found last.
        checker.finish(None).unwrap_err().kind
    };
    assert_eq!(found(2, &[3, 4, 5]), FaultKind::Deleted);
    assert_eq!(found(2, &[3, 5]), FaultKind::SessionGap);
    assert_eq!(found(4, &[3, 4]), FaultKind::SessionGap, "nothing before it was pruned");
}
