use super::*;
use portcullis_audit::note::{Checkpoint, VerifierKey};
use portcullis_audit::{OpenError, merkle, tiles};
use std::path::Path;

impl House {
    /// The checkpoint that is shown of a log, checked against the ledger's own key.
    fn shown(&self, within: &str) -> Checkpoint {
        let key = portcullis_audit::load_key(&self.path("log.key")).unwrap();
        let key = VerifierKey::parse(&key.vkey(&format!("test/{within}"))).unwrap();
        let note = std::fs::read_to_string(self.published(within).join("checkpoint")).unwrap();
        Checkpoint::open(&note, &key).unwrap()
    }

    fn published(&self, within: &str) -> PathBuf {
        self.path("ledger.db.published").join(within)
    }

    fn leaves(&self, tenant: &str) -> Vec<[u8; 32]> {
        let query = Query { log: Some(tenant.to_owned()), ..everything() };
        self.reader().rows(&query).unwrap().iter().map(|row| row.leaf).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(|file| file.unwrap()) {
        let to = to.join(file.file_name());
        if file.path().is_dir() {
            copy(&file.path(), &to)
        } else {
            drop(std::fs::copy(file.path(), to))
        }
    }
}

async fn published(ledger: &Ledger) {
    for _ in 0..400 {
        let status = ledger.status();
        if status.published == status.records {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never published: {:?}", ledger.status());
}

#[tokio::test]
async fn a_checkpoint_follows_within_a_second_or_so_while_the_ledger_is_open() {
    let house = House::new();
    let soon = LedgerOptions { publish_every: Duration::from_secs(1), ..house.options() };
    let (ledger, _) = Ledger::open(soon).unwrap();
    for pairs in [1, 150, 200] {
        fill(&ledger, "default", pairs).await;
        published(&ledger).await;
        let (head, leaves) = (house.shown("t/default"), house.leaves("default"));
        assert_eq!((head.size, head.root), (leaves.len() as u64, merkle::root(&leaves)));
        for (path, bytes) in tiles::hash_tiles(&leaves) {
            assert_eq!(
                std::fs::read(house.published("t/default").join(&path)).unwrap(),
                bytes,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_under_the_head_that_a_closed_ledger_shows() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 3).await;
    fill(&ledger, "imp_t_other", 2).await;
    ledger.close().await.unwrap();
    assert_eq!(house.shown("t/default").size, 6);
    assert_eq!(house.shown("t/imp_t_other").size, 4);
    let rows = house.reader().rows(&everything()).unwrap();
    let anchor = rows.iter().find(|row| row.record.kind == Kind::Anchor).unwrap();
    assert_eq!(anchor.record.log, "test/deployment");
    let mut heads = anchor.record.heads().to_vec();
    heads.sort_by_key(|head| head.origin.clone());
    assert_eq!(heads, [house.shown("t/default"), house.shown("t/imp_t_other")]);
    assert_eq!(house.shown("deployment").size, 1);
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_refused() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    let yesterday = tempfile::tempdir().unwrap();
    for name in ["ledger.db", "ledger.db.head"] {
        std::fs::copy(house.path(name), yesterday.path().join(name)).unwrap();
    }
    copy(&house.path("ledger.db.published"), &yesterday.path().join("ledger.db.published"));
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();

    // Everything of yesterday, but not the note beside the key.
    std::fs::remove_dir_all(house.path("ledger.db.published")).unwrap();
    copy(yesterday.path(), house.folder.path());
    let refused = Ledger::open(house.options()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Torn { why } if why.contains("were signed")),
        "{refused}"
    );
}

#[tokio::test]
async fn another_history_of_the_same_length_is_never_signed() {
    let (house, other) = (House::new(), House::new());
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    std::fs::copy(house.path("log.key"), other.path("log.key")).unwrap();
    // A ledger of the same name under the same key, written anew.
    let (forger, _) = other.open();
    fill(&forger, "default", 2).await;
    forger.close().await.unwrap();
    for name in ["ledger.db", "ledger.db.head"] {
        std::fs::copy(other.path(name), house.path(name)).unwrap();
    }
    let refused = Ledger::open(house.options()).unwrap_err();
    assert!(matches!(&refused, OpenError::Forged { .. }), "{refused}");
}

/// The key and its note survive, the database does not: a new one would sign another history.
#[tokio::test]
async fn a_new_database_under_a_key_that_has_signed_is_refused() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.head"] {
        std::fs::remove_file(house.path(name)).ok();
    }
    std::fs::remove_dir_all(house.path("ledger.db.published")).unwrap();
    let refused = Ledger::open(house.options()).unwrap_err();
    assert!(matches!(&refused, OpenError::Torn { why } if why.contains("not here")), "{refused}");
}

/// An older note beside the key does not help: the checkpoint that is shown tells.
#[tokio::test]
async fn an_older_copy_of_database_and_note_is_refused_by_the_shown_checkpoint() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    let yesterday = tempfile::tempdir().unwrap();
    for name in ["ledger.db", "ledger.db.head"] {
        std::fs::copy(house.path(name), yesterday.path().join(name)).unwrap();
    }
    copy(&house.path("log.key.signed"), &yesterday.path().join("log.key.signed"));
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    std::fs::remove_dir_all(house.path("log.key.signed")).unwrap();
    copy(yesterday.path(), house.folder.path());
    let refused = Ledger::open(house.options()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Torn { why } if why.contains("were signed")),
        "{refused}"
    );
}

