//! Changing keys while calls go on: the key-encryption key, and the key of one scope.
//!
//! # The life of one key-encryption key version
//! 1. [`Vault::rotate_kek`] makes the next version, then wraps each scope key again: unwrap under the old
//!    version, wrap under the new one, unwrap that and compare, and only then swap the row, if it still is
//!    what was read. Killed at any point it leaves every row readable; called again it goes on.
//! 2. [`Vault::retire_kek`] once nothing is wrapped under the old version and every live replica said that
//!    it wraps with another one.
//! 3. [`Vault::destroy_kek_version`] once no backup of the rows needs it.
//!
//! [`Vault::begin_epoch`] and [`Vault::step_version`] do it when its time has come.
//!
//! Nothing that was sealed is touched: blobs name their scope key, not the key-encryption key.

mod epoch;
mod errors;
mod scope;

pub use epoch::{Epochs, Stepped};
pub use errors::RotateError;
pub use scope::ScopeRotation;

use crate::crash;
use crate::keys::KeyError;
use crate::provider::{KeyRef, Wrapped};
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use crate::store::{KekVersion, ReplicaReport, Rewrapped, now_ms};
use crate::vault::Vault;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// Passes over the rows at most; each finds what was written during the one before.
const PASSES: usize = 16;

/// How fast a rotation goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rows that are read at once, at least 1.
    pub batch: u32,
    /// Pause after each batch.
    pub pause: Duration,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Scope keys that are under the new version.
    pub done: u64,
    /// Scope keys that were to be moved when the rotation began or went on.
    pub total: u64,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekRotation {
    /// The version that wraps now.
    pub current: KeyRef,
    /// Versions that wrap nothing any more; to be retired.
    pub emptied: Vec<KeyRef>,
    /// Scope keys that this call moved.
    pub moved: u64,
}

/// What must have passed before a version may go.
#[derive(Debug, Clone, Copy)]
pub struct Guards {
    /// A replica that said nothing for so long is taken for stopped.
    pub live_within: Duration,
    /// How long backups of the scope keys' table are kept: they need the versions of their day.
    pub backups_kept: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { batch: 256, pause: Duration::from_millis(10) }
    }
}

impl Default for Guards {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self { live_within: Duration::from_secs(600), backups_kept: 30 * day }
    }
}

