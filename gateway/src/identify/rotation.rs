//! Replacing the key that signs access tokens, without a failed call: publish, wait, sign, wait, retire.
//!
//! The waits are why this is a type of its own: a key that signs before every verifier has it fails calls, and so
//! does one that is taken away while its tokens live. Who must not wait, because a key is in wrong hands, says so.
//!
//! INVARIANT: a key signs once every verifier can have it, and goes once its last token is dead
//! (`a_key_neither_signs_nor_goes_before_its_time`).

use std::time::Duration;

use jiff::Timestamp;

use super::keys::{KeySize, RELOAD_AFTER, generate};
use super::{IdentityError, MAX_ACCESS_TOKEN_LIFETIME, Sealer};
use crate::directory::{Actor, Directory, DirectoryError, SigningKeyRow, SigningKeyState};

/// How long verifiers keep a JWKS document (wire-contract.md 1.1: the SDK, 300 s).
const JWKS_CACHED: Duration = Duration::from_secs(300);
/// A replica may sign with the key before for this long after another one was promoted.
const SEEN_AFTER: Duration = RELOAD_AFTER;

/// Whether the waits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Wait until no call can fail.
    Patient,
    /// Go on at once: a key is in wrong hands, and failed calls are the smaller harm.
    AtOnce,
}

/// Why a key did not go on to its next state.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Its time has not come.
    #[error("{kid} can {next} in {} s, at {at:.0}: {why}", wait.as_secs().max(1))]
    TooSoon {
        /// Which key.
        kid: String,
        /// What it is to do.
        next: &'static str,
        /// When it may.
        at: Timestamp,
        /// How long until then.
        wait: Duration,
        /// What would fail.
        why: &'static str,
    },
    /// No key in the state that this step begins with.
    #[error("no {state} signing key {kid}")]
    NoSuchKey {
        /// The state that is wanted.
        state: &'static str,
        /// As asked.
        kid: String,
    },
    /// The directory or the sealing.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<DirectoryError> for RotationError {
    fn from(fault: DirectoryError) -> Self {
        Self::Identity(fault.into())
    }
}

/// One step after the other, each by the operator's word; works with and without a running gateway.
pub struct Rotation<'a> {
    /// Where the keys are.
    pub directory: &'a Directory,
    /// What seals a new one.
    pub sealer: &'a dyn Sealer,
    /// Whom the ledger will name.
    pub by: &'a Actor,
}

