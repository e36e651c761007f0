//! Seals and opens values: provider, stored scope keys, and a short cache in between.

mod errors;
mod operate;

pub use errors::{OpenError, ResealError, SealError};

use crate::context::{Binding, Context, Scope, SecretContext};
use crate::envelope::{self, BlobId, Draw, Header, Refused};
use crate::key_file::KeyFile;
use crate::keys::{KeyError, Keys};
use crate::lease::Lease;
use crate::provider::{DEADLINE, Guarded, KeyProvider};
use crate::scope_key::ScopeKey;
use crate::single_use::{self, CipherFault};
use crate::store::{MemoryStore, ScopeKeyStore};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Seals values at rest and opens them again. Share it in an `Arc`; every method takes `&self`.
///
/// `I` is the proof that using a secret costs: [`Vault::lend`] wants a reference to one, and nothing else
/// opens what [`Vault::seal_secret`] sealed. The vault does not look into it; whoever names the type
/// decides who can make one.
///
/// With the scope's key in the cache a call costs microseconds and no I/O. On a miss it asks the
/// [`ScopeKeyStore`] and the [`KeyProvider`].
pub struct Vault<I: ?Sized> {
    pub(crate) keys: Arc<Keys>,
    proof: PhantomData<fn(&I)>,
}

impl<I: ?Sized> Vault<I> {
    /// Joins a provider and a store of scope keys, asks the provider for a known answer and opens one
    /// stored key: a wrong key is found at start and not at the first request.
    ///
    /// # Errors
    /// [`KeyError::OtherKek`] when the provider's key is not the one that wrapped the stored keys;
    /// [`KeyError::Provider`] and [`KeyError::Store`] when one of them does not answer.
    pub async fn new(
        provider: Arc<dyn KeyProvider>,
        store: Arc<dyn ScopeKeyStore>,
    ) -> Result<Self, KeyError> {
        Self::with_deadline(provider, store, DEADLINE).await
    }

    /// As [`Vault::new`], with another deadline for each question to the provider.
    ///
    /// # Errors
    /// As [`Vault::new`].
    pub async fn with_deadline(
        provider: Arc<dyn KeyProvider>,
        store: Arc<dyn ScopeKeyStore>,
        deadline: Duration,
    ) -> Result<Self, KeyError> {
        let keys = Keys::new(Guarded::new(provider, deadline), store);
        keys.provider.probe().await?;
        if let Some(row) = keys.store.sample().await? {
            keys.unwrap(&row).await?;
        }
        Ok(Self { keys: Arc::new(keys), proof: PhantomData })
    }

    /// Keeps unwrapped scope keys for so long instead of five minutes, which is the longest; shorter makes
    /// the vault notice sooner that its provider is gone, and ask it more often.
    #[must_use]
    pub fn keeping_keys_for(self, lifetime: Duration) -> Self {
        self.keys.cache.keep_for(lifetime);
        self
    }

