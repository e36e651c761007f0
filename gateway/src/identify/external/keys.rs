//! The keys of one issuer: found by its discovery document, kept, and asked for again when a token names an unknown one,
//! though never more often than [`AGAIN_AFTER`] whatever anybody sends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::fetch::{Fetch, NoAnswer};
use super::{ExternalAlgorithm, ExternalIssuer};
use crate::identify::IdentityError;

/// At most one fetch in this time, successful or not.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// After that a set is asked for again although every key is known: one may have been taken back.
const STALE_AFTER: Duration = Duration::from_secs(15 * 60);
/// An issuer that cannot be reached is believed so long by the keys of before.
const DEAD_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Most keys of one issuer.
const MAX_KEYS: usize = 64;
/// Longest key id.
pub(super) const MAX_KID: usize = 256;

/// What a discovery document says that is used here (OpenID Connect Discovery 1.0, RFC 8414).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Discovery {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    pub(super) authorization_endpoint: Option<String>,
    #[serde(default)]
    pub(super) token_endpoint: Option<String>,
    /// RFC 9207: a callback without `iss` is refused then.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key that may verify.
#[derive(Clone)]
pub(crate) struct ExternalKey {
    pub(super) key: DecodingKey,
    pub(super) kind: KeyKind,
    /// The one algorithm that the set allows for it, if it says so.
    pub(super) only: Option<String>,
}

/// What a key can be used for, whatever a token's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
    Ed25519,
}

impl KeyKind {
    pub(super) fn fits(self, algorithm: ExternalAlgorithm) -> bool {
        use ExternalAlgorithm::{EdDsa, Es256, Ps256, Rs256};
        matches!(
            (self, algorithm),
            (Self::Rsa, Rs256 | Ps256) | (Self::P256, Es256) | (Self::Ed25519, EdDsa)
        )
    }
}

/// The keys of one issuer.
#[derive(Clone)]
pub(crate) struct IssuerKeys(Arc<Source>);

struct Source {
    issuer: String,
    name: String,
    fetch: Fetch,
    set: ArcSwap<Keys>,
    /// When somebody asked last; held while asking, so that many who wait cause one question.
    asking: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Keys {
    keys: HashMap<String, ExternalKey>,
    read_at: Option<Instant>,
    discovery: Option<Discovery>,
}

impl Keys {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() < age)
    }
}

impl IssuerKeys {
    pub(crate) fn new(issuer: &ExternalIssuer) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(Source {
            issuer: issuer.url.clone(),
            name: issuer.name.clone(),
            fetch: Fetch::new(issuer)?,
            set: ArcSwap::default(),
            asking: tokio::sync::Mutex::default(),
        })))
    }

    /// Whether a key still counts.
    pub(crate) fn has(&self, kid: &str) -> bool {
        let set = self.0.set.load();
        set.is_younger_than(STALE_AFTER) && set.keys.contains_key(kid)
    }

    /// The key of this id.
    pub(crate) async fn key(&self, kid: &str) -> Option<ExternalKey> {
        let set = self.0.set.load_full();
        if let Some(key) = set.keys.get(kid).filter(|_| set.is_younger_than(STALE_AFTER)) {
            return Some(key.clone());
        }
        self.ask_again().await;
        let set = self.0.set.load_full();
        set.keys.get(kid).filter(|_| set.is_younger_than(DEAD_AFTER)).cloned()
    }

    pub(super) fn fetch(&self) -> &Fetch {
        &self.0.fetch
    }

    /// What the issuer says of itself.
    pub(super) async fn discovery(&self) -> Option<Discovery> {
        if !self.0.set.load().is_younger_than(STALE_AFTER) {
            self.ask_again().await;
        }
        let set = self.0.set.load_full();
        set.discovery.clone().filter(|_| set.is_younger_than(DEAD_AFTER))
    }

    /// In a task of its own: whoever hangs up must not take the answer away from all others.
    async fn ask_again(&self) {
        let source = Arc::clone(&self.0);
        tokio::spawn(async move { source.ask_again().await }).await.ok();
    }
}

impl Source {
    async fn ask_again(&self) {
        let mut asked = self.asking.lock().await;
        if asked.is_some_and(|at| at.elapsed() < AGAIN_AFTER) {
            return;
        }
        *asked = Some(Instant::now());
        match self.read().await {
            Ok(keys) => self.set.store(Arc::new(keys)),
            Err(why) => {
                tracing::warn!(issuer = %self.name, %why, "an issuer's keys could not be read");
            }
        }
        // From its end: an issuer that is slow to answer is not asked without a pause.
        *asked = Some(Instant::now());
    }

    async fn read(&self) -> Result<Keys, NoAnswer> {
        let base = self.issuer.trim_end_matches('/');
        let discovery: Discovery =
            self.fetch.json(&format!("{base}/.well-known/openid-configuration")).await?;
        // Another issuer's document would bring another issuer's keys.
        if discovery.issuer != self.issuer {
            return Err(NoAnswer::Shape("it names another issuer".to_owned()));
        }
        let set: Set = self.fetch.json(&discovery.jwks_uri).await?;
        let mut keys = HashMap::new();
        for jwk in set.keys.into_iter().take(MAX_KEYS) {
            if let Some((kid, key)) = read_key(jwk) {
                // Of two keys of one id nobody can say which is meant.
                if keys.insert(kid, key).is_some() {
                    return Err(NoAnswer::Shape("two keys have one id".to_owned()));
                }
            }
        }
        Ok(Keys { keys, read_at: Some(Instant::now()), discovery: Some(discovery) })
    }
}

/// A key that signs by one of our algorithms; others in the set are no fault.
fn read_key(jwk: Value) -> Option<(String, ExternalKey)> {
    let only = jwk.get("alg").and_then(Value::as_str).map(str::to_owned);
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let kid = jwk.common.key_id.clone().filter(|kid| (1..=MAX_KID).contains(&kid.len()))?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => KeyKind::Rsa,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => KeyKind::P256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            KeyKind::Ed25519
        }
        _ => return None,
    };
    Some((kid, ExternalKey { key: DecodingKey::from_jwk(&jwk).ok()?, kind, only }))
}