impl Rotation<'_> {
    /// All keys that are not retired, oldest first.
    ///
    /// # Errors
    /// When the directory can't answer.
    pub async fn keys(&self) -> Result<Vec<SigningKeyRow>, RotationError> {
        Ok(self.directory.signing_keys().await?)
    }

    /// Publishes a new key that does not sign yet, or gives the one that waits already.
    ///
    /// # Errors
    /// When it can't be made, sealed or stored.
    pub async fn prepare(&self) -> Result<SigningKeyRow, RotationError> {
        let in_state = |row: &SigningKeyRow| row.state == SigningKeyState::Prepared;
        if let Some(waiting) = self.keys().await?.into_iter().find(in_state) {
            return Ok(waiting);
        }
        let made = generate(self.sealer, KeySize::Rsa2048, SigningKeyState::Prepared).await?;
        self.directory.insert_signing_key(&made, self.by).await?;
        self.find(&made.kid, &[SigningKeyState::Prepared]).await
    }

    /// Lets the prepared key `kid` sign; the one before only verifies from then on.
    ///
    /// # Errors
    /// [`RotationError::TooSoon`] while a verifier may not have it.
    pub async fn promote(&self, kid: &str, haste: Haste) -> Result<(), RotationError> {
        let row = self.find(kid, &[SigningKeyState::Prepared]).await?;
        self.wait_is_over(&row, haste)?;
        Ok(self.directory.promote_signing_key(kid, self.by).await?)
    }

    /// Takes the retiring key `kid` out of use, or a prepared one that shall never sign.
    ///
    /// # Errors
    /// [`RotationError::TooSoon`] while a token that it signed may live.
    pub async fn retire(&self, kid: &str, haste: Haste) -> Result<(), RotationError> {
        let row = self.find(kid, &[SigningKeyState::Retiring, SigningKeyState::Prepared]).await?;
        if row.state == SigningKeyState::Retiring {
            self.wait_is_over(&row, haste)?;
        }
        Ok(self.directory.retire_signing_key(kid, self.by).await?)
    }

    /// When the key may go on to its next state; none for the one that signs.
    #[must_use]
    pub fn next_at(&self, row: &SigningKeyRow) -> Option<Timestamp> {
        let wait = match row.state {
            SigningKeyState::Prepared => JWKS_CACHED + SEEN_AFTER,
            SigningKeyState::Retiring => {
                // Not the lifetime that is configured now: it may have been longer when the last token was made.
                MAX_ACCESS_TOKEN_LIFETIME + JWKS_CACHED + SEEN_AFTER
            }
            SigningKeyState::Signing | SigningKeyState::Retired => return None,
        };
        Timestamp::from_millisecond(row.changed_ms).ok()?.checked_add(wait).ok()
    }

    fn wait_is_over(&self, row: &SigningKeyRow, haste: Haste) -> Result<(), RotationError> {
        let Some(at) = self.next_at(row).filter(|_| haste == Haste::Patient) else { return Ok(()) };
        let wait = match Duration::try_from(at.duration_since(Timestamp::now())) {
            Ok(wait) if !wait.is_zero() => wait,
            _ => return Ok(()),
        };
        let (next, why) = match row.state {
            SigningKeyState::Prepared => {
                ("sign", "until then a verifier may hold a key set without it")
            }
            _ => ("be retired", "until then a token that it signed may be in use"),
        };
        Err(RotationError::TooSoon { kid: row.kid.clone(), next, at, wait, why })
    }

    async fn find(
        &self,
        kid: &str,
        states: &[SigningKeyState],
    ) -> Result<SigningKeyRow, RotationError> {
        let state = match states {
            [SigningKeyState::Prepared] => "prepared",
            _ => "prepared or retiring",
        };
        let missing = || RotationError::NoSuchKey { state, kid: kid.to_owned() };
        let meant = |row: &SigningKeyRow| row.kid == kid && states.contains(&row.state);
        self.keys().await?.into_iter().find(meant).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identify::tests::Fixture;

    #[tokio::test]
    async fn a_key_neither_signs_nor_goes_before_its_time() {
        let f = Fixture::new().await;
        let by = Actor::command("tester");
        let rotation = f.rotation(&by);
        let first = rotation.keys().await.unwrap().remove(0);
        let made = rotation.prepare().await.unwrap();
        assert_eq!(rotation.prepare().await.unwrap().kid, made.kid, "one waits at a time");
        let early = rotation.promote(&made.kid, Haste::Patient).await.unwrap_err();
        assert!(matches!(&early, RotationError::TooSoon { next: "sign", .. }), "{early}");
        assert!(early.to_string().contains("can sign in 3"), "{early}");
        f.age_signing_key(&made.kid, JWKS_CACHED + SEEN_AFTER).await;
        rotation.promote(&made.kid, Haste::Patient).await.unwrap();

        let early = rotation.retire(&first.kid, Haste::Patient).await.unwrap_err();
        assert!(matches!(&early, RotationError::TooSoon { next: "be retired", .. }), "{early}");
        f.age_signing_key(&first.kid, MAX_ACCESS_TOKEN_LIFETIME + JWKS_CACHED).await;
        assert!(rotation.retire(&first.kid, Haste::Patient).await.is_err(), "a replica's ring");
        f.age_signing_key(&first.kid, SEEN_AFTER).await;
        rotation.retire(&first.kid, Haste::Patient).await.unwrap();
        let left = rotation.keys().await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!((&left[0].kid, left[0].state), (&made.kid, SigningKeyState::Signing));
    }

    #[tokio::test]
    async fn the_key_that_signs_is_neither_promoted_nor_retired() {
        let f = Fixture::new().await;
        let by = Actor::command("tester");
        let rotation = f.rotation(&by);
        let kid = rotation.keys().await.unwrap().remove(0).kid;
        for refused in [
            rotation.promote(&kid, Haste::AtOnce).await,
            rotation.retire(&kid, Haste::AtOnce).await,
            rotation.promote("nobody", Haste::AtOnce).await,
        ] {
            assert!(matches!(refused, Err(RotationError::NoSuchKey { .. })), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_prepared_key_that_shall_never_sign_goes_at_once() {
        let f = Fixture::new().await;
        let by = Actor::command("tester");
        let rotation = f.rotation(&by);
        let made = rotation.prepare().await.unwrap();
        rotation.retire(&made.kid, Haste::Patient).await.unwrap();
        assert_eq!(rotation.keys().await.unwrap().len(), 1);
        let after = rotation.promote(&made.kid, Haste::AtOnce).await;
        assert!(matches!(after, Err(RotationError::NoSuchKey { .. })), "{after:?}");
    }
}