impl<I: ?Sized> Vault<I> {
    /// Makes the next version of the key-encryption key and wraps every scope key under it, while calls
    /// go on. When an earlier rotation was broken off, it is finished and no version is made.
    ///
    /// # Errors
    /// [`RotateError::Key`] when provider or store fail, [`RotateError::Unfinished`] when others kept
    /// writing under an old version. Every row is readable at any time; call again to go on.
    pub async fn rotate_kek(
        &self,
        pace: Pace,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<KekRotation, RotateError> {
        let old = self.keys.current_kek().await.map_err(KeyError::from)?;
        if self.left_behind(&old).await?.is_empty() {
            self.make_after(&old).await?;
        }
        self.resume_kek_rotation(pace, progress).await
    }

    /// Wraps under the current version what is not yet, and makes no version.
    ///
    /// # Errors
    /// As [`Vault::rotate_kek`].
    pub async fn resume_kek_rotation(
        &self,
        pace: Pace,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<KekRotation, RotateError> {
        let current = self.keys.current_kek().await.map_err(KeyError::from)?;
        let mut so_far = Progress { done: 0, total: 0 };
        for _ in 0..PASSES {
            let behind = self.left_behind(&current).await?;
            if behind.is_empty() {
                progress(so_far);
                let emptied = self.emptied(&current).await?;
                return Ok(KekRotation { current, emptied, moved: so_far.done });
            }
            so_far.total = so_far.done + behind.iter().map(|(_, keys)| keys).sum::<u64>();
            progress(so_far);
            for (old, _) in behind {
                self.note(&old, KeyState::DecryptOnly).await?;
                self.move_all(&old, pace, &mut so_far, progress).await?;
            }
        }
        let left = self.left_behind(&current).await?.iter().map(|(_, keys)| keys).sum();
        if left == 0 {
            let emptied = self.emptied(&current).await?;
            return Ok(KekRotation { current, emptied, moved: so_far.done });
        }
        Err(RotateError::Unfinished { left })
    }

    /// Retires a version that wraps nothing any more: the first step towards destroying it.
    ///
    /// # Errors
    /// [`RotateError::Current`], [`RotateError::InUse`], and [`RotateError::Stragglers`] with the names of
    /// the live replicas that still wrap with it.
    pub async fn retire_kek(&self, old: &KeyRef, guards: Guards) -> Result<(), RotateError> {
        self.unneeded(old, guards).await?;
        self.note(old, KeyState::Retired).await?;
        // A replica may have wrapped between the two questions: then the version stays needed, and
        // destroying it asks again.
        self.unneeded(old, guards).await
    }

    /// Destroys a retired version at its provider, for good.
    ///
    /// # Errors
    /// As [`Vault::retire_kek`]; [`RotateError::NotRetired`]; [`RotateError::Backups`] while a backup of
    /// the rows may need it.
    pub async fn destroy_kek_version(
        &self,
        old: &KeyRef,
        guards: Guards,
    ) -> Result<(), RotateError> {
        self.unneeded(old, guards).await?;
        let versions = self.keys.store.kek_versions().await.map_err(KeyError::from)?;
        let known = versions.into_iter().find(|version| version.key == *old);
        let Some(known) = known.filter(|known| known.state.rank() >= KeyState::Retired.rank())
        else {
            return Err(RotateError::NotRetired { key: old.clone() });
        };
        let kept = i64::try_from(guards.backups_kept.as_millis()).unwrap_or(i64::MAX);
        let until_ms = known.changed_ms.saturating_add(kept);
        if known.state == KeyState::Retired && now_ms() < until_ms {
            return Err(RotateError::Backups { key: old.clone(), until_ms });
        }
        crash::reached("vault_destroy_before");
        self.keys.provider.destroy_version(old).await.map_err(KeyError::from)?;
        crash::reached("vault_destroy_after");
        self.note(old, KeyState::Destroyed).await
    }

    /// Refuses while anything still wraps or unwraps with a version.
    async fn unneeded(&self, old: &KeyRef, guards: Guards) -> Result<(), RotateError> {
        if self.keys.current_kek().await.map_err(KeyError::from)? == *old {
            return Err(RotateError::Current { key: old.clone() });
        }
        let keys = self.used_by(old).await?;
        if keys > 0 {
            return Err(RotateError::InUse { key: old.clone(), keys });
        }
        let live = i64::try_from(guards.live_within.as_millis()).unwrap_or(i64::MAX);
        let since = now_ms().saturating_sub(live);
        let reports = self.keys.store.replicas().await.map_err(KeyError::from)?;
        let behind = |report: &ReplicaReport| report.key == *old && report.at_ms >= since;
        let replicas: Vec<String> =
            reports.into_iter().filter(behind).map(|report| report.replica).collect();
        if replicas.is_empty() {
            return Ok(());
        }
        Err(RotateError::Stragglers { key: old.clone(), replicas })
    }

    async fn move_all(
        &self,
        old: &KeyRef,
        pace: Pace,
        so_far: &mut Progress,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), RotateError> {
        let mut after: Option<ScopeKeyId> = None;
        loop {
            let page = self.keys.store.page_by_kek(old, after, pace.batch.max(1)).await;
            let page = page.map_err(KeyError::from)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.sk_id);
            for row in &page {
                if self.rewrap(row).await? {
                    so_far.done += 1;
                    progress(*so_far);
                }
            }
            tokio::time::sleep(pace.pause).await;
        }
    }

    /// False when somebody else changed the row meanwhile: a later pass looks at it again.
    async fn rewrap(&self, row: &WrappedScopeKey) -> Result<bool, KeyError> {
        let before = self.keys.unwrap(row).await?;
        crash::reached("vault_rewrap_unwrapped");
        let native = self.keys.provider.rewrap(&row.kek(), &row.wrapped, &row.digest()).await?;
        let new = match native {
            Some(wrapped) => wrapped,
            None => self.keys.provider.wrap(&before.text(), &before.digest()).await?,
        };
        let new = self.readback(row, &before.text(), new).await?;
        crash::reached("vault_rewrap_before_replace");
        let swapped = self.keys.store.replace(row, &new).await?;
        crash::reached("vault_rewrap_after_replace");
        Ok(swapped)
    }

    /// Unwraps what was just wrapped and compares: a provider that wraps wrongly loses nothing.
    async fn readback(
        &self,
        row: &WrappedScopeKey,
        text: &crate::provider::WrapText,
        new: Wrapped,
    ) -> Result<Rewrapped, KeyError> {
        let kind = self.keys.provider.kind();
        let row = WrappedScopeKey {
            kek_provider: kind.to_owned(),
            kek_id: new.key.kek_id.clone(),
            kek_ver: new.key.kek_ver,
            wrapped: new.bytes,
            ..row.clone()
        };
        let back = self.keys.unwrap(&row).await?;
        if !bool::from(back.text().ct_eq(text.as_slice())) {
            return Err(KeyError::Altered { sk_id: row.sk_id });
        }
        Ok(Rewrapped { kek_provider: row.kek_provider, key: new.key, wrapped: row.wrapped })
    }

    /// Old versions that still wrap something, and how much.
    async fn left_behind(&self, current: &KeyRef) -> Result<Vec<(KeyRef, u64)>, RotateError> {
        let uses = self.keys.store.kek_use().await.map_err(KeyError::from)?;
        let behind = uses.into_iter().filter(|one| one.key != *current);
        Ok(behind.map(|one| (one.key, one.keys)).collect())
    }

    async fn used_by(&self, key: &KeyRef) -> Result<u64, RotateError> {
        let uses = self.keys.store.kek_use().await.map_err(KeyError::from)?;
        Ok(uses.iter().filter(|one| one.key == *key).map(|one| one.keys).sum())
    }

    /// Versions that wrap nothing and are not yet retired.
    async fn emptied(&self, current: &KeyRef) -> Result<Vec<KeyRef>, RotateError> {
        let versions = self.keys.store.kek_versions().await.map_err(KeyError::from)?;
        let old = versions.into_iter().filter(|version| version.state == KeyState::DecryptOnly);
        Ok(old.map(|version| version.key).filter(|key| key != current).collect())
    }

    async fn note(&self, key: &KeyRef, state: KeyState) -> Result<(), RotateError> {
        let kek_provider = self.keys.provider.kind().to_owned();
        let version = KekVersion { kek_provider, key: key.clone(), state, changed_ms: now_ms() };
        Ok(self.keys.store.set_kek_state(&version).await.map_err(KeyError::from)?)
    }
}

#[cfg(test)]
mod tests;
