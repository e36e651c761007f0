//! Sign-in at an external provider, in a browser: the authorization code flow with PKCE (RFC 7636), state and nonce.
//!
//! Two random values make a sign-in: the *state*, which goes to the provider and back, and the *browser* value, which only
//! this browser's cookie holds. Nonce and PKCE verifier are made from both, so that whoever has one of them alone, or the
//! database, finishes nothing.
//!
//! INVARIANT: a callback finishes a sign-in once, in the browser that began it, at the provider that was asked
//! (`federates::a_callback_is_believed_once_in_its_own_browser_and_of_its_own_provider`).

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::fetch::NoAnswer;
use super::keys::Discovery;
use super::{ExternalClaims, ExternalClient, Issuer, token};
use crate::directory::{DirectoryError, SignInState, now_ms};
use crate::identify::api_key::sha256;
use crate::identify::{
    Identity, Issued, Proof, SignInRefused, TokenFault, Unidentified, now_seconds,
};

/// How long a provider may take, its forms included.
const WAITS_MS: i64 = 10 * 60 * 1_000;
/// Longest value that a callback may carry.
const MAX_VALUE: usize = 2_048;

/// What a person goes to the provider with.
#[derive(Debug)]
pub struct SignInBegun {
    /// The provider's address, with everything that it has to know.
    pub url: String,
    /// What the cookie of this browser has to hold until the callback.
    pub browser: SecretString,
}

/// A sign-in that is wished for (OpenID Connect Core 1.0, 3.1.2.1).
#[derive(Debug, Default)]
pub struct SignInWish {
    /// Context classes, the most wanted first.
    pub acr_values: Option<String>,
    /// How many seconds ago the person may have signed in there.
    pub max_age: Option<u32>,
    /// The page of ours that is wanted afterwards.
    pub next: Option<String>,
}

