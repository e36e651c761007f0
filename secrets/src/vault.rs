//! Seals and opens values: key file, stored scope keys, and a short cache in between.

use crate::cache::Cache;
use crate::context::{Context, Scope};
use crate::envelope::{self, BlobId, Draw, Header, Malformed, Refused};
use crate::key_file::{KeyFile, PROVIDER};
use crate::lease::Lease;
use crate::scope_key::{KeyState, ScopeKey, ScopeKeyId, UnwrapError, WrapDraw, WrappedScopeKey};
use crate::single_use::{self, CipherFault, NoRandomness};
use crate::store::{MemoryStore, ScopeKeyStore, StoreError};
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// Seals values at rest and opens them again. Share it in an `Arc`; every method takes `&self`.
///
/// With the scope's key in the cache a call costs microseconds and no I/O. On a miss it asks the
/// [`ScopeKeyStore`], which may block.
pub struct Vault {
    kek: KeyFile,
    store: Box<dyn ScopeKeyStore>,
    cache: Cache,
}

/// Why a scope's key could not be had. Nothing was sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The store of scope keys did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored key did not unwrap.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    /// No random bytes for a new key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// A length beyond what the cipher takes.
    #[error("the cipher did not take a scope key")]
    Cipher,
}

/// Why a value was not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Longer than [`crate::Purpose::limit`].
    #[error(
        "a value of {length} bytes is longer than the {limit} that may be sealed for this purpose"
    )]
    TooLong {
        /// Length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No key for the scope.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A length beyond what the cipher takes.
    #[error("the cipher did not take the value")]
    Cipher,
}

