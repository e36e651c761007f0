//! Anchors and journals that somebody took away or put back (ledger-and-vault.md section 7, tests 12 and 20).

use super::*;
use portcullis_audit::tiles::{entries, push_entry};
use portcullis_audit::verify::{Trust, Verdict, verify, verify_ledger};
use portcullis_audit::{Fault, FaultKind};

/// Each close of the ledger notes the heads of the tenants' logs.
async fn anchored(house: &House, times: usize) {
    for _ in 0..times {
        let (ledger, _) = house.open();
        fill(&ledger, "default", 1).await;
        ledger.close().await.unwrap();
    }
}

fn fault(verdict: Verdict) -> Fault {
    match verdict {
        Verdict::Forged(fault) | Verdict::Torn(fault) => fault,
        other => panic!("not noticed: {other:?}"),
    }
}

/// One that is missing shows by the next one; of two there may be none that says so.
#[tokio::test]
async fn two_adjacent_anchors_that_were_deleted_are_reported() {
    let house = House::new();
    anchored(&house, 6).await;
    let folder = house.export("export");
    let bundles = std::fs::read_dir(folder.join("deployment/tile/entries/000.p")).unwrap();
    let bundle = bundles.map(|file| file.unwrap().path()).next().unwrap();
    let bytes = std::fs::read(&bundle).unwrap();
    let records: Vec<Vec<u8>> = entries(&bytes).map(|entry| entry.unwrap().to_vec()).collect();
    let without = |gone: std::ops::Range<usize>| {
        let mut left = Vec::new();
        let kept = records.iter().enumerate().filter(|(seq, _)| !gone.contains(seq));
        kept.for_each(|(_, record)| push_entry(&mut left, record).unwrap());
        std::fs::write(&bundle, left).unwrap();
        fault(verify(&folder, &Trust::default()).verdict)
    };
    let size = records.len();
    assert!(size >= 6, "{size} anchors");
    for first in 0..size - 2 {
        let fault = without(first..first + 2);
        assert_eq!((fault.seq, fault.kind), (Some(first as u64), FaultKind::Deleted), "{fault}");
        assert_eq!(fault.log, "test/deployment");
    }
    let last = without(size - 2..size);
    let missing = size as u64 - 2;
    assert_eq!((last.seq, last.kind), (Some(missing), FaultKind::Truncated), "{last}");
    // Nor without the tiles that say so at once.
    std::fs::remove_dir_all(folder.join("deployment/tile/0")).unwrap();
    let chained = without(2..4);
    assert_eq!((chained.seq, chained.kind), (Some(2), FaultKind::Deleted), "{chained}");
}

/// SQLite replays a journal that fits by its checksums, whatever the database says by now.
#[tokio::test]
async fn an_old_journal_put_beside_a_newer_database_never_loses_a_record_silently() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 8).await;
    std::fs::copy(house.path("ledger.db-wal"), house.path("old-wal")).unwrap();
    fill(&ledger, "default", 8).await;
    ledger.close().await.unwrap();
    anchored(&house, 2).await;
    let written = house.reader().rows(&everything()).unwrap().len();
    std::fs::copy(house.path("old-wal"), house.path("ledger.db-wal")).unwrap();
    // Refusing it is as good as not being misled by it.
    let Ok((ledger, opened)) = Ledger::open(house.options()) else { return };
    assert_eq!(opened.records, written as u64);
    ledger.close().await.unwrap();
    let report = verify_ledger(&house.reader());
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    assert!(house.reader().rows(&everything()).unwrap().len() >= written);
}

/// The index of the journal is made anew from it.
#[tokio::test]
async fn a_deleted_index_of_the_journal_loses_nothing() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 8).await;
    let copy = House::new();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db.head", "log.key"] {
        std::fs::copy(house.path(name), copy.path(name)).unwrap();
    }
    assert!(!copy.path("ledger.db-shm").exists());
    let (ledger, opened) = copy.open();
    assert_eq!(opened.records, 16);
    ledger.close().await.unwrap();
    assert_eq!(verify_ledger(&copy.reader()).verdict, Verdict::Whole);
}
