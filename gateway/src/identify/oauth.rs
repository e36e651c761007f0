//! Tokens of a grant: what a person consented to give a program (OAuth 2.1, authorization code with PKCE).
//!
//! An access token of a grant is one of ours with the claim `grant`: it verifies like any other, and what it may do
//! is asked of the directory with every call, as the person's scopes of now within those of the consent. It has the
//! `aud` of this gateway and no role. Services that trust our keys refuse any `aud` (wire-contract 1.1), and they
//! should: they would take the program for its person (RFC 9068 section 2.2, RFC 8707).
//!
//! INVARIANT: a code or refresh token that comes twice ends its grant
//! (`mcp_oauth::attacks::a_code_that_comes_twice_ends_its_grant`,
//! `mcp_oauth::rotates_refresh_tokens_and_ends_the_grant_when_one_comes_twice`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use super::device::OAuthRefused;
use super::sign_in::{Issued, SignInRefused};
use super::token::{ActorKind, sign};
use super::{Caller, Identity, Proof, sha256};
use crate::directory::{Actor, DirectoryError, GrantEnd, NewOAuthGrant, now_ms};
use crate::oauth::{Challenge, OAuthFault};

const CODE_PREFIX: &str = "imp_oa_";
const REFRESH_PREFIX: &str = "imp_ort_";
/// How long a code may be redeemed, in milliseconds: its program has it a moment later.
const CODE_LIFETIME_MS: i64 = 60_000;
/// How long a refresh token lives, in milliseconds: 30 days.
const REFRESH_LIFETIME_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// What a person consents to.
#[derive(Debug, Clone)]
pub struct Consent {
    /// The program.
    pub client_id: String,
    /// What it may do, all of it held by the person.
    pub scopes: Vec<String>,
    /// Where the code goes.
    pub redirect_uri: String,
    /// The challenge of the program.
    pub challenge: Challenge,
}

/// A code that a program redeems.
#[derive(Debug)]
pub struct Redemption {
    /// The program, as it says.
    pub client_id: String,
    /// The code.
    pub code: SecretString,
    /// What only the program knows.
    pub verifier: SecretString,
    /// Where the code was sent, as the program says.
    pub redirect_uri: String,
}

impl Identity {
    /// Keeps a consent, and gives the code for its program.
    ///
    /// # Errors
    /// See [`OAuthRefused`].
    pub async fn consent(
        &self,
        person: &Caller,
        to: Consent,
    ) -> Result<SecretString, OAuthRefused> {
        let code = fresh(CODE_PREFIX)?;
        let new = NewOAuthGrant {
            client_id: to.client_id,
            user_id: person.user_id().to_owned(),
            scopes: to.scopes,
            code_sha256: digest(&code),
            redirect_uri: to.redirect_uri,
            challenge: to.challenge.to_string(),
            expires_ms: now_ms().saturating_add(CODE_LIFETIME_MS),
        };
        self.directory.offer_grant(new).await?;
        Ok(code)
    }

    /// Redeems a code: its grant begins.
    ///
    /// # Errors
    /// [`OAuthFault::InvalidGrant`] for another program, verifier or address, and for a code that is used up; the
    /// latter ends what it began.
    pub async fn redeem_code(&self, shown: &Redemption) -> Result<Issued, OAuthRefused> {
        let sha256 = digest(&shown.code);
        let code = self.directory.oauth_code(sha256).await?;
        if code.is_spent {
            return Err(self.reused(&code.grant_id, GrantEnd::CodeReused).await);
        }
        let fits = code.challenge.parse::<Challenge>()?.fits(shown.verifier.expose_secret());
        let same = code.client_id == shown.client_id && code.redirect_uri == shown.redirect_uri;
        if !fits || !same || !code.is_whole {
            return Err(OAuthFault::InvalidGrant.into());
        }
        let refresh = fresh(REFRESH_PREFIX)?;
        let expires = now_ms().saturating_add(REFRESH_LIFETIME_MS);
        if !self.directory.begin_grant(sha256, digest(&refresh), expires).await? {
            // Somebody else redeemed it between the look and now.
            return Err(self.reused(&code.grant_id, GrantEnd::CodeReused).await);
        }
        self.issue_of_grant(&code.grant_id, refresh).await
    }

