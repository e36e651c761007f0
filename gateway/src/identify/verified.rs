//! Tokens that verified a moment ago: a signature check costs tens of microseconds, a look-up one or two.
//!
//! The key is the SHA-256 of the whole token, so that no two tokens share an entry; only tokens that
//! verified are kept; every hit checks the times again and that the signing key is still published.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::MAX_ACCESS_TOKEN_LIFETIME;
use super::keys::KeyRing;
use super::token::{AccessClaims, in_time};

const MAX_TOKENS: u64 = 50_000;

struct Verified {
    kid: String,
    claims: Arc<AccessClaims>,
}

pub(crate) struct VerifiedTokens(moka::sync::Cache<[u8; 32], Arc<Verified>>);

impl std::fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifiedTokens({})", self.0.entry_count())
    }
}

impl VerifiedTokens {
    pub(crate) fn new() -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(MAX_TOKENS)
            .time_to_live(MAX_ACCESS_TOKEN_LIFETIME);
        Self(cache.build())
    }

    pub(crate) fn get(&self, token: &str, ring: &KeyRing, now: i64) -> Option<Arc<AccessClaims>> {
        let verified = self.0.get(&key_of(token)?)?;
        let counts = ring.key(&verified.kid).is_some() && in_time(&verified.claims, now).is_ok();
        counts.then(|| Arc::clone(&verified.claims))
    }

    pub(crate) fn insert(&self, token: &str, kid: String, claims: Arc<AccessClaims>) {
        if let Some(key) = key_of(token) {
            self.0.insert(key, Arc::new(Verified { kid, claims }));
        }
    }

    pub(crate) fn purge(&self) {
        self.0.invalidate_all();
    }
}

fn key_of(token: &str) -> Option<[u8; 32]> {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().ok()
}
