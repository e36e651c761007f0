//! Refresh tokens: opaque, single use, rotated (wire-contract 1.3).
//!
//! The directory keeps only their digests. A token that comes a second time was copied by someone, so
//! the whole family that grew from its sign-in ends there (RFC 9700 section 4.14.2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policies::Strength;
use secrecy::{ExposeSecret as _, SecretString};

use super::api_key::sha256;
use super::sign_in::{Issued, SignInRefused};
use super::{Caller, Identity, Proof};
use crate::directory::{DirectoryError, NewRefreshToken, RefreshUse, Standing, now_ms};

const PREFIX: &str = "imp_rt_";

/// How long a refresh token lives, in milliseconds: 30 days.
const LIFETIME_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// Why a refresh token gives no new pair. Clients take [`RefreshRefused::Ended`] as a logout and anything
/// else as a fault that passes (wire-contract 1.3).
#[derive(Debug, thiserror::Error)]
pub enum RefreshRefused {
    /// Unknown, used, expired, revoked, or its user may not act.
    #[error("the session has ended; sign in again")]
    Ended {
        /// A used token came again: the family was ended for it.
        reused: bool,
    },
    /// The directory or the key failed.
    #[error("the session cannot be refreshed now; try again")]
    Unavailable(#[source] SignInRefused),
}

/// What signing out did.
#[derive(Debug)]
pub enum SignOut {
    /// This caller's session has ended.
    Ended(Box<Caller>),
    /// There was none.
    NoSession,
}

impl Identity {
    /// Spends a refresh token for a new pair.
    pub async fn refresh(&self, token: &SecretString) -> Result<Issued, RefreshRefused> {
        let digest = sha256(token.expose_secret().as_bytes());
        let next = fresh_token()?;
        let kept = (sha256(next.expose_secret().as_bytes()), expiry());
        let used = self.directory.use_refresh_token(digest, kept).await.map_err(unavailable)?;
        // The sign-in of the family: what is refreshed gets neither fresher nor stronger.
        let (user_id, strength) = match used {
            RefreshUse::First { user_id, strength, .. } => (user_id, strength),
            RefreshUse::Reused => return Err(RefreshRefused::Ended { reused: true }),
            RefreshUse::Unknown => return Err(RefreshRefused::Ended { reused: false }),
        };
        let standing = self.directory.principal(&user_id).await.map_err(unavailable)?;
        let issued = self.issue(standing, next, strength, |jti| Proof::RefreshToken { jti }).await;
        issued.map_err(unavailable)
    }

    /// Whose session a refresh token belongs to that was not spent yet.
    pub async fn session_user(
        &self,
        token: &SecretString,
    ) -> Result<Option<String>, RefreshRefused> {
        let digest = sha256(token.expose_secret().as_bytes());
        let owner = self.directory.session_of(digest).await.map_err(unavailable)?;
        Ok(owner.map(|(user, _)| user))
    }

    /// Ends the session of a refresh token, and says whose it was.
    pub async fn sign_out(&self, token: &SecretString) -> Result<SignOut, RefreshRefused> {
        let digest = sha256(token.expose_secret().as_bytes());
        let owner = self.directory.session_of(digest).await.map_err(unavailable)?;
        self.directory.end_refresh_family(digest).await.map_err(unavailable)?;
        let Some((user, family)) = owner else { return Ok(SignOut::NoSession) };
        match self.directory.principal(&user).await {
            Ok(standing) => {
                let proof = Proof::RefreshToken { jti: family };
                Ok(SignOut::Ended(Box::new(Caller::new(standing, proof))))
            }
            // Whoever was switched off has no session that could be told of.
            Err(DirectoryError::NotFound { .. } | DirectoryError::Inactive { .. }) => {
                Ok(SignOut::NoSession)
            }
            Err(fault) => Err(unavailable(fault)),
        }
    }

    /// The first refresh token of a new family.
    pub(super) async fn fresh_session(
        &self,
        standing: &Standing,
        strength: &Strength,
    ) -> Result<SecretString, SignInRefused> {
        let family = uuid::Uuid::now_v7().to_string();
        let kept = self.keep_refresh_token(&standing.user_id, &family, strength).await;
        kept.map_err(|refused| match refused {
            RefreshRefused::Unavailable(why) => why,
            RefreshRefused::Ended { .. } => SignInRefused::Credentials,
        })
    }

    async fn keep_refresh_token(
        &self,
        user_id: &str,
        family: &str,
        strength: &Strength,
    ) -> Result<SecretString, RefreshRefused> {
        let token = fresh_token()?;
        let digest = sha256(token.expose_secret().as_bytes());
        let expires_ms = expiry();
        let new = NewRefreshToken { sha256: digest, user_id, family, expires_ms, strength };
        self.directory.keep_refresh_token(new).await.map_err(unavailable)?;
        Ok(token)
    }
}

fn fresh_token() -> Result<SecretString, RefreshRefused> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| unavailable(SignInRefused::Unavailable(None)))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into())
}

fn expiry() -> i64 {
    now_ms().saturating_add(LIFETIME_MS)
}

/// What ends a sign-in ends a session; what is nobody's fault passes.
fn unavailable(fault: impl Into<SignInRefused>) -> RefreshRefused {
    match fault.into() {
        SignInRefused::Credentials => RefreshRefused::Ended { reused: false },
        other => RefreshRefused::Unavailable(other),
    }
}
