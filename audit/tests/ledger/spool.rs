//! Outcomes that are late: what a dead process left in the spool is in the log after the next start.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::refuses::{Stall, settled};
use portcullis_audit::verify::{Verdict, verify_ledger};
use portcullis_audit::{RecordRow, Unavailable};

const FOLDER: &str = "PORTCULLIS_TEST_SPOOL_FOLDER";

/// Outcomes of the child; half of them nobody waits for.
const OUTCOMES: usize = 6;

/// Not a test of its own: opens the ledger, and then has outcomes that are late until it is killed.
/// The intent without an outcome is for the next start to close as unknown.
#[test]
#[ignore = "run by the tests below as their child"]
fn child_spools_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions {
        deadline: Duration::from_millis(300),
        ..LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"))
    };
    let deadline = Duration::from_secs(10);
    let patient = LedgerOptions { deadline, ..options.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Not with the short deadline: only what is stalled below is to be late.
        if !folder.join("ledger.db").exists() {
            Ledger::open(patient).unwrap().0.close().await.unwrap();
        }
        let (ledger, opened) = Ledger::open(options).unwrap();
        println!("opened {}", opened.outcomes_recovered);
        let _orphan = admit(&ledger).await;
        let mut receipts = Vec::new();
        for _ in 0..OUTCOMES {
            receipts.push(admit(&ledger).await);
        }
        let conn = rusqlite::Connection::open(folder.join("ledger.db")).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for (index, (op, seq)) in receipts.into_iter().enumerate() {
            println!("admitted {}", seq.0);
            let done = OutcomeRecord {
                body: Some(Body(b"answer".to_vec())),
                ..outcome("default", op, seq)
            };
            if index % 2 == 0 {
                ledger.outcome_queued(done).unwrap();
            } else {
                let ledger = ledger.clone();
                tokio::spawn(async move { ledger.outcome(done).await });
            }
        }
        settled(&ledger, |status| status.spooled == OUTCOMES).await;
        println!("spooled");
        std::thread::park();
    });
}

/// An intent, however often a slow machine refuses it.
async fn admit(ledger: &Ledger) -> (Uuid, RecordRef) {
    loop {
        if let Ok(receipt) = ledger.intent(intent("default")).await {
            return (receipt.op(), receipt.reference());
        }
    }
}

fn spawn(house: &House, failpoints: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::child_spools_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, house.folder.path())
        .env("FAILPOINTS", failpoints)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets the child go on until everything is spooled or it has killed itself, and gives the places of
