//! A disk that is really full: a file system in memory of a few MiB, for which the tests must be root.

use super::restarted::{SHORT, of_journal};
use super::*;
use portcullis_audit::Unavailable;
use portcullis_audit::verify::{Verdict, verify_ledger};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1024 * 1024;

/// A small file system, unmounted with the test.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Self {
        Self::mount_with(&format!("size={bytes}"))
    }

    fn mount_with(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", size, "none"]).arg(folder.path()).status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "missing: the right to mount a tmpfs; run as root"
        );
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all that is left but so many bytes.
    fn fill(&self, but: u64) -> PathBuf {
        let path = self.path("ballast");
        let free = rustix::fs::statvfs(self.0.path()).unwrap();
        let bytes = (free.f_bavail * free.f_frsize).saturating_sub(but);
        std::fs::write(&path, vec![7; bytes as usize]).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn options(disk: &Path) -> LedgerOptions {
    let options = LedgerOptions::new(disk.join("ledger.db"), "test", disk.join("log.key"));
    LedgerOptions { reserve: 2 * MIB, ..options }
}

#[tokio::test]
async fn a_full_disk_refuses_intents_takes_outcomes_and_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount(16 * MIB);
    becomes_full(&disk, options(disk.0.path()), |_| true).await;
}

/// The journal has room in itself, that of its longest day, while the database can't grow.
#[tokio::test]
async fn so_does_one_whose_journal_began_anew() {
    let disk = SmallDisk::mount(16 * MIB);
    let options = LedgerOptions { journal: SHORT, ..options(disk.0.path()) };
    let has_room_in_itself = |journal: &[u8]| {
        let (times, end) = of_journal(journal);
        times > 0 && end + SHORT as usize / 2 < journal.len()
    };
    becomes_full(&disk, options, has_room_in_itself).await;
}

