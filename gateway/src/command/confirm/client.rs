//! A small client of the gateway's own HTTP API, for people in a terminal.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::answer::DECISION;
use crate::confirm::spelled;

/// Longest answer that is read, in bytes; what waits to be confirmed is bounded by what a call may be.
const MAX_ANSWER: usize = 64 << 20;
/// Longer than any call takes that somebody still waits for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a person proves who they are.
pub(super) enum Credential {
    /// An access token.
    Token(SecretString),
    /// By password, for this run of the command, and by a code of the second factor once it is asked for.
    Password { tenant: String, email: String, password: SecretString, otp: Option<SecretString> },
}

/// Why the gateway gave no answer that counts.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum ClientError {
    /// It could not be reached, or did not speak HTTP.
    #[error("the gateway at {gateway} did not answer")]
    #[diagnostic(help("is it running, and is --gateway its address?"))]
    Unreachable {
        gateway: String,
        #[source]
        source: reqwest::Error,
    },
    /// It refused.
    #[error("{message}")]
    #[diagnostic(help("code {code}"))]
    Refused { code: String, message: String },
    /// It answered with something else than JSON, or with too much.
    #[error("the gateway's answer cannot be read")]
    #[diagnostic(help("is --gateway the address of a Portcullis gateway?"))]
    Unreadable,
}

impl ClientError {
    /// Whether the password is right and a code of the second factor is wanted too.
    pub(super) fn wants_a_code(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "SECOND_FACTOR_REQUIRED")
    }
}

/// A signed-in person at a gateway.
pub(super) struct Client {
    http: reqwest::Client,
    gateway: String,
    token: SecretString,
}

impl Client {
    /// Signs in, when the credential is a password.
    pub(super) async fn sign_in(gateway: &str, by: &Credential) -> Result<Self, ClientError> {
        let gateway = gateway.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|source| ClientError::Unreachable { gateway: gateway.clone(), source })?;
        let mut client = Self { http, gateway, token: SecretString::default() };
        client.token = match by {
            Credential::Token(token) => token.clone(),
            Credential::Password { tenant, email, password, otp } => {
                let who = json!({
                    "tenant_id": tenant, "email": email, "password": password.expose_secret(),
                    "otp": otp.as_ref().map(|otp| otp.expose_secret().trim()),
                });
                let issued = client.post("/v1/auth/login", &who).await?;
                let token = issued.get("access_token").and_then(Value::as_str);
                SecretString::from(token.ok_or(ClientError::Unreadable)?)
            }
        };
        Ok(client)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.answer(self.http.get(format!("{}{path}", self.gateway))).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.answer(self.http.post(format!("{}{path}", self.gateway)).json(body)).await
    }

    /// Answers a question; what it set off may answer anything.
    pub(super) async fn decide(&self, path: &str) -> Result<Decided, ClientError> {
        let request = self.http.post(format!("{}{path}", self.gateway)).json(&json!({}));
        let (status, headers, bytes) = self.send(request).await?;
        let word = headers.get(DECISION).and_then(|word| word.to_str().ok()).unwrap_or_default();
        // The gateway's own word: no app can set this header.
        match word {
            "permit" => Ok(Decided::CarriedOut(bytes)),
            "cancel" => Ok(Decided::Cancelled),
            _ if status.is_success() => Err(ClientError::Unreadable),
            _ => Err(refused(&bytes)),
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let (status, _, bytes) = self.send(request).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| ClientError::Unreadable);
        }
        Err(refused(&bytes))
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), ClientError> {
        let unreachable =
            |source| ClientError::Unreachable { gateway: self.gateway.clone(), source };
        let token = self.token.expose_secret();
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let mut response = request.send().await.map_err(unreachable)?;
        let (mut bytes, status) = (Vec::new(), response.status());
        let headers = std::mem::take(response.headers_mut());
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER {
                return Err(ClientError::Unreadable);
            }
        }
        Ok((status, headers, bytes))
    }
}

/// What became of a question.
pub(super) enum Decided {
    /// It was carried out, however that ended: the answer of what did it.
    CarriedOut(Vec<u8>),
    /// It was taken back.
    Cancelled,
}

/// The gateway's refusal. A stranger's text on a terminal: nothing unseen, and not much of it.
fn refused(bytes: &[u8]) -> ClientError {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return ClientError::Unreadable };
    let text = |name: &str| {
        let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
        spelled(&text.chars().take(300).collect::<String>())
    };
    ClientError::Refused { code: text("error"), message: text("message") }
}

/// One segment of a path.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%5F", "_")
}
