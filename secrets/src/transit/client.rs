//! Requests to the service: token, namespace, bounds.

use super::faults::{of_answer, of_transport};
use super::{TransitSettings, error};
use crate::provider::{ProviderError, ProviderFault};
use reqwest::{Method, RequestBuilder, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The vault's own deadline is shorter; this one ends what nobody waits for any more.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer in bytes.
const MAX_ANSWER: usize = 1 << 20;

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    settings: TransitSettings,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    text: SecretString,
    /// None for a token that need not be renewed, or cannot be.
    renew_at: Option<Instant>,
}

impl Client {
    pub(super) fn new(settings: TransitSettings) -> Result<Self, ProviderError> {
        let base = safe_address(&settings.address)?;
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &settings.ca_file {
            let broken =
                |why: String| error(ProviderFault::Other, format!("{}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|why| broken(why.to_string()))?;
            let bundle = reqwest::Certificate::from_pem_bundle(&pem);
            builder = builder.tls_certs_merge(bundle.map_err(|why| broken(why.to_string()))?);
        }
        let http = builder.build().map_err(|why| of_transport(&why))?;
        Ok(Self { http, base, settings, token: Mutex::default() })
    }

    /// The `data` of the answer; null when there is none.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ProviderError> {
        self.with_token(path, None).await
    }

    /// As [`Client::get`], with a body.
    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value, ProviderError> {
        self.with_token(path, Some(body)).await
    }

    /// A token that the service refuses is read anew once: whoever renews it may have replaced it.
    async fn with_token(&self, path: &str, body: Option<Value>) -> Result<Value, ProviderError> {
        let token = self.live_token().await?;
        match self.send(path, body.as_ref(), &token).await {
            Err(refused) if refused.fault() == ProviderFault::Denied => {
                let fresh = self.read_token()?;
                if fresh.text.expose_secret() != token.text.expose_secret() {
                    // A new token has a lease of its own.
                    let fresh = self.renewed(fresh).await;
                    return self.send(path, body.as_ref(), &fresh).await.map(data);
                }
                // Refused for this path, or altogether: only the service knows.
                match self.send("auth/token/lookup-self", None, &token).await {
                    Ok(_) => Err(refused),
                    Err(why) if why.fault() == ProviderFault::Denied => {
                        let why = "the service does not know the token any more";
                        Err(error(ProviderFault::CredentialExpired, why))
                    }
                    Err(other) => Err(other),
                }
            }
            answer => answer.map(data),
        }
    }

    async fn live_token(&self) -> Result<Token, ProviderError> {
        let known = self.token().clone();
        let Some(token) = known else {
            let token = self.read_token()?;
            return Ok(self.renewed(token).await);
        };
        match token.renew_at {
            Some(at) if Instant::now() >= at => Ok(self.renewed(token).await),
            _ => Ok(token),
        }
    }

    fn read_token(&self) -> Result<Token, ProviderError> {
        let text = self.settings.token.read().map_err(|why| {
            error(ProviderFault::CredentialExpired, format!("the token cannot be read: {why}"))
        })?;
        Ok(Token { text, renew_at: None })
    }

    /// Renews a token and remembers when to do it again. A token that cannot be renewed is used as it is
    /// until the service refuses it.
    async fn renewed(&self, token: Token) -> Token {
        let body = Value::Object(serde_json::Map::new());
        let lease = match self.send("auth/token/renew-self", Some(&body), &token).await {
            Ok(answer) => answer.pointer("/auth/lease_duration").and_then(Value::as_u64),
            Err(_) => None,
        };
        let half = lease.filter(|seconds| *seconds > 0).map(|s| Duration::from_secs(s) / 2);
        let renew_at = half.and_then(|half| Instant::now().checked_add(half));
        let token = Token { renew_at, ..token };
        *self.token() = Some(token.clone());
        token
    }

    async fn send(
        &self,
        path: &str,
        body: Option<&Value>,
        token: &Token,
    ) -> Result<Value, ProviderError> {
        let request = self.request(path, body, token)?;
        let mut answer = request.send().await.map_err(|why| of_transport(&why))?;
        let status = answer.status().as_u16();
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(4096));
        while let Some(chunk) = answer.chunk().await.map_err(|why| of_transport(&why))? {
            if bytes.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(error(ProviderFault::Other, "the answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        match status {
            200..=299 => Ok(json),
            _ => Err(of_answer(status, &json)),
        }
    }

    fn request(
        &self,
        path: &str,
        body: Option<&Value>,
        token: &Token,
    ) -> Result<RequestBuilder, ProviderError> {
        let url = self.base.join(&format!("v1/{path}"));
        let url = url.map_err(|why| error(ProviderFault::Denied, why.to_string()))?;
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut header = reqwest::header::HeaderValue::from_str(token.text.expose_secret())
            .map_err(|_| error(ProviderFault::CredentialExpired, "the token is no header text"))?;
        header.set_sensitive(true);
        let mut request = self
            .http
            .request(method, url)
            .header("X-Vault-Token", header)
            .header("X-Vault-Request", "true");
        if let Some(namespace) = &self.settings.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        Ok(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    fn token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

fn data(mut answer: Value) -> Value {
    answer.get_mut("data").map(Value::take).unwrap_or_default()
}

/// Scope keys do not travel in the clear, unless they stay on this host.
fn safe_address(address: &str) -> Result<Url, ProviderError> {
    let denied = |why: String| error(ProviderFault::Denied, why);
    let mut url = Url::parse(address).map_err(|why| denied(format!("`{address}`: {why}")))?;
    let host = url.host_str().unwrap_or_default();
    let own = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if url.scheme() != "https" && !(url.scheme() == "http" && own) {
        return Err(denied(format!("`{address}` is not HTTPS: give an address with https://")));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}
