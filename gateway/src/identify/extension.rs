//! Tokens by which an app's code acts for one user: bound to app, user and tenant, short-lived.

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

impl Identity {
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
