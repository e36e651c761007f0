//! The key-encryption key in files: 32 random bytes each, readable by their owner alone.
//!
//! Version 1 is the named file, version n is `<path>.v<n>`; the highest version wraps. Versions that
//! another process made are found when they are asked for.

mod disk;
mod error;
pub(crate) mod wrap;

pub use error::KeyFileError;

use crate::provider::{
    KeyProvider, KeyRef, ProviderError, ProviderFault, WrapDigest, WrapText, Wrapped,
};
use crate::single_use::{self, CipherFault, Key, NoRandomness};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use wrap::WrapDraw;
use zeroize::{Zeroize as _, Zeroizing};

/// Name of this provider in stored rows.
pub(crate) const PROVIDER: &str = "key-file";

/// Open key files. Holds the key-encryption keys, wiped on drop; `Debug` shows fingerprints only. Clones
/// share the keys.
#[derive(Clone)]
pub struct KeyFile {
    versions: Arc<RwLock<BTreeMap<u32, Arc<Version>>>>,
    /// None for a key of this process alone.
    path: Option<PathBuf>,
    created: bool,
}

struct Version {
    kek: Key,
    id: String,
}

impl KeyFile {
    /// Opens the key file, or makes a new one when there is none. Whether it was made is
    /// [`KeyFile::created`]; [`crate::Vault::new`] then refuses a store that an older key wrapped.
    ///
    /// # Errors
    /// As [`KeyFile::open`], and when the new file cannot be written.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::open(path) {
            Err(KeyFileError::Absent { .. }) => match disk::create(path) {
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

    /// Opens an existing key file and every later version of it: regular files of 32 bytes that belong to
    /// the effective user and that group and others cannot touch. Blocks for the disk.
    ///
    /// # Errors
    /// [`KeyFileError`] says what is wrong and the command that mends it.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let mut numbers = disk::versions(path).unwrap_or_default();
        if numbers.is_empty() {
            // Says what is wrong with it: absent, a dangling link, an unreadable folder.
            numbers.push(1);
        }
        let mut versions = BTreeMap::new();
        for number in numbers {
            versions.insert(number, Arc::new(read_version(path, number)?));
        }
        let versions = Arc::new(RwLock::new(versions));
        Ok(Self { versions, path: Some(path.to_owned()), created: false })
    }

    /// A key of this process alone, for tests and dry runs: what it seals cannot be opened later.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn ephemeral() -> Result<Self, NoRandomness> {
        Self::from_key(Zeroizing::new(single_use::random()?)).map_err(|CipherFault| NoRandomness)
    }

    /// Public fingerprint of the newest version, 32 hex digits; says nothing about the key itself.
    #[must_use]
    pub fn id(&self) -> String {
        self.newest().map(|(_, version)| version.id.clone()).unwrap_or_default()
    }

    /// Whether [`KeyFile::open_or_create`] made the file just now.
    #[must_use]
    pub fn created(&self) -> bool {
        self.created
    }

    pub(crate) fn from_key(kek: Key) -> Result<Self, CipherFault> {
        let versions = BTreeMap::from([(1, Arc::new(Version::new(kek)?))]);
        Ok(Self { versions: Arc::new(RwLock::new(versions)), path: None, created: false })
    }

    fn newest(&self) -> Option<(u32, Arc<Version>)> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.last_key_value().map(|(number, version)| (*number, Arc::clone(version)))
    }

    fn version(&self, number: u32) -> Option<Arc<Version>> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.get(&number).cloned()
    }

    fn remember(&self, number: u32, version: Version) -> Arc<Version> {
        let version = Arc::new(version);
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(versions.entry(number).or_insert(version))
    }

    fn forget(&self, number: u32) {
        self.versions.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// The newest version, after a look for newer files. Blocks for the disk.
    fn look(&self) -> Result<(u32, Arc<Version>), ProviderError> {
        if let Some(path) = &self.path {
            let there = disk::versions(path).map_err(fault)?;
            // What another process destroyed is wiped here, too.
            let mut known = self.versions.write().unwrap_or_else(PoisonError::into_inner);
            known.retain(|number, _| there.contains(number));
            drop(known);
            if let Some(number) = there.last().copied()
                && self.version(number).is_none()
            {
                self.remember(number, read_version(path, number).map_err(fault)?);
            }
        }
        self.newest().ok_or_else(|| error(ProviderFault::KeyGone, "no version is left"))
    }

    /// The version a row names. Blocks for the disk when it is not known yet.
    fn find(&self, key: &KeyRef) -> Result<Arc<Version>, ProviderError> {
        let version = match (self.version(key.kek_ver), &self.path) {
            (Some(version), _) => version,
            (None, Some(path)) => {
                self.remember(key.kek_ver, read_version(path, key.kek_ver).map_err(fault)?)
            }
            (None, None) => return Err(error(ProviderFault::KeyGone, key.to_string())),
        };
        if version.id == key.kek_id {
            return Ok(version);
        }
        let have = format!("wanted {}, have {}", key.kek_id, version.id);
        Err(error(ProviderFault::WrongKey, have))
    }

    fn make_next(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        let (number, newest) = self.look()?;
        if number != from.kek_ver {
            return Ok(newest.reference(number));
        }
        let next = number.saturating_add(1);
        let version = match &self.path {
            Some(path) => {
                match disk::create(&disk::path_of(path, next)) {
                    Err(KeyFileError::Io { source, .. })
                        if source.kind() == ErrorKind::AlreadyExists => {}
                    made => made.map_err(fault)?,
                }
                read_version(path, next).map_err(fault)?
            }
            None => {
                let kek = single_use::random().map_err(|why| fault(why.into()))?;
                Version::new(Zeroizing::new(kek)).map_err(unusable)?
            }
        };
        Ok(self.remember(next, version).reference(next))
    }

    fn destroy(&self, key: &KeyRef) -> Result<(), ProviderError> {
        if self.look()?.0 == key.kek_ver {
            return Err(error(ProviderFault::Denied, "the newest version is in use"));
        }
        match self.find(key) {
            Err(gone) if gone.fault() == ProviderFault::KeyGone => return Ok(()),
            Err(_) if self.overwritten(key.kek_ver) => {}
            found => drop(found?),
        }
        if let Some(path) = &self.path {
            disk::destroy(&disk::path_of(path, key.kek_ver)).map_err(fault)?;
        }
        self.forget(key.kek_ver);
        Ok(())
    }

    fn overwritten(&self, number: u32) -> bool {
        self.path.as_deref().is_some_and(|path| disk::is_overwritten(&disk::path_of(path, number)))
    }

    /// Runs what may block for the disk where it blocks nobody.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        if self.path.is_none() {
            return work(self);
        }
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.unwrap_or_else(|lost| Err(error(ProviderFault::Other, lost.to_string())))
    }
}

