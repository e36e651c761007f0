use super::*;
use crate::context::{Context, Purpose, Scope};
use crate::envelope::BlobId;
use crate::key_file::KeyFile;
use crate::store::{MemoryStore, ScopeKeyStore as _, SqlStore};
use std::sync::Arc;

type Vault = crate::vault::Vault<()>;

const FAST: Pace = Pace { batch: 3, pause: Duration::ZERO };
const NO_BACKUPS: Guards =
    Guards { live_within: Duration::from_secs(60), backups_kept: Duration::ZERO };

fn context(user: &str) -> Context {
    Context::new(Scope::new("t", user, "x").unwrap(), "n", Purpose::Confirmation).unwrap()
}

async fn sealed(vault: &Vault, count: usize) -> Vec<(Context, Vec<u8>)> {
    let mut sealed = Vec::new();
    for number in 0..count {
        let context = context(&format!("user{number}"));
        let blob = vault.seal(&context, b"hunter2").await.unwrap();
        sealed.push((context, blob));
    }
    sealed
}

async fn all_open(vault: &Vault, sealed: &[(Context, Vec<u8>)]) {
    vault.purge_all();
    for (context, blob) in sealed {
        assert!(vault.open(context, blob).await.unwrap().with(|text| text == b"hunter2"));
    }
}

async fn vault() -> (Vault, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::default());
    let file = Arc::new(KeyFile::ephemeral().unwrap());
    (Vault::new(file, store.clone()).await.unwrap(), store)
}

#[tokio::test]
async fn a_rotation_moves_every_key_and_everything_still_opens() {
    let (vault, store) = vault().await;
    let sealed = sealed(&vault, 20).await;
    let mut seen = Vec::new();
    let done = vault.rotate_kek(FAST, &mut |progress| seen.push(progress)).await.unwrap();
    assert_eq!((done.moved, done.current.kek_ver, done.emptied.len()), (20, 2, 1));
    assert_eq!(seen.last(), Some(&Progress { done: 20, total: 20 }));
    assert!(seen.windows(2).all(|two| two[0].done <= two[1].done));
    let uses = store.kek_use().await.unwrap();
    assert!(uses.len() == 1 && uses[0].key == done.current && uses[0].keys == 20);
    all_open(&vault, &sealed).await;
}

#[tokio::test]
async fn a_version_goes_step_by_step_and_never_while_something_needs_it() {
    let (vault, store) = vault().await;
    let sealed = sealed(&vault, 3).await;
    let old = vault.current_kek().await.unwrap();
    vault.report("replica-1").await.unwrap();
    assert!(matches!(vault.retire_kek(&old, NO_BACKUPS).await, Err(RotateError::Current { .. })));
    vault.rotate_kek(FAST, &mut |_| ()).await.unwrap();
    let refused = vault.retire_kek(&old, NO_BACKUPS).await.unwrap_err();
    let RotateError::Stragglers { replicas, .. } = &refused else { panic!("{refused}") };
    assert_eq!(replicas, &["replica-1"]);
    vault.report("replica-1").await.unwrap();
    let early = vault.destroy_kek_version(&old, NO_BACKUPS).await;
    assert!(matches!(early, Err(RotateError::NotRetired { .. })));
    vault.retire_kek(&old, NO_BACKUPS).await.unwrap();
    let early = vault.destroy_kek_version(&old, Guards::default()).await;
    assert!(matches!(early, Err(RotateError::Backups { .. })));
    // A row that a restored backup brought back under the old version.
    let row = store.sample().await.unwrap().unwrap();
    let back = Rewrapped { kek_provider: "key-file".into(), key: old.clone(), wrapped: vec![1] };
    assert!(store.replace(&row, &back).await.unwrap());
    let refused = vault.destroy_kek_version(&old, NO_BACKUPS).await;
    assert!(matches!(refused, Err(RotateError::InUse { keys: 1, .. })));
    let bad = WrappedScopeKey { wrapped: vec![1], ..row.clone() };
    let good = Rewrapped { key: row.kek(), wrapped: row.wrapped.clone(), ..back };
    assert!(store.replace(&bad, &good).await.unwrap());
    vault.destroy_kek_version(&old, NO_BACKUPS).await.unwrap();
    all_open(&vault, &sealed).await;
    let states: Vec<_> =
        store.kek_versions().await.unwrap().into_iter().map(|version| version.state).collect();
    assert!(states.contains(&KeyState::Destroyed) && states.contains(&KeyState::Active));
}

