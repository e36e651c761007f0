//! `POST /v1/oauth/token` and `POST /v1/oauth/revoke` (RFC 6749 sections 4.1.3 and 6, RFC 7009). Programs are public:
//! what proves one is the verifier of its code, or the refresh token that only it was given.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use http::Response;
use http::request::Parts;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::answer::refusal_response;
use crate::config::Rule;
use crate::door::auth::{issued, private_json, to_the_end};
use crate::door::device::Said;
use crate::door::entry::AtDoor;
use crate::door::pages::entry::is_form;
use crate::door::pages::form::Form;
use crate::gateway::Gateway;
use crate::identify::{Issued, Redemption};
use crate::oauth::{OAuthFault, is_own_resource};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Longest body.
const MAX_BODY: usize = 16 * 1024;

/// Whether the body says that it is a form.
pub struct IsForm(bool);

impl<S: Send + Sync> FromRequestParts<S> for IsForm {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(is_form(&parts.headers)))
    }
}

/// `POST /v1/oauth/token`
pub async fn token(
    State(gateway): State<Arc<Gateway>>,
    said: Said,
    IsForm(is_form): IsForm,
    at: AtDoor,
) -> Response<Body> {
    let AtDoor { knock, body, .. } = at;
    let door = Arc::clone(&gateway);
    let issue = async move {
        let mut fields = Form::read(body, is_form, MAX_BODY).await.map_err(malformed)?;
        granted(&door, said.base.as_deref().unwrap_or_default(), &mut fields).await
    };
    match issued(gateway, knock, issue).await {
        Ok(issued) => private_json(&json!({
            "access_token": issued.access_token.expose_secret(),
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "refresh_token": issued.refresh_token.expose_secret(),
            "scope": issued.caller.principal().scopes.join(" "),
        })),
        Err(refusal) => refusal_response(&refusal),
    }
}

async fn granted(gateway: &Gateway, base: &str, fields: &mut Form) -> Result<Issued, Refusal> {
    let kind = text(fields, "grant_type")?;
    let client_id = text(fields, "client_id")?;
    let resource = fields.take("resource").map_err(malformed)?;
    if resource.is_some_and(|resource| !is_own_resource(base, resource.expose_secret())) {
        return Err(OAuthFault::InvalidTarget.into());
    }
    gateway.directory.oauth_client(&client_id).await.map_err(unknown_client)?;
    match kind.as_str() {
        "authorization_code" => {
            let (code, verifier) = (secret(fields, "code")?, secret(fields, "code_verifier")?);
            let redirect_uri = text(fields, "redirect_uri")?;
            let shown = Redemption { client_id, code, verifier, redirect_uri };
            Ok(gateway.identity.redeem_code(&shown).await?)
        }
        "refresh_token" => {
            let token = secret(fields, "refresh_token")?;
            let scopes = text(fields, "scope").unwrap_or_default();
            let scopes: Vec<&str> = scopes.split(' ').filter(|scope| !scope.is_empty()).collect();
            // Counted before it is spent: who is over the limit keeps the grant.
            if let Some(user) = gateway.identity.grant_user(&token).await? {
                gateway.limits.check(Rule::Refresh, &user).await?;
            }
            Ok(gateway.identity.renew_grant(&client_id, &token, &scopes).await?)
        }
        _ => Err(OAuthFault::UnsupportedGrantType.into()),
    }
}

/// `POST /v1/oauth/revoke`: ends the whole grant of a token. One that is unknown, or another program's, is a success
/// too (RFC 7009 section 2.2): nobody learns by it which tokens there are.
pub async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    IsForm(is_form): IsForm,
    at: AtDoor,
) -> Response<Body> {
    let revoked = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let revoked = async {
            let mut fields = Form::read(body, is_form, MAX_BODY).await.map_err(malformed)?;
            let client_id = text(&mut fields, "client_id")?;
            let token = secret(&mut fields, "token")?;
            Ok(gateway.identity.revoke_token(&client_id, &token).await?)
        };
        match revoked.await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(Visit::refused(&gateway, &knock, refusal).await),
        }
    });
    match revoked.await {
        Ok(()) => private_json(&json!({})),
        Err(refusal) => refusal_response(&refusal),
    }
}

fn secret(fields: &mut Form, name: &'static str) -> Result<SecretString, Refusal> {
    let field = fields.take(name).map_err(malformed)?;
    let field = field.filter(|text| !text.expose_secret().is_empty());
    field.ok_or_else(|| OAuthFault::InvalidRequest("a parameter is missing").into())
}

fn text(fields: &mut Form, name: &'static str) -> Result<String, Refusal> {
    secret(fields, name).map(|field| field.expose_secret().to_owned())
}

/// A form that cannot be read is an error of OAuth here, since nobody but its clients sends one.
fn malformed(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::MalformedBody(_) => {
            OAuthFault::InvalidRequest("the body must be a form, with each parameter once").into()
        }
        other => other,
    }
}

fn unknown_client(fault: crate::directory::DirectoryError) -> Refusal {
    match fault {
        crate::directory::DirectoryError::NotFound { .. } => OAuthFault::InvalidClient.into(),
        other => Refusal::Unavailable(other.to_string()),
    }
}
