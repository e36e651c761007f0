//! The frame of every page, and the headers that keep a page to itself.

use std::sync::LazyLock;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::refusal::Refusal;

/// The only style of the pages; the policy names its digest, so nothing else can style them.
const STYLE: &str = include_str!("style.css");

/// No script, no picture, no frame, no other origin: only our style and forms back to us.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(""));

/// The policy of a page whose form may lead to `further`, too: browsers hold where a form's answer leads to against
/// the policy of the page that the form stands on.
fn policy(further: &str) -> HeaderValue {
    let digest = BASE64.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'{further}; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    let strictest = || HeaderValue::from_static("default-src 'none'");
    HeaderValue::from_str(&policy).unwrap_or_else(|_| strictest())
}

/// A page of ours.
pub(super) fn page(
    status: StatusCode,
    title: &str,
    bar: &Markup,
    content: &Markup,
) -> Response<Body> {
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " - Portcullis" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { div.bar { strong { "Portcullis" } (bar) } }
                main { (content) }
            }
        }
    };
    let mut response = Response::new(Body::from(text.into_string()));
    *response.status_mut() = status;
    protect(response.headers_mut());
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

/// A page whose form's answer leads to an address of this policy source, which holds neither blank nor `;`.
pub(super) fn page_leading_to(
    source: &str,
    title: &str,
    bar: &Markup,
    content: &Markup,
) -> Response<Body> {
    let mut response = page(StatusCode::OK, title, bar, content);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(&format!(" {source}")));
    response
}

/// Leads to another page of ours, or to where a person let an answer go.
pub(super) fn see_other(path: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    protect(response.headers_mut());
    // What is no header value is no path of ours.
    let to = HeaderValue::from_str(path).unwrap_or_else(|_| HeaderValue::from_static("/signin"));
    response.headers_mut().insert(header::LOCATION, to);
    response
}

/// A page that says why there is nothing else, in the refusal's own words.
pub(super) fn refused(refusal: &Refusal, op: Option<Uuid>) -> Response<Body> {
    let content = html! {
        div.card {
            h1 { "This did not work" }
            p { (sentence(&refusal.to_string())) }
            p.soft { "Code: " (refusal.code()) @if let Some(op) = op { ", operation " (op) } }
        }
    };
    with_retry(page(refusal.status(), "Refused", &Markup::default(), &content), refusal)
}

/// Says when to come back, where a refusal passes by itself.
pub(super) fn with_retry(mut response: Response<Body>, refusal: &Refusal) -> Response<Body> {
    if let Some(wait) = refusal.retry_after() {
        let seconds = HeaderValue::from(wait.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

fn protect(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    const ALWAYS: [(HeaderName, &str); 3] = [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// An error's words as a sentence: messages begin small and end without a stop.
pub(super) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).chain(['.']).collect()
}
