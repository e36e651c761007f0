use super::*;

#[path = "../../../../audit/tests/postgres/server.rs"]
#[expect(dead_code, reason = "the tests of the ledger make the server hang, too")]
mod server;

fn row(id: u8, user: &str, sk_ver: u32) -> WrappedScopeKey {
    WrappedScopeKey {
        sk_id: ScopeKeyId::from_bytes([id; 16]),
        scope: Scope::new("t", user, "x").unwrap(),
        sk_ver,
        kek_provider: "key-file".into(),
        kek_id: "k".into(),
        kek_ver: 1,
        wrapped: vec![id; 40],
        state: KeyState::Active,
    }
}

#[tokio::test]
async fn two_processes_agree_on_one_active_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let (one, two) = (SqlStore::open(&path).await.unwrap(), SqlStore::open(&path).await.unwrap());
    assert_eq!(one.insert_if_absent(&row(1, "a", 1)).await.unwrap(), Some(row(1, "a", 1)));
    assert_eq!(two.insert_if_absent(&row(2, "a", 2)).await.unwrap(), Some(row(1, "a", 1)));
    assert_eq!(two.insert_if_absent(&row(3, "b", 1)).await.unwrap(), Some(row(3, "b", 1)));
    assert_eq!(one.by_id(row(3, "b", 1).sk_id).await.unwrap(), Some(row(3, "b", 1)));
    one.close().await;
    let again = SqlStore::open(&path).await.unwrap();
    assert_eq!(again.active(&row(1, "a", 1).scope).await.unwrap(), Some(row(1, "a", 1)));
    assert_eq!(again.active(&row(9, "c", 1).scope).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    SqlStore::open(&path).await.unwrap().close().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(SqlStore::open(&path).await, Err(StoreError::Exposed { .. })));
}

/// Every promise of the store that does not depend on files, on whichever database is behind it.
async fn keeps_its_promises(store: &SqlStore) {
    let one = row(1, "a", 1);
    assert_eq!(store.last_version(&one.scope).await.unwrap(), 0);
    assert_eq!(store.insert_if_absent(&one).await.unwrap(), Some(one.clone()));
    // A version that is taken by a key that is not active: the caller must ask again.
    let two = row(2, "a", 2);
    assert!(store.insert_pending(&two).await.unwrap());
    assert!(!store.insert_pending(&two).await.unwrap());
    assert!(store.promote(two.sk_id, one.sk_id).await.unwrap());
    assert!(!store.promote(two.sk_id, one.sk_id).await.unwrap());
    let state = |id| async move { store.by_id(id).await.unwrap().unwrap().state };
    assert_eq!(state(one.sk_id).await, KeyState::DecryptOnly);
    assert_eq!(state(two.sk_id).await, KeyState::Active);
    assert_eq!(store.last_version(&one.scope).await.unwrap(), 2);

    let new = Rewrapped {
        kek_provider: "pkcs11".into(),
        key: KeyRef { kek_id: "other".into(), kek_ver: 7 },
        wrapped: vec![9; 40],
    };
    assert!(store.replace(&one, &new).await.unwrap());
    assert!(!store.replace(&one, &new).await.unwrap(), "the row is no longer what was read");
    let old = KeyRef { kek_id: "k".into(), kek_ver: 1 };
    assert_eq!(store.page_by_kek(&old, None, 9).await.unwrap(), std::slice::from_ref(&two));
    assert_eq!(store.page_by_kek(&old, Some(two.sk_id), 9).await.unwrap(), []);
    assert_eq!(store.page_by_kek(&new.key, None, 9).await.unwrap().len(), 1);
    let uses = store.kek_use().await.unwrap();
    assert!(uses.len() == 2 && uses.iter().all(|one| one.keys == 1), "{uses:?}");

    assert!(store.set_state(one.sk_id, KeyState::Active, KeyState::Destroyed).await.is_err());
    let (from, to) = (KeyState::DecryptOnly, KeyState::Retired);
    assert!(store.set_state(one.sk_id, from, to).await.unwrap());
    assert!(!store.set_state(one.sk_id, from, to).await.unwrap());

    let version = |state| KekVersion {
        kek_provider: "key-file".into(),
        key: old.clone(),
        state,
        changed_ms: 1,
    };
    store.set_kek_state(&version(KeyState::Retired)).await.unwrap();
    store.set_kek_state(&version(KeyState::Active)).await.unwrap();
    let known = store.kek_versions().await.unwrap();
    assert_eq!(known, [version(KeyState::Retired)], "a version only moves down the list");
    let report = ReplicaReport { replica: "r".into(), key: old.clone(), at_ms: 5 };
    store.report(&report).await.unwrap();
    let later = ReplicaReport { at_ms: 6, ..report };
    store.report(&later).await.unwrap();
    assert_eq!(store.replicas().await.unwrap(), [later]);

    store.insert_if_absent(&row(3, "b", 1)).await.unwrap();
    let gone = Erasure::User { tenant: "t".into(), user: "a".into() };
    let destroyed = store.destroy(&gone).await.unwrap();
    let ids: Vec<_> = destroyed.keys.iter().map(|key| (key.sk_id, key.sk_ver)).collect();
    assert_eq!(ids, [(one.sk_id, 1), (two.sk_id, 2)]);
    assert_eq!(store.active(&one.scope).await.unwrap(), None);
    let left = store.by_id(two.sk_id).await.unwrap().unwrap();
    assert!(left.state == KeyState::Destroyed && left.wrapped.iter().all(|byte| *byte == 0));
    assert!(!store.replace(&left, &new).await.unwrap());
    assert_eq!(store.insert_if_absent(&row(9, "a", 2)).await.unwrap(), None, "taken");
    assert_eq!(store.last_version(&one.scope).await.unwrap(), 2);
    assert_eq!(store.sample().await.unwrap().unwrap().scope.user(), "b");
    let whole = store.destroy(&Erasure::Tenant("t".into())).await.unwrap();
    assert_eq!(whole.keys.len(), 3, "those of before are told again, so that all can be certified");
}