#[async_trait]
impl KeyProvider for KeyFile {
    fn kind(&self) -> &'static str {
        PROVIDER
    }

    async fn current(&self) -> Result<KeyRef, ProviderError> {
        self.off_thread(|this| this.look().map(|(number, version)| version.reference(number))).await
    }

    async fn wrap(&self, text: &WrapText, digest: &WrapDigest) -> Result<Wrapped, ProviderError> {
        let (number, version) = self.off_thread(Self::look).await?;
        let draw = WrapDraw::fresh().map_err(|why| fault(why.into()))?;
        let bytes = wrap::wrap(&version.kek, text, digest, &draw).map_err(unusable)?;
        Ok(Wrapped { key: version.reference(number), bytes })
    }

    async fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError> {
        let wanted = key.clone();
        let version = match self.version(key.kek_ver) {
            Some(_) => self.find(key)?,
            None => self.off_thread(move |this| this.find(&wanted)).await?,
        };
        wrap::unwrap(&version.kek, bytes, digest)
            .map_err(|CipherFault| error(ProviderFault::Altered, key.to_string()))
    }

    async fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        let from = from.clone();
        self.off_thread(move |this| this.make_next(&from)).await
    }

    async fn destroy_version(&self, key: &KeyRef) -> Result<(), ProviderError> {
        let key = key.clone();
        self.off_thread(move |this| this.destroy(&key)).await
    }
}

impl Version {
    fn new(kek: Key) -> Result<Self, CipherFault> {
        let mut fingerprint = single_use::subkey(&kek, b"portcullis/vault/v1/kek-id")?;
        let id = hex::encode(fingerprint.first_chunk::<16>().ok_or(CipherFault)?);
        fingerprint.zeroize();
        Ok(Self { kek, id })
    }

    fn reference(&self, number: u32) -> KeyRef {
        KeyRef { kek_id: self.id.clone(), kek_ver: number }
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("id", &self.id()).finish_non_exhaustive()
    }
}

fn read_version(path: &Path, number: u32) -> Result<Version, KeyFileError> {
    let path = disk::path_of(path, number);
    Version::new(disk::read(&path)?)
        .map_err(|CipherFault| disk::io_error(&path, io::Error::other("the key cannot be used")))
}

fn error(fault: ProviderFault, detail: impl Into<String>) -> ProviderError {
    ProviderError::new(PROVIDER, fault, detail)
}

fn unusable(_: CipherFault) -> ProviderError {
    error(ProviderFault::Other, "the cipher did not take the key")
}

fn fault(why: KeyFileError) -> ProviderError {
    let fault = match &why {
        KeyFileError::Absent { .. } => ProviderFault::KeyGone,
        KeyFileError::Symlink { .. }
        | KeyFileError::NotAFile { .. }
        | KeyFileError::Owner { .. }
        | KeyFileError::Mode { .. } => ProviderFault::Denied,
        KeyFileError::Length { .. } => ProviderFault::WrongKey,
        KeyFileError::Io { .. } => ProviderFault::Unreachable,
        KeyFileError::NoRandomness(_) => ProviderFault::Other,
    };
    error(fault, why.to_string())
}

#[cfg(test)]
mod tests;
