use super::*;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{PermissionsExt, symlink};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_new_key_is_readable_by_its_owner_alone_and_stays_the_same() {
    let folder = folder();
    let path = folder.path().join("kek");
    let made = KeyFile::open_or_create(&path).unwrap();
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.len(), meta.nlink()), (0o600, 32, 1));
    let again = KeyFile::open_or_create(&path).unwrap();
    assert_eq!(made.id(), again.id());
    assert!(made.created() && !again.created());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn group_or_world_access_is_refused_with_the_command_that_mends_it() {
    let folder = folder();
    let path = folder.path().join("kek");
    KeyFile::open_or_create(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = KeyFile::open_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Mode { .. }), "{mode:o}: {error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_symbolic_link_is_refused_even_when_it_dangles() {
    let folder = folder();
    let real = folder.path().join("real");
    KeyFile::open_or_create(&real).unwrap();
    let link = folder.path().join("link");
    symlink(&real, &link).unwrap();
    assert!(matches!(KeyFile::open_or_create(&link), Err(KeyFileError::Symlink { .. })));
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    assert!(matches!(KeyFile::open_or_create(&dangling), Err(KeyFileError::Symlink { .. })));
}

#[test]
fn folders_and_torn_files_are_refused() {
    let folder = folder();
    assert!(matches!(KeyFile::open(folder.path()), Err(KeyFileError::NotAFile { .. })));
    let path = folder.path().join("kek");
    KeyFile::open_or_create(&path).unwrap();
    std::fs::write(&path, [7; 31]).unwrap();
    assert!(matches!(KeyFile::open_or_create(&path), Err(KeyFileError::Length { length: 31, .. })));
}

#[test]
fn debug_shows_no_key() {
    let folder = folder();
    let path = folder.path().join("kek");
    let file = KeyFile::open_or_create(&path).unwrap();
    let shown = format!("{file:?}");
    let kek = hex::encode(std::fs::read(&path).unwrap());
    assert!(!shown.contains(&kek) && !kek.contains(&file.id()), "{shown}");
}

#[test]
fn many_processes_that_start_at_once_agree_on_one_key() {
    let folder = folder();
    let path = folder.path().join("kek");
    let ids: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| KeyFile::open_or_create(&path).unwrap().id())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1);
}

fn text() -> WrapText {
    Zeroizing::new([7; 64])
}

#[tokio::test]
async fn an_old_version_unwraps_what_it_wrapped_and_the_newest_wraps() {
    let folder = folder();
    let path = folder.path().join("kek");
    let file = KeyFile::open_or_create(&path).unwrap();
    let old = file.wrap(&text(), &[1; 32]).await.unwrap();
    let new = file.rotate(&old.key).await.unwrap();
    assert_eq!((old.key.kek_ver, new.kek_ver), (1, 2));
    assert_eq!(std::fs::metadata(folder.path().join("kek.v2")).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(file.wrap(&text(), &[1; 32]).await.unwrap().key, new);
    let again = KeyFile::open(&path).unwrap();
    assert_eq!(*again.unwrap(&old.key, &old.bytes, &[1; 32]).await.unwrap(), *text());
    assert_eq!(again.current().await.unwrap(), new);
}

#[tokio::test]
async fn another_process_finds_a_version_that_it_did_not_make() {
    let folder = folder();
    let path = folder.path().join("kek");
    let (one, two) =
        (KeyFile::open_or_create(&path).unwrap(), KeyFile::open_or_create(&path).unwrap());
    let new = one.rotate(&one.current().await.unwrap()).await.unwrap();
    let wrapped = one.wrap(&text(), &[1; 32]).await.unwrap();
    assert_eq!(*two.unwrap(&new, &wrapped.bytes, &[1; 32]).await.unwrap(), *text());
    assert_eq!(two.current().await.unwrap(), new);
}

#[tokio::test]
async fn rotating_twice_from_one_version_makes_one_version() {
    let folder = folder();
    let path = folder.path().join("kek");
    let file = KeyFile::open_or_create(&path).unwrap();
    let first = file.current().await.unwrap();
    let (one, two) = tokio::join!(file.rotate(&first), file.rotate(&first));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(file.current().await.unwrap().kek_ver, 2);
}

#[tokio::test]
async fn a_destroyed_version_is_gone_and_the_newest_cannot_be_destroyed() {
    let folder = folder();
    let path = folder.path().join("kek");
    let file = KeyFile::open_or_create(&path).unwrap();
    let old = file.wrap(&text(), &[1; 32]).await.unwrap();
    let refused = file.destroy_version(&old.key).await.unwrap_err();
    assert_eq!(refused.fault(), ProviderFault::Denied);
    file.rotate(&old.key).await.unwrap();
    file.destroy_version(&old.key).await.unwrap();
    file.destroy_version(&old.key).await.unwrap();
    assert!(!path.exists());
    let gone = KeyFile::open_or_create(&path).unwrap();
    let gone = gone.unwrap(&old.key, &old.bytes, &[1; 32]).await.unwrap_err();
    assert_eq!(gone.fault(), ProviderFault::KeyGone);
}

#[tokio::test]
async fn wrong_key_altered_bytes_and_a_moved_digest_are_told_apart() {
    let (one, two) = (KeyFile::ephemeral().unwrap(), KeyFile::ephemeral().unwrap());
    let wrapped = one.wrap(&text(), &[1; 32]).await.unwrap();
    let fault = |error: ProviderError| error.fault();
    let wrong = two.unwrap(&wrapped.key, &wrapped.bytes, &[1; 32]).await;
    assert_eq!(fault(wrong.unwrap_err()), ProviderFault::WrongKey);
    let moved = one.unwrap(&wrapped.key, &wrapped.bytes, &[2; 32]).await;
    assert_eq!(fault(moved.unwrap_err()), ProviderFault::Altered);
    let unknown = KeyRef { kek_ver: 9, ..wrapped.key };
    let gone = one.unwrap(&unknown, &wrapped.bytes, &[1; 32]).await;
    assert_eq!(fault(gone.unwrap_err()), ProviderFault::KeyGone);
    one.probe().await.unwrap();
}
