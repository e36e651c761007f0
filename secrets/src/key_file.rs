//! The key-encryption key in a file: 32 random bytes, readable by its owner alone.

use crate::scope_key::{self, ScopeKey, UnwrapError, WrapDraw, WrappedScopeKey};
use crate::single_use::{self, CipherFault, Key, NoRandomness};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// Name of this provider in stored rows.
pub(crate) const PROVIDER: &str = "key-file";

const LENGTH: usize = 32;

/// An open key file. Holds the key-encryption key, wiped on drop; `Debug` shows its fingerprint only.
pub struct KeyFile {
    kek: Key,
    id: String,
    created: bool,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is no such file.
    #[error(
        "there is no key file `{path}`: restore it from its backup, or give the path of a new one"
    )]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link could be pointed at another key by whoever owns the link's folder.
    #[error("key file `{path}` is a symbolic link: name the file itself")]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A folder, a device or a socket.
    #[error("key file `{path}` is not a regular file")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Someone else owns it and can replace it.
    #[error(
        "key file `{path}` belongs to user {owner}, and this process runs as {us}: run `chown {us} {path}`"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        us: u32,
    },
    /// Group or others have access.
    #[error(
        "key file `{path}` has mode {mode:04o}, so others can read or replace it: run `chmod 600 {path}`"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not 32 bytes.
    #[error(
        "key file `{path}` is {length} bytes long instead of {LENGTH}: restore it from its backup"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// The operating system said no.
    #[error("key file `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No random bytes for a new key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl KeyFile {
    /// Opens the key file, or makes a new one when there is none. Whether it was made is
    /// [`KeyFile::created`]; [`crate::Vault::new`] then refuses a store that an older key wrapped.
    ///
    /// # Errors
    /// As [`KeyFile::open`], and when the new file cannot be written.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::open(path) {
            Err(KeyFileError::Absent { .. }) => match create(path) {
                Ok(()) => Self::open(path).map(|file| Self { created: true, ..file }),
                // Another process was first; its key is as good as ours.
                Err(KeyFileError::Io { source, .. })
                    if source.kind() == ErrorKind::AlreadyExists =>
                {
                    Self::open(path)
                }
                Err(error) => Err(error),
            },
            opened => opened,
        }
    }

    /// Opens an existing key file: a regular file of 32 bytes that belongs to the effective user and that
    /// group and others cannot touch.
    ///
    /// # Errors
    /// [`KeyFileError`] says what is wrong and the command that mends it.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let mut file = open_checked(path)?;
        let mut kek = Zeroizing::new([0; LENGTH]);
        file.read_exact(kek.as_mut_slice()).map_err(|source| io_error(path, source))?;
        Self::from_key(kek)
            .map_err(|CipherFault| io_error(path, io::Error::other("the key cannot be used")))
    }

    /// A key of this process alone, for tests and dry runs: what it seals cannot be opened later.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn ephemeral() -> Result<Self, NoRandomness> {
        Self::from_key(Zeroizing::new(single_use::random()?)).map_err(|CipherFault| NoRandomness)
    }

    /// Public fingerprint of the key, 32 hex digits; says nothing about the key itself.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether [`KeyFile::open_or_create`] made the file just now.
    #[must_use]
    pub fn created(&self) -> bool {
        self.created
    }

    pub(crate) fn from_key(kek: Key) -> Result<Self, CipherFault> {
        let mut fingerprint = single_use::subkey(&kek, b"portcullis/vault/v1/kek-id")?;
        let id = hex::encode(fingerprint.first_chunk::<16>().ok_or(CipherFault)?);
        fingerprint.zeroize();
        Ok(Self { kek, id, created: false })
    }

    pub(crate) fn wrap(&self, key: &ScopeKey, draw: &WrapDraw) -> Result<Vec<u8>, CipherFault> {
        scope_key::wrap(&self.kek, key, draw)
    }

    pub(crate) fn unwrap(&self, row: &WrappedScopeKey) -> Result<ScopeKey, UnwrapError> {
        if row.kek_provider != PROVIDER || row.kek_id != self.id {
            return Err(UnwrapError::OtherKek {
                expected: format!("{}:{}", row.kek_provider, row.kek_id),
                have: format!("{PROVIDER}:{}", self.id),
            });
        }
        scope_key::unwrap(&self.kek, row)
            .map_err(|CipherFault| UnwrapError::Altered { sk_id: row.sk_id.into() })
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Opens first and checks what was opened, so that nobody can swap the file in between.
fn open_checked(path: &Path) -> Result<File, KeyFileError> {
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
fn create(path: &Path) -> Result<(), KeyFileError> {
    let fail = |source| io_error(path, source);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
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

fn io_error(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.to_owned(), source }
}

/// The flags are a handful of low bits, so they fit; `custom_flags` wants them signed.
fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert!(matches!(
            KeyFile::open_or_create(&path),
            Err(KeyFileError::Length { length: 31, .. })
        ));
    }

    #[test]
    fn debug_shows_no_key() {
        let folder = folder();
        let path = folder.path().join("kek");
        let file = KeyFile::open_or_create(&path).unwrap();
        let shown = format!("{file:?}");
        let kek = hex::encode(std::fs::read(&path).unwrap());
        assert!(!shown.contains(&kek) && !kek.contains(file.id()), "{shown}");
    }

    #[test]
    fn many_processes_that_start_at_once_agree_on_one_key() {
        let folder = folder();
        let path = folder.path().join("kek");
        let ids: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| KeyFile::open_or_create(&path).unwrap().id().to_owned()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1);
    }
}
