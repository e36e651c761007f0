use super::*;
use crate::context::{Context, Purpose, Scope};
use crate::key_file::KeyFile;
use crate::rotation::Pace;
use crate::store::{Erasure, ScopeKeyStore as _, SqlStore};
use std::path::Path;
use std::sync::Arc;

type Vault = crate::vault::Vault<()>;

const FAST: Pace = Pace { batch: 3, pause: Duration::ZERO };
/// A bound whose terms are over as soon as they begin.
const AT_ONCE: Epochs = Epochs {
    final_within: Duration::ZERO,
    live_within: Duration::from_secs(60),
    delay: Duration::ZERO,
};
const DAY: Duration = Duration::from_secs(86_400);

/// What one look did.
#[derive(Debug, PartialEq, Eq, Default)]
struct Turned {
    made: Option<KeyRef>,
    moved: u64,
    retired: Vec<KeyRef>,
    destroyed: Vec<KeyRef>,
    waits: Vec<(KeyRef, String)>,
}

/// Looks once, as a gateway does.
async fn turn(vault: &Vault, epochs: Epochs) -> Turned {
    let mut turned = Turned { made: vault.begin_epoch(epochs).await.unwrap(), ..Turned::default() };
    match vault.resume_kek_rotation(FAST, &mut |_| ()).await {
        Ok(done) => turned.moved = done.moved,
        Err(fault) => {
            turned.waits.push((vault.current_kek().await.unwrap(), fault.to_string()));
        }
    }
    for version in vault.old_versions().await.unwrap() {
        match vault.step_version(&version, epochs).await {
            Ok(Stepped::Retired) => turned.retired.push(version.key),
            Ok(Stepped::Destroyed) => turned.destroyed.push(version.key),
            Ok(Stepped::NotYet) => {}
            Err(fault) => turned.waits.push((version.key, fault.to_string())),
        }
    }
    turned
}

fn bound(final_within: Duration) -> Epochs {
    Epochs { final_within, ..AT_ONCE }
}

async fn vault(folder: &Path) -> Vault {
    let file = Arc::new(KeyFile::open_or_create(&folder.join("kek")).unwrap());
    let store = Arc::new(SqlStore::open(&folder.join("keys.db")).await.unwrap());
    Vault::new(file, store).await.unwrap()
}

fn context(user: &str) -> Context {
    Context::new(Scope::new("t", user, "x").unwrap(), "n", Purpose::Confirmation).unwrap()
}

fn erasure(user: &str) -> Erasure {
    Erasure::User { tenant: "t".to_owned(), user: user.to_owned() }
}

/// What somebody has who copied the folder one day.
fn copy(from: &Path, names: &[&str]) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if names.iter().any(|begin| name.starts_with(begin)) {
            std::fs::copy(file.path(), to.path().join(name)).unwrap();
        }
    }
    to
}

async fn opens(vault: &Vault, user: &str, blob: &[u8]) -> bool {
    vault.purge_all();
    vault.open(&context(user), blob).await.is_ok()
}

#[tokio::test]
async fn a_version_wraps_for_one_term_and_is_destroyed_one_term_later() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(folder.path()).await;
    let blob = vault.seal(&context("ann"), b"hunter2").await.unwrap();
    let long = bound(30 * DAY);
    assert_eq!(turn(&vault, long).await, Turned::default(), "its term is not over");
    let first = vault.current_kek().await.unwrap();

    let turned = turn(&vault, AT_ONCE).await;
    assert_eq!(turned.made.as_ref().map(|key| key.kek_ver), Some(2));
    assert_eq!((turned.moved, turned.retired.as_slice()), (1, [first.clone()].as_slice()));
    assert_eq!(turn(&vault, long).await, Turned::default(), "backups need it");

    let turned = turn(&vault, AT_ONCE).await;
    assert_eq!(turned.destroyed, std::slice::from_ref(&first));
    assert!(!folder.path().join("kek").exists(), "version 1 is gone from the disk");
    assert!(opens(&vault, "ann", &blob).await, "what is left was wrapped again");
    let third = turn(&vault, AT_ONCE).await;
    assert!(third.destroyed.iter().all(|key| *key != first), "once is enough: {third:?}");
}

