//! Tokens by which an app's code acts for one user: bound to app, user and tenant, short-lived.

use std::sync::Arc;

use portcullis_policies::AppId;
use secrecy::SecretString;

use super::token::{ActorKind, sign};
use super::{Identity, IdentityError};

/// A token for an app's code, and how long it lives.
#[derive(Debug)]
pub struct ExtensionToken {
    /// Compact form.
    pub token: SecretString,
    /// Seconds until it dies, counted from now.
    pub expires_in: u64,
}

/// A token is handed out again while it lives at least this long.
const ENOUGH_LIFE_SECONDS: i64 = 300;
/// Users and apps whose token is kept; beyond that one is signed anew.
const MAX_HANDED: u64 = 20_000;

/// Tokens that were handed to workers a moment ago: a signature costs more than a millisecond.
pub(crate) struct HandedTokens(moka::sync::Cache<(String, AppId), Arc<Handed>>);

struct Handed {
    token: SecretString,
    kid: String,
    version: u64,
    expires: i64,
}

impl HandedTokens {
    pub(crate) fn new() -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(MAX_HANDED)
            .time_to_live(super::MAX_ACCESS_TOKEN_LIFETIME);
        Self(cache.build())
    }
}

impl std::fmt::Debug for HandedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HandedTokens({})", self.0.entry_count())
    }
}

impl Identity {
    /// A token as of [`Identity::extension_token`], perhaps one of a moment ago: signed by the key of
    /// now, for the standing of now, with minutes to live.
    ///
    /// # Errors
    /// As [`Identity::extension_token`].
    pub async fn handed_token(
        &self,
        user: &str,
        app: &AppId,
    ) -> Result<SecretString, IdentityError> {
        let standing = self.directory.principal(user).await?;
        let ring = self.keys.current().await;
        let now = super::now_seconds();
        let key = (user.to_owned(), app.clone());
        let fits = |handed: &Arc<Handed>| {
            handed.version == standing.version
                && handed.kid == ring.signer().kid()
                && handed.expires.saturating_sub(now) >= ENOUGH_LIFE_SECONDS
        };
        if let Some(handed) = self.handed.0.get(&key).filter(fits) {
            return Ok(handed.token.clone());
        }
        let made = self.extension_token(user, app).await?;
        let lives = i64::try_from(made.expires_in).unwrap_or_default();
        let handed = Handed {
            token: made.token.clone(),
            kid: ring.signer().kid().to_owned(),
            version: standing.version,
            expires: now.saturating_add(lives),
        };
        self.handed.0.insert(key, Arc::new(handed));
        Ok(made.token)
    }

    /// Makes a token by which the code of `app` acts for a user. It lives as long as an access token
    /// does, reaches the secrets of that app and user, and nothing else: the rules see the app.
    ///
    /// # Errors
    /// When there is no such active user, or no key to sign with.
    pub async fn extension_token(
        &self,
        user: &str,
        app: &AppId,
    ) -> Result<ExtensionToken, IdentityError> {
        let standing = self.directory.principal(user).await?;
        let mut claims = self.claims_of(&standing.acting_as(app));
        claims.actor_kind = ActorKind::Extension;
        claims.ext_id = Some(app.clone());
        let ring = self.keys.current().await;
        let token = sign(ring.signer(), &claims).ok_or(IdentityError::NoSigningKey)?;
        Ok(ExtensionToken { token: token.into(), expires_in: self.terms.expires_in() })
    }
}
