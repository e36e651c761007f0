//! Kill -9 at each step of a rotation: every value still opens, and the rotation goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]
#![cfg(feature = "failpoints")]

use portcullis_secrets::{Context, Erasure, KeyFile, Pace, Purpose, Scope, SqlStore, Vault};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const FOLDER: &str = "PORTCULLIS_KILL_FOLDER";
const FAST: Pace = Pace { batch: 4, pause: Duration::ZERO };
const USERS: usize = 10;

async fn vault(folder: &Path) -> Vault<()> {
    let file = Arc::new(KeyFile::open_or_create(&folder.join("kek")).unwrap());
    let store = Arc::new(SqlStore::open(&folder.join("keys.db")).await.unwrap());
    Vault::new(file, store).await.unwrap()
}

fn context(user: usize) -> Context {
    let scope = Scope::new("t", &format!("u{user}"), "x").unwrap();
    Context::new(scope, "n", Purpose::Confirmation).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

/// What the killed process does; nothing when the tests run as usual.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    run(async {
        let vault = vault(&PathBuf::from(folder)).await;
        vault.rotate_scope_key(context(0).scope()).await.unwrap();
        vault.rotate_kek(FAST, &mut |_| ()).await.unwrap();
    });
}

#[test]
fn killed_at_any_step_of_a_rotation_every_value_opens_and_it_goes_on() {
    let points = [
        "vault_scope_pending=return",
        "vault_scope_promoted=return",
        "vault_rotate_made=return",
        "vault_rewrap_unwrapped=return",
        "vault_rewrap_unwrapped=5*off->return",
        "vault_rewrap_before_replace=return",
        "vault_rewrap_before_replace=5*off->return",
        "vault_rewrap_after_replace=return",
        "vault_rewrap_after_replace=7*off->return",
    ];
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        let blobs = run(async {
            let vault = vault(folder.path()).await;
            let mut blobs = Vec::new();
            for user in 0..USERS {
                blobs.push(vault.seal(&context(user), b"hunter2").await.unwrap());
            }
            blobs
        });
        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact"])
            .env(FOLDER, folder.path())
            .env("FAILPOINTS", point)
            .status()
            .unwrap();
        assert_eq!(killed.signal(), Some(9), "{point} did not kill");
        run(async {
            let vault = vault(folder.path()).await;
            all_open(&vault, &blobs, point).await;
            let done = vault.rotate_kek(FAST, &mut |_| ()).await.unwrap();
            assert_eq!(done.current.kek_ver, 2, "{point}");
            all_open(&vault, &blobs, point).await;
            let uses = vault.store().kek_use().await.unwrap();
            assert_eq!(uses.len(), 1, "{point}: each key is under exactly one version");
        });
    }
}

/// What the killed process does; nothing when the tests run as usual.
#[test]
fn erasing_child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    run(async { vault(&PathBuf::from(folder)).await.destroy(&erasure()).await.unwrap() });
}

fn erasure() -> Erasure {
    Erasure::User { tenant: "t".to_owned(), user: "u0".to_owned() }
}

/// Fault 18 of the design: an erasure that was begun is finished, and takes nothing else with it.
#[test]
fn an_erasure_that_is_killed_is_finished_when_the_table_is_opened_next() {
    for point in ["vault_erase_noted=return", "vault_erase_overwritten=return"] {
        let folder = tempfile::tempdir().unwrap();
        let blobs = run(async {
            let vault = vault(folder.path()).await;
            [
                vault.seal(&context(0), b"hunter2").await.unwrap(),
                vault.seal(&context(1), b"hunter2").await.unwrap(),
            ]
        });
        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["erasing_child", "--exact"])
            .env(FOLDER, folder.path())
            .env("FAILPOINTS", point)
            .status()
            .unwrap();
        assert_eq!(killed.signal(), Some(9), "{point} did not kill");
        run(async {
            let vault = vault(folder.path()).await;
            assert!(vault.open(&context(0), &blobs[0]).await.is_err(), "{point}: it is erased");
            let kept = vault.open(&context(1), &blobs[1]).await;
            assert!(kept.unwrap().with(|text| text == b"hunter2"), "{point}: nobody else is");
            let certified = vault.destroy(&erasure()).await.unwrap();
            assert_eq!(certified.keys.len(), 1, "{point}: asked again, all of it can be certified");
        });
    }
}

async fn all_open(vault: &Vault<()>, blobs: &[Vec<u8>], point: &str) {
    vault.purge_all();
    for (user, blob) in blobs.iter().enumerate() {
        let lease = vault.open(&context(user), blob).await;
        assert!(lease.unwrap().with(|text| text == b"hunter2"), "{point}: user {user}");
    }
}
