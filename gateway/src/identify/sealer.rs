//! Sealing private keys: what identification wants of the vault, and no more.

use portcullis_secrets::{Context, Purpose, Scope, Vault};
use secrecy::SecretSlice;

/// Tenant word of what belongs to the deployment itself; no tenant id has this form.
const DEPLOYMENT: &str = "deployment";

/// Seals private keys to this deployment. `name` binds a blob to its place: opening under another name
/// must fail.
pub trait Sealer: Send + Sync {
    /// Seals a plaintext.
    fn seal(&self, name: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealFault>;
    /// Opens what [`Sealer::seal`] made under the same name.
    fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, SealFault>;
}

/// A blob could not be sealed or opened; what the vault said of it is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be sealed or opened with this key file")]
pub struct SealFault;

impl Sealer for Vault {
    fn seal(&self, name: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealFault> {
        Vault::seal(self, &context_of(name)?, plaintext).map_err(logged)
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, SealFault> {
        let lease = Vault::open(self, &context_of(name)?, sealed).map_err(logged)?;
        Ok(lease.with(|plaintext| SecretSlice::from(plaintext.to_vec())))
    }
}

fn context_of(name: &str) -> Result<Context, SealFault> {
    let scope = Scope::of_tenant(DEPLOYMENT).map_err(logged)?;
    Context::new(scope, name, Purpose::DeploymentKey).map_err(logged)
}

fn logged(error: impl std::error::Error) -> SealFault {
    tracing::error!(%error, "a signing key could not be sealed or opened");
    SealFault
}