#[tokio::test]
async fn sqlite_keeps_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open(&folder.path().join("keys.db")).await.unwrap();
    keeps_its_promises(&store).await;
}

#[tokio::test]
async fn postgres_keeps_every_promise() {
    let server = server::Server::start();
    let store = SqlStore::open_url(&server.url()).await.unwrap();
    keeps_its_promises(&store).await;
    let shown = format!("{:?}", SqlStore::open_url("postgres://u:hunter2@127.0.0.1:1/x").await);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_destroyed_key_is_not_in_the_file_or_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqlStore::open(&path).await.unwrap();
    let mut key = row(1, "a", 1);
    key.wrapped = (0..157).map(|n: u8| n.wrapping_mul(37) ^ 0x5c).collect();
    store.insert_if_absent(&key).await.unwrap();
    store.insert_if_absent(&row(2, "b", 1)).await.unwrap();
    let canary = hex::encode(&key.wrapped);
    let found = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let has = |bytes: &[u8]| bytes.windows(32).any(|w| w == &canary.as_bytes()[100..132]);
        files.filter(|file| has(&std::fs::read(file.as_ref().unwrap().path()).unwrap())).count()
    };
    assert!(found() > 0, "the search finds what is there");
    let destroyed = store.destroy(&Erasure::Scope(key.scope.clone())).await.unwrap();
    assert_eq!(destroyed.keys.len(), 1);
    assert_eq!(found(), 0);
    assert!(store.by_id(row(2, "b", 1).sk_id).await.unwrap().unwrap().state == KeyState::Active);
}

#[tokio::test]
async fn a_reader_that_keeps_the_journal_is_told_and_an_erasure_asked_again_is_told_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open(&folder.path().join("keys.db")).await.unwrap();
    let key = row(1, "a", 1);
    store.insert_if_absent(&key).await.unwrap();
    // A backup that is being read keeps the pages of before in the journal.
    let mut reader = store.pool.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM scope_keys").fetch_one(&mut *reader).await.unwrap();
    let what = Erasure::Scope(key.scope.clone());
    assert!(matches!(store.destroy(&what).await, Err(StoreError::JournalKept)));
    reader.rollback().await.unwrap();
    let destroyed = store.destroy(&what).await.unwrap();
    assert_eq!(destroyed.keys.iter().map(|key| key.sk_id).collect::<Vec<_>>(), [key.sk_id]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_and_not_an_absent_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open(&folder.path().join("keys.db")).await.unwrap();
    store.insert_if_absent(&row(1, "a", 1)).await.unwrap();
    sqlx::query("UPDATE scope_keys SET wrapped = 'xyz'").execute(&store.pool).await.unwrap();
    let read = store.active(&row(1, "a", 1).scope).await;
    assert!(matches!(read, Err(StoreError::Corrupt { column: "wrapped" })));
}
