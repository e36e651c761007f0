//! What every page does first: the session of the cookie becomes the one credential of the knock.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::{HeaderMap, HeaderValue, Response, header};
use portcullis_policies::Channel;
use zeroize::Zeroizing;

use super::{html, origin, session};
use crate::door::Edge;
use crate::gateway::Gateway;
use crate::knock::{Knock, Wanted};
use crate::refusal::Refusal;

/// A request for a page.
pub struct AtPage {
    /// The knock, for nothing yet; its credential is that of the cookie.
    pub knock: Knock,
    /// The path, canonical.
    pub path: String,
    /// Whether the browser says that one of our own pages sent it, or is silent about that.
    pub own_origin: bool,
    /// Whether the body says that it is a form.
    pub is_form: bool,
    /// The body, unread.
    pub body: Body,
}

impl FromRequest<Arc<Gateway>> for AtPage {
    type Rejection = Response<Body>;

    async fn from_request(
        request: Request,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let Some(edge) = parts.extensions.get::<Edge>() else {
            // Only a request that did not come through the edge has no facts, and none may.
            return Err(html::refused(&Refusal::Unavailable("edge".to_owned()), None));
        };
        let mut knock = Knock::new(&parts, edge, Channel::Page, Wanted::Nothing);
        let cookie = session::cookie_name(&gateway.settings.server);
        carry_over(&parts.headers, cookie, &mut knock.credentials);
        Ok(Self {
            path: parts.uri.path().to_owned(),
            own_origin: origin::is_own(&parts, &gateway.settings.server),
            is_form: is_form(&parts.headers),
            knock,
            body,
        })
    }
}

/// Adds the session of the cookie to the credentials. Two are refused like any two credentials, and
/// without the cookie there is none: a page is for people, who have no other.
fn carry_over(headers: &HeaderMap, cookie: &str, credentials: &mut HeaderMap) {
    let mut found = false;
    for value in session::values(headers, cookie) {
        found = true;
        let bearer = Zeroizing::new(format!("Bearer {value}"));
        // What is no header value is no token either; an empty one is refused as malformed.
        let bearer = HeaderValue::from_str(&bearer);
        let mut bearer = bearer.unwrap_or_else(|_| HeaderValue::from_static("Bearer "));
        bearer.set_sensitive(true);
        credentials.append(header::AUTHORIZATION, bearer);
    }
    if !found {
        credentials.clear();
    }
}

/// Whether a body says that it is a form.
pub(in crate::door) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(cookies: &[&'static str], others: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        let mut credentials = HeaderMap::new();
        for &(name, value) in others {
            credentials.append(name, HeaderValue::from_static(value));
        }
        carry_over(&headers, "session", &mut credentials);
        let shown = |(name, value): (&header::HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        credentials.iter().map(shown).collect()
    }

    #[test]
    fn the_cookie_is_the_only_credential_of_a_page() {
        assert_eq!(carried(&["a=b; session=x.y.z"], &[]), ["authorization: Bearer x.y.z"]);
        assert_eq!(carried(&["a=b"], &[("authorization", "Bearer t")]), [""; 0]);
        assert_eq!(carried(&[], &[("x-api-key", "k")]), [""; 0]);
    }

    #[test]
    fn two_sessions_or_another_credential_beside_it_are_both_presented_and_so_refused() {
        assert_eq!(carried(&["session=x; session=y"], &[]).len(), 2);
        assert_eq!(carried(&["session=x", "session=y"], &[]).len(), 2);
        assert_eq!(carried(&["session=x"], &[("x-api-key", "k")]).len(), 2);
    }
}