    /// Who granted what a refresh token belongs to that was not spent yet.
    ///
    /// # Errors
    /// See [`OAuthRefused`].
    pub async fn grant_user(&self, token: &SecretString) -> Result<Option<String>, OAuthRefused> {
        match self.directory.oauth_refresh(digest(token)).await {
            Ok(shown) if shown.is_spent => Ok(None),
            Ok(shown) => Ok(Some(shown.user_id)),
            Err(DirectoryError::NotFound { .. }) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Spends a refresh token of a grant for a new pair. `scopes` are those that the program asks for, none for all.
    ///
    /// # Errors
    /// [`OAuthFault::InvalidGrant`] for another program and a token that is used up, which ends the grant;
    /// [`OAuthFault::InvalidScope`] for more than was consented to.
    pub async fn renew_grant(
        &self,
        client_id: &str,
        token: &SecretString,
        scopes: &[&str],
    ) -> Result<Issued, OAuthRefused> {
        let sha256 = digest(token);
        let shown = self.directory.oauth_refresh(sha256).await?;
        if shown.client_id != client_id {
            return Err(OAuthFault::InvalidGrant.into());
        }
        if shown.is_spent {
            return Err(self.reused(&shown.grant_id, GrantEnd::RefreshReused).await);
        }
        let grant = self.directory.oauth_grant(&shown.grant_id).await?;
        let within = |scope: &&str| {
            grant.scopes.iter().any(|held| portcullis_policies::scope::grants(held, scope))
        };
        if !scopes.iter().all(within) {
            return Err(OAuthFault::InvalidScope.into());
        }
        let refresh = fresh(REFRESH_PREFIX)?;
        let expires = now_ms().saturating_add(REFRESH_LIFETIME_MS);
        if !self.directory.renew_grant(sha256, digest(&refresh), expires).await? {
            return Err(self.not_whole(sha256, &shown.grant_id).await);
        }
        self.issue_of_grant(&shown.grant_id, refresh).await
    }

    /// Ends the grant of a token that its program gives back (RFC 7009). A token that is nobody's needs no ending.
    ///
    /// # Errors
    /// See [`OAuthRefused`].
    pub async fn revoke_token(
        &self,
        client_id: &str,
        token: &SecretString,
    ) -> Result<(), OAuthRefused> {
        let shown = match self.directory.oauth_refresh(digest(token)).await {
            Ok(refresh) => Some((refresh.client_id, refresh.grant_id)),
            Err(DirectoryError::NotFound { .. }) => self.grant_of(token).await?,
            Err(fault) => return Err(fault.into()),
        };
        // Another program's token is as unknown to this one as a token that never was.
        if let Some((client, grant)) = shown
            && client == client_id
        {
            let by = Actor::client(client_id);
            self.directory.end_grant(&grant, GrantEnd::ByClient, &by).await?;
        }
        Ok(())
    }

    /// Program and grant of an access token that still counts.
    async fn grant_of(
        &self,
        token: &SecretString,
    ) -> Result<Option<(String, String)>, OAuthRefused> {
        let claims = self.verify_fresh(token.expose_secret(), super::now_seconds()).await;
        let Some(grant) = claims.ok().and_then(|claims| claims.grant.clone()) else {
            return Ok(None);
        };
        match self.directory.oauth_grant(&grant).await {
            Ok(grant) => Ok(Some((grant.client_id, grant.id))),
            Err(DirectoryError::Inactive { .. }) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn issue_of_grant(
        &self,
        grant: &str,
        refresh_token: SecretString,
    ) -> Result<Issued, OAuthRefused> {
        let standing = self.directory.grant_principal(grant).await?;
        let mut claims = self.claims_of(&standing);
        claims.actor_kind = ActorKind::User;
        claims.grant = Some(grant.to_owned());
        claims.aud = Some(self.terms.resource().to_owned());
        // The role is the person's; a program has none.
        claims.role = String::new();
        let ring = self.keys.current().await;
        let token = sign(ring.signer(), &claims).ok_or(SignInRefused::Unavailable(None))?;
        Ok(Issued {
            access_token: token.into(),
            refresh_token,
            expires_in: self.terms.expires_in(),
            caller: Caller::new(standing, Proof::Grant { jti: claims.jti }),
        })
    }

    /// Two showed the same token at once, or it was ended or too old.
    async fn not_whole(&self, sha256: [u8; 32], grant: &str) -> OAuthRefused {
        match self.directory.oauth_refresh(sha256).await {
            Ok(refresh) if refresh.is_spent => self.reused(grant, GrantEnd::RefreshReused).await,
            Ok(_) => OAuthFault::InvalidGrant.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Ends a grant one of whose tokens was copied by someone.
    async fn reused(&self, grant: &str, why: GrantEnd) -> OAuthRefused {
        match self.directory.end_grant(grant, why, &Actor::gateway()).await {
            Ok(_) => OAuthFault::InvalidGrant.into(),
            Err(fault) => fault.into(),
        }
    }
}

fn fresh(prefix: &str) -> Result<SecretString, SignInRefused> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| SignInRefused::Unavailable(None))?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random)).into())
}

fn digest(secret: &SecretString) -> [u8; 32] {
    sha256(secret.expose_secret().as_bytes())
}
