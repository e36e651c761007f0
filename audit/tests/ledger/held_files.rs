//! Attack 22: files are taken from under a running ledger.

use std::fs::OpenOptions;

use super::pages::copied;
use super::*;
use portcullis_audit::Unavailable;
use portcullis_audit::verify::{Verdict, verify_ledger};

#[derive(Clone, Copy, Debug)]
enum Harm {
    Removed,
    Replaced,
    CutShort,
}

impl Harm {
    fn done_to(self, house: &House, name: &str) {
        let path = house.path(name);
        match self {
            Self::Removed => std::fs::remove_file(path).unwrap(),
            // With the same bytes, as a restore or an editor does it.
            Self::Replaced => {
                std::fs::copy(&path, house.path("copy")).unwrap();
                std::fs::rename(house.path("copy"), path).unwrap();
            }
            Self::CutShort => {
                let file = OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }
        }
    }

    const fn said(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::CutShort => "cut short",
        }
    }
}

/// Waits until the ledger says why it takes nothing more.
async fn sealed(ledger: &Ledger) -> String {
    for _ in 0..3000 {
        if let Some(why) = ledger.status().sealed {
            return why;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it goes on: {:?}", ledger.status());
}

#[tokio::test]
async fn every_file_that_a_running_ledger_holds_is_missed_when_it_is_harmed() {
    let (every, with_bytes) = (
        ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.head", "ledger.db.lock"],
        ["ledger.db", "ledger.db-wal", "ledger.db.head"],
    );
    let harms = every.iter().flat_map(|name| [(*name, Harm::Removed), (*name, Harm::Replaced)]);
    let harms = harms.chain(with_bytes.map(|name| (name, Harm::CutShort)));
    let tried = harms.map(async |(name, harm)| {
        let house = House::new();
        let (ledger, _) = house.open();
        fill(&ledger, "default", 1).await;
        harm.done_to(&house, name);
        let why = sealed(&ledger).await;
        let expected = format!("`{name}` was {} under the running ledger", harm.said());
        assert!(why.contains(&expected), "{why}");
        let refused = ledger.intent(intent("default")).await.map(drop);
        assert_eq!(refused, Err(Unavailable::Sealed(why)));
        assert!(matches!(ledger.close().await, Err(Unavailable::Sealed(_))));
    });
    futures_util::future::join_all(tried).await;
}

/// The journal that was taken away is still there for who holds it open, and moved into the database
/// at the end.
#[tokio::test]
async fn what_was_acknowledged_before_its_journal_was_removed_is_there_after_a_restart() {
    for name in ["ledger.db-wal", "ledger.db-shm", "ledger.db.lock"] {
        let house = House::new();
        let (ledger, _) = house.open();
        fill(&ledger, "default", 5).await;
        std::fs::remove_file(house.path(name)).unwrap();
        sealed(&ledger).await;
        assert!(ledger.close().await.is_err());
        let (ledger, opened) = house.open();
        assert_eq!(opened.records, 10, "{name}");
        fill(&ledger, "default", 1).await;
        ledger.close().await.unwrap();
        let report = verify_ledger(&house.reader());
        assert_eq!(report.verdict, Verdict::Whole, "{name}: {}", report.to_text());
    }
}

/// Above its bound the journal is written over from its begin, at the length that it has; what stands
/// behind its new end is taken for no record, by a ledger that was killed either.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_at_its_bound_is_written_over() {
    /// Beyond this it would be cut.
    const LONG: u64 = 128 << 20;
    let house = House::new();
    // A disk that others write to may be slow when megabytes are moved.
    let options = LedgerOptions { deadline: Duration::from_secs(60), ..house.options() };
    let (ledger, _) = Ledger::open(options).unwrap();
    let length = || std::fs::metadata(house.path("ledger.db-wal")).unwrap().len();
    let mut longest = 0;
    for _ in 0..150 {
        let many = (0..16).map(|_| {
            let mut entry = refusal("default");
            entry.fields.note.insert("why".into(), "x".repeat(60_000));
            ledger.append(entry)
        });
        for appended in futures_util::future::join_all(many).await {
            appended.unwrap();
        }
        longest = length().max(longest);
    }
    // More than 144 MB were written.
    assert!(longest < LONG, "{longest}");
    assert_eq!(length(), longest, "it was cut");
    let killed = copied(&house, &["ledger.db", "ledger.db-wal", "ledger.db.head", "log.key"]);
    // Longer than it takes to look again.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(ledger.status().sealed, None);
    ledger.close().await.unwrap();
    let (again, opened) = killed.open();
    assert_eq!(opened.records, 2_400);
    again.close().await.unwrap();
    assert_eq!(verify_ledger(&killed.reader()).verdict, Verdict::Whole);
}
