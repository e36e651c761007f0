//! Who asks: credentials of a request to a [`Caller`].
//!
//! It never decides what a caller may do and never believes a request about who sends it: the
//! credential says who, the directory says what they were granted **now**.
//!
//! Vocabulary: a *credential* is an access token, an API key or a service token; a *hint* is a header or field in which
//! a client repeats who it is; a *standing* is what the directory says of the caller at this moment.
//!
//! The life of one request through it: 1. exactly one credential is taken from the headers
//! (`credential.rs`); 2. its proof is checked (`token.rs` behind the cache of `verified.rs`, or
//! `api_key.rs`); 3. the standing is asked of the directory; 4. hints must agree (`caller.rs`);
//! 5. the [`Caller`] comes out, which nobody else can make.
//!
//! INVARIANT: a token proves who, never what (`a_new_role_counts_although_the_old_token_still_lives`).
//! INVARIANT: a token does not outlive the password that it came from
//! (`a_token_from_before_a_new_password_is_refused_and_one_from_after_counts`).
//! INVARIANT: only the platform's own service names the user for whom it acts, and only one of its tenant
//! (`manages::a_service_of_the_platform_acts_for_people_of_its_tenant_only`).
//! INVARIANT: of our own tokens only RS256 with a published key verifies (`tokens_an_attacker_sends_are_refused`).
//! INVARIANT: an unknown user costs what a wrong password costs
//! (`an_unknown_user_costs_one_hash_like_a_wrong_password`).
//!
//! Begin reading at [`Identity::identify`].

mod account;
mod api_key;
mod call_token;
mod caller;
mod credential;
mod device;
mod error;
mod extension;
mod external;
mod key_uses;
mod keys;
mod limit;
mod oauth;
mod password;
mod profile;
mod refresh;
mod rotation;
mod sealer;
mod sign_in;
mod strength;
#[cfg(test)]
mod tests;
mod token;
mod totp;
mod verified;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use portcullis_policies::AppId;
use secrecy::SecretString;

pub use account::{AccountRefused, PasswordChange, Registration};
pub(crate) use api_key::sha256;
pub use api_key::{ApiKeyText, fresh_api_key, fresh_service_token};
pub use call_token::{CallClaims, CallTokenFault, CallTokens, ToolType};
pub use caller::{Caller, Proof};
pub use device::{DeviceAsked, DevicePoll, OAuthRefused};
pub use error::{IdentityError, Unidentified};
pub use extension::ExtensionToken;
pub use external::{
    ExternalAlgorithm, ExternalClient, ExternalIssuer, ExternalRefused, MAX_MAPPING_FILE, Mapping,
    MappingFault, SignInBegun, SignInReturned, SignInWish,
};
pub use keys::KeySize;
pub use limit::LoginLimits;
pub use oauth::{Consent, Redemption};
pub use password::{Checked, PasswordFault, Passwords};
pub use profile::Profile;
pub use refresh::{RefreshRefused, SignOut};
pub use rotation::{Haste, Rotation, RotationError};
pub use sealer::{SealFault, Sealer};
pub use sign_in::{Issued, SignIn, SignInRefused};
pub use token::{AccessClaims, TokenFault};
pub use totp::TotpOffer;

use crate::directory::{Directory, DirectoryError};
use crate::replicas::{Once, Redis, Use};
use credential::Credential;
use device::DeviceLimits;
use extension::HandedTokens;
use external::ExternalIssuers;
use key_uses::KeyUses;
use keys::SigningKeys;
use limit::LoginLimiter;
use token::TokenTerms;
use verified::VerifiedTokens;

/// How long an access token lives unless the configuration says otherwise (wire-contract 1.1).
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// The longest life that the configuration can give an access token.
pub const MAX_ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What identification needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// `iss` of the tokens that this deployment makes; others are refused.
    pub issuer: String,
    /// What programs call this deployment: `aud` of the tokens that people grant them.
    pub resource: Option<String>,
    /// How long access tokens live; longer than a day counts as a day.
    pub token_lifetime: Duration,
    /// Size of new signing keys.
    pub key_size: KeySize,
    /// Bounds on sign-in attempts.
    pub login_limits: LoginLimits,
    /// Issuers beside this deployment whose tokens are believed.
    pub issuers: Vec<ExternalIssuer>,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            issuer: "portcullis".to_owned(),
            resource: None,
            token_lifetime: ACCESS_TOKEN_LIFETIME,
            key_size: KeySize::Rsa2048,
            login_limits: LoginLimits::default(),
            issuers: Vec::new(),
        }
    }
}

/// What the connection, not the caller, says of a request.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionFacts<'a> {
    /// Address of the client, as the edge determined it.
    pub source: IpAddr,
    /// Query string without `?`, looked at only to refuse credentials in it.
    pub query: Option<&'a str>,
    /// Whether it came in at a door for the code of an app in a call: only there call tokens count.
    pub in_call: bool,
}

