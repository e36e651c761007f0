//! Rotating the key of one scope: pending, active, decrypt-only, retired.

use super::RotateError;
use crate::context::Scope;
use crate::crash;
use crate::keys::KeyError;
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use crate::vault::Vault;

/// What the rotation of a scope key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeRotation {
    /// The key that seals now.
    pub active: ScopeKeyId,
    /// The key that only opens now; seal again what it sealed ([`Vault::reseal`]), then retire it.
    pub old: ScopeKeyId,
    /// False when somebody else rotated the same scope at the same moment; theirs is in force.
    pub ours: bool,
}

impl<I: ?Sized> Vault<I> {
    /// Gives a scope a new key; `None` when it has none yet. Other replicas go on sealing with the old one
    /// for at most five minutes (their caches); it opens as before.
    ///
    /// # Errors
    /// [`RotateError::Key`] when provider or store fail. Either the old key is active or the new one.
    pub async fn rotate_scope_key(
        &self,
        scope: &Scope,
    ) -> Result<Option<ScopeRotation>, RotateError> {
        let store = &self.keys.store;
        let Some(old) = store.active(scope).await.map_err(KeyError::from)? else {
            return Ok(None);
        };
        let Some(new) = self.insert_next(scope).await? else {
            return Err(KeyError::Contended.into());
        };
        crash::reached("vault_scope_pending");
        // Read back what was stored before anything is sealed with it.
        let stored = store.by_id(new.sk_id).await.map_err(KeyError::from)?;
        let stored = stored.ok_or(KeyError::Gone { sk_id: new.sk_id })?;
        self.keys.unwrap(&stored).await?;
        let ours = store.promote(new.sk_id, old.sk_id).await.map_err(KeyError::from)?;
        crash::reached("vault_scope_promoted");
        self.purge(scope);
        if ours {
            return Ok(Some(ScopeRotation { active: new.sk_id, old: old.sk_id, ours }));
        }
        store
            .set_state(new.sk_id, KeyState::Pending, KeyState::Retired)
            .await
            .map_err(KeyError::from)?;
        let active = store.active(scope).await.map_err(KeyError::from)?;
        let active = active.map_or(old.sk_id, |row| row.sk_id);
        Ok(Some(ScopeRotation { active, old: old.sk_id, ours }))
    }

    /// Retires a decrypt-only scope key. `sealed` is how many stored values name it in their header
    /// (bytes 28 to 44): only whoever keeps the blobs can count them. Count later than five minutes after
    /// the rotation, when no replica's cache has the key any more.
    ///
    /// # Errors
    /// [`RotateError::StillSeals`], [`RotateError::NotDecryptOnly`], [`RotateError::Key`].
    pub async fn retire_scope_key(
        &self,
        sk_id: ScopeKeyId,
        sealed: u64,
    ) -> Result<(), RotateError> {
        if sealed > 0 {
            return Err(RotateError::StillSeals { sk_id, sealed });
        }
        let (from, to) = (KeyState::DecryptOnly, KeyState::Retired);
        let moved = self.keys.store.set_state(sk_id, from, to).await.map_err(KeyError::from)?;
        if !moved {
            return Err(RotateError::NotDecryptOnly { sk_id });
        }
        self.keys.purge_key(sk_id);
        Ok(())
    }

    async fn insert_next(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, RotateError> {
        let store = &self.keys.store;
        for _ in 0..crate::keys::ATTEMPTS {
            let version = store.last_version(scope).await.map_err(KeyError::from)?;
            let row = self.keys.make(scope, version.saturating_add(1), KeyState::Pending).await?;
            if store.insert_pending(&row).await.map_err(KeyError::from)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