/// What a browser brings back.
#[derive(Debug)]
pub struct SignInReturned {
    /// The query of the callback.
    pub query: String,
    /// What its cookie holds.
    pub browser: Option<SecretString>,
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum ExternalRefused {
    /// No such issuer, or none at which one can sign in.
    #[error("there is no such identity provider")]
    UnknownIssuer,
    /// It is no answer to a question of this browser.
    #[error("this sign-in was not begun here, or is over; begin again")]
    State,
    /// The provider says no.
    #[error("the identity provider refused the sign-in")]
    Refused,
    /// The provider cannot be asked.
    #[error("the identity provider does not answer; try again")]
    Unavailable,
    /// What the provider gave does not verify.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// Nobody here is linked.
    #[error(transparent)]
    Unidentified(#[from] Unidentified),
    /// As for any sign-in.
    #[error(transparent)]
    SignIn(#[from] SignInRefused),
}

impl From<DirectoryError> for ExternalRefused {
    fn from(fault: DirectoryError) -> Self {
        Self::SignIn(fault.into())
    }
}

#[derive(Deserialize)]
struct Tokens {
    id_token: SecretString,
}

/// The parts of a callback, each at most once.
#[derive(Default)]
struct Callback {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

impl Callback {
    fn read(query: &str) -> Result<Self, ExternalRefused> {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "code" => &mut read.code,
                "state" => &mut read.state,
                "iss" => &mut read.iss,
                "error" => &mut read.error,
                _ => continue,
            };
            if place.is_some() || value.len() > MAX_VALUE {
                return Err(ExternalRefused::State);
            }
            *place = Some(value.into_owned());
        }
        Ok(read)
    }
}

impl Identity {
    /// Names of the issuers at which people can sign in.
    #[must_use]
    pub fn sign_in_issuers(&self) -> Vec<String> {
        self.external.clients()
    }

    /// Begins a sign-in at an issuer; `callback` is the address to which the browser comes back.
    ///
    /// # Errors
    /// See [`ExternalRefused`].
    pub async fn begin_external(
        &self,
        issuer: &str,
        callback: &str,
        wish: SignInWish,
    ) -> Result<SignInBegun, ExternalRefused> {
        let (issuer, client) = self.client_of(issuer)?;
        let discovery = discovery(&issuer).await?;
        let endpoint = discovery.authorization_endpoint.ok_or(ExternalRefused::Unavailable)?;
        allowed(&issuer, issuer.keys.fetch().allows(&endpoint))?;
        let (state, browser) = (random()?, random()?);
        let query = question((&client.id, callback), (&state, &browser), &wish);
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        let url = format!("{endpoint}{joint}{query}");
        let waiting = SignInState {
            state_sha256: sha256(state.as_bytes()),
            browser_sha256: sha256(browser.as_bytes()),
            issuer: issuer.settings.name.clone(),
            next: wish.next,
            expires_ms: now_ms().saturating_add(WAITS_MS),
        };
        self.directory.keep_sign_in_state(&waiting).await?;
        Ok(SignInBegun { url, browser: browser.into() })
    }

    /// Finishes a sign-in: gives a session, and the page that was wanted.
    ///
    /// # Errors
    /// See [`ExternalRefused`]. Whatever is wrong, the state is spent.
    pub async fn finish_external(
        &self,
        issuer: &str,
        callback: &str,
        returned: SignInReturned,
    ) -> Result<(Issued, Option<String>), ExternalRefused> {
        let read = Callback::read(&returned.query)?;
        let state = read.state.as_deref().ok_or(ExternalRefused::State)?;
        let waiting = self.directory.take_sign_in_state(sha256(state.as_bytes())).await?;
        let waiting = waiting.ok_or(ExternalRefused::State)?;
        let browser = returned.browser.ok_or(ExternalRefused::State)?;
        let browser = browser.expose_secret();
        let here = verify_slices_are_equal(&sha256(browser.as_bytes()), &waiting.browser_sha256);
        if here.is_err() || waiting.issuer != issuer || waiting.expires_ms <= now_ms() {
            return Err(ExternalRefused::State);
        }
        let (issuer, client) = self.client_of(issuer)?;
        let discovery = discovery(&issuer).await?;
        // RFC 9207: who answers is who was asked, or a code of one provider would be shown to another.
        let says = read.iss.as_deref();
        let silent = says.is_none() && !discovery.authorization_response_iss_parameter_supported;
        if !silent && says != Some(&issuer.settings.url) {
            return Err(ExternalRefused::State);
        }
        let code = match (read.code, read.error) {
            (Some(code), None) => code,
            _ => return Err(ExternalRefused::Refused),
        };
        let proof = verifier(state, browser);
        let id_token = exchange(&issuer, client, &discovery, (&code, &proof, callback)).await?;
        let claims = verify_id_token(&issuer, client, &id_token, &nonce(state, browser)).await?;
        Ok((self.session_of_claims(&issuer, &claims).await?, waiting.next))
    }

    async fn session_of_claims(
        &self,
        issuer: &Issuer,
        claims: &ExternalClaims,
    ) -> Result<Issued, ExternalRefused> {
        let user = self.linked_user(&issuer.settings, claims).await?;
        let standing = self.directory.principal(&user).await.map_err(Unidentified::from)?;
        self.directory.note_login(&user).await?;
        let strength = claims.strength();
        let session = self.fresh_session(&standing, &strength).await?;
        let proof = |jti| Proof::ExternalToken { session: jti };
        Ok(self.issue(standing, session, strength, proof).await?)
    }

    fn client_of(&self, issuer: &str) -> Result<(Arc<Issuer>, &ExternalClient), ExternalRefused> {
        self.external.client(issuer).ok_or(ExternalRefused::UnknownIssuer)
    }
}

async fn discovery(issuer: &Issuer) -> Result<Discovery, ExternalRefused> {
    issuer.keys.discovery().await.ok_or(ExternalRefused::Unavailable)
}

/// Spends the code at the provider.
async fn exchange(
    issuer: &Issuer,
    client: &ExternalClient,
    discovery: &Discovery,
    parts: (&str, &str, &str),
) -> Result<SecretString, ExternalRefused> {
    let fetch = issuer.keys.fetch();
    let endpoint = discovery.token_endpoint.as_deref().ok_or(ExternalRefused::Unavailable)?;
    allowed(issuer, fetch.allows(endpoint))?;
    let request = token_request(issuer, client, endpoint, parts)?;
    let (status, body) = allowed(issuer, fetch.send(request).await)?;
    match status {
        200 => {}
        400..=499 => return Err(ExternalRefused::Refused),
        _ => return Err(ExternalRefused::Unavailable),
    }
    let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| ExternalRefused::Refused)?;
    Ok(tokens.id_token)
}

/// The request that spends a code; the client proves itself by its secret, or by the verifier alone when it has none.
fn token_request(
    issuer: &Issuer,
    client: &ExternalClient,
    endpoint: &str,
    (code, verifier, callback): (&str, &str, &str),
) -> Result<reqwest::RequestBuilder, ExternalRefused> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", callback)
        .append_pair("code_verifier", verifier);
    let mut request = issuer.keys.fetch().http().post(endpoint);
    match &client.secret {
        None => {
            form.append_pair("client_id", &client.id);
        }
        Some(secret) => {
            let secret = secret.read().map_err(|why| {
                let name = &issuer.settings.name;
                tracing::error!(issuer = %name, %why, "the client secret is not there");
                ExternalRefused::Unavailable
            })?;
            request = request.header(header::AUTHORIZATION, basic(&client.id, &secret)?);
        }
    }
    let kind = "application/x-www-form-urlencoded";
    Ok(request.header(header::CONTENT_TYPE, kind).body(form.finish()))
}

