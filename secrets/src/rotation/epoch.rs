//! Epochs: the key-encryption key changes by itself, so that what was destroyed is gone from old copies, too.
//!
//! A destroyed scope key lives on in each copy of its row that was made before: a backup, a journal that was
//! archived, a standby. Each of these is wrapped under the version of its day, and opens with nothing else. So a
//! version wraps for one term only, and is destroyed one term after the next one took over: what was destroyed
//! while it wrapped can then be read by nobody, whatever was copied.
//!
//! # The life of a version
//! 1. It wraps for one **term**.
//! 2. The next version takes over, and every scope key that is left is wrapped again under it.
//! 3. It is retired, once no live replica wraps with it.
//! 4. It is destroyed one term later. Until then, backups of its days open.
//!
//! Two terms and the time that steps take are at most the bound that the operator gave
//! ([`Epochs::final_within`]): NIST SP 800-57 part 1 calls the first the originator-usage period, and both the
//! cryptoperiod.

use super::{Guards, Pace, RotateError};
use crate::crash;
use crate::keys::KeyError;
use crate::provider::KeyRef;
use crate::scope_key::KeyState;
use crate::store::{KekVersion, now_ms};
use crate::vault::Vault;
use std::time::Duration;

/// How long versions of the key-encryption key live when they change by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// From the destruction of a scope key until no copy of it opens any more, at most.
    pub final_within: Duration,
    /// A replica that said nothing for so long is taken for stopped.
    pub live_within: Duration,
}

/// What one turn did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turned {
    /// The version that was made, if the one before had had its term.
    pub made: Option<KeyRef>,
    /// Scope keys that were wrapped again.
    pub moved: u64,
    /// Versions that were retired.
    pub retired: Vec<KeyRef>,
    /// Versions that were destroyed for good.
    pub destroyed: Vec<KeyRef>,
    /// Versions that could not go on yet, and why.
    pub waits: Vec<(KeyRef, String)>,
}

impl Epochs {
    /// Epochs that keep this bound.
    #[must_use]
    pub fn final_within(bound: Duration) -> Self {
        Self { final_within: bound, live_within: Guards::default().live_within }
    }

    /// How long a version wraps, and how long it is kept afterwards: so long, at least, a backup of the scope
    /// keys opens. A tenth of the bound is left for the steps themselves.
    #[must_use]
    pub fn term(&self) -> Duration {
        self.final_within / 20 * 9
    }

    /// When no copy of what was wrapped under a version opens any more, in Unix milliseconds, if a gateway
    /// runs by then: the whole bound after it began to wrap, or what is left of that once it wraps no more.
    #[must_use]
    pub fn final_at(&self, version: &KekVersion) -> i64 {
        let left = match version.state {
            KeyState::Destroyed => Duration::ZERO,
            KeyState::DecryptOnly | KeyState::Retired => {
                self.final_within.saturating_sub(self.term())
            }
            KeyState::Pending | KeyState::Active => self.final_within,
        };
        version.changed_ms.saturating_add(millis(left))
    }
}

impl<I: ?Sized> Vault<I> {
    /// Takes each version one step further, as far as its time has come. Any number of replicas may do it at
    /// once, each as often as it likes; killed at any point it leaves every row readable, and the next turn goes on.
    ///
    /// # Errors
    /// As [`Vault::rotate_kek`]. What only has to wait is in [`Turned::waits`] instead.
    pub async fn turn_epoch(&self, epochs: Epochs, pace: Pace) -> Result<Turned, RotateError> {
        let current = self.keys.current_kek().await.map_err(KeyError::from)?;
        let since_ms = self.began(&current).await?;
        let due = since_ms.saturating_add(millis(epochs.term())) <= now_ms();
        let made = if due { Some(self.make_after(&current).await?) } else { None };
        let moved = self.resume_kek_rotation(pace, &mut |_| ()).await?;
        let mut turned = Turned { made, moved: moved.moved, ..Turned::default() };
        for version in self.old_versions(&moved.current).await? {
            self.step(version, epochs, &mut turned).await?;
        }
        Ok(turned)
    }

    /// When the current version began to wrap; noted now when nobody did before.
    async fn began(&self, current: &KeyRef) -> Result<i64, RotateError> {
        if let Some(known) = self.known(current).await? {
            return Ok(known.changed_ms);
        }
        self.note(current, KeyState::Active).await?;
        let known = self.known(current).await?;
        Ok(known.map_or_else(now_ms, |known| known.changed_ms))
    }

    async fn known(&self, key: &KeyRef) -> Result<Option<KekVersion>, RotateError> {
        let versions = self.keys.store.kek_versions().await.map_err(KeyError::from)?;
        let kind = self.keys.provider.kind();
        Ok(versions.into_iter().find(|known| known.key == *key && known.kek_provider == kind))
    }

    /// Versions of this provider that wrap no more and are not destroyed. One that wrapped nothing when the
    /// next one took over was never noted as such: it is now.
    async fn old_versions(&self, current: &KeyRef) -> Result<Vec<KekVersion>, RotateError> {
        let read = async || self.keys.store.kek_versions().await.map_err(KeyError::from);
        let kind = self.keys.provider.kind();
        let old = |known: &KekVersion| known.kek_provider == kind && known.key != *current;
        for known in read().await?.into_iter().filter(old) {
            if known.state == KeyState::Active {
                self.note(&known.key, KeyState::DecryptOnly).await?;
            }
        }
        let versions = read().await?.into_iter().filter(old);
        Ok(versions.filter(|known| known.state != KeyState::Destroyed).collect())
    }

    /// Retires a version that nobody needs, or destroys one that was retired a term ago.
    async fn step(
        &self,
        version: KekVersion,
        epochs: Epochs,
        turned: &mut Turned,
    ) -> Result<(), RotateError> {
        let guards = Guards { live_within: epochs.live_within, backups_kept: epochs.term() };
        let key = version.key;
        let (done, list) = if version.state == KeyState::Retired {
            (self.destroy_kek_version(&key, guards).await, &mut turned.destroyed)
        } else {
            (self.retire_kek(&key, guards).await, &mut turned.retired)
        };
        match done {
            Ok(()) => list.push(key),
            Err(
                fault @ (RotateError::Backups { .. }
                | RotateError::Stragglers { .. }
                | RotateError::InUse { .. }),
            ) => {
                turned.waits.push((key, fault.to_string()));
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Makes the version after `from`, unless somebody did already.
    pub(super) async fn make_after(&self, from: &KeyRef) -> Result<KeyRef, RotateError> {
        let next = self.keys.provider.rotate(from).await.map_err(KeyError::from)?;
        crash::reached("vault_rotate_made");
        self.note(&next, KeyState::Active).await?;
        self.note(from, KeyState::DecryptOnly).await?;
        Ok(next)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "epoch_tests.rs"]
mod tests;