/// the intents whose outcomes it knows, and whether all were spooled.
fn run(house: &House, failpoints: &str) -> (Vec<u64>, bool) {
    let mut child = spawn(house, failpoints);
    let (mut admitted, mut spooled) = (Vec::new(), false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(seq) = line.strip_prefix("admitted ") {
            admitted.push(seq.parse().unwrap());
        }
        if line == "spooled" {
            spooled = true;
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    (admitted, spooled)
}

/// Files of the spool.
fn files(house: &House) -> Vec<PathBuf> {
    let all = std::fs::read_dir(house.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let spool = |path: &PathBuf| path.to_string_lossy().contains("ledger.db.spool-");
    let mut files: Vec<PathBuf> = all.filter(spool).collect();
    files.sort();
    files
}

/// The records that close the intent at this place.
fn closers(house: &House, seq: u64) -> Vec<RecordRow> {
    let rows = house.reader().rows(&everything()).unwrap().into_iter();
    let of =
        |row: &RecordRow| row.record.log == "test/t/default" && row.record.reference == Some(seq);
    rows.filter(of).collect()
}

fn kinds(house: &House, seq: u64) -> Vec<Kind> {
    closers(house, seq).iter().map(|row| row.record.kind).collect()
}

/// Nothing is open, nothing is closed twice, and the chain holds.
fn whole(house: &House) {
    let report = verify_ledger(&house.reader());
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "{}", report.to_text());
}

fn close(ledger: Ledger) {
    tokio::runtime::Runtime::new().unwrap().block_on(ledger.close()).unwrap();
}

#[test]
fn a_spooled_outcome_is_in_the_log_after_the_next_start() {
    let house = House::new();
    let (admitted, spooled) = run(&house, "");
    assert!(spooled && admitted.len() == OUTCOMES);
    let left = files(&house);
    for file in &left {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let copies: Vec<Vec<u8>> = left.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let (ledger, opened) = house.open();
    let recovered = (opened.outcomes_recovered, opened.orphans_closed);
    assert_eq!(recovered, (OUTCOMES as u64, 1), "the one without an outcome is unknown");
    assert_eq!((ledger.status().sealed, ledger.status().kept_aside), (None, 0));
    close(ledger);
    assert_eq!(files(&house), [] as [PathBuf; 0]);
    for seq in &admitted {
        let closers = closers(&house, *seq);
        assert_eq!(closers.len(), 1, "intent {seq}");
        assert_eq!(closers[0].record.kind, Kind::Outcome);
        assert_eq!(closers[0].text(&["res", "status"]), "done");
        let body = house.reader().body("test/t/default", closers[0].record.seq).unwrap();
        assert_eq!(body, Some(b"answer".to_vec()));
    }
    whole(&house);
    // Put back later, the same file says nothing new.
    left.iter().zip(copies).for_each(|(file, copy)| std::fs::write(file, copy).unwrap());
    let (ledger, opened) = house.open();
    assert_eq!((opened.outcomes_recovered, ledger.status().kept_aside), (0, 0));
    close(ledger);
    assert_eq!(files(&house), [] as [PathBuf; 0]);
    admitted.iter().for_each(|seq| assert_eq!(kinds(&house, *seq), [Kind::Outcome]));
}

#[cfg(feature = "failpoints")]
#[test]
fn every_crash_point_of_the_spool_loses_no_spooled_outcome() {
    for point in ["spool_before_write", "spool_before_rename", "spool_after_write"] {
        let house = House::new();
        let (admitted, spooled) = run(&house, &format!("{point}=return"));
        assert!(!spooled, "it was not killed at {point}");
        let (ledger, opened) = house.open();
        close(ledger);
        // Before the rename the file is not under its name, and all the same it may be whole.
        let kept = usize::from(point != "spool_before_write");
        assert!(opened.outcomes_recovered >= kept as u64, "{point}: {opened:?}");
        admitted.iter().for_each(|seq| assert_eq!(kinds(&house, *seq).len(), 1, "{point}"));
        whole(&house);
        assert_eq!(files(&house), [] as [PathBuf; 0], "{point}");
    }
    for point in ["spool_before_append", "spool_after_append", "spool_before_remove"] {
        let house = House::new();
        let (admitted, spooled) = run(&house, "");
        assert!(spooled);
        let (none, spooled) = run(&house, &format!("{point}=return"));
        assert!(!spooled && none.is_empty(), "it was not killed at {point}");
        let (ledger, _) = house.open();
        close(ledger);
        admitted.iter().for_each(|seq| assert_eq!(kinds(&house, *seq), [Kind::Outcome], "{point}"));
        whole(&house);
        assert_eq!(files(&house), [] as [PathBuf; 0], "{point}");
    }
    let house = House::new();
    run(&house, "");
    std::fs::write(house.path("ledger.db.spool-0-0"), "none").unwrap();
    let (none, _) = run(&house, "spool_before_aside=return");
    assert!(none.is_empty(), "it was not killed");
    let (ledger, _) = house.open();
    assert_eq!(ledger.status().kept_aside, 1);
    close(ledger);
    assert_eq!(files(&house), [house.path("ledger.db.spool-0-0.aside")]);
    whole(&house);
}

/// Whoever owns the database may rewrite what is under no signed head, but not so that what came
/// of the old intent is taken for what came of the new one.
#[test]
fn the_outcome_of_an_intent_that_was_rewritten_is_refused() {
    let house = House::new();
    let (admitted, _) = run(&house, "");
    let last = *admitted.iter().max().unwrap();
    let conn = house.raw();
    // The last record, and all that is derived from it.
    let triggers: Vec<String> = {
        let mut all =
            conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let names = all.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    let texts: Vec<String> = {
        let mut all = conn.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let texts = all.query_map([], |row| row.get(0)).unwrap();
        texts.map(Result::unwrap).collect()
    };
    triggers.iter().for_each(|name| conn.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
    let bytes: Vec<u8> = conn
        .query_row("SELECT record FROM records ORDER BY pos DESC LIMIT 1", [], |row| row.get(0))
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(&format!("\"seq\":\"{last}\"")), "{text}");
    let forged = text.replace("delete_note", "create_note");
    let leaf = portcullis_audit::chain::leaf(forged.as_bytes());
    conn.execute(
        "UPDATE records SET record = ?1, leaf = ?2 WHERE pos = (SELECT max(pos) FROM records)",
        rusqlite::params![forged.as_bytes(), leaf],
    )
    .unwrap();
    texts.iter().for_each(|sql| conn.execute_batch(sql).unwrap());
    let records: u64 =
        conn.query_row("SELECT max(pos) FROM records", [], |row| row.get(0)).unwrap();
    drop(conn);
    let label: &[u8] = b"portcullis/ledger/v1/head\n";
    let check = portcullis_audit::chain::digest(&[label, &records.to_be_bytes(), &leaf]);
    let head = [records.to_be_bytes().as_slice(), &leaf, &check].concat();
    std::fs::write(house.path("ledger.db.head"), head).unwrap();

    let (ledger, opened) = house.open();
    assert_eq!(opened.outcomes_recovered, OUTCOMES as u64 - 1, "{opened:?}");
    assert_eq!(ledger.status().kept_aside, 1);
    close(ledger);
    assert_eq!(kinds(&house, last), [Kind::Recover]);
}

/// A spool of another ledger, one that is torn, and one that is none: what is good in them counts.
#[test]
fn what_is_torn_or_foreign_is_refused_and_kept_aside() {
    let (house, other) = (House::new(), House::new());
    let (admitted, _) = run(&house, "");
    let (_, _) = run(&other, "");
    let foreign = house.path("ledger.db.spool-0000000000000000-0");
    std::fs::copy(&files(&other)[0], &foreign).unwrap();
    let torn = files(&house).into_iter().rfind(|path| *path != foreign).unwrap();
    let bytes = std::fs::read(&torn).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() - 1]).unwrap();
    std::os::unix::fs::symlink("/dev/zero", house.path("ledger.db.spool-0000000000000001-0"))
        .unwrap();
    let (ledger, opened) = house.open();
    let kept = ledger.status().kept_aside;
    assert_eq!(opened.outcomes_recovered, OUTCOMES as u64 - 1, "all but the torn one");
    assert_eq!(opened.orphans_closed, 2, "the torn one is unknown, as the one without");
    assert!(kept > 2, "{kept}");
    assert_eq!(ledger.status().sealed, None);
    close(ledger);
    let unknown = admitted.iter().filter(|seq| kinds(&house, **seq) == [Kind::Recover]).count();
    assert_eq!(unknown, 1);
    whole(&house);
    let left = files(&house);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().all(|path| path.to_string_lossy().ends_with(".aside")), "{left:?}");
    let (ledger, _) = house.open();
    assert_eq!(ledger.status().kept_aside, 0, "they are read once");
    close(ledger);
    assert_eq!(files(&house), left);
}

fn impatient(house: &House) -> Ledger {
    Ledger::open(LedgerOptions { deadline: Duration::from_secs(1), ..house.options() }).unwrap().0
}

#[tokio::test]
async fn the_spool_is_removed_when_its_outcomes_are_in_the_log() {
    let house = House::new();
    let ledger = impatient(&house);
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let stall = Stall::begin(&house);
    assert_eq!(files(&house), [] as [PathBuf; 0], "nothing is late");
    // Nobody waits for it, and it closes the ledger all the same.
    ledger.outcome_queued(outcome("default", receipt.op(), receipt.reference())).unwrap();
    settled(&ledger, |status| status.spooled == 1).await;
    assert_eq!(files(&house).len(), 1);
    let refused = ledger.intent(intent("default")).await.map(|_| ());
    assert!(matches!(refused, Err(Unavailable::Sealed(_))), "{refused:?}");
    stall.end();
    settled(&ledger, |status| status.spooled == 0 && status.sealed.is_none()).await;
    fill(&ledger, "default", 1).await;
    for _ in 0..1_000 {
        if files(&house).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(files(&house), [] as [PathBuf; 0]);
    ledger.close().await.unwrap();
    assert_eq!(kinds(&house, receipt.seq()), [Kind::Outcome]);
}

/// What does not fit is not thrown away either: it stays where it is, and the ledger closed.
#[tokio::test]
async fn beyond_its_bound_outcomes_stay_in_memory_and_the_ledger_closed() {
    let house = House::new();
    let ledger = impatient(&house);
    let mut receipts = Vec::new();
    for _ in 0..2 {
        receipts.push(ledger.intent(intent("default")).await.unwrap());
    }
    let stall = Stall::begin(&house);
    for receipt in &receipts {
        let body = Some(Body(vec![7; 40 * 1024 * 1024]));
        let done = outcome("default", receipt.op(), receipt.reference());
        ledger.outcome_queued(OutcomeRecord { body, ..done }).unwrap();
    }
    settled(&ledger, |status| status.spooled == 1).await;
    // Two more looks of the watcher.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(ledger.status().spooled, 1);
    assert!(ledger.status().sealed.is_some_and(|why| why.contains("2 are late")));
    let bytes: u64 = files(&house).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 64 * 1024 * 1024, "{bytes}");
    stall.end();
    settled(&ledger, |status| status.sealed.is_none()).await;
    ledger.close().await.unwrap();
    for receipt in receipts {
        assert_eq!(kinds(&house, receipt.seq()), [Kind::Outcome]);
    }
    assert_eq!(files(&house), [] as [PathBuf; 0]);
}

/// Attack 22, for the spool: it is noticed, and written again from memory.
#[tokio::test]
async fn a_spool_that_is_taken_away_is_written_again() {
    let house = House::new();
    let ledger = impatient(&house);
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let stall = Stall::begin(&house);
    ledger.outcome_queued(outcome("default", receipt.op(), receipt.reference())).unwrap();
    settled(&ledger, |status| status.spooled == 1).await;
    let first = files(&house);
    std::fs::remove_file(&first[0]).unwrap();
    for _ in 0..1_000 {
        if files(&house).iter().any(|path| !path.to_string_lossy().ends_with(".new")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = files(&house);
    assert!(second.len() == 1 && second != first, "{second:?}");
    stall.end();
    settled(&ledger, |status| status.sealed.is_none()).await;
    ledger.close().await.unwrap();
    assert_eq!(files(&house), [] as [PathBuf; 0]);
}

/// The writer will never write it: it is in the spool before its caller hears so.
#[tokio::test]
async fn an_outcome_in_a_failed_commit_is_spooled_and_appended_by_the_next_start() {
    let house = House::new();
    let (ledger, _) = house.open();
    let first = ledger.intent(intent("default")).await.unwrap();
    let second = ledger.intent(intent("default")).await.unwrap();
    let break_it =
        "CREATE TRIGGER breaks BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'no'); END";
    house.raw().execute_batch(break_it).unwrap();
    let done = outcome("default", first.op(), first.reference());
    let refused = ledger.outcome(done).await;
    assert!(matches!(&refused, Err(Unavailable::Sealed(why)) if why.contains("a commit failed")));
    assert_eq!(ledger.status().spooled, 1);
    let done = outcome("default", second.op(), second.reference());
    assert!(matches!(ledger.outcome(done).await, Err(Unavailable::Sealed(_))));
    assert_eq!(ledger.status().spooled, 2);
    assert!(matches!(ledger.close().await, Err(Unavailable::Sealed(_))));
    house.raw().execute_batch("DROP TRIGGER breaks").unwrap();
    let (ledger, opened) = house.open();
    assert_eq!((opened.outcomes_recovered, opened.orphans_closed), (2, 0));
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    for receipt in [first, second] {
        assert_eq!(kinds(&house, receipt.seq()), [Kind::Outcome]);
    }
    whole(&house);
    assert_eq!(files(&house), [] as [PathBuf; 0]);
}