/// RFC 6749 section 2.3.1: both are form-encoded before they are joined.
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, ExternalRefused> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret.expose_secret()));
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| ExternalRefused::Unavailable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the provider is asked (OpenID Connect Core 1.0, 3.1.2.1; RFC 7636).
fn question(
    (client, callback): (&str, &str),
    (state, browser): (&str, &str),
    wish: &SignInWish,
) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier(state, browser).as_bytes()));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", client)
        .append_pair("redirect_uri", callback)
        .append_pair("scope", "openid email")
        .append_pair("state", state)
        .append_pair("nonce", &nonce(state, browser))
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if let Some(acr) = &wish.acr_values {
        query.append_pair("acr_values", acr);
    }
    if let Some(age) = wish.max_age {
        query.append_pair("max_age", &age.to_string());
    }
    query.finish()
}

/// The claims of an ID token that answers this very question (OpenID Connect Core 1.0, 3.1.3.7).
async fn verify_id_token(
    issuer: &Issuer,
    client: &ExternalClient,
    text: &SecretString,
    nonce: &str,
) -> Result<ExternalClaims, ExternalRefused> {
    let unverified = token::parse(text.expose_secret(), &issuer.settings.algorithms)?;
    let key = issuer.keys.key(unverified.kid()).await.ok_or(TokenFault::UnknownKey)?;
    let claims = unverified.verify(&key)?;
    claims.check(&issuer.settings.url, std::slice::from_ref(&client.id), now_seconds())?;
    let text = |name: &str| claims.all.get(name).and_then(serde_json::Value::as_str);
    let for_us = match text("azp") {
        Some(party) => party == client.id,
        None => claims.aud.len() == 1,
    };
    let given = text("nonce").unwrap_or_default();
    let ours = verify_slices_are_equal(given.as_bytes(), nonce.as_bytes()).is_ok();
    if for_us && ours { Ok(claims) } else { Err(TokenFault::Claims.into()) }
}

fn allowed<T>(issuer: &Issuer, answer: Result<T, NoAnswer>) -> Result<T, ExternalRefused> {
    answer.map_err(|why| {
        tracing::warn!(issuer = %issuer.settings.name, %why, "an issuer could not be asked");
        ExternalRefused::Unavailable
    })
}

fn random() -> Result<String, ExternalRefused> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| ExternalRefused::Unavailable)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

fn nonce(state: &str, browser: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(format!("nonce\n{state}\n{browser}").as_bytes()))
}

/// 43 characters, as RFC 7636 wants at least.
fn verifier(state: &str, browser: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(format!("verifier\n{state}\n{browser}").as_bytes()))
}
