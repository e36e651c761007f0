//! The gateway as authorization server of MCP clients: what it says of itself, how a program registers, and how it
//! gets, renews and gives back tokens. The person's part is a page, [`super::pages::consent`].
//!
//! Nothing here believes the `Host` of a request; see [`crate::oauth::base_url`].

pub mod metadata;
pub mod register;
pub mod token;

use axum::body::Body;
use http::{HeaderValue, Response, header};

use crate::answer::refusal_response;
use crate::gateway::Gateway;
use crate::oauth::{OAuthFault, base_url};
use crate::refusal::Refusal;

/// Where programs send a person.
pub const AUTHORIZE: &str = "/v1/oauth/authorize";
/// Where programs register.
pub const REGISTER: &str = "/v1/oauth/register";
/// Where programs get tokens.
pub const TOKEN: &str = "/v1/oauth/token";
/// Where programs give tokens back.
pub const REVOKE: &str = "/v1/oauth/revoke";

/// Tells an MCP client that was refused where it learns how to get a token (RFC 9728 section 5.1); `scopes` are those
/// that it would need, where it has too few (RFC 6750 section 3.1).
#[must_use]
pub fn challenged(
    gateway: &Gateway,
    host: Option<&str>,
    refusal: &Refusal,
    scopes: &[String],
) -> Response<Body> {
    let mut response = refusal_response(refusal);
    let error = match refusal {
        Refusal::MissingCredential => String::new(),
        Refusal::InvalidCredential(_) => "error=\"invalid_token\", ".to_owned(),
        Refusal::OAuth(OAuthFault::InsufficientScope) => {
            format!("error=\"insufficient_scope\", scope=\"{}\", ", scopes.join(" "))
        }
        _ => return response,
    };
    let Some(base) = base_url(&gateway.settings.server, host) else { return response };
    let where_to = format!("Bearer {error}resource_metadata=\"{base}{}\"", metadata::OF_MCP);
    if let Ok(challenge) = HeaderValue::from_str(&where_to) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
