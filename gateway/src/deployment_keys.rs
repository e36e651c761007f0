//! Keys of the deployment itself, sealed by the vault: the token signing keys in the directory, the
//! keys of pseudonyms and of forms in a file each.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use portcullis_secrets::{Context, Purpose, Scope};
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use crate::identify::{SealFault, Sealer};
use crate::secrets::Vault;

/// Seals the deployment's own keys under a name each.
#[derive(Clone)]
pub struct DeploymentKeys {
    vault: Arc<Vault>,
}

/// The file of a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentKeyError {
    /// It can't be read or written.
    #[error("the key file {path} cannot be used: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not open under this key-encryption key.
    #[error(
        "{path} was not sealed under this key-encryption key; restore the key file that belongs to this data folder"
    )]
    Foreign {
        /// Which file.
        path: String,
    },
    /// There is no randomness or no scope key.
    #[error("a key could not be made or sealed")]
    Make,
}

impl DeploymentKeys {
    /// Keys that this vault seals.
    #[must_use]
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault }
    }

    /// A key of 32 bytes, made at first use and kept sealed in a file.
    ///
    /// # Errors
    /// When the file can't be used; an unreadable file is never taken for an absent one.
    pub async fn in_file(
        &self,
        path: &Path,
        name: &str,
    ) -> Result<Zeroizing<Vec<u8>>, DeploymentKeyError> {
        let shown = || path.display().to_string();
        match std::fs::read(path) {
            Ok(blob) => {
                let context = context(name).map_err(|_| DeploymentKeyError::Make)?;
                let lease = self.vault.open(&context, &blob).await;
                let lease = lease.map_err(|_| DeploymentKeyError::Foreign { path: shown() })?;
                Ok(Zeroizing::new(lease.with(<[u8]>::to_vec)))
            }
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {
                let mut key = Zeroizing::new(vec![0; 32]);
                getrandom::fill(&mut key).map_err(|_| DeploymentKeyError::Make)?;
                let blob = self.seal(name, &key).await.map_err(|_| DeploymentKeyError::Make)?;
                write_new(path, &blob)
                    .map_err(|source| DeploymentKeyError::File { path: shown(), source })?;
                Ok(key)
            }
            Err(source) => Err(DeploymentKeyError::File { path: shown(), source }),
        }
    }
}

#[async_trait]
impl Sealer for DeploymentKeys {
    async fn seal(&self, name: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealFault> {
        self.vault.seal(&context(name)?, plaintext).await.map_err(|_| SealFault)
    }

    async fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, SealFault> {
        let lease = self.vault.open(&context(name)?, sealed).await.map_err(|_| SealFault)?;
        Ok(SecretSlice::from(lease.with(<[u8]>::to_vec)))
    }
}

fn context(name: &str) -> Result<Context, SealFault> {
    let scope = Scope::of_tenant("deployment").map_err(|_| SealFault)?;
    Context::new(scope, name, Purpose::DeploymentKey).map_err(|_| SealFault)
}

/// Writes the whole file or none of it.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    std::fs::File::open(dir)?.sync_all()
}
