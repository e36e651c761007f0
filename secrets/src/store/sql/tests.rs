use super::*;

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