#[tokio::test]
async fn replicas_that_turn_at_once_make_one_version() {
    let folder = tempfile::tempdir().unwrap();
    let one = Arc::new(vault(folder.path()).await);
    let two = Arc::new(vault(folder.path()).await);
    let mut blobs = Vec::new();
    for user in 0..8 {
        blobs.push(one.seal(&context(&user.to_string()), b"hunter2").await.unwrap());
    }
    // A term that is over for version 1 and not for version 2.
    let long = bound(30 * DAY);
    let current = one.current_kek().await.unwrap();
    let began = KekVersion {
        kek_provider: "key-file".to_owned(),
        key: current,
        state: KeyState::Active,
        changed_ms: now_ms() - millis(14 * DAY),
    };
    one.store().set_kek_state(&began).await.unwrap();
    let turns = [&one, &two, &one, &two].map(|vault| {
        let vault = Arc::clone(vault);
        tokio::spawn(async move { turn(&vault, long).await })
    });
    for turn in turns {
        turn.await.unwrap();
    }
    assert_eq!(two.current_kek().await.unwrap().kek_ver, 2);
    let states = two.store().kek_versions().await.unwrap();
    assert!(states.iter().any(|known| known.key.kek_ver == 2 && known.state == KeyState::Active));
    for (user, blob) in blobs.iter().enumerate() {
        assert!(opens(&two, &user.to_string(), blob).await);
    }
}

/// Attack 28 of the design: what was erased, looked for in what was copied before.
#[tokio::test]
async fn what_was_erased_opens_from_no_restored_table_and_from_no_copy_once_its_version_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let vault_now = vault(folder).await;
    let erased = vault_now.seal(&context("ann"), b"hunter2").await.unwrap();
    let other = vault_now.seal(&context("ben"), b"hunter2").await.unwrap();
    let everything = copy(folder, &["kek", "keys.db"]);
    let table = copy(folder, &["keys.db"]);
    vault_now.destroy(&erasure("ann")).await.unwrap();
    assert!(!opens(&vault_now, "ann", &erased).await, "unreadable at once");

    // The backup is put back where the gateway runs.
    drop(vault_now);
    for name in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        std::fs::remove_file(folder.join(name)).ok();
        std::fs::copy(table.path().join(name), folder.join(name)).ok();
    }
    let restored = vault(folder).await;
    assert!(!opens(&restored, "ann", &erased).await, "a restored table does not undo an erasure");
    assert!(opens(&restored, "ben", &other).await, "and serves everybody else");

    // Somebody who has all of the past, the key files of that day among it, reads it, and no design can help.
    assert!(opens(&vault(everything.path()).await, "ann", &erased).await);
    // Who has the table of that day needs its version from the key provider, as long as there is one.
    let with_provider = || {
        let copied = copy(table.path(), &["keys.db"]);
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap();
            if file.file_name().into_string().unwrap().starts_with("kek") {
                std::fs::copy(file.path(), copied.path().join(file.file_name())).unwrap();
            }
        }
        copied
    };
    let today = with_provider();
    assert!(opens(&vault(today.path()).await, "ann", &erased).await, "not final yet");
    turn(&restored, AT_ONCE).await;
    let gone = turn(&restored, AT_ONCE).await;
    assert_eq!(gone.destroyed.first().map(|key| key.kek_ver), Some(1));
    let later = with_provider();
    let file = Arc::new(KeyFile::open(&later.path().join("kek")).unwrap());
    let store = Arc::new(SqlStore::open(&later.path().join("keys.db")).await.unwrap());
    let Err(refused) = Vault::new(file, store).await else {
        panic!("with all keys that there are")
    };
    assert!(!matches!(refused, KeyError::Store(_)), "it is the key that is missing: {refused}");
    assert!(opens(&restored, "ben", &other).await);
}

#[tokio::test]
async fn what_is_final_when_is_told_from_each_state() {
    let epochs = bound(20 * DAY);
    assert_eq!(epochs.term(), 9 * DAY);
    let key = KeyRef { kek_id: "k".to_owned(), kek_ver: 1 };
    let told = |epochs: Epochs, state, changed: i64, now: i64| {
        let changed_ms = changed * millis(DAY);
        let version =
            KekVersion { kek_provider: "p".to_owned(), key: key.clone(), state, changed_ms };
        epochs.final_at(&version, now * millis(DAY)) / millis(DAY)
    };
    let at = |state, changed, now| told(epochs, state, changed, now);
    assert_eq!(at(KeyState::Active, 0, 5), 20);
    // Replaced after its term, and destroyed after another one: a tenth of the bound is left for the steps.
    assert_eq!(at(KeyState::DecryptOnly, 9, 9), 20);
    assert_eq!(at(KeyState::Retired, 9, 10), 20);
    assert_eq!(at(KeyState::Destroyed, 18, 19), 18);
    // Nobody turned for long: no certificate may state what is over already.
    assert_eq!(at(KeyState::Active, 0, 60), 71);
    assert_eq!(at(KeyState::DecryptOnly, 0, 60), 71);
    assert_eq!(at(KeyState::Retired, 0, 60), 62);
    // A provider that can bring a version back for a week.
    let slow = Epochs { final_within: 27 * DAY, delay: 7 * DAY, ..epochs };
    assert_eq!(slow.term(), 9 * DAY);
    assert_eq!(told(slow, KeyState::Destroyed, 18, 19), 25);
    assert_eq!(told(slow, KeyState::Retired, 9, 9), 27);
}

