//! Email and password to an access token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_policies::{Strength, TenantId};
use secrecy::SecretString;
use uuid::Uuid;

use super::password::Checked;
use super::token::{ActorKind, sign};
use super::{AccessClaims, Caller, Identity, PasswordFault, Proof, now_seconds};
use crate::directory::{Actor, DirectoryError, Standing, User};

/// One try to sign in.
#[derive(Debug)]
pub struct SignIn {
    /// Tenant of the account.
    pub tenant: TenantId,
    /// As typed.
    pub email: String,
    /// As typed.
    pub password: SecretString,
    /// As typed: a code or a recovery code of the second factor.
    pub otp: Option<SecretString>,
    /// Where the try comes from.
    pub source: IpAddr,
}

/// A fresh pair of tokens.
#[derive(Debug)]
pub struct Issued {
    /// The access token in compact form.
    pub access_token: SecretString,
    /// The single-use refresh token.
    pub refresh_token: SecretString,
    /// Seconds until the access token dies, counted from now.
    pub expires_in: u64,
    /// Whose they are, for the record; its session is the `jti` of the access token.
    pub caller: Caller,
}

/// Why no token was issued. Wrong password, unknown user, deactivated user and deactivated tenant are one
/// answer, so that none can be told from the others.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefused {
    /// Too many tries.
    #[error("too many sign-in attempts; wait and try again")]
    TooMany {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Not an active account with this password.
    #[error("email or password is wrong")]
    Credentials,
    /// The password is right, and the account has a second factor of which no code was given.
    #[error("a code of the second factor is needed as well")]
    SecondFactorMissing,
    /// The password is right, and the code is wrong or was used before.
    #[error("the code of the second factor is wrong or was used before")]
    SecondFactorWrong,
    /// Too many checks at once.
    #[error("too many sign-ins at once; try again")]
    Busy,
    /// The directory or the key failed.
    #[error("sign-in is not available; try again")]
    Unavailable(#[source] Option<DirectoryError>),
}

impl SignInRefused {
    /// Stable word for records and refusals.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "login_rate_limited",
            Self::Credentials => "invalid_credentials",
            Self::SecondFactorMissing => "second_factor_required",
            Self::SecondFactorWrong => "second_factor_wrong",
            Self::Busy => "login_busy",
            Self::Unavailable(_) => "identity_unavailable",
        }
    }
}

impl From<DirectoryError> for SignInRefused {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotFound { .. }
            | DirectoryError::Inactive { .. }
            | DirectoryError::Invalid { .. } => Self::Credentials,
            other => Self::Unavailable(Some(other)),
        }
    }
}

impl From<PasswordFault> for SignInRefused {
    fn from(fault: PasswordFault) -> Self {
        match fault {
            PasswordFault::Length => Self::Credentials,
            PasswordFault::Busy => Self::Busy,
            PasswordFault::Library => Self::Unavailable(None),
        }
    }
}

impl Identity {
    /// Checks a password and issues an access token.
    pub async fn sign_in(&self, attempt: SignIn) -> Result<Issued, SignInRefused> {
        let account = format!("{}/{}", attempt.tenant, attempt.email.trim().to_lowercase());
        let tried = self.logins.try_once(attempt.source, &account).await;
        tried.map_err(|retry_after| SignInRefused::TooMany { retry_after })?;
        let user = self.account(&attempt.tenant, &attempt.email).await?;
        let stored = match &user {
            Some(user) => self.directory.password_of(&user.id).await?,
            None => None,
        };
        let checked = self.passwords.check(attempt.password.clone(), stored).await?;
        let (Some(user), Checked::Right { rehash }) = (user, checked) else {
            return Err(SignInRefused::Credentials);
        };
        let standing = self.directory.principal(&user.id).await?;
        let strength = match self.with_second_factor(&user.id, attempt.otp.as_ref()).await {
            Err(SignInRefused::SecondFactorMissing) => {
                // Nothing was guessed: whoever has the password comes again with a code.
                self.logins.succeeded(attempt.source, &account).await;
                return Err(SignInRefused::SecondFactorMissing);
            }
            other => other?,
        };
        if rehash {
            let hash = self.passwords.hash(attempt.password).await?;
            self.directory.renew_password_hash(&user.id, &hash, &Actor::gateway()).await?;
        }
        self.directory.note_login(&user.id).await?;
        self.logins.succeeded(attempt.source, &account).await;
        let session = self.fresh_session(&standing, &strength).await?;
        self.issue(standing, session, strength, |jti| Proof::Password { jti }).await
    }

    /// The account, or none; an email of an impossible form is nobody's.
    async fn account(
        &self,
        tenant: &TenantId,
        email: &str,
    ) -> Result<Option<User>, DirectoryError> {
        match self.directory.user_by_email(tenant, email).await {
            Ok(user) => Ok(Some(user)),
            Err(DirectoryError::NotFound { .. } | DirectoryError::Invalid { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A pair of tokens for someone whose standing was just asked.
    pub(super) async fn issue(
        &self,
        standing: Arc<Standing>,
        refresh_token: SecretString,
        strength: Strength,
        proof: impl FnOnce(String) -> Proof,
    ) -> Result<Issued, SignInRefused> {
        let claims = self.claims_of(&standing).with_strength(&strength);
        let ring = self.keys.current().await;
        let token = sign(ring.signer(), &claims).ok_or(SignInRefused::Unavailable(None))?;
        Ok(Issued {
            access_token: token.into(),
            refresh_token,
            expires_in: self.terms.expires_in(),
            caller: Caller::signed_in(standing, proof(claims.jti), strength),
        })
    }

    pub(super) fn claims_of(&self, standing: &Standing) -> AccessClaims {
        let (iat, exp) = self.terms.life_from(now_seconds(), standing.credentials_ms);
        let principal = &standing.principal;
        AccessClaims {
            sub: standing.user_id.clone(),
            iss: self.terms.issuer().to_owned(),
            iat,
            exp,
            nbf: None,
            jti: Uuid::now_v7().to_string(),
            tenant_id: principal.tenant.to_string(),
            role: principal.roles.first().cloned().unwrap_or_default(),
            scopes: for_clients(&principal.scopes),
            email: standing.email.clone(),
            actor_kind: ActorKind::User,
            amr: Vec::new(),
            acr: None,
            auth_time: None,
            device: false,
            ext_id: None,
            grant: None,
            aud: None,
        }
    }
}

/// The SDK's `has_scope` knows only the dot wildcard, so `ns:*` is said both ways (wire-contract 1.2).
fn for_clients(scopes: &[String]) -> Vec<String> {
    let dotted = scopes.iter().filter_map(|s| s.strip_suffix(":*").map(|ns| format!("{ns}.*")));
    let mut all: Vec<String> = scopes.iter().cloned().chain(dotted).collect();
    all.sort_unstable();
    all.dedup();
    all
}
