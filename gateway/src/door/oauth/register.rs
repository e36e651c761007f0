//! `POST /v1/oauth/register`: a program registers itself (RFC 7591). It gets an id and no secret, and nothing that it
//! says of itself is believed; what a registered program may do is what a person grants it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::refusal_response;
use crate::directory::OAuthClient;
use crate::door::auth::{private_json, read, to_the_end};
use crate::door::entry::AtDoor;
use crate::gateway::Gateway;
use crate::oauth::{OAuthFault, RedirectUri};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Longest name, in characters.
const MAX_NAME: usize = 100;
/// Most addresses of one program.
const MAX_URIS: usize = 10;
/// What a program is called that does not say.
const NAMELESS: &str = "a program without a name";

/// What counts of what a program says of itself; the rest is dropped.
#[derive(Deserialize)]
struct Metadata {
    redirect_uris: Vec<String>,
    #[serde(default)]
    client_name: Option<String>,
    #[serde(default)]
    grant_types: Option<Vec<String>>,
    #[serde(default)]
    response_types: Option<Vec<String>>,
}

/// `POST /v1/oauth/register`
pub async fn register(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let registered = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let source = knock.request.source;
        let registered = async {
            let asks = gateway.identity.program_asks(source).await;
            asks.map_err(|retry_after| Refusal::TooManyRequests { retry_after })?;
            let metadata: Metadata = read(&gateway, body).await?;
            let name = checked(&metadata)?;
            let source = source.to_canonical().to_string();
            let uris = &metadata.redirect_uris;
            let client = gateway.directory.register_client(&name, uris, &source).await;
            client.map_err(|fault| Refusal::Unavailable(fault.to_string()))
        };
        match registered.await {
            Ok(client) => Ok(client),
            Err(refusal) => Err(Visit::refused(&gateway, &knock, refusal).await),
        }
    });
    match registered.await {
        Ok(client) => {
            let mut response = private_json(&told(&client));
            *response.status_mut() = StatusCode::CREATED;
            response
        }
        Err(refusal) => refusal_response(&refusal),
    }
}

/// The name to show, once all else fits.
fn checked(metadata: &Metadata) -> Result<String, OAuthFault> {
    let uris = &metadata.redirect_uris;
    if uris.is_empty() || uris.len() > MAX_URIS {
        return Err(OAuthFault::InvalidRedirectUri);
    }
    uris.iter().try_for_each(|uri| RedirectUri::parse(uri).map(|_| ()))?;
    let lacks = |list: &Option<Vec<String>>, wanted: &str| {
        list.as_ref().is_some_and(|list| !list.iter().any(|one| one == wanted))
    };
    if lacks(&metadata.grant_types, "authorization_code") {
        let why = "`grant_types` must hold `authorization_code`";
        return Err(OAuthFault::InvalidClientMetadata(why));
    }
    if lacks(&metadata.response_types, "code") {
        return Err(OAuthFault::InvalidClientMetadata("`response_types` must hold `code`"));
    }
    let name = metadata.client_name.as_deref().unwrap_or_default();
    let name: String = name.chars().filter(|c| shows(*c)).take(MAX_NAME).collect();
    let name = name.trim();
    Ok(if name.is_empty() { NAMELESS.to_owned() } else { name.to_owned() })
}

/// Whether a letter is what it looks like: none that turns, hides or breaks the text around it.
fn shows(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !turns
}

fn told(client: &OAuthClient) -> Value {
    json!({
        "client_id": client.id,
        "client_id_issued_at": client.created_ms / 1_000,
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(given: &str) -> String {
        let metadata = json!({ "redirect_uris": ["http://127.0.0.1/cb"], "client_name": given });
        checked(&serde_json::from_value(metadata).unwrap()).unwrap()
    }

    #[test]
    fn a_name_holds_nothing_that_changes_what_is_around_it() {
        assert_eq!(name("<b>Claude</b>"), "<b>Claude</b>");
        assert_eq!(name("a\u{202e}b\u{200b}c\r\nd\u{0}"), "abcd");
        assert_eq!(name(&"x".repeat(1_000)).len(), MAX_NAME);
        assert_eq!(name(" \u{feff} "), NAMELESS);
    }

    #[test]
    fn other_flows_and_addresses_are_refused() {
        let refused =
            |metadata: Value| checked(&serde_json::from_value(metadata).unwrap()).is_err();
        let uri = "https://client.example/cb";
        assert!(refused(json!({ "redirect_uris": [] })));
        assert!(refused(json!({ "redirect_uris": vec![uri; 11] })));
        assert!(refused(json!({ "redirect_uris": [uri, "javascript:alert(1)"] })));
        assert!(refused(json!({ "redirect_uris": [uri], "grant_types": ["client_credentials"] })));
        assert!(refused(json!({ "redirect_uris": [uri], "response_types": ["token"] })));
        assert!(!refused(json!({ "redirect_uris": [uri], "response_types": ["code"] })));
    }
}
