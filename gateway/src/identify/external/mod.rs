//! People whom somebody else vouches for: tokens of the identity providers that the operator configured.
//!
//! A provider says *who* (issuer and subject) and how strongly they signed in. What they may do stands in the directory
//! like everybody else's: an external identity is linked to a user there, by an operator, or by making the user at first
//! sight where the configuration says so. An email links nobody.
//!
//! The life of one token: 1. its issuer is read, to know whom to ask ([`ExternalIssuers::of_token`]); 2. header and claims
//! are read strictly (`token.rs`); 3. the key comes from that issuer's own set and no other (`keys.rs`); 4. issuer,
//! audience and times are checked; 5. the subject is looked up (`link.rs`),
//! and not again for half a second unless something was changed.
//!
//! INVARIANT: a key of one issuer verifies no token of another (`the_key_of_another_issuer_verifies_nothing`).
//! INVARIANT: unknown keys cause a bounded number of fetches (`ten_thousand_unknown_keys_cause_a_handful_of_fetches`).
//! INVARIANT: a warm call asks the directory nothing (`a_warm_call_asks_the_directory_nothing_whatever_the_credential`).
//! INVARIANT: an email links nobody (`an_email_alone_links_nobody`).

mod browser;
mod fetch;
mod keys;
mod link;
mod mapping;
mod settings;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Caller, Identity, IdentityError, Proof, TokenFault, Unidentified, now_seconds};
use keys::IssuerKeys;

pub use browser::{ExternalRefused, SignInBegun, SignInReturned, SignInWish};
pub use mapping::{MAX_FILE as MAX_MAPPING_FILE, Mapping, MappingFault};
pub use settings::{ExternalAlgorithm, ExternalClient, ExternalIssuer};
pub(crate) use token::ExternalClaims;

/// Verified tokens that are kept; beyond that the least used go.
const MAX_VERIFIED: u64 = 20_000;
/// The longest that a verified token is kept: then its key is looked at again.
const KEPT: std::time::Duration = std::time::Duration::from_secs(300);

/// One configured issuer with its keys.
pub(crate) struct Issuer {
    pub(crate) settings: ExternalIssuer,
    pub(crate) keys: IssuerKeys,
}

/// All configured issuers, and their tokens that verified a moment ago.
pub(crate) struct ExternalIssuers {
    issuers: HashMap<String, Arc<Issuer>>,
    verified: moka::sync::Cache<[u8; 32], Arc<Verified>>,
}

struct Verified {
    /// SHA-256 of the whole token.
    digest: [u8; 32],
    kid: String,
    claims: ExternalClaims,
}

impl ExternalIssuers {
    pub(crate) fn new(settings: Vec<ExternalIssuer>) -> Result<Self, IdentityError> {
        let mut issuers = HashMap::new();
        for settings in settings {
            let keys = IssuerKeys::new(&settings)?;
            issuers.insert(settings.url.clone(), Arc::new(Issuer { settings, keys }));
        }
        let verified =
            moka::sync::Cache::builder().max_capacity(MAX_VERIFIED).time_to_live(KEPT).build();
        Ok(Self { issuers, verified })
    }

    /// The issuer that a token names, when it is one of these. Nothing of the token is believed by that.
    pub(crate) fn of_token(&self, text: &str) -> Option<Arc<Issuer>> {
        if self.issuers.is_empty() {
            return None;
        }
        self.issuers.get(&token::unverified_issuer(text)?).cloned()
    }

    /// Names of the issuers at which people can sign in.
    pub(crate) fn clients(&self) -> Vec<String> {
        let all = self.issuers.values().filter(|issuer| issuer.settings.client.is_some());
        let mut names: Vec<String> = all.map(|issuer| issuer.settings.name.clone()).collect();
        names.sort();
        names
    }

    /// The issuer of this name, when people can sign in at it.
    pub(crate) fn client(&self, name: &str) -> Option<(Arc<Issuer>, &ExternalClient)> {
        let issuer = self.issuers.values().find(|issuer| issuer.settings.name == name)?;
        Some((Arc::clone(issuer), issuer.settings.client.as_ref()?))
    }

    /// The claims of a token of this issuer, once everything about it is checked.
    async fn verify(&self, issuer: &Issuer, text: &str) -> Result<Arc<Verified>, TokenFault> {
        let now = now_seconds();
        let digest: Option<[u8; 32]> = digest(&SHA256, text.as_bytes()).as_ref().try_into().ok();
        let digest = digest.ok_or(TokenFault::Malformed)?;
        if let Some(verified) = self.verified.get(&digest) {
            let theirs = verified.claims.iss == issuer.settings.url;
            if theirs && issuer.keys.has(&verified.kid) {
                verified.claims.in_time(now)?;
                return Ok(verified);
            }
        }
        let unverified = token::parse(text, &issuer.settings.algorithms)?;
        let key = issuer.keys.key(unverified.kid()).await.ok_or(TokenFault::UnknownKey)?;
        let kid = unverified.kid().to_owned();
        let claims = unverified.verify(&key)?;
        claims.check(&issuer.settings.url, &issuer.settings.audiences, now)?;
        let verified = Arc::new(Verified { digest, kid, claims });
        self.verified.insert(digest, Arc::clone(&verified));
        Ok(verified)
    }

    pub(crate) fn purge(&self) {
        self.verified.invalidate_all();
    }
}

impl Identity {
    /// The caller whom a token of a configured issuer speaks for.
    pub(super) async fn by_external(
        &self,
        issuer: &Issuer,
        text: &str,
    ) -> Result<Caller, Unidentified> {
        let verified = self.external.verify(issuer, text).await?;
        let claims = &verified.claims;
        let link = self.linked_user(&issuer.settings, claims);
        let user = self.directory.linked(verified.digest, link).await?;
        let standing = self.directory.principal(&user).await?;
        let jti = claims.jti.clone().unwrap_or_else(|| {
            // Records name the session, and nobody by the name that others know them by.
            format!("{}:{}", link::short_digest(&claims.sub), claims.iat_or_exp())
        });
        let session = format!("{}/{jti}", issuer.settings.name);
        Ok(Caller::signed_in(standing, Proof::ExternalToken { session }, claims.strength()))
    }
}