    /// A vault of this process alone, for tests and dry runs: what it seals cannot be opened later.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn ephemeral() -> Result<Self, KeyError> {
        let provider = Guarded::new(Arc::new(KeyFile::ephemeral()?), DEADLINE);
        let keys = Keys::new(provider, Arc::new(MemoryStore::default()));
        Ok(Self { keys: Arc::new(keys), proof: PhantomData })
    }

    /// Seals a value as version 1 of something with a fresh random id.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn seal(&self, context: &Context, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let secret = single_use::random().map_err(KeyError::from)?;
        self.seal_binding(&context.binding(), BlobId { secret, version: 1 }, plaintext).await
    }

    /// Seals a value as a given version of something with an id of its own.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn seal_as(
        &self,
        context: &Context,
        id: BlobId,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.seal_binding(&context.binding(), id, plaintext).await
    }

    /// Opens a value under the context of the request that was authorised. Never build the context from
    /// the row that holds the blob: it would agree with whatever was moved there.
    ///
    /// Secrets cannot be opened so: see [`Vault::lend`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(&self, context: &Context, blob: &[u8]) -> Result<Lease, OpenError> {
        self.open_binding(&context.binding(), None, blob).await
    }

    /// As [`Vault::open`], and refuses any other id or version: an older blob put back in place of the
    /// newest is noticed.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_as(
        &self,
        context: &Context,
        id: BlobId,
        blob: &[u8],
    ) -> Result<Lease, OpenError> {
        self.open_binding(&context.binding(), Some(id), blob).await
    }

    /// Seals a version of a secret. Entering a secret costs no proof; using it does.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn seal_secret(
        &self,
        context: &SecretContext,
        id: BlobId,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.seal_binding(&context.binding(), id, plaintext).await
    }

    /// Lends a version of a secret to whoever holds the proof.
    ///
    /// INVARIANT: there is no other way to a secret's plaintext
    /// (`tests/compile_fail.rs::a_secret_does_not_open_without_the_proof`).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn lend(
        &self,
        _proof: &I,
        context: &SecretContext,
        id: BlobId,
        blob: &[u8],
    ) -> Result<Lease, OpenError> {
        self.open_binding(&context.binding(), Some(id), blob).await
    }

    /// Seals again under the scope's active key what an older key sealed; `None` when the active key
    /// sealed it already. The plaintext does not leave this crate.
    ///
    /// # Errors
    /// [`ResealError`].
    pub async fn reseal(
        &self,
        context: &Context,
        id: BlobId,
        blob: &[u8],
    ) -> Result<Option<Vec<u8>>, ResealError> {
        self.reseal_binding(&context.binding(), id, blob).await
    }

    /// As [`Vault::reseal`], for a secret.
    ///
    /// # Errors
    /// [`ResealError`].
    pub async fn reseal_secret(
        &self,
        context: &SecretContext,
        id: BlobId,
        blob: &[u8],
    ) -> Result<Option<Vec<u8>>, ResealError> {
        self.reseal_binding(&context.binding(), id, blob).await
    }

    /// Forgets a scope's unwrapped keys now, because it was revoked or erased.
    pub fn purge(&self, scope: &Scope) {
        self.keys.purge(|other| other == scope);
    }

    /// Forgets the unwrapped keys of a tenant and all its users now.
    pub fn purge_tenant(&self, tenant: &str) {
        self.keys.purge(|scope| scope.tenant() == tenant);
    }

    /// Forgets every unwrapped key now.
    pub fn purge_all(&self) {
        self.keys.purge(|_| true);
    }

    /// Wipes unwrapped keys that have expired. Sealing does so by itself; call it every minute so that an
    /// idle process holds none.
    pub fn wipe_expired(&self) {
        self.keys.cache.sweep(Instant::now());
    }

    async fn seal_binding(
        &self,
        binding: &Binding<'_>,
        id: BlobId,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let (length, limit) = (plaintext.len(), binding.limit);
        if length > limit {
            return Err(SealError::TooLong { length, limit });
        }
        let key = self.keys.active(binding.scope).await?;
        let draw = Draw::fresh().map_err(KeyError::from)?;
        envelope::seal(&key, id, binding, plaintext, &draw).map_err(|CipherFault| SealError::Cipher)
    }

    async fn open_binding(
        &self,
        binding: &Binding<'_>,
        id: Option<BlobId>,
        blob: &[u8],
    ) -> Result<Lease, OpenError> {
        let (header, _) = Header::parse(blob)?;
        if id.is_some_and(|id| id != header.blob) {
            return Err(OpenError::NotForThis);
        }
        let key = self.keys.by_id(header.key).await.map_err(OpenError::of_key)?;
        open_with(&key, binding, &header, blob)
    }

    async fn reseal_binding(
        &self,
        binding: &Binding<'_>,
        id: BlobId,
        blob: &[u8],
    ) -> Result<Option<Vec<u8>>, ResealError> {
        let plaintext = self.open_binding(binding, Some(id), blob).await?;
        let (header, _) = Header::parse(blob).map_err(OpenError::from)?;
        let key = self.keys.active(binding.scope).await.map_err(SealError::from)?;
        if key.id() == header.key {
            return Ok(None);
        }
        let draw = Draw::fresh().map_err(KeyError::from).map_err(SealError::from)?;
        plaintext
            .with(|text| envelope::seal(&key, id, binding, text, &draw))
            .map(Some)
            .map_err(|CipherFault| SealError::Cipher.into())
    }
}

fn open_with(
    key: &ScopeKey,
    binding: &Binding<'_>,
    header: &Header,
    blob: &[u8],
) -> Result<Lease, OpenError> {
    if key.scope() != binding.scope || key.version() != header.key_version {
        return Err(OpenError::NotForThis);
    }
    match envelope::open(key, binding, blob) {
        Ok(plaintext) => Ok(Lease::new(plaintext)),
        Err(Refused::Malformed(why)) => Err(why.into()),
        Err(Refused::Commitment) => Err(OpenError::NotForThis),
        Err(Refused::Altered) => Err(OpenError::Altered),
    }
}

impl<I: ?Sized> std::fmt::Debug for Vault<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("provider", &self.keys.provider).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod tests;
