//! `/v1/auth/cli/device/...`: sign-in for programs that have no browser (wire-contract.md 1.3).
//!
//! A poll that is too early for an answer is a 200 with an `error`, which is what the clients of the contract keep
//! polling on; RFC 8628 would answer 400.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use http::request::Parts;
use http::{Response, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::auth::{issued, private_json, read, to_the_end, token_response};
use super::entry::AtDoor;
use crate::answer::refusal_response;
use crate::gateway::Gateway;
use crate::identify::{DevicePoll, OAuthRefused};
use crate::oauth::{Challenge, UserCode, base_url};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Longest name of a program that is kept and shown, in characters.
const MAX_PROGRAM: usize = 100;
/// Where a person types the code.
pub const PAGE: &str = "/device";

#[derive(Deserialize)]
struct AskBody {
    code_challenge: String,
    #[serde(default = "s256")]
    code_challenge_method: String,
}

#[derive(Deserialize)]
struct PollBody {
    device_code: SecretString,
    code_verifier: SecretString,
}

/// Where the request came to and what sent it, as far as its headers say.
pub struct Said {
    /// The gateway's own address; none when nobody configured it.
    pub base: Option<String>,
    /// What the program says it is: printable, short, and never believed.
    pub program: String,
}

impl FromRequestParts<Arc<Gateway>> for Said {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Self::Rejection> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = parts.uri.authority().map(http::uri::Authority::as_str);
        let base = base_url(&gateway.settings.server, host.or_else(|| text(header::HOST)));
        let program = text(header::USER_AGENT).unwrap_or_default();
        Ok(Self { base, program: program.chars().take(MAX_PROGRAM).collect() })
    }
}

/// `POST /v1/auth/cli/device/authorize`: begins a sign-in that a person approves on the page.
pub async fn authorize(
    State(gateway): State<Arc<Gateway>>,
    said: Said,
    at: AtDoor,
) -> Response<Body> {
    let begun = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let begun = async {
            let body: AskBody = read(&gateway, body).await?;
            let challenge = Challenge::read(&body.code_challenge, &body.code_challenge_method)?;
            let unknown = || Refusal::Unavailable("`server.public_url` is not set".to_owned());
            let page = format!("{}{PAGE}", said.base.ok_or_else(unknown)?);
            let code = UserCode::fresh();
            let code = code.ok_or_else(|| Refusal::Unavailable("randomness".to_owned()))?;
            let mac = gateway.forms.digest_of_code(&code.letters());
            let source = knock.request.source;
            let asked = gateway.identity.ask_device(mac, &challenge, said.program, source).await?;
            Ok(json!({
                "device_code": asked.device_code.expose_secret(),
                "user_code": code.to_string(),
                "verification_uri": page,
                "verification_uri_complete": format!("{page}?user_code={code}"),
                "expires_in": asked.expires_in,
                "interval": asked.interval,
            }))
        };
        match begun.await {
            Ok(begun) => Ok(begun),
            Err(refusal) => Err(Visit::refused(&gateway, &knock, refusal).await),
        }
    });
    match begun.await {
        Ok(begun) => private_json(&begun),
        Err(refusal) => refusal_response(&refusal),
    }
}

/// `POST /v1/auth/cli/device/token`: the poll of a program that waits.
pub async fn token(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let AtDoor { knock, body, .. } = at;
    let polled = async {
        let body: PollBody = read(&gateway, body).await?;
        let poll = gateway.identity.poll_device(&body.device_code, &body.code_verifier).await?;
        Ok((poll, body))
    };
    let body = match polled.await {
        Ok((DevicePoll::Approved, body)) => body,
        Ok((DevicePoll::Waiting { interval, too_early }, _)) => {
            let error = if too_early { "slow_down" } else { "authorization_pending" };
            return private_json(&json!({ "error": error, "interval": interval }));
        }
        Err(refusal) => {
            return refusal_response(&Visit::refused(&gateway, &knock, refusal).await);
        }
    };
    let door = Arc::clone(&gateway);
    let issue = async move {
        Ok(door.identity.redeem_device(&body.device_code, &body.code_verifier).await?)
    };
    match issued(gateway, knock, issue).await {
        Ok(issued) => token_response(&issued),
        Err(refusal) => refusal_response(&refusal),
    }
}

fn s256() -> String {
    "S256".to_owned()
}

impl From<OAuthRefused> for Refusal {
    fn from(refused: OAuthRefused) -> Self {
        match refused {
            OAuthRefused::OAuth(fault) => fault.into(),
            OAuthRefused::SignIn(refused) => refused.into(),
        }
    }
}
