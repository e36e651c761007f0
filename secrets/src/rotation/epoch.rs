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

use super::{Guards, RotateError};
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
    /// How long the provider can bring a destroyed version back; part of `final_within`.
    pub delay: Duration,
}

/// What a step did to a version that wraps no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// It was retired.
    Retired,
    /// It was destroyed for good.
    Destroyed,
    /// Nothing: its time has not come.
    NotYet,
}

impl Epochs {
    /// How long a version wraps, and how long it is kept afterwards: so long, at least, a backup of the scope
    /// keys opens. A tenth of the bound is left for the steps themselves.
    #[must_use]
    pub fn term(&self) -> Duration {
        self.final_within.saturating_sub(self.delay) / 20 * 9
    }

    /// When no copy of what was wrapped under a version opens any more, in Unix milliseconds, if a gateway runs
    /// from `now_ms` on: the whole bound after it began to wrap, or what is left of that once it wraps no more;
    /// later where its steps are overdue.
    #[must_use]
    pub fn final_at(&self, version: &KekVersion, now_ms: i64) -> i64 {
        let rest = self.final_within.saturating_sub(self.term());
        let (whole, least) = match version.state {
            KeyState::Destroyed => return version.changed_ms.saturating_add(millis(self.delay)),
            // Its last term begins when it is retired.
            KeyState::Retired => (rest, rest.saturating_sub(self.term())),
            KeyState::DecryptOnly => (rest, rest),
            KeyState::Pending | KeyState::Active => (self.final_within, rest),
        };
        let on_time = version.changed_ms.saturating_add(millis(whole));
        on_time.max(now_ms.saturating_add(millis(least)))
    }
}

impl<I: ?Sized> Vault<I> {
    /// Epochs of this vault's provider that keep a bound.
    #[must_use]
    pub fn epochs(&self, final_within: Duration) -> Epochs {
        let delay = self.keys.provider.destruction_delay();
        Epochs { final_within, live_within: Guards::default().live_within, delay }
    }

    /// Makes the next version once the current one has had its term; `None` before, and where another replica
    /// did. Then [`Vault::resume_kek_rotation`] moves what is left, and [`Vault::step_version`] takes each of
    /// [`Vault::old_versions`] one step further.
    ///
    /// Any number of replicas may do all of this at once, each as often as it likes; killed at any point it
    /// leaves every row readable, and the next look goes on.
    ///
    /// # Errors
    /// [`RotateError::Key`] when provider or store fail.
    pub async fn begin_epoch(&self, epochs: Epochs) -> Result<Option<KeyRef>, RotateError> {
        let current = self.keys.current_kek().await.map_err(KeyError::from)?;
        let since_ms = self.began(&current).await?;
        let due = since_ms.saturating_add(millis(epochs.term())) <= now_ms();
        if due { self.make_after(&current).await } else { Ok(None) }
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
    /// next one took over was never noted as such: it is now. The current version is asked for anew: another
    /// replica may have made the next one meanwhile, and a version never goes back in the list.
    ///
    /// # Errors
    /// [`RotateError::Key`] when provider or store fail.
    pub async fn old_versions(&self) -> Result<Vec<KekVersion>, RotateError> {
        let current = self.keys.current_kek().await.map_err(KeyError::from)?;
        let read = async || self.keys.store.kek_versions().await.map_err(KeyError::from);
        let kind = self.keys.provider.kind();
        let old = |known: &KekVersion| {
            known.kek_provider == kind
                && known.key != current
                && known.key.kek_ver <= current.kek_ver
        };
        for known in read().await?.into_iter().filter(old) {
            if known.state == KeyState::Active {
                self.note(&known.key, KeyState::DecryptOnly).await?;
            }
        }
        let versions = read().await?.into_iter().filter(old);
        Ok(versions.filter(|known| known.state != KeyState::Destroyed).collect())
    }

    /// Retires a version that nobody needs, or destroys one that was retired a term ago. A version that cannot
    /// go on keeps no other one.
    ///
    /// # Errors
    /// Why it has to wait, as [`Vault::retire_kek`] and [`Vault::destroy_kek_version`].
    pub async fn step_version(
        &self,
        version: &KekVersion,
        epochs: Epochs,
    ) -> Result<Stepped, RotateError> {
        let guards = Guards { live_within: epochs.live_within, backups_kept: epochs.term() };
        if version.state != KeyState::Retired {
            let retired = self.retire_kek(&version.key, guards).await;
            // A replica that wrapped at the last moment is told of when it is to be destroyed.
            let now = self.known(&version.key).await?.map(|known| known.state);
            return if now == Some(KeyState::Retired) {
                Ok(Stepped::Retired)
            } else {
                retired.map(|()| Stepped::NotYet)
            };
        }
        match self.destroy_kek_version(&version.key, guards).await {
            Ok(()) => Ok(Stepped::Destroyed),
            Err(RotateError::Backups { .. }) => Ok(Stepped::NotYet),
            Err(fault) => Err(fault),
        }
    }

    /// Makes the version after `from`, unless somebody did already; `None` when the provider gives `from` back.
    pub(super) async fn make_after(&self, from: &KeyRef) -> Result<Option<KeyRef>, RotateError> {
        let next = self.keys.provider.rotate(from).await.map_err(KeyError::from)?;
        if next == *from {
            return Ok(None);
        }
        crash::reached("vault_rotate_made");
        self.note(&next, KeyState::Active).await?;
        self.note(from, KeyState::DecryptOnly).await?;
        Ok(Some(next))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "epoch_tests.rs"]
mod tests;