/// Everything that identification keeps: keys, caches and bounds. One per process, shared in an `Arc`.
pub struct Identity {
    directory: Directory,
    sealer: Arc<dyn Sealer>,
    keys: SigningKeys,
    verified: VerifiedTokens,
    external: ExternalIssuers,
    handed: HandedTokens,
    passwords: Passwords,
    logins: LoginLimiter,
    devices: DeviceLimits,
    key_uses: KeyUses,
    terms: TokenTerms,
    calls: CallTokens,
    once: Once,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the signing keys, making the first one when there is none.
    pub async fn open(
        directory: Directory,
        sealer: Arc<dyn Sealer>,
        settings: IdentitySettings,
    ) -> Result<Self, IdentityError> {
        let keys =
            SigningKeys::open(directory.clone(), Arc::clone(&sealer), settings.key_size).await?;
        Ok(Self {
            directory,
            sealer,
            keys,
            verified: VerifiedTokens::new(),
            external: ExternalIssuers::new(settings.issuers)?,
            handed: HandedTokens::new(),
            passwords: Passwords::new()?,
            logins: LoginLimiter::new("sign-in", settings.login_limits),
            devices: DeviceLimits::new(),
            key_uses: KeyUses::new(),
            terms: TokenTerms::new(settings.issuer, settings.resource, settings.token_lifetime),
            calls: CallTokens::new(&[]),
            once: Once::new(None),
        })
    }

    /// Who sent this request. Exactly one credential is wanted: `Authorization: Bearer <access token>` or
    /// `x-api-key: <key>` or
    /// `x-service-token: <token>`; hints must agree with it.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        facts: &ConnectionFacts<'_>,
    ) -> Result<Caller, Unidentified> {
        let mut caller = match credential::of_request(headers, facts.query)? {
            Credential::Bearer(token) => self.by_bearer(token).await?,
            Credential::ApiKey(key) => self.by_api_key(key).await?,
            Credential::Service(token) => self.by_service_token(token).await?,
            Credential::Call { token, service } if facts.in_call => {
                self.by_call_token(token, service).await?
            }
            Credential::Call { .. } => return Err(Unidentified::Scheme),
        };
        if caller.is_platform()
            && let Some(user) = credential::acting_user(headers)?
        {
            caller = self.acting_for(caller, user).await?;
        }
        credential::hints_agree(headers, &caller)?;
        Ok(caller)
    }

    /// With these call tokens, each counted once by this guard.
    #[must_use]
    pub fn with_calls(self, calls: CallTokens, once: Once) -> Self {
        Self { calls, once, ..self }
    }

    /// With guesses bounded over all replicas that share this Redis.
    #[must_use]
    pub fn bounded_by(self, redis: Option<&Arc<Redis>>) -> Self {
        let (logins, devices) = (self.logins.shared(redis.cloned()), self.devices.shared(redis));
        Self { logins, devices, ..self }
    }

    /// What the bounds on guesses have counted, in the Prometheus text format.
    pub fn write_metrics(&self, text: &mut String) {
        let [asks, typed] = self.devices.all();
        limit::write_metrics(&[&self.logins, asks, typed], text);
    }

    /// A token for one request of the code that is about to be called; none without randomness.
    #[must_use]
    pub fn call_token(&self, app: &AppId, user: &str, function: &str) -> Option<SecretString> {
        self.calls.mint(app, user, ToolType::of(function), now_seconds())
    }

    /// The guard against replays forgets what is over.
    pub fn keep_house(&self) {
        self.once.keep_house(now_seconds());
    }

    /// Somebody whose credential counted a moment ago, and counts once: only the standing is asked again.
    pub async fn again(&self, caller: &Caller) -> Result<Caller, Unidentified> {
        let standing = self.directory.principal(caller.user_id()).await?;
        let Some(app) = caller.extension() else { return Err(Unidentified::Scheme) };
        Ok(Caller::new(Arc::new(standing.acting_in_call(app)), caller.proof().clone()))
    }

    /// The JWKS document with all keys that are prepared, signing or retiring (RFC 7517).
    pub async fn jwks(&self) -> bytes::Bytes {
        self.keys.current().await.jwks.clone()
    }

    /// The key that checks and makes password hashes.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// The directory that standings come from.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Reads the signing keys again: somebody changed them.
    pub async fn reread_keys(&self) {
        self.keys.reread_now().await;
    }

    /// Forgets every verified token, so that each is checked again.
    pub fn purge_verified(&self) {
        self.verified.purge();
        self.external.purge();
    }

    async fn by_token(&self, token: &str) -> Result<Caller, Unidentified> {
        let ring = self.keys.current().await;
        let now = now_seconds();
        let claims = match self.verified.get(token, &ring, now) {
            Some(claims) => claims,
            None => match self.external.of_token(token) {
                Some(issuer) => return self.by_external(&issuer, token).await,
                None => self.verify_fresh(token, now).await?,
            },
        };
        let standing = match &claims.grant {
            None => self.directory.principal(&claims.sub).await?,
            Some(grant) => self.directory.grant_principal(grant).await?,
        };
        if standing.user_id != claims.sub {
            return Err(Unidentified::Token(TokenFault::Claims));
        }
        if standing.principal.tenant.as_str() != claims.tenant_id {
            return Err(Unidentified::Token(TokenFault::Claims));
        }
        token::since(&claims, standing.credentials_ms)?;
        let jti = claims.jti.clone();
        Ok(match (&claims.grant, &claims.ext_id) {
            (Some(_), _) => Caller::new(standing, Proof::Grant { jti }),
            (None, None) => {
                Caller::signed_in(standing, Proof::AccessToken { jti }, claims.strength())
            }
            (None, Some(app)) => {
                Caller::new(Arc::new(standing.acting_as(app)), Proof::ExtensionToken { jti })
            }
        })
    }

    async fn verify_fresh(&self, token: &str, now: i64) -> Result<Arc<AccessClaims>, Unidentified> {
        let unverified = token::parse(token)?;
        // A key that another replica published a moment ago is not in this ring yet.
        let ring = self.keys.containing(unverified.kid()).await;
        let kid = unverified.kid().to_owned();
        let claims = Arc::new(unverified.verify(&ring, &self.terms, now)?);
        self.verified.insert(token, kid, Arc::clone(&claims));
        Ok(claims)
    }

    /// What comes as `Bearer` is an access token, or a service token of a client that knows no other header.
    async fn by_bearer(&self, token: &str) -> Result<Caller, Unidentified> {
        match api_key::service_digest_of(token) {
            Some(digest) => self.by_service_digest(digest).await,
            None => self.by_token(token).await,
        }
    }

    async fn by_api_key(&self, key: &str) -> Result<Caller, Unidentified> {
        let digest = api_key::digest_of(key).ok_or(Unidentified::UnknownKey)?;
        let standing = self.directory.key_principal(digest).await.map_err(|e| match e {
            DirectoryError::NotFound { .. } => Unidentified::UnknownKey,
            other => other.into(),
        })?;
        self.key_uses.note(&self.directory, &standing.principal.id);
        Ok(Caller::new(standing, Proof::ApiKey))
    }
}

