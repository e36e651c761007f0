//! Tokens of external issuers: JWS compact form, read strictly, checked before anything of them is used (RFC 8725).
//!
//! The header is a closed shape: what would bring a key along (`jku`, `x5u`, `jwk`, `x5c`) or change the meaning (`crit`)
//! is refused before any key is looked for. Claims are open, since each provider has its own, but no member comes twice.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jsonwebtoken::Algorithm;
use portcullis_policies::Strength;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ExternalAlgorithm;
use super::keys::{ExternalKey, MAX_KID};
use crate::edge::{JsonLimits, StrictJson};
use crate::identify::credential::MAX_TOKEN_BYTES;
use crate::identify::{TokenFault, now_seconds};

/// How far clocks may differ, in seconds.
const SKEW: i64 = 5;
/// The longest life of a token, in seconds: what lives longer is no access token.
const MAX_LIFE: i64 = 24 * 3_600;
/// Longest subject (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT: usize = 255;
/// Deepest nesting of claims.
const MAX_DEPTH: usize = 8;
/// Most methods, and the longest of them, that are kept.
const MAX_METHODS: usize = 16;
const MAX_WORD: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: Option<String>,
    /// Names a certificate of the key; some providers always send it, and it decides nothing.
    #[serde(default, rename = "x5t")]
    _x5t: Option<String>,
    #[serde(default, rename = "x5t#S256")]
    _x5t_s256: Option<String>,
}

#[derive(Deserialize)]
struct Peek {
    iss: String,
}

/// The issuer that a token names; nothing is checked.
pub(super) fn unverified_issuer(text: &str) -> Option<String> {
    if text.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let payload = text.split('.').nth(1)?;
    let peek: Peek = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(peek.iss)
}

/// A token whose header was read and whose signature was not checked yet.
pub(crate) struct Unverified<'a> {
    algorithm: ExternalAlgorithm,
    kid: String,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// Reads the parts and the header; touches no key.
pub(crate) fn parse<'a>(
    text: &'a str,
    allowed: &[ExternalAlgorithm],
) -> Result<Unverified<'a>, TokenFault> {
    if text.len() > MAX_TOKEN_BYTES {
        return Err(TokenFault::Malformed);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
    // Canonical base64url only, so that one token has one spelling.
    if payload.contains('.') || decode(signature)?.is_empty() {
        return Err(TokenFault::Malformed);
    }
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| TokenFault::Header)?;
    let algorithm = ExternalAlgorithm::named(&header.alg).filter(|a| allowed.contains(a));
    let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
    let typed = header.typ.as_deref().is_none_or(|typ| {
        ["jwt", "at+jwt", "application/at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known))
    });
    if !typed || header.kid.is_empty() || header.kid.len() > MAX_KID {
        return Err(TokenFault::Header);
    }
    Ok(Unverified { algorithm, kid: header.kid, signed, payload, signature })
}

impl Unverified<'_> {
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// Checks the signature and reads the claims; neither issuer nor audience nor times are checked yet.
    pub(crate) fn verify(self, key: &ExternalKey) -> Result<ExternalClaims, TokenFault> {
        let only = key.only.as_deref().is_none_or(|only| only == self.algorithm.name());
        if !only || !key.kind.fits(self.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let algorithm = match self.algorithm {
            ExternalAlgorithm::Rs256 => Algorithm::RS256,
            ExternalAlgorithm::Ps256 => Algorithm::PS256,
            ExternalAlgorithm::Es256 => Algorithm::ES256,
            ExternalAlgorithm::EdDsa => Algorithm::EdDSA,
        };
        let message = self.signed.as_bytes();
        let right = jsonwebtoken::crypto::verify(self.signature, message, &key.key, algorithm);
        if !right.is_ok_and(|right| right) {
            return Err(TokenFault::Signature);
        }
        ExternalClaims::read(decode(self.payload)?)
    }
}

/// What a provider says of somebody; signed by it.
#[derive(Debug, Clone)]
pub(crate) struct ExternalClaims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: Option<i64>,
    pub(crate) nbf: Option<i64>,
    pub(crate) jti: Option<String>,
    /// All of them, for the mapping.
    pub(crate) all: Map<String, Value>,
}

