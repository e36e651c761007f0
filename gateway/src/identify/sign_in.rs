//! Email and password to an access token.

use std::net::IpAddr;
use std::time::Duration;

use portcullis_policies::TenantId;
use secrecy::SecretString;
use uuid::Uuid;

use super::password::Checked;
use super::token::{ActorKind, life_from, sign};
use super::{ACCESS_TOKEN_SECONDS, AccessClaims, Identity, PasswordFault, now_seconds};
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
    /// Where the try comes from.
    pub source: IpAddr,
}

/// A fresh access token.
#[derive(Debug)]
pub struct Issued {
    /// The token in compact form.
    pub access_token: SecretString,
    /// Seconds until it dies, counted from now.
    pub expires_in: u64,
    /// Its `jti`, for the record.
    pub jti: String,
    /// Whose it is.
    pub user_id: String,
    /// The tenant of that user.
    pub tenant: TenantId,
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
        self.logins
            .try_once(attempt.source, &account)
            .map_err(|retry_after| SignInRefused::TooMany { retry_after })?;
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
        if rehash {
            let hash = self.passwords.hash(attempt.password).await?;
            self.directory.set_password_hash(&user.id, &hash, &Actor::gateway()).await?;
        }
        self.directory.note_login(&user.id).await?;
        self.issue(&standing).await
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

    /// An access token for someone whose standing was just asked.
    pub(crate) async fn issue(&self, standing: &Standing) -> Result<Issued, SignInRefused> {
        let (iat, exp) = life_from(now_seconds());
        let principal = &standing.principal;
        let claims = AccessClaims {
            sub: standing.user_id.clone(),
            iss: self.issuer.clone(),
            iat,
            exp,
            nbf: None,
            jti: Uuid::now_v7().to_string(),
            tenant_id: principal.tenant.to_string(),
            role: principal.roles.first().cloned().unwrap_or_default(),
            scopes: for_clients(&principal.scopes),
            email: standing.email.clone(),
            actor_kind: ActorKind::User,
        };
        let ring = self.keys.current().await;
        let token = sign(ring.signer(), &claims).ok_or(SignInRefused::Unavailable(None))?;
        Ok(Issued {
            access_token: token.into(),
            expires_in: ACCESS_TOKEN_SECONDS,
            jti: claims.jti,
            user_id: claims.sub,
            tenant: principal.tenant.clone(),
        })
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