#[tokio::test]
async fn lost_and_damaged_tiles_are_made_again_from_the_records() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 150).await;
    ledger.close().await.unwrap();
    let whole = house.leaves("default");
    let partial = house.published("t/default").join("tile/0/001.p/44");
    for damage in ["flipped", "removed", "all removed"] {
        match damage {
            "flipped" => {
                let mut bytes = std::fs::read(&partial).unwrap();
                bytes[7] ^= 1;
                std::fs::write(&partial, bytes).unwrap();
            }
            "removed" => std::fs::remove_file(&partial).unwrap(),
            _ => std::fs::remove_dir_all(house.path("ledger.db.published")).unwrap(),
        }
        let (ledger, _) = house.open();
        ledger.close().await.unwrap();
        let head = house.shown("t/default");
        assert_eq!((head.size, head.root), (300, merkle::root(&whole)), "{damage}");
        for (path, bytes) in tiles::hash_tiles(&whole) {
            assert_eq!(
                std::fs::read(house.published("t/default").join(&path)).unwrap(),
                bytes,
                "{damage} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_lost_note_of_what_was_signed_refuses_the_start() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    std::fs::remove_dir_all(house.path("log.key.signed")).unwrap();
    let refused = Ledger::open(house.options()).unwrap_err();
    assert!(matches!(&refused, OpenError::Torn { why } if why.contains("signed")), "{refused}");
}

#[tokio::test]
async fn the_ledger_says_how_far_each_log_is_shown_also_after_a_restart() {
    let house = House::new();
    let (ledger, _) = house.open();
    assert_eq!(ledger.logs(), []);
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    let (ledger, _) = house.open();
    let logs: Vec<_> =
        ledger.logs().into_iter().map(|log| (log.origin, log.durable, log.shown)).collect();
    assert_eq!(logs, [("test/deployment".to_owned(), 1, 1), ("test/t/default".to_owned(), 4, 4)]);
    for log in ledger.logs() {
        assert!(log.folder.join("checkpoint").is_file(), "{log:?}");
    }
}

#[tokio::test]
async fn a_cosignature_stays_with_its_head_and_the_next_head_has_none() {
    use portcullis_audit::note::{Cosigner, SignedNote};
    let house = House::new();
    let soon = LedgerOptions { publish_every: Duration::from_millis(50), ..house.options() };
    let (ledger, _) = Ledger::open(soon).unwrap();
    fill(&ledger, "default", 2).await;
    published(&ledger).await;
    let text = house.shown("t/default").text();
    let witness = Cosigner::from_seed("w", &[8; 32]).unwrap();
    let origin = "test/t/default";
    assert!(ledger.add_cosignatures(origin, &text, &witness.cosign(&text, 1)).unwrap());
    let note = || std::fs::read_to_string(house.published("t/default").join("checkpoint")).unwrap();
    assert_eq!(witness.key().verify(&SignedNote::parse(&note()).unwrap()), Ok(1));
    fill(&ledger, "default", 1).await;
    published(&ledger).await;
    assert!(!ledger.add_cosignatures(origin, &text, &witness.cosign(&text, 2)).unwrap());
    assert_eq!(SignedNote::parse(&note()).unwrap().signatures().len(), 1);
    assert_eq!(house.shown("t/default").size, 6);
}
