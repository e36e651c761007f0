//! `/v1/auth/me/totp`: the second factor of the person who signed in.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::Response;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{private_json, read, to_the_end};
use super::entry::AtDoor;
use crate::answer::refusal_response;
use crate::gateway::Gateway;
use crate::pipeline::Visit;
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferBody {
    current_password: SecretString,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    otp: SecretString,
}

/// `POST /v1/auth/me/totp`: offers a second factor; its secret is shown this once.
pub async fn offer(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let offered = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let visit = Visit::begin(&gateway, &knock).await?;
        let offered = async {
            let OfferBody { current_password } = read(&gateway, body).await?;
            let source = knock.request.source;
            let offer =
                gateway.identity.offer_totp(&visit.caller, current_password, source).await?;
            let (secret, url) = (offer.secret.expose_secret(), offer.url.expose_secret());
            Ok(json!({ "secret": secret, "otpauth_url": url }))
        };
        let offered = offered.await;
        visit.end(&gateway, offered).await
    });
    respond(offered.await)
}

/// `POST /v1/auth/me/totp/confirm`: begins to ask for it; the recovery codes are shown this once.
pub async fn confirm(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let confirmed = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let visit = Visit::begin(&gateway, &knock).await?;
        let confirmed = async {
            let CodeBody { otp } = read(&gateway, body).await?;
            let source = knock.request.source;
            let codes = gateway.identity.confirm_totp(&visit.caller, &otp, source).await?;
            let codes: Vec<&str> = codes.iter().map(SecretString::expose_secret).collect();
            Ok(json!({ "recovery_codes": codes }))
        };
        let confirmed = confirmed.await;
        visit.end(&gateway, confirmed).await
    });
    respond(confirmed.await)
}

/// `DELETE /v1/auth/me/totp`: takes it away again, for a code or a recovery code.
pub async fn remove(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let removed = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let visit = Visit::begin(&gateway, &knock).await?;
        let removed = async {
            let CodeBody { otp } = read(&gateway, body).await?;
            gateway.identity.remove_totp(&visit.caller, &otp, knock.request.source).await?;
            Ok(json!({ "message": "the second factor was removed" }))
        };
        let removed = removed.await;
        visit.end(&gateway, removed).await
    });
    respond(removed.await)
}

fn respond(done: Result<Value, Refusal>) -> Response<Body> {
    match done {
        Ok(value) => private_json(&value),
        Err(refusal) => refusal_response(&refusal),
    }
}
