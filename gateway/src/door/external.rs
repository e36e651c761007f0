//! `/v1/auth/login/{issuer}` and `/v1/auth/callback/{issuer}`: sign-in at an external provider, in a browser.
//!
//! The only address that the browser is sent to is the provider's, as the provider's own discovery document names it and
//! the configuration allows; what is wanted afterwards is a path of the gateway and nothing else.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawPathParams, State};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};

use super::auth::{issued, token_response};
use super::device::PAGE as DEVICE;
use super::entry::AtDoor;
use super::oauth::AUTHORIZE;
use super::pages::external as pages;
use crate::answer::refusal_response;
use crate::gateway::Gateway;
use crate::identify::{ExternalRefused, SignInReturned, SignInWish};
use crate::refusal::Refusal;

/// How many seconds ago people may have signed in at a provider who are about to give a program something.
const LATELY: u32 = 3_000;

/// Longest wish for context classes.
const MAX_ACR: usize = 512;

/// `GET /v1/auth/login/{issuer}`: leads the browser to the provider. With `next`, a path of the gateway, a page comes
/// afterwards and the session goes into the cookie of the pages; without it the callback answers with tokens.
pub async fn begin(
    State(gateway): State<Arc<Gateway>>,
    at: RawPathParams,
    door: AtDoor,
) -> Response<Body> {
    let begun = async {
        let issuer = issuer_of(&at);
        let wish = wish(door.knock.query.as_deref().unwrap_or_default())?;
        let callback = callback_of(&gateway, &issuer)?;
        Ok::<_, Refusal>(gateway.identity.begin_external(&issuer, &callback, wish).await?)
    };
    match begun.await {
        Ok(begun) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::FOUND;
            let headers = response.headers_mut();
            let Ok(to) = HeaderValue::try_from(begun.url) else {
                return refusal_response(&Refusal::Unavailable("issuer".to_owned()));
            };
            headers.insert(header::LOCATION, to);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            pages::remember(headers, &gateway.settings.server, begun.browser.expose_secret());
            response
        }
        Err(refusal) => refusal_response(&refusal),
    }
}

/// `GET /v1/auth/callback/{issuer}`: the provider's answer becomes a session.
pub async fn finish(
    State(gateway): State<Arc<Gateway>>,
    at: RawPathParams,
    headers: HeaderMap,
    door: AtDoor,
) -> Response<Body> {
    let server = &gateway.settings.server;
    let returned = SignInReturned {
        query: door.knock.query.clone().unwrap_or_default(),
        browser: pages::remembered(&headers, server).map(SecretString::from),
    };
    let (within, issuer) = (Arc::clone(&gateway), issuer_of(&at));
    let (tell, told) = tokio::sync::oneshot::channel();
    let issue = async move {
        // Without an address there is nobody who began: told like any state that is not known.
        let callback = callback_of(&within, &issuer).unwrap_or_default();
        let (issued, next) = within.identity.finish_external(&issuer, &callback, returned).await?;
        // Nobody listens any more when the browser is gone: then there is nobody to lead on.
        let _ = tell.send(next);
        Ok(issued)
    };
    let issued = issued(Arc::clone(&gateway), door.knock, issue).await;
    let next = told.await.ok().flatten();
    let mut response = match (issued, next) {
        (Ok(issued), None) => token_response(&issued),
        (Ok(issued), Some(next)) => pages::signed_in(server, &issued, &next),
        (Err(refusal), _) if pages::wants_page(&headers) => pages::refused(&refusal),
        (Err(refusal), _) => refusal_response(&refusal),
    };
    pages::forget(response.headers_mut(), server);
    response
}

fn issuer_of(at: &RawPathParams) -> String {
    at.iter().next().map(|(_, issuer)| issuer.to_owned()).unwrap_or_default()
}

/// The one address to which browsers come back: made of the configuration, never of a `Host` header.
fn callback_of(gateway: &Gateway, issuer: &str) -> Result<String, Refusal> {
    let published = gateway.settings.server.public_url.as_deref().ok_or(Refusal::NoSuchRoute)?;
    Ok(format!("{published}/v1/auth/callback/{issuer}"))
}

/// Whether a page gives programs something.
fn gives(page: &str) -> bool {
    let path = page.split('?').next().unwrap_or_default();
    [DEVICE, AUTHORIZE].contains(&path)
}

fn wish(query: &str) -> Result<SignInWish, Refusal> {
    let malformed = |what: &str| Refusal::MalformedRequest(format!("`{what}` is not acceptable"));
    let mut wish = SignInWish { next: pages::next(query)?, ..SignInWish::default() };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "acr_values" if wish.acr_values.is_none() && value.len() <= MAX_ACR => {
                wish.acr_values = Some(value.into_owned());
            }
            "max_age" if wish.max_age.is_none() => {
                wish.max_age = Some(value.parse().map_err(|_| malformed("max_age"))?);
            }
            "next" => {}
            other => return Err(malformed(&other.chars().take(32).collect::<String>())),
        }
    }
    // A page that gives programs something wants a sign-in of the last hour, and a provider has to tell when it was
    // only where it is asked for an age.
    if wish.next.as_deref().is_some_and(gives) {
        wish.max_age = Some(wish.max_age.unwrap_or(LATELY).min(LATELY));
    }
    Ok(wish)
}

impl From<ExternalRefused> for Refusal {
    fn from(refused: ExternalRefused) -> Self {
        match refused {
            ExternalRefused::UnknownIssuer => Self::NoSuchRoute,
            ExternalRefused::State => Self::InvalidCredential("sign_in_state"),
            ExternalRefused::Refused => Self::InvalidCredential("sign_in_refused"),
            ExternalRefused::Unavailable => Self::Unavailable("identity provider".to_owned()),
            ExternalRefused::Token(fault) => Self::InvalidCredential(fault.code()),
            ExternalRefused::Unidentified(fault) => fault.into(),
            ExternalRefused::SignIn(refused) => refused.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_gives_programs_something_asks_the_provider_for_a_fresh_sign_in() {
        let age = |query: &str| wish(query).unwrap().max_age;
        assert_eq!(age("next=%2Fdevice%3Fuser_code%3Dx"), Some(LATELY));
        assert_eq!(
            age("next=%2Fv1%2Foauth%2Fauthorize%3Fclient_id%3Dx&max_age=9999"),
            Some(LATELY)
        );
        assert_eq!(age("max_age=60&next=%2Fdevice"), Some(60));
        assert_eq!(age("next=%2Fext%2Fnotes%2Fsecrets"), None);
        assert_eq!(age(""), None);
    }
}
