//! What an operator does with a vault: probe, report, destroy.

use super::Vault;
use crate::keys::KeyError;
use crate::provider::KeyRef;
use crate::store::{Destroyed, Erasure, ReplicaReport, ScopeKeyStore, now_ms};
use std::sync::Arc;

impl<I: ?Sized> Vault<I> {
    /// Asks the provider for a known answer; for readiness checks.
    ///
    /// # Errors
    /// [`KeyError::Provider`], sorted by fault.
    pub async fn probe(&self) -> Result<(), KeyError> {
        Ok(self.keys.provider.probe().await?)
    }

    /// The version of the key-encryption key that wraps now.
    ///
    /// # Errors
    /// [`KeyError::Provider`].
    pub async fn current_kek(&self) -> Result<KeyRef, KeyError> {
        Ok(self.keys.current_kek().await?)
    }

    /// Kind of the provider, such as `key-file`.
    #[must_use]
    pub fn provider_kind(&self) -> &'static str {
        self.keys.provider.kind()
    }

    /// The store of scope keys.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ScopeKeyStore> {
        &self.keys.store
    }

    /// Writes down which version this replica wraps with. A replica calls it at start and then every half
    /// minute or so; a rotation waits for every replica that spoke lately.
    ///
    /// # Errors
    /// [`KeyError::Provider`] and [`KeyError::Store`] when one of them does not answer.
    pub async fn report(&self, replica: &str) -> Result<KeyRef, KeyError> {
        let key = self.keys.current_kek().await?;
        let report =
            ReplicaReport { replica: replica.to_owned(), key: key.clone(), at_ms: now_ms() };
        self.keys.store.report(&report).await?;
        Ok(key)
    }

    /// Destroys scope keys for good: what they sealed is unreadable from now on here, and within
    /// five minutes in other replicas (their caches). Copies of the rows in backups stay readable until
    /// the key-encryption key's versions in the answer are destroyed, too.
    ///
    /// # Errors
    /// [`KeyError::Store`] when the store did not answer; asking again is safe.
    pub async fn destroy(&self, what: &Erasure) -> Result<Destroyed, KeyError> {
        let destroyed = self.keys.store.destroy(what).await?;
        self.keys.purge(|scope| what.covers(scope));
        Ok(destroyed)
    }
}
