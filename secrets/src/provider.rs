//! Who holds the key-encryption key: a file, a security module or a service.
//!
//! A provider wraps the 64 bytes of a scope key and never gives out its own key. It is asked on a miss of
//! the vault's cache only, and every question has a deadline (module `guarded`).

mod error;
mod guarded;

pub use error::{ProviderError, ProviderFault};
pub use guarded::DEADLINE;
pub(crate) use guarded::Guarded;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// What is wrapped: a scope key (32 bytes) and the digest of whose key it is (32 bytes). Wiped on drop.
pub type WrapText = Zeroizing<[u8; 64]>;

/// SHA-256 of whose scope key it is. A provider that knows associated data binds it; it tells the
/// provider nothing about the names behind it.
pub type WrapDigest = [u8; 32];

/// One version of a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyRef {
    /// Which key, in the provider's own words; never the key.
    pub kek_id: String,
    /// Version, from 1.
    pub kek_ver: u32,
}

/// Wrapped bytes and the version that wrapped them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The version that wrapped.
    pub key: KeyRef,
    /// The provider's own format; not secret.
    pub bytes: Vec<u8>,
}

/// Holds a key-encryption key in versions. The newest usable version wraps; every version that was not
/// destroyed unwraps what it wrapped.
///
/// Implementations may take as long as they like: the vault stops waiting at its deadline. They must be
/// safe to drop at any await.
#[async_trait]
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// Word in stored rows, such as `key-file`. Never changes once a row was written.
    fn kind(&self) -> &'static str;

    /// The version that wraps now.
    ///
    /// # Errors
    /// [`ProviderError`], sorted by fault.
    async fn current(&self) -> Result<KeyRef, ProviderError>;

    /// Wraps under the current version.
    ///
    /// # Errors
    /// [`ProviderError`], sorted by fault.
    async fn wrap(&self, text: &WrapText, digest: &WrapDigest) -> Result<Wrapped, ProviderError>;

    /// Unwraps what `key` wrapped for the same digest.
    ///
    /// # Errors
    /// [`ProviderError`]: `KeyGone` when there is no such version, `WrongKey` when that version is another
    /// key, `Altered` when the bytes or the digest are not those of the wrapping.
    async fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError>;

    /// Wraps again under the current version inside the provider, so that the plaintext never leaves it;
    /// `None` when the provider cannot.
    ///
    /// # Errors
    /// As [`KeyProvider::unwrap`].
    async fn rewrap(
        &self,
        _key: &KeyRef,
        _bytes: &[u8],
        _digest: &WrapDigest,
    ) -> Result<Option<Wrapped>, ProviderError> {
        Ok(None)
    }

    /// Makes the version after `from` and wraps with it from now on. When a newer version than `from`
    /// exists already, nothing is made: so a repeated rotation does not make two.
    ///
    /// # Errors
    /// [`ProviderError`], sorted by fault.
    async fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError>;

    /// Destroys one version for good. Whether anything still needs it is for the caller to know
    /// ([`crate::Vault::destroy_kek_version`] asks). Repeating it is not an error.
    ///
    /// # Errors
    /// [`ProviderError`]: `Denied` for the current version.
    async fn destroy_version(&self, key: &KeyRef) -> Result<(), ProviderError>;

    /// How long a destroyed version can still be brought back by whoever administers the provider.
    fn destruction_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// Wraps and unwraps a known text.
    ///
    /// # Errors
    /// [`ProviderError`], sorted by fault.
    async fn probe(&self) -> Result<(), ProviderError> {
        let text = Zeroizing::new([0x5a; 64]);
        let digest = [0xa5; 32];
        let wrapped = self.wrap(&text, &digest).await?;
        let back = self.unwrap(&wrapped.key, &wrapped.bytes, &digest).await?;
        if *back == *text {
            return Ok(());
        }
        Err(ProviderError::new(self.kind(), ProviderFault::WrongKey, "the probe came back changed"))
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.kek_id, self.kek_ver)
    }
}
