//! Published files: each appears whole and durable under its name, or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::chain::Hash;
use crate::key_file::sync_folder_of;
use crate::store::beside;

/// Folder of the published files of the ledger at `path`.
pub(crate) fn published(path: &Path) -> PathBuf {
    beside(path, ".published")
}

/// Folder of one log below `root`: `deployment` or `t/<tenant>`.
pub(crate) fn of_log(root: &Path, deployment: &str, origin: &str) -> PathBuf {
    let within = origin.strip_prefix(deployment).unwrap_or(origin);
    root.join(within.trim_start_matches('/'))
}

/// Writes a file that a crash leaves as it was or as it is to be: temporary name (the same with
/// `.new` after it), fsync, rename, fsync of the folder. Folders that are missing are made.
///
/// # Errors
/// What the file system said.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent()
        && !folder.is_dir()
    {
        make_folder(folder)?;
    }
    let temporary = beside(path, ".new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    crate::crash_point!("publish_before_rename");
    fs::rename(&temporary, path)?;
    sync_folder_of(path)
}

/// The folder and those above it, each name durable.
fn make_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent()
        && !parent.as_os_str().is_empty()
        && !parent.is_dir()
    {
        make_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder_of(folder)
}

/// The hashes of a tile; `None` when there is no such file or it is not a number of hashes.
pub(crate) fn read_tile(path: &Path) -> io::Result<Option<Vec<Hash>>> {
    match fs::read(path) {
        Ok(bytes) => {
            let (hashes, rest) = bytes.as_chunks::<32>();
            Ok(rest.is_empty().then(|| hashes.to_vec()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes away a partial tile that a later one replaces, and its folder when that is empty.
pub(crate) fn remove_partial(path: &Path) {
    // A leftover costs a few bytes and misleads nobody: its hashes stay true.
    let _ = fs::remove_file(path);
    if let Some(folder) = path.parent() {
        let _ = fs::remove_dir(folder);
    }
}
