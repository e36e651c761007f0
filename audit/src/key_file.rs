//! The file that holds the log key's seed.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::OpenError;
use crate::note::LogKey;
use crate::store::beside;

/// Reads the log key, for signing the heads of an export.
///
/// # Errors
/// [`OpenError::Key`] when it is missing, of another length, or open to other users.
pub fn load_key(path: &Path) -> Result<LogKey, OpenError> {
    load(path, false)
}

/// Reads the key, and creates it when it is absent and `may_create`.
///
/// # Errors
/// [`OpenError::Key`] when it is missing, of another length, or open to other users.
pub(crate) fn load(path: &Path, may_create: bool) -> Result<LogKey, OpenError> {
    let refuse = |why: String| OpenError::Key { path: path.to_owned(), why };
    if may_create && !path.exists() {
        create(path).map_err(|error| refuse(error.to_string()))?;
    }
    let mut file = File::open(path).map_err(|error| {
        refuse(format!("{error}; the ledger was written under it, restore it from a backup"))
    })?;
    let meta = file.metadata().map_err(|error| refuse(error.to_string()))?;
    if meta.mode() & 0o077 != 0 {
        return Err(refuse("other users can read it; run `chmod 600` on it".to_owned()));
    }
    if meta.len() != 32 {
        return Err(refuse(format!("it has {} bytes, a seed has 32", meta.len())));
    }
    let mut seed = Zeroizing::new([0_u8; 32]);
    file.read_exact(seed.as_mut_slice()).map_err(|error| refuse(error.to_string()))?;
    LogKey::from_seed(seed.as_slice()).map_err(|error| refuse(error.to_string()))
}

fn create(path: &Path) -> std::io::Result<()> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(seed.as_mut_slice())
        .map_err(|_| std::io::Error::other(crate::NoRandomness))?;
    // Whole or not at all: a key that is cut off would lock everybody out. And once: of two that make
    // it at the same moment one is first, and the other uses that one.
    let temporary = beside(path, &format!(".new-{}", uuid::Uuid::now_v7().simple()));
    let mut options = OpenOptions::new();
    let written =
        options.write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
            file.write_all(seed.as_slice())?;
            file.sync_all()?;
            link_once(&temporary, path)
        });
    let removed = std::fs::remove_file(&temporary);
    written.and(removed)?;
    sync_folder_of(path)
}

/// Gives a file a further name, unless that is there already.
fn link_once(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// Held while a key is rotated: two who do so at once would each make the other's work void.
pub(crate) fn lock(path: &Path) -> std::io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let lock = beside(path, ".rotating");
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(lock)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Where the next key waits until it takes over.
fn next_of(path: &Path) -> PathBuf {
    beside(path, ".next")
}

/// Whether there is one.
pub(crate) fn is_waiting(path: &Path) -> bool {
    next_of(path).exists()
}

/// The next key; `None` when none waits.
pub(crate) fn load_next(path: &Path) -> Result<Option<LogKey>, OpenError> {
    if is_waiting(path) { load(&next_of(path), false).map(Some) } else { Ok(None) }
}

/// The next key, made where none waits yet.
pub(crate) fn make_next(path: &Path) -> Result<LogKey, OpenError> {
    load(&next_of(path), true)
}

/// Where a key goes when the next one takes over.
pub(crate) fn retired(path: &Path, id: &str) -> PathBuf {
    beside(path, &format!(".retired-{id}"))
}

/// Keeps the key so far under its key id too. Tried before anything is written, so that a folder that
/// can't do it refuses the rotation and not its end.
pub(crate) fn keep_as_retired(path: &Path, id: &str) -> std::io::Result<()> {
    link_once(path, &retired(path, id))?;
    sync_folder_of(path)
}

/// Puts the next key in the place of the one so far, which is kept under its key id.
pub(crate) fn put_next_in_force(path: &Path, id: &str) -> std::io::Result<()> {
    keep_as_retired(path, id)?;
    crate::crash_point!("rotate_before_rename");
    std::fs::rename(next_of(path), path)?;
    sync_folder_of(path)
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_make_the_next_key_at_once_all_have_the_same() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("k");
            let keys: Vec<String> = std::thread::scope(|scope| {
                let make = || make_next(&path).unwrap().vkey("d/x");
                let all: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
            let files = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(files, 1, "nothing is left beside it");
        }
    }

    #[test]
    fn one_rotates_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let held = lock(&path).unwrap();
        assert!(held.is_some());
        assert!(lock(&path).unwrap().is_none());
        drop(held);
        assert!(lock(&path).unwrap().is_some());
    }
}