impl ExternalClaims {
    fn read(payload: Vec<u8>) -> Result<Self, TokenFault> {
        let limits = JsonLimits { max_bytes: MAX_TOKEN_BYTES, max_depth: MAX_DEPTH };
        let json =
            StrictJson::parse(Bytes::from(payload), limits).map_err(|_| TokenFault::Claims)?;
        let Value::Object(all) = json.value else { return Err(TokenFault::Claims) };
        let text = |name: &str| match all.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TokenFault::Claims),
        };
        let seconds = |name: &str| match all.get(name) {
            None => Ok(None),
            // A float, a text or what no clock shows is refused, not rounded.
            Some(time) => match time.as_i64() {
                Some(time @ 0..=253_402_300_799) => Ok(Some(time)),
                _ => Err(TokenFault::Claims),
            },
        };
        let sub = text("sub")?.filter(|sub| (1..=MAX_SUBJECT).contains(&sub.len()));
        Ok(Self {
            iss: text("iss")?.ok_or(TokenFault::Claims)?,
            sub: sub.ok_or(TokenFault::Claims)?,
            aud: audience(all.get("aud"))?,
            exp: seconds("exp")?.ok_or(TokenFault::Claims)?,
            iat: seconds("iat")?,
            nbf: seconds("nbf")?,
            jti: text("jti")?.filter(|jti| jti.len() <= MAX_WORD),
            all,
        })
    }

    /// Checks for whom and from whom it is, and when it counts.
    pub(crate) fn check(
        &self,
        issuer: &str,
        audiences: &[String],
        now: i64,
    ) -> Result<(), TokenFault> {
        if self.iss != issuer || !self.aud.iter().any(|aud| audiences.contains(aud)) {
            return Err(TokenFault::Claims);
        }
        if self.exp.saturating_sub(self.iat.unwrap_or(now)) > MAX_LIFE {
            return Err(TokenFault::Claims);
        }
        self.in_time(now)
    }

    /// Whether it counts at `now`.
    pub(crate) fn in_time(&self, now: i64) -> Result<(), TokenFault> {
        if self.exp <= now {
            return Err(TokenFault::Expired);
        }
        let begins = self.nbf.unwrap_or(0).max(self.iat.unwrap_or(0));
        if begins > now.saturating_add(SKEW) {
            return Err(TokenFault::NotYet);
        }
        Ok(())
    }

    /// A time that tells tokens of one subject apart where they have no id.
    pub(crate) fn iat_or_exp(&self) -> i64 {
        self.iat.unwrap_or(self.exp)
    }

    /// How the provider says that they signed in.
    pub(crate) fn strength(&self) -> Strength {
        let word = |value: &Value| {
            let text = value.as_str()?;
            (1..=MAX_WORD).contains(&text.len()).then(|| text.to_owned())
        };
        let amr = self.all.get("amr").and_then(Value::as_array);
        let amr = amr.map(|list| list.iter().filter_map(word).take(MAX_METHODS).collect());
        // The classes of the gateway's own sign-in are its own to give.
        let ours = |acr: &String| acr.starts_with("urn:portcullis:");
        let acr = self.all.get("acr").and_then(word).filter(|acr| !ours(acr));
        // A sign-in that lies ahead would be fresh for ever.
        let past = |at: &i64| (1..=now_seconds().saturating_add(SKEW)).contains(at);
        let auth_time = self.all.get("auth_time").and_then(Value::as_i64).filter(past);
        Strength { amr: amr.unwrap_or_default(), acr, auth_time, device: false }
    }

    /// The email that the provider has verified.
    pub(crate) fn verified_email(&self) -> Option<&str> {
        let verified = self.all.get("email_verified").and_then(Value::as_bool) == Some(true);
        self.all.get("email").and_then(Value::as_str).filter(|_| verified)
    }
}

fn audience(aud: Option<&Value>) -> Result<Vec<String>, TokenFault> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(TokenFault::Claims);
    match aud {
        Some(one @ Value::String(_)) => Ok(vec![text(one)?]),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        _ => Err(TokenFault::Claims),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}
