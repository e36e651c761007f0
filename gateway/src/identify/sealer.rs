//! Sealing private keys: what identification wants of the vault, and no more.

use async_trait::async_trait;
use secrecy::SecretSlice;

/// Seals private keys to this deployment. `name` binds a blob to its place: opening under another name
/// must fail.
#[async_trait]
pub trait Sealer: Send + Sync {
    /// Seals a plaintext.
    async fn seal(&self, name: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealFault>;
    /// Opens what [`Sealer::seal`] made under the same name.
    async fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, SealFault>;
}

/// A blob could not be sealed or opened; under another key-encryption key or another name,
/// or the key provider is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be sealed or opened with this key-encryption key")]
pub struct SealFault;
