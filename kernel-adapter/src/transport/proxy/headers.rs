//! Which headers cross the gateway, and which it writes itself.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::super::http as function;
use super::Inbound;
use crate::call::ResolvedCall;
use crate::lend::Headers;

/// Headers of one connection (RFC 9110 7.6.1), whatever `Connection` says.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The caller's credentials, and words of a caller about itself that an upstream might believe.
const NEVER_TO_UPSTREAM: [&str; 22] = [
    "authorization",
    "cookie",
    "x-api-key",
    "x-service-token",
    "x-acting-user",
    "x-ext-id",
    "x-extension-id",
    "x-tenant-id",
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    // Other methods or paths than those that were decided over.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    // Written anew from the body and the URI.
    "content-length",
    "host",
];

/// Families of headers that only the gateway writes.
const NEVER_TO_UPSTREAM_PREFIXES: [&str; 3] = ["x-portcullis-", "x-forwarded-", "x-imperal-"];

/// What an upstream must not do to the callers of the gateway: set its cookies, or lead its
/// clients past it.
const NEVER_TO_CALLER: [&str; 4] =
    ["set-cookie", "alt-svc", "clear-site-data", "service-worker-allowed"];

/// Whether the request asks to leave HTTP.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) || named_by_connection(headers).any(|n| n == "upgrade")
}

/// Takes away what an upstream never gets of a caller's headers; what is left, it gets.
pub fn only_for_upstream(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    remove(headers, |name| {
        NEVER_TO_UPSTREAM.contains(&name)
            || NEVER_TO_UPSTREAM_PREFIXES.iter().any(|p| name.starts_with(p))
            // CGI and WSGI read `_` as `-`: `x_forwarded_for` would come back as ours.
            || name.contains('_')
    });
    // hyper answered "Expect: 100-continue" towards the caller already.
    headers.remove(header::EXPECT);
}

/// The headers for the upstream.
pub(super) fn to_upstream(
    mut headers: HeaderMap,
    credentials: Headers,
    call: &ResolvedCall,
    inbound: &Inbound,
) -> Result<HeaderMap, String> {
    only_for_upstream(&mut headers);
    let mut set = |name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).map_err(|_| format!("{name} cannot be sent"))?;
        headers.insert(HeaderName::from_static(name), value);
        Ok::<(), String>(())
    };
    set("x-forwarded-for", &inbound.source.to_string())?;
    set("x-forwarded-proto", inbound.scheme)?;
    set("x-forwarded-host", &inbound.host)?;
    set(function::OP, &call.op().to_string())?;
    set(function::TENANT, call.caller().tenant.as_str())?;
    headers.insert(HeaderName::from_static(function::USER), function::user(call)?);
    // In place of what the caller wrote under that name, never beside it.
    for (name, value) in credentials {
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The headers for the caller.
pub(super) fn to_caller(mut headers: HeaderMap) -> HeaderMap {
    remove_hop_by_hop(&mut headers);
    remove(&mut headers, |name| {
        NEVER_TO_CALLER.contains(&name) || name.starts_with("x-portcullis-")
    });
    headers
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = named_by_connection(headers).collect();
    remove(headers, |name| HOP_BY_HOP.contains(&name) || named.iter().any(|n| n == name));
}

/// Header names that `Connection` lists, in lower case.
fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    values.flat_map(|v| {
        let text = String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase();
        text.split(',').map(|n| n.trim().to_owned()).collect::<Vec<_>>()
    })
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|n| unwanted(n.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