#[tokio::test]
async fn a_rotation_that_was_broken_off_goes_on_and_makes_no_second_version() {
    let (vault, store) = vault().await;
    let sealed = sealed(&vault, 10).await;
    let old = vault.current_kek().await.unwrap();
    // As after a kill behind "the version was made".
    vault.keys.provider.rotate(&old).await.unwrap();
    let page = store.page_by_kek(&old, None, 4).await.unwrap();
    for row in &page {
        assert!(vault.rewrap(row).await.unwrap());
    }
    let done = vault.rotate_kek(FAST, &mut |_| ()).await.unwrap();
    assert_eq!((done.moved, done.current.kek_ver), (6, 2));
    all_open(&vault, &sealed).await;
    let again = vault.resume_kek_rotation(FAST, &mut |_| ()).await.unwrap();
    assert_eq!((again.moved, again.current.kek_ver), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotations_and_seals_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (kek, keys) = (folder.path().join("kek"), folder.path().join("keys.db"));
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let file = Arc::new(KeyFile::open_or_create(&kek).unwrap());
        let store = Arc::new(SqlStore::open(&keys).await.unwrap());
        replicas.push(Arc::new(Vault::new(file, store).await.unwrap()));
    }
    let first = sealed(&replicas[0], 12).await;
    let rotations = (0..4).map(|number: usize| {
        let vault = replicas[number % 2].clone();
        tokio::spawn(async move { vault.rotate_kek(FAST, &mut |_| ()).await.map(drop) })
    });
    let seals = (0..4).map(|number: usize| {
        let vault = replicas[number % 2].clone();
        tokio::spawn(async move {
            let mut sealed = Vec::new();
            for user in 0..10 {
                let context = context(&format!("late{number}-{user}"));
                let blob = vault.seal(&context, b"hunter2").await.unwrap();
                sealed.push((context, blob));
            }
            sealed
        })
    });
    let (rotations, seals): (Vec<_>, Vec<_>) = (rotations.collect(), seals.collect());
    for rotation in rotations {
        rotation.await.unwrap().unwrap();
    }
    let mut all = first;
    for seals in seals {
        all.extend(seals.await.unwrap());
    }
    replicas[0].resume_kek_rotation(FAST, &mut |_| ()).await.unwrap();
    for vault in &replicas {
        all_open(vault, &all).await;
    }
    let uses = replicas[0].store().kek_use().await.unwrap();
    assert_eq!(uses.len(), 1, "each key is under exactly one version: {uses:?}");
}

#[tokio::test]
async fn a_scope_gets_a_new_key_and_the_old_one_opens_until_it_is_retired() {
    let (vault, store) = vault().await;
    let context = context("u");
    let id = BlobId { secret: [1; 16], version: 1 };
    assert_eq!(vault.rotate_scope_key(context.scope()).await.unwrap(), None);
    let old = vault.seal_as(&context, id, b"hunter2").await.unwrap();
    let rotation = vault.rotate_scope_key(context.scope()).await.unwrap().unwrap();
    assert!(rotation.ours && old[28..44] == *rotation.old.as_bytes());
    assert!(vault.open_as(&context, id, &old).await.is_ok());
    let new = vault.reseal(&context, id, &old).await.unwrap().unwrap();
    assert_eq!(new[28..44], *rotation.active.as_bytes());
    assert_eq!(vault.reseal(&context, id, &new).await.unwrap(), None);
    let refused = vault.retire_scope_key(rotation.old, 1).await;
    assert!(matches!(refused, Err(RotateError::StillSeals { sealed: 1, .. })));
    let refused = vault.retire_scope_key(rotation.active, 0).await;
    assert!(matches!(refused, Err(RotateError::NotDecryptOnly { .. })));
    vault.retire_scope_key(rotation.old, 0).await.unwrap();
    assert!(vault.open_as(&context, id, &old).await.is_err());
    assert!(vault.open_as(&context, id, &new).await.unwrap().with(|text| text == b"hunter2"));
    assert_eq!(store.by_id(rotation.old).await.unwrap().unwrap().state, KeyState::Retired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_rotations_of_one_scope_leave_one_active_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqlStore::open(&folder.path().join("keys.db")).await.unwrap());
    let file = Arc::new(KeyFile::ephemeral().unwrap());
    let vault = Arc::new(Vault::new(file, store.clone()).await.unwrap());
    let context = context("u");
    let blob = vault.seal(&context, b"hunter2").await.unwrap();
    let rotations = (0..6).map(|_| {
        let (vault, context) = (vault.clone(), context.clone());
        tokio::spawn(async move { vault.rotate_scope_key(context.scope()).await.unwrap() })
    });
    for rotation in rotations.collect::<Vec<_>>() {
        rotation.await.unwrap().unwrap();
    }
    let active = store.active(context.scope()).await.unwrap().unwrap();
    let new = vault.seal(&context, b"hunter2").await.unwrap();
    assert_eq!(new[28..44], *active.sk_id.as_bytes());
    all_open(&vault, &[(context.clone(), blob), (context, new)]).await;
}