/// Why a blob was not opened. No plaintext was released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a sealed value.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The scope key that sealed it is not in the store: erased, or the store was replaced.
    #[error(
        "the key that sealed this value is gone: it was erased, or the store of keys is not the right one"
    )]
    NoKey,
    /// Sealed for another tenant, user, extension, name, purpose or version, or its header was altered.
    #[error("this value was not sealed for what it is opened for, or it was altered")]
    NotForThis,
    /// The text or tag was altered.
    #[error("this sealed value was altered")]
    Altered,
    /// No key for the scope.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Vault {
    /// Joins a key file and a store of scope keys, and opens one stored key as a probe: a wrong key file
    /// is found at start and not at the first request.
    ///
    /// # Errors
    /// [`KeyError::Unwrap`] when the key file is not the one that wrapped the stored keys;
    /// [`KeyError::Store`] when the store cannot be read.
    pub fn new(kek: KeyFile, store: impl ScopeKeyStore + 'static) -> Result<Self, KeyError> {
        if let Some(row) = store.sample()? {
            kek.unwrap(&row)?;
        }
        Ok(Self { kek, store: Box::new(store), cache: Cache::default() })
    }

    /// A vault of this process alone, for tests and dry runs: what it seals cannot be opened later.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn ephemeral() -> Result<Self, KeyError> {
        Self::new(KeyFile::ephemeral()?, MemoryStore::default())
    }

    /// Seals a value as version 1 of a secret with a fresh random id.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, context: &Context, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let secret = single_use::random().map_err(KeyError::from)?;
        self.seal_as(context, BlobId { secret, version: 1 }, plaintext)
    }

    /// Seals a value as a given version of a given secret.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal_as(
        &self,
        context: &Context,
        blob: BlobId,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let (length, limit) = (plaintext.len(), context.purpose().limit());
        if length > limit {
            return Err(SealError::TooLong { length, limit });
        }
        let key = self.active_key(context.scope())?;
        let draw = Draw::fresh().map_err(KeyError::from)?;
        envelope::seal(&key, blob, context, plaintext, &draw)
            .map_err(|CipherFault| SealError::Cipher)
    }

    /// Opens a value under the context of the request that was authorised. Never build the context from
    /// the row that holds the blob: it would agree with whatever was moved there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, context: &Context, blob: &[u8]) -> Result<Lease, OpenError> {
        let (header, _) = Header::parse(blob)?;
        self.open_parsed(context, &header, blob)
    }

    /// As [`Vault::open`], and refuses any other secret or version: an older blob put back in place of
    /// the newest is noticed.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_as(&self, context: &Context, id: BlobId, blob: &[u8]) -> Result<Lease, OpenError> {
        let (header, _) = Header::parse(blob)?;
        if header.blob != id {
            return Err(OpenError::NotForThis);
        }
        self.open_parsed(context, &header, blob)
    }

    /// Forgets a scope's unwrapped keys now, because it was revoked or erased.
    pub fn purge(&self, scope: &Scope) {
        self.cache.purge(scope);
    }

    /// Wipes unwrapped keys that have expired. Sealing does so by itself; call it every minute so that an
    /// idle process holds none.
    pub fn wipe_expired(&self) {
        self.cache.sweep(Instant::now());
    }

    fn open_parsed(
        &self,
        context: &Context,
        header: &Header,
        blob: &[u8],
    ) -> Result<Lease, OpenError> {
        let key = self.key(header.key)?.ok_or(OpenError::NoKey)?;
        if key.scope() != context.scope() || key.version() != header.key_version {
            return Err(OpenError::NotForThis);
        }
        match envelope::open(&key, context, blob) {
            Ok(plaintext) => Ok(Lease::new(plaintext)),
            Err(Refused::Malformed(why)) => Err(why.into()),
            Err(Refused::Commitment) => Err(OpenError::NotForThis),
            Err(Refused::Altered) => Err(OpenError::Altered),
        }
    }

    fn active_key(&self, scope: &Scope) -> Result<Arc<ScopeKey>, KeyError> {
        if let Some(key) = self.cache.active(scope, Instant::now()) {
            return Ok(key);
        }
        let row = match self.store.active(scope)? {
            Some(row) => row,
            None => self.store.insert_if_absent(self.new_row(scope)?)?,
        };
        if row.scope != *scope {
            return Err(UnwrapError::Altered { sk_id: row.sk_id.into() }.into());
        }
        Ok(self.remember(&row, true)?)
    }

    fn key(&self, id: ScopeKeyId) -> Result<Option<Arc<ScopeKey>>, KeyError> {
        if let Some(key) = self.cache.by_id(id, Instant::now()) {
            return Ok(Some(key));
        }
        let Some(row) = self.store.by_id(id)? else { return Ok(None) };
        if row.sk_id != id {
            return Err(UnwrapError::Altered { sk_id: id.into() }.into());
        }
        let active = row.state == KeyState::Active;
        Ok(Some(self.remember(&row, active)?))
    }

    fn remember(&self, row: &WrappedScopeKey, active: bool) -> Result<Arc<ScopeKey>, UnwrapError> {
        let key = Arc::new(self.kek.unwrap(row)?);
        self.cache.insert(&key, active, Instant::now());
        Ok(key)
    }

    fn new_row(&self, scope: &Scope) -> Result<WrappedScopeKey, KeyError> {
        let sk_id = ScopeKeyId::from_bytes(single_use::random()?);
        let secret = Zeroizing::new(single_use::random()?);
        let key = ScopeKey::new(sk_id, 1, scope.clone(), secret)
            .map_err(|CipherFault| KeyError::Cipher)?;
        let draw = WrapDraw::fresh()?;
        let wrapped = self.kek.wrap(&key, &draw).map_err(|CipherFault| KeyError::Cipher)?;
        Ok(WrappedScopeKey {
            sk_id,
            scope: scope.clone(),
            sk_ver: 1,
            kek_provider: PROVIDER.to_owned(),
            kek_id: self.kek.id().to_owned(),
            kek_ver: 1,
            wrapped,
            state: KeyState::Active,
        })
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("kek", &self.kek).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