impl Identity {
    /// A service token of ours, or the token of an app's code in the header of one.
    async fn by_service_token(&self, token: &str) -> Result<Caller, Unidentified> {
        let caller = self.by_bearer(token).await?;
        match caller.extension() {
            Some(_) => Ok(caller),
            None => Err(Unidentified::Token(TokenFault::Claims)),
        }
    }

    async fn by_service_digest(&self, digest: [u8; 32]) -> Result<Caller, Unidentified> {
        let standing = self.directory.service_principal(digest).await.map_err(|e| match e {
            DirectoryError::NotFound { .. } => Unidentified::UnknownKey,
            other => other.into(),
        })?;
        Ok(Caller::new(standing, Proof::ServiceToken))
    }

    /// The code of an app in one call; the token is used up before anything else about it is looked at.
    async fn by_call_token(
        &self,
        token: &str,
        service: Option<&str>,
    ) -> Result<Caller, Unidentified> {
        let now = now_seconds();
        let claims = self.calls.verify(token, now)?;
        let name = format!("calltoken:{}", claims.jti);
        match self.once.use_up(&name, claims.exp, now).await {
            Use::First => {}
            Use::Again => return Err(CallTokenFault::Replayed.into()),
            Use::Unknown => return Err(Unidentified::NoReplayGuard),
        }
        let standing = self.directory.principal(&claims.user_id).await?;
        let proof = Proof::CallToken { jti: claims.jti, tool_type: claims.tool_type };
        let caller = Caller::new(Arc::new(standing.acting_in_call(&claims.app_id)), proof);
        if let Some(service) = service {
            let service = self.by_service_token(service).await?;
            let same = service.extension() == caller.extension()
                && service.tenant() == caller.tenant()
                && (service.is_platform() || service.user_id() == caller.user_id());
            if !same {
                return Err(Unidentified::HintDiffers { hint: "x-service-token" });
            }
        }
        Ok(caller)
    }

    /// The platform acts for a user of its tenant, who must be there and active; what it may do stays what
    /// its own token says.
    async fn acting_for(&self, platform: Caller, user: &str) -> Result<Caller, Unidentified> {
        let differs = Unidentified::HintDiffers { hint: "x-acting-user" };
        match self.directory.principal(user).await {
            Ok(person) if person.principal.tenant == *platform.tenant() => {
                Ok(platform.on_behalf_of(&person))
            }
            Ok(_) | Err(DirectoryError::NotFound { .. } | DirectoryError::Inactive { .. }) => {
                Err(differs)
            }
            Err(fault) => Err(Unidentified::Unavailable(fault)),
        }
    }
}

/// Unix seconds, now.
pub(crate) fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}