/// A disk that is filled under a ledger when its journal is as wished.
async fn becomes_full(
    disk: &SmallDisk,
    options: LedgerOptions,
    is_as_wished: impl Fn(&[u8]) -> bool,
) {
    let (ledger, _) = Ledger::open(options).unwrap();
    let mut calls = 20;
    fill(&ledger, "default", 20).await;
    while !is_as_wished(&std::fs::read(disk.path("ledger.db-wal")).unwrap()) {
        fill(&ledger, "default", 5).await;
        calls += 5;
        assert!(calls < 2_000, "its journal never was");
    }
    let admitted: Vec<_> = {
        let mut admitted = Vec::new();
        for _ in 0..50 {
            admitted.push(ledger.intent(intent("default")).await.unwrap());
        }
        admitted
    };
    let ballast = disk.fill(200 * 1024);
    let mut taken = 0;
    let refused = loop {
        match ledger.intent(intent("default")).await {
            Ok(_) => taken += 1,
            Err(why) => break why,
        }
        assert!(taken < 10_000, "the disk never became full");
    };
    assert!(matches!(&refused, Unavailable::Sealed(why) if why.contains("full")), "{refused}");
    assert!(ledger.status().sealed.is_some_and(|why| why.contains("full")));
    let refused = ledger.append(refusal("default")).await.unwrap_err();
    assert!(matches!(&refused, Unavailable::Sealed(_)), "{refused}");
    for receipt in &admitted {
        let outcome = outcome("default", receipt.op(), receipt.reference());
        let taken = ledger.outcome(outcome).await;
        assert!(taken.is_ok(), "an outcome was promised its room: {taken:?}");
    }

    std::fs::remove_file(ballast).unwrap();
    for _ in 0..200 {
        if ledger.status().sealed.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fill(&ledger, "default", 5).await;
    ledger.close().await.unwrap();
    let reader = Reader::open(&disk.path("ledger.db")).unwrap();
    let report = verify_ledger(&reader);
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    let default = report.logs.iter().find(|log| log.origin == "test/t/default").unwrap();
    assert_eq!(default.records, 2 * calls + 2 * 50 + taken + 2 * 5, "nothing lost, no gap");
    let query = Query { log: Some("deployment".into()), ..everything() };
    let said: Vec<(Kind, String)> = reader
        .rows(&query)
        .unwrap()
        .iter()
        .map(|row| (row.record.kind, row.text(&["note", "why"]).to_owned()))
        .filter(|(kind, _)| *kind != Kind::Anchor)
        .collect();
    let full = "disk_full".to_owned();
    assert_eq!(said, [(Kind::Seal, full.clone()), (Kind::Recover, full)]);
}

/// SQLite finds no room when it commits, and the first batch that meets it is one of outcomes.
#[tokio::test]
async fn outcomes_that_fill_the_disk_themselves_find_the_room_that_they_were_promised() {
    let disk = SmallDisk::mount(16 * MIB);
    let (ledger, _) = Ledger::open(options(disk.0.path())).unwrap();
    let mut admitted = Vec::new();
    for _ in 0..60 {
        admitted.push(ledger.intent(intent("default")).await.unwrap());
    }
    // Whoever reads keeps the journal from beginning anew in the room that it has already.
    let reading = rusqlite::Connection::open(disk.path("ledger.db")).unwrap();
    reading.execute_batch("BEGIN; SELECT count(*) FROM records;").unwrap();
    disk.fill(64 * 1024);
    for receipt in &admitted {
        let outcome = outcome("default", receipt.op(), receipt.reference());
        ledger.outcome(outcome).await.expect("an outcome was promised its room");
    }
    drop(reading);
    ledger.close().await.unwrap_or_default();
    let reader = Reader::open(&disk.path("ledger.db")).unwrap();
    let report = verify_ledger(&reader);
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    let query = Query { log: Some("deployment".into()), ..everything() };
    let sealed = |row: &portcullis_audit::RecordRow| row.record.kind == Kind::Seal;
    assert!(reader.rows(&query).unwrap().iter().any(sealed), "the disk never became full");
    let query = Query { log: Some("default".into()), ..everything() };
    let outcomes = reader.rows(&query).unwrap();
    let outcomes = outcomes.iter().filter(|row| row.record.kind == Kind::Outcome).count();
    assert_eq!(outcomes, 60);
}

#[tokio::test]
async fn a_ledger_without_room_for_its_reserve_does_not_start() {
    let disk = SmallDisk::mount(4 * MIB);
    disk.fill(MIB);
    let refused = Ledger::open(options(disk.0.path())).unwrap_err();
    assert!(refused.to_string().contains("reserve"), "{refused}");
}

/// The reserve is there for outcomes, whether they go to the log or to the spool.
#[tokio::test]
async fn on_a_full_disk_the_reserve_pays_for_the_spool() {
    let disk = SmallDisk::mount(16 * MIB);
    let options = options(disk.0.path());
    let options = LedgerOptions { deadline: Duration::from_secs(1), ..options };
    let (ledger, _) = Ledger::open(options).unwrap();
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let stall = rusqlite::Connection::open(disk.path("ledger.db")).unwrap();
    stall.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ballast = disk.fill(0);
    ledger.outcome_queued(outcome("default", receipt.op(), receipt.reference())).unwrap();
    crate::refuses::settled(&ledger, |status| status.spooled == 1).await;
    drop(stall);
    crate::refuses::settled(&ledger, |status| status.spooled == 0).await;
    assert!(ledger.status().sealed.is_some_and(|why| why.contains("full")));
    std::fs::remove_file(ballast).unwrap();
    crate::refuses::settled(&ledger, |status| status.sealed.is_none()).await;
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    let reader = Reader::open(&disk.path("ledger.db")).unwrap();
    assert_eq!(verify_ledger(&reader).verdict, Verdict::Whole);
}

/// Attack 21: there is room for bytes and none for files. What is promised needs no new file.
#[tokio::test]
async fn without_inodes_records_are_taken_and_heads_are_shown_once_there_are_some() {
    let disk = SmallDisk::mount_with("size=64m,nr_inodes=200");
    let (ledger, _) = Ledger::open(options(disk.0.path())).unwrap();
    fill(&ledger, "default", 5).await;
    let taken: Vec<PathBuf> = (0..400)
        .map(|n| disk.path(&format!("ballast-{n}")))
        .take_while(|path| std::fs::write(path, "").is_ok())
        .collect();
    assert!(taken.len() < 400, "the inodes are not used up");
    fill(&ledger, "default", 200).await;
    let mut status = ledger.status();
    assert_eq!((status.sealed, status.records > 400), (None, true));
    for path in taken {
        std::fs::remove_file(path).unwrap();
    }
    for _ in 0..100 {
        status = ledger.status();
        if status.published == status.records {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status.published, status.records);
    ledger.close().await.unwrap();
    let reader = Reader::open(&disk.path("ledger.db")).unwrap();
    let report = verify_ledger(&reader);
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
}
