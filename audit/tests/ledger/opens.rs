use super::*;
use portcullis_audit::{OpenError, OpenState};

#[tokio::test]
async fn absent_empty_and_whole_are_three_answers() {
    let house = House::new();
    let (ledger, opened) = house.open();
    assert_eq!((opened.state, opened.records), (OpenState::Absent, 0));
    ledger.close().await.unwrap();
    let (ledger, opened) = house.open();
    assert_eq!((opened.state, opened.records), (OpenState::Empty, 0));
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    let (_ledger, opened) = house.open();
    assert_eq!((opened.state, opened.records, opened.logs), (OpenState::Whole, 5, 2));
    assert_eq!(opened.orphans_closed, 0);
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_ledger_is_locked() {
    let house = House::new();
    let (ledger, _) = house.open();
    assert!(matches!(Ledger::open(house.options()), Err(OpenError::Locked { .. })));
    ledger.close().await.unwrap();
    assert!(Ledger::open(house.options()).is_ok());
}

#[tokio::test]
async fn a_vanished_database_is_torn_and_not_absent() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    std::fs::remove_file(house.path("ledger.db")).unwrap();
    assert!(matches!(Ledger::open(house.options()), Err(OpenError::Torn { .. })));
    std::fs::write(house.path("ledger.db"), b"").unwrap();
    assert!(matches!(Ledger::open(house.options()), Err(OpenError::Torn { .. })));
    std::fs::write(house.path("ledger.db"), vec![7; 8192]).unwrap();
    assert!(matches!(Ledger::open(house.options()), Err(OpenError::Torn { .. })));
}

#[tokio::test]
async fn an_older_copy_put_back_is_torn() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    std::fs::copy(house.path("ledger.db"), house.path("yesterday")).unwrap();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    std::fs::copy(house.path("yesterday"), house.path("ledger.db")).unwrap();
    let Err(OpenError::Torn { why }) = Ledger::open(house.options()) else { panic!("opened") };
    assert!(why.contains("records were acknowledged, the database has 5"), "{why}");
}

/// SQLite itself forgets everything behind a flipped bit in the WAL without an error.
#[tokio::test]
async fn one_flipped_bit_in_the_middle_of_the_wal_is_torn() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 8).await;
    let copy = House::new();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db.head", "log.key"] {
        std::fs::copy(house.path(name), copy.path(name)).unwrap();
    }
    let mut wal = std::fs::read(copy.path("ledger.db-wal")).unwrap();
    let middle = wal.len() / 2;
    wal[middle] ^= 1;
    std::fs::write(copy.path("ledger.db-wal"), wal).unwrap();
    assert!(matches!(Ledger::open(copy.options()), Err(OpenError::Torn { .. })));
    assert!(copy.path("ledger.db-wal").exists(), "the evidence was removed");
    std::fs::remove_file(copy.path("ledger.db-wal")).unwrap();
    assert!(Ledger::open(copy.options()).is_err(), "opened without its WAL");
}

#[tokio::test]
async fn a_damaged_head_file_is_torn_and_a_missing_one_too() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    std::fs::write(house.path("ledger.db.head"), [0; 72]).unwrap();
    assert!(matches!(Ledger::open(house.options()), Err(OpenError::Torn { .. })));
    std::fs::remove_file(house.path("ledger.db.head")).unwrap();
    assert!(matches!(Ledger::open(house.options()), Err(OpenError::Torn { .. })));
}

#[tokio::test]
async fn a_changed_record_in_the_tail_is_forged_and_named() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 3).await;
    let _open = ledger.intent(intent("default")).await.unwrap();
    ledger.close().await.unwrap();
    super::tampering::rewrite(&house, 6, |bytes| bytes[20] ^= 1);
    let Err(OpenError::Forged { fault }) = Ledger::open(house.options()) else { panic!("opened") };
    assert_eq!((fault.seq, fault.log.as_str()), (Some(6), "test/t/default"));
}

#[tokio::test]
async fn the_key_must_be_there_be_private_and_be_the_same() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    let key = house.path("log.key");
    let seed = std::fs::read(&key).unwrap();
    let refused = || matches!(Ledger::open(house.options()), Err(OpenError::Key { .. }));

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(), "a key that others can read");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&key, [1; 32]).unwrap();
    assert!(refused(), "another key");
    std::fs::write(&key, [1; 31]).unwrap();
    assert!(refused(), "a short key");
    std::fs::remove_file(&key).unwrap();
    assert!(refused(), "no key: a new one must not be made beside old records");
    std::fs::write(&key, seed).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Ledger::open(house.options()).is_ok());
}

#[tokio::test]
async fn another_database_is_not_taken_for_a_ledger() {
    let house = House::new();
    house.raw().execute_batch("CREATE TABLE t (x)").unwrap();
    let (mut options, key) = (house.options(), house.path("k"));
    options.signing_key.clone_from(&key);
    let seed = House::new();
    let _ = seed.open();
    std::fs::copy(seed.path("log.key"), &key).unwrap();
    assert!(matches!(Ledger::open(options), Err(OpenError::Options(_))));
}

#[tokio::test]
async fn a_removed_guard_is_noticed() {
    let house = House::new();
    let (ledger, _) = house.open();
    ledger.close().await.unwrap();
    house.raw().execute_batch("DROP TRIGGER records_never_update").unwrap();
    let Err(OpenError::Guard { name }) = Ledger::open(house.options()) else { panic!("opened") };
    assert_eq!(name, "records_never_update");
}

#[tokio::test]
async fn orphans_are_closed_as_unknown_through_the_same_append_and_only_once() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    let one = ledger.intent(intent("default")).await.unwrap();
    let _two = ledger.intent(intent("imp_t_x")).await.unwrap();
    ledger.close().await.unwrap();

    let (ledger, opened) = house.open();
    // Two pairs, two intents, the anchor of the first close, two closed orphans.
    assert_eq!((opened.orphans_closed, opened.records), (2, 9));
    ledger.close().await.unwrap();
    let rows = house.reader().rows(&Query { op: Some(one.op()), ..Query::default() }).unwrap();
    assert_eq!(rows[1].record.kind, Kind::Recover);
    assert_eq!(rows[1].record.reference, Some(one.seq()));
    assert_eq!(rows[1].text(&["res", "status"]), "unknown");
    let (_ledger, opened) = house.open();
    assert_eq!((opened.orphans_closed, opened.records), (0, 10), "the second close anchors too");
}
