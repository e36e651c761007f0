//! A small client of the gateway's own HTTP API, for people in a terminal.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

/// Longest answer that is read, in bytes; what waits to be confirmed is bounded by what a call may be.
const MAX_ANSWER: usize = 64 << 20;
/// Longer than any call takes that somebody still waits for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a person proves who they are.
pub(super) enum Credential {
    /// An access token.
    Token(SecretString),
    /// By password, for this run of the command.
    Password { tenant: String, email: String, password: SecretString },
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

/// A signed-in person at a gateway.
pub(super) struct Client {
    http: reqwest::Client,
    gateway: String,
    token: SecretString,
}

impl Client {
    /// Signs in, when the credential is a password.
    pub(super) async fn sign_in(gateway: &str, by: Credential) -> Result<Self, ClientError> {
        let gateway = gateway.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|source| ClientError::Unreachable { gateway: gateway.clone(), source })?;
        let mut client = Self { http, gateway, token: SecretString::default() };
        client.token = match by {
            Credential::Token(token) => token,
            Credential::Password { tenant, email, password } => {
                let who = json!({
                    "tenant_id": tenant, "email": email, "password": password.expose_secret(),
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

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let unreachable =
            |source| ClientError::Unreachable { gateway: self.gateway.clone(), source };
        let token = self.token.expose_secret();
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let mut response = request.send().await.map_err(unreachable)?;
        let (mut bytes, status) = (Vec::new(), response.status());
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER {
                return Err(ClientError::Unreadable);
            }
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| ClientError::Unreadable)?;
        if status.is_success() {
            return Ok(value);
        }
        // A stranger's text on a terminal: no control characters, and not much of it.
        let text = |name: &str| {
            let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
            text.chars().filter(|c| !c.is_control()).take(300).collect::<String>()
        };
        Err(ClientError::Refused { code: text("error"), message: text("message") })
    }
}

/// One segment of a path.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%5F", "_")
}
