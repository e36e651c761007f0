//! Access tokens: JWS compact form, RS256 and nothing else (wire-contract 1.1, RFC 7515, RFC 8725).
//!
//! Header and claims are closed shapes: an unknown member (`jku`, `x5u`, `jwk`, `x5c`, `crit`) or
//! a member that comes twice is refused before any key is touched; `aud` is there exactly when `grant` is. General JWT libraries let both
//! pass, which is why the shape is read here; the signature itself is aws-lc-rs's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policies::AppId;
use serde::{Deserialize, Serialize};

use super::MAX_ACCESS_TOKEN_LIFETIME;
use super::credential::MAX_TOKEN_BYTES;
use super::keys::{KeyRing, Signer};

/// How far `iat` is set back, in seconds: the SDK has no leeway for clocks that differ.
const ISSUED_EARLIER_SECONDS: i64 = 2;

/// How far in the future `iat` may be, in seconds: clocks of two replicas differ.
const CLOCK_SKEW_SECONDS: i64 = 5;

/// Why a token does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three parts of canonical base64url, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// The header is not exactly `alg`, `kid` and maybe `typ`.
    #[error("the token's header is not one of ours")]
    Header,
    /// Another algorithm than RS256.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// No published key of that id.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// The claims are not those that this deployment writes.
    #[error("the token's claims are not ours")]
    Claims,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is from before its user's password or second factor was changed.
    #[error("the token is from before a change of password")]
    Ended,
}

impl TokenFault {
    /// Stable word for records and refusals.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Header => "token_header",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Claims => "token_claims",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet",
            Self::Ended => "token_ended",
        }
    }
}

/// The claims of an access token. `role`, `scopes` and `email` are for clients to read; the gateway asks
/// the directory instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// User id.
    pub sub: String,
    /// Issuer of this deployment.
    pub iss: String,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds; the token is dead from then on.
    pub exp: i64,
    /// Unix seconds before which the token does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Unique id of the token.
    pub jti: String,
    /// Tenant of the user.
    pub tenant_id: String,
    /// Role when the token was made.
    pub role: String,
    /// Scopes when the token was made.
    pub scopes: Vec<String>,
    /// Email when the token was made.
    pub email: String,
    /// For whom the token speaks.
    pub actor_kind: ActorKind,
    /// How the person signed in: authentication methods (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Authentication context class of the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Unix seconds of the sign-in, which a refresh does not move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// A program holds the session: its person approved it elsewhere, by a device code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub device: bool,
    /// The app whose code acts for the user; on extension tokens only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_id: Option<AppId>,
    /// What a person granted a program; on tokens of programs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// For whom the token is; on tokens of programs only. Services that trust our keys refuse any (wire-contract 1.1),
    /// so that none takes a program for its person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
}

/// Whom a token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A person.
    User,
    /// The code of an app that acts for a person.
    Extension,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
}

/// What this deployment's tokens say of themselves, and what must therefore be true of each.
#[derive(Debug, Clone)]
pub(crate) struct TokenTerms {
    issuer: String,
    resource: String,
    lifetime: Duration,
}

impl TokenTerms {
    /// `resource` is what programs call this deployment; nobody can grant anything where it is not known.
    pub(crate) fn new(issuer: String, resource: Option<String>, lifetime: Duration) -> Self {
        let resource = resource.unwrap_or_else(|| issuer.clone());
        Self { issuer, resource, lifetime: lifetime.min(MAX_ACCESS_TOKEN_LIFETIME) }
    }

    /// `aud` of the tokens of programs.
    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Seconds from now to the end of a token made now.
    pub(crate) fn expires_in(&self) -> u64 {
        self.lifetime.as_secs()
    }

    /// `iat` and `exp` of a token made at `now` (Unix seconds) for somebody whose credentials are that old.
    pub(crate) fn life_from(&self, now: i64, credentials_ms: i64) -> (i64, i64) {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(0);
        // The second of the change is shared with tokens from before it, so that later ones count from the next.
        let next_second = credentials_ms.saturating_add(999) / 1_000;
        let issued = now.max(next_second.min(now.saturating_add(CLOCK_SKEW_SECONDS)));
        (issued.saturating_sub(ISSUED_EARLIER_SECONDS), now.saturating_add(lifetime))
    }
}

