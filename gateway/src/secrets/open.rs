//! Opens the vault as the settings say: the key provider, and the table of wrapped scope keys.

use std::sync::Arc;

use portcullis_secrets::{
    KeyError, KeyFile, KeyFileError, KeyProvider, Pkcs11, ProviderError, SqlStore, StoreError,
    Transit,
};

use super::Vault;
use crate::config::{self, Settings};

/// The vault and the parts under it, which commands that rotate and destroy keys need.
pub struct OpenedVault {
    /// Seals and lends.
    pub vault: Arc<Vault>,
    /// Wraps and unwraps scope keys.
    pub provider: Arc<dyn KeyProvider>,
    /// Keeps the wrapped scope keys.
    pub store: Arc<SqlStore>,
}

/// Why the vault can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultOpenError {
    /// The key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The provider of the key-encryption key.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The wrapped scope keys.
    #[error(transparent)]
    ScopeKeys(#[from] StoreError),
    /// The provider does not answer, or its key is not the one that wrapped the scope keys.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Whether what is absent may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// A new deployment: keys and tables are made.
    Make,
    /// A command about what exists: nothing is made.
    Refuse,
}

/// Opens provider, table and vault, and proves by a known answer that they belong together.
///
/// # Errors
/// Which part can't be used, and what to do.
pub async fn open_vault(
    settings: &Settings,
    absent: Absent,
) -> Result<OpenedVault, VaultOpenError> {
    let provider = provider(&settings.key_provider, absent).await?;
    let store = Arc::new(SqlStore::open(&settings.data.scope_keys()).await?);
    let vault = Vault::new(Arc::clone(&provider), Arc::clone(&store) as _).await?;
    let vault = vault.keeping_keys_for(settings.key_cache);
    Ok(OpenedVault { vault: Arc::new(vault), provider, store })
}

async fn provider(
    settings: &config::KeyProvider,
    absent: Absent,
) -> Result<Arc<dyn KeyProvider>, VaultOpenError> {
    Ok(match settings {
        config::KeyProvider::KeyFile { path } => Arc::new(match absent {
            Absent::Make => KeyFile::open_or_create(path)?,
            Absent::Refuse => KeyFile::open(path)?,
        }),
        config::KeyProvider::Pkcs11(hsm) => Arc::new(Pkcs11::open(hsm.clone()).await?),
        config::KeyProvider::Transit(bao) => Arc::new(Transit::new(bao.clone())?),
        #[cfg(feature = "aws-kms")]
        config::KeyProvider::AwsKms(kms) => Arc::new(portcullis_secrets::AwsKms::new(kms.clone())),
    })
}
