//! Key files on disk: checked before they are read, written whole or not at all.

use super::KeyFileError;
use crate::crash;
use crate::single_use::{self, Key, NoRandomness};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Length of a key in bytes.
pub(super) const LENGTH: usize = 32;

/// Reads a key, after the checks.
pub(super) fn read(path: &Path) -> Result<Key, KeyFileError> {
    let mut file = open_checked(path)?;
    let mut kek = Zeroizing::new([0; LENGTH]);
    file.read_exact(kek.as_mut_slice()).map_err(|source| io_error(path, source))?;
    Ok(kek)
}

/// Version 1 is the file itself, version n the file `<path>.v<n>`.
pub(super) fn path_of(path: &Path, version: u32) -> PathBuf {
    if version <= 1 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{version}"));
    PathBuf::from(name)
}

/// The versions whose files are there, in order. Version 1 may have been destroyed.
pub(super) fn versions(path: &Path) -> Result<Vec<u32>, KeyFileError> {
    let fail = |source| io_error(path, source);
    let mut found = Vec::new();
    let prefix = path.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in std::fs::read_dir(folder_of(path)).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        match name.as_encoded_bytes().strip_prefix(prefix) {
            Some(b"") => found.push(1),
            Some(rest) => found.extend(version_of(rest)),
            None => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a destruction was broken off between its two steps: zeros are no key.
pub(super) fn is_overwritten(path: &Path) -> bool {
    read(path).is_ok_and(|kek| *kek == [0; LENGTH])
}

/// The number of a suffix `.v<n>` as this program writes it.
fn version_of(suffix: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(suffix.strip_prefix(b".v")?).ok()?;
    let version: u32 = digits.parse().ok()?;
    (version > 1 && version.to_string() == digits).then_some(version)
}

/// Overwrites a key and removes its file. On file systems that copy on write the old bytes may stay on
/// the medium; that is what disk encryption is for.
pub(super) fn destroy(path: &Path) -> Result<(), KeyFileError> {
    let fail = |source| io_error(path, source);
    match open_checked(path) {
        Ok(_) => {}
        Err(KeyFileError::Absent { .. }) => return Ok(()),
        Err(other) => return Err(other),
    }
    // Another replica may be at the same version: what it took away meanwhile is as good as taken here.
    let unless_gone = |done: io::Result<()>| match done {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(fail),
    };
    let flags = flags(OFlags::NOFOLLOW);
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path);
    unless_gone(file.and_then(|mut file| {
        file.write_all(&[0; LENGTH])?;
        file.sync_all()
    }))?;
    crash::reached("vault_destroy_overwritten");
    unless_gone(std::fs::remove_file(path))?;
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(fail)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opens first and checks what was opened, so that nobody can swap the file in between.
pub(super) fn open_checked(path: &Path) -> Result<File, KeyFileError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(path)
        .map_err(|source| open_error(path, source))?;
    let meta = file.metadata().map_err(|source| io_error(path, source))?;
    let path = path.to_owned();
    let us = rustix::process::geteuid().as_raw();
    if !meta.is_file() {
        return Err(KeyFileError::NotAFile { path });
    }
    if meta.uid() != us {
        return Err(KeyFileError::Owner { path, owner: meta.uid(), us });
    }
    if meta.mode() & 0o077 != 0 {
        return Err(KeyFileError::Mode { path, mode: meta.mode() & 0o7777 });
    }
    if meta.len() != LENGTH as u64 {
        return Err(KeyFileError::Length { path, length: meta.len() });
    }
    Ok(file)
}

/// Writes the key under another name and links it into place: the name either holds a whole, durable key
/// or does not exist, and an existing key is never replaced.
pub(super) fn create(path: &Path) -> Result<(), KeyFileError> {
    let fail = |source| io_error(path, source);
    let folder = folder_of(path);
    let draft = folder.join(format!(".new-key-{}", hex::encode(single_use::random::<8>()?)));
    let linked = write_draft(&draft)?
        .map_err(fail)
        .and_then(|()| std::fs::hard_link(&draft, path).map_err(fail));
    let removed = std::fs::remove_file(&draft).map_err(fail);
    linked.and(removed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// The outer error is missing randomness, the inner one the file's.
fn write_draft(draft: &Path) -> Result<io::Result<()>, NoRandomness> {
    let kek: Key = Zeroizing::new(single_use::random()?);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW))
            .open(draft)?;
        file.write_all(kek.as_slice())?;
        file.sync_all()
    };
    Ok(write())
}

fn open_error(path: &Path, source: io::Error) -> KeyFileError {
    let path = path.to_owned();
    match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => KeyFileError::Absent { path },
        Some(rustix::io::Errno::LOOP) => KeyFileError::Symlink { path },
        _ => KeyFileError::Io { path, source },
    }
}

pub(super) fn io_error(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.to_owned(), source }
}

/// The flags are a handful of low bits, so they fit; `custom_flags` wants them signed.
fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or_default()
}