/// Whether a token was made since its user's credentials are what they are (Unix milliseconds).
///
/// # Errors
/// [`TokenFault::Ended`].
pub(crate) fn since(claims: &AccessClaims, credentials_ms: i64) -> Result<(), TokenFault> {
    let issued = claims.iat.saturating_add(ISSUED_EARLIER_SECONDS);
    if issued.saturating_mul(1_000) < credentials_ms { Err(TokenFault::Ended) } else { Ok(()) }
}

/// A token whose header was read and whose signature was not checked yet.
pub(crate) struct Unverified<'a> {
    kid: String,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// Reads the parts and the header; touches no key.
pub(crate) fn parse(token: &str) -> Result<Unverified<'_>, TokenFault> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenFault::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
    if payload.contains('.') {
        return Err(TokenFault::Malformed);
    }
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| TokenFault::Header)?;
    if header.alg != "RS256" {
        return Err(TokenFault::Algorithm);
    }
    if header.typ.is_some_and(|typ| typ != "JWT") {
        return Err(TokenFault::Header);
    }
    Ok(Unverified { kid: header.kid, signed, payload, signature: decode(signature)? })
}

impl Unverified<'_> {
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// Checks signature, claims and times, in that order. `now` is in Unix seconds.
    pub(crate) fn verify(
        self,
        ring: &KeyRing,
        terms: &TokenTerms,
        now: i64,
    ) -> Result<AccessClaims, TokenFault> {
        let key = ring.key(&self.kid).ok_or(TokenFault::UnknownKey)?;
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(TokenFault::Signature);
        }
        let claims: AccessClaims =
            serde_json::from_slice(&decode(self.payload)?).map_err(|_| TokenFault::Claims)?;
        let whole = (claims.actor_kind == ActorKind::Extension) == claims.ext_id.is_some();
        let whole = whole && !(claims.grant.is_some() && claims.ext_id.is_some());
        let audience = claims.grant.as_ref().map(|_| terms.resource());
        let whole = whole && claims.aud.as_deref() == audience;
        let ours = claims.iss == terms.issuer && has_our_lifetime(&claims);
        if !ours || !whole || claims.sub.is_empty() {
            return Err(TokenFault::Claims);
        }
        in_time(&claims, now)?;
        Ok(claims)
    }
}

/// No configuration lets a token live longer, whoever got the key to sign. The lifetime of today's
/// configuration is not asked, so that changing it does not end the sessions of now.
fn has_our_lifetime(claims: &AccessClaims) -> bool {
    let longest = MAX_ACCESS_TOKEN_LIFETIME.as_secs().saturating_add_signed(ISSUED_EARLIER_SECONDS);
    let life = claims.exp.saturating_sub(claims.iat);
    u64::try_from(life).is_ok_and(|life| (1..=longest).contains(&life))
}

/// Whether the claims count at `now` (Unix seconds).
pub(crate) fn in_time(claims: &AccessClaims, now: i64) -> Result<(), TokenFault> {
    if claims.exp <= now {
        return Err(TokenFault::Expired);
    }
    let starts = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    if starts > now.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(TokenFault::NotYet);
    }
    Ok(())
}

/// Signs claims with the key that signs now. `None` when the library refuses.
pub(crate) fn sign(signer: &Signer, claims: &AccessClaims) -> Option<String> {
    let header = Header {
        alg: "RS256".to_owned(),
        kid: signer.kid().to_owned(),
        typ: Some("JWT".to_owned()),
    };
    let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    let header = part(serde_json::to_vec(&header).ok()?);
    let payload = part(serde_json::to_vec(claims).ok()?);
    let signed = format!("{header}.{payload}");
    let signature = part(signer.sign(signed.as_bytes())?);
    Some(format!("{signed}.{signature}"))
}

/// Canonical only: no padding, no stray bits in the last character, so one token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}