/// A row that opens under no version keeps neither the others nor the versions.
#[tokio::test]
async fn one_row_that_cannot_be_moved_stops_no_other_version() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(folder.path()).await;
    turn(&vault, AT_ONCE).await;
    vault.seal(&context("ann"), b"hunter2").await.unwrap();
    let row = vault.store().sample().await.unwrap().unwrap();
    let bad = crate::store::Rewrapped {
        kek_provider: "key-file".into(),
        key: row.kek(),
        wrapped: vec![1; 9],
    };
    assert!(vault.store().replace(&row, &bad).await.unwrap());
    let turned = turn(&vault, AT_ONCE).await;
    assert_eq!(turned.destroyed.iter().map(|key| key.kek_ver).collect::<Vec<_>>(), [1]);
    assert!(!turned.waits.is_empty(), "and somebody hears of it: {turned:?}");
}

#[tokio::test]
async fn a_version_that_another_process_destroyed_is_wiped_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (vault(folder.path()).await, vault(folder.path()).await);
    one.seal(&context("ann"), b"hunter2").await.unwrap();
    let before = one.store().sample().await.unwrap().unwrap();
    assert!(two.keys.unwrap(&before).await.is_ok(), "it is in memory");
    for _ in 0..2 {
        turn(&one, AT_ONCE).await;
    }
    two.current_kek().await.unwrap();
    assert!(two.keys.unwrap(&before).await.is_err());
}

#[test]
fn zeros_are_no_key_and_a_destruction_that_was_broken_off_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let first = vault(folder.path()).await;
        turn(&first, AT_ONCE).await;
        std::fs::write(folder.path().join("kek"), [0; 32]).unwrap();
        let again = vault(folder.path()).await;
        let turned = turn(&again, AT_ONCE).await;
        assert_eq!(turned.destroyed.first().map(|key| key.kek_ver), Some(1), "{turned:?}");
        assert!(!folder.path().join("kek").exists());
    });
}

#[tokio::test]
async fn a_lost_file_of_endings_is_begun_again_from_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let before = vault(folder).await;
    before.seal(&context("ann"), b"hunter2").await.unwrap();
    before.destroy(&erasure("ann")).await.unwrap();
    let whole = std::fs::read_to_string(folder.join("keys.db.endings")).unwrap();
    std::fs::remove_file(folder.join("keys.db.endings")).unwrap();
    SqlStore::open(&folder.join("keys.db")).await.unwrap();
    let again = std::fs::read_to_string(folder.join("keys.db.endings")).unwrap();
    assert!(
        again.contains(whole.lines().find(|line| line.contains("destroyed")).unwrap()),
        "{again}"
    );
}

#[tokio::test]
async fn a_restored_table_forgets_no_step_of_a_version_and_a_torn_line_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let before = vault(folder).await;
    before.seal(&context("ann"), b"hunter2").await.unwrap();
    let table = copy(folder, &["keys.db"]);
    turn(&before, AT_ONCE).await;
    let known = before.store().kek_versions().await.unwrap();
    drop(before);
    for name in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        std::fs::remove_file(folder.join(name)).ok();
        std::fs::copy(table.path().join(name), folder.join(name)).ok();
    }
    let endings = folder.join("keys.db.endings");
    let whole = std::fs::read(&endings).unwrap();
    // A crash while a line was written.
    std::fs::write(&endings, [whole.as_slice(), b"{\"destroyed\":\"00"].concat()).unwrap();
    let store = SqlStore::open(&folder.join("keys.db")).await.unwrap();
    assert_eq!(
        store.kek_versions().await.unwrap(),
        known,
        "states and their times are those of before"
    );
    store.destroy(&erasure("ann")).await.unwrap();
    let text = std::fs::read_to_string(&endings).unwrap();
    assert!(text.lines().all(|line| line.ends_with('}')), "{text}");
    // A line that is whole and says nothing is somebody's doing.
    std::fs::write(&endings, [whole.as_slice(), b"{}\n"].concat()).unwrap();
    let refused = SqlStore::open(&folder.join("keys.db")).await.unwrap_err().to_string();
    assert!(refused.contains("nothing is opened without it"), "{refused}");
}
