//! Passwords: argon2id with the parameters that OWASP publishes (19 MiB, 2 passes, 1 lane).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use super::IdentityError;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How long a check waits for its turn before the caller is told to come back.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// Accepted lengths of a new password, in characters (wire-contract 1.3).
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=128;

/// Why a password was neither hashed nor checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// The caller's: not 8 to 128 characters.
    #[error("a password has 8 to 128 characters")]
    Length,
    /// Too many checks at once; each needs 19 MiB, so they wait in line.
    #[error("too many sign-ins at once; try again")]
    Busy,
    /// The library failed.
    #[error("the password cannot be hashed here")]
    Library,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Another password, or no such user.
    Wrong,
    /// The right one.
    Right {
        /// Its hash has older parameters and should be replaced.
        rehash: bool,
    },
}

/// Hashes and checks, so many at a time as there are processors.
pub struct Passwords {
    argon: Argon2<'static>,
    /// Checked against where there is no user, so that both cost the same.
    decoy: String,
    turns: Arc<Semaphore>,
    checks: AtomicU64,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// Hashes one random password, which becomes the decoy.
    pub fn new() -> Result<Self, IdentityError> {
        let params =
            Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| IdentityError::Generate)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut nobody = [0; 32];
        getrandom::fill(&mut nobody).map_err(|_| IdentityError::Generate)?;
        let decoy = hash_with(&argon, &nobody).map_err(|_| IdentityError::Generate)?;
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new(at_once));
        Ok(Self { argon, decoy, turns, checks: AtomicU64::new(0) })
    }

    /// The argon2id string of a new password.
    pub async fn hash(&self, password: SecretString) -> Result<String, PasswordFault> {
        if !LENGTHS.contains(&password.expose_secret().chars().count()) {
            return Err(PasswordFault::Length);
        }
        let argon = self.argon.clone();
        self.in_turn(move || hash_with(&argon, password.expose_secret().as_bytes())).await?
    }

    /// Checks a password against a stored string; without one the decoy is checked, and the answer is
    /// `Wrong` after the same work.
    pub async fn check(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<Checked, PasswordFault> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let argon = self.argon.clone();
        let found = self.in_turn(move || check_with(&argon, &password, &stored)).await?;
        Ok(if exists { found } else { Checked::Wrong })
    }

    /// How many checks were made since the start.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordFault> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(MAX_WAIT, turn)
            .await
            .map_err(|_| PasswordFault::Busy)?
            .map_err(|_| PasswordFault::Library)?;
        // The turn moves into the work: a client that hangs up does not free it early.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|_| PasswordFault::Library)
    }
}

fn hash_with(argon: &Argon2<'_>, password: &[u8]) -> Result<String, PasswordFault> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| PasswordFault::Library)?;
    let salt = SaltString::encode_b64(&salt).map_err(|_| PasswordFault::Library)?;
    let hash = argon.hash_password(password, &salt).map_err(|_| PasswordFault::Library)?;
    Ok(hash.to_string())
}

fn check_with(argon: &Argon2<'_>, password: &SecretString, stored: &str) -> Checked {
    let Ok(hash) = PasswordHash::new(stored) else { return Checked::Wrong };
    match argon.verify_password(password.expose_secret().as_bytes(), &hash) {
        Ok(()) => Checked::Right { rehash: is_outdated(&hash) },
        Err(_) => Checked::Wrong,
    }
}

fn is_outdated(hash: &PasswordHash<'_>) -> bool {
    let current = |name: &str, value: u32| hash.params.get_decimal(name) == Some(value);
    hash.algorithm != argon2::ARGON2ID_IDENT
        || !(current("m", MEMORY_KIB) && current("t", PASSES) && current("p", LANES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        let check = |text: &'static str| passwords.check(secret(text), Some(hash.clone()));
        assert_eq!(check("correct horse").await, Ok(Checked::Right { rehash: false }));
        assert_eq!(check("correct horsf").await, Ok(Checked::Wrong));
        assert_eq!(check("").await, Ok(Checked::Wrong));
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }

    #[tokio::test]
    async fn a_hash_of_older_parameters_is_right_and_to_be_replaced() {
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8_192, 1, 1, None).unwrap(),
        );
        let stored = hash_with(&weak, b"correct horse").unwrap();
        let passwords = Passwords::new().unwrap();
        let found = passwords.check(secret("correct horse"), Some(stored)).await;
        assert_eq!(found, Ok(Checked::Right { rehash: true }));
    }

    #[tokio::test]
    async fn a_password_of_another_length_is_not_hashed() {
        let passwords = Passwords::new().unwrap();
        for text in ["seven77", &"x".repeat(129)] {
            assert_eq!(passwords.hash(secret(text)).await, Err(PasswordFault::Length));
        }
    }

    #[tokio::test]
    async fn a_stored_string_that_is_no_hash_never_matches() {
        let passwords = Passwords::new().unwrap();
        for stored in ["", "plain", "$argon2id$broken"] {
            let found = passwords.check(secret(stored), Some(stored.to_owned())).await;
            assert_eq!(found, Ok(Checked::Wrong), "{stored:?}");
        }
    }
}
