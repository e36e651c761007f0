//! What a browser sees and keeps of a sign-in at an external provider.
//!
//! The cookie of a sign-in that waits is `Lax`, since the provider leads the browser back from its own site. The session's
//! is `Strict` as always: that is why a page of ours comes between, whose link is followed from our own site.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use maud::html;
use zeroize::Zeroizing;

use super::html;
use super::next::Next;
use super::session;
use crate::config::Server;
use crate::identify::Issued;
use crate::refusal::Refusal;

/// As long as a sign-in may wait, in seconds.
const WAITS: u32 = 600;

fn cookie_name(server: &Server) -> &'static str {
    if session::is_secure(server) { "__Host-portcullis_signin" } else { "portcullis_signin" }
}

/// Lets the browser keep what only it may know.
pub(in crate::door) fn remember(headers: &mut HeaderMap, server: &Server, value: &str) {
    set(headers, server, value, WAITS);
}

/// Takes it back.
pub(in crate::door) fn forget(headers: &mut HeaderMap, server: &Server) {
    set(headers, server, "", 0);
}

/// What the browser kept; nothing when there are two, since nobody can say which is ours.
pub(in crate::door) fn remembered(headers: &HeaderMap, server: &Server) -> Option<String> {
    let mut values = session::values(headers, cookie_name(server));
    let value = values.next().map(str::to_owned);
    value.filter(|value| values.next().is_none() && !value.is_empty())
}

fn set(headers: &mut HeaderMap, server: &Server, value: &str, seconds: u32) {
    let name = cookie_name(server);
    let secure = if session::is_secure(server) { "; Secure" } else { "" };
    let cookie = Zeroizing::new(format!(
        "{name}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}"
    ));
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        headers.append(header::SET_COOKIE, value);
    }
}

/// The page after a sign-in, with the session's cookie.
pub(in crate::door) fn signed_in(server: &Server, issued: &Issued, next: &str) -> Response<Body> {
    // It was checked when it was kept, and is checked again where it is used.
    let next =
        Next::parse(next).map_or_else(|_| "/signin".to_owned(), |next| next.as_str().to_owned());
    let content = html! {
        div.narrow {
            h1 { "You are signed in" }
            p { a id="continue" href=(next) { "Continue" } }
        }
    };
    let page = html::page(StatusCode::OK, "Signed in", &html! {}, &content);
    session::with_cookie(page, session::kept(server, issued))
}

/// Why nobody was signed in.
pub(in crate::door) fn refused(refusal: &Refusal) -> Response<Body> {
    html::refused(refusal, None)
}

/// Whether it is a browser that shows pages.
pub(in crate::door) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The `next` of a query.
pub(in crate::door) fn next(query: &str) -> Result<Option<String>, Refusal> {
    Ok(Next::of_query(query)?.map(|next| next.as_str().to_owned()))
}
