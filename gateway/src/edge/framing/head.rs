//! One HTTP/1 request head, checked whole before hyper sees it.
//!
//! Tokens are split by `httparse`, which hyper uses too: both see the same fields by construction.
//! What the fields mean together is checked here (RFC 9112 sections 2 to 6).

use std::mem::MaybeUninit;

use super::HeadLimits;
use super::authority::check_authority;
use crate::edge::malformed::Reason;
use crate::edge::path::CanonicalPath;

/// Fields that hyper reads at most with its default settings.
pub(in crate::edge) const FIELD_SLOTS: usize = 100;

/// How the body after a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes; 0 when there is none.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Checks one complete head, from the method to the empty line.
///
/// # Errors
/// The first rule that the head breaks.
pub(super) fn check(head: &[u8], limits: HeadLimits) -> Result<Body, Reason> {
    let mut slots = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; FIELD_SLOTS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut slots) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => {}
        Ok(_) => return Err(Reason::Desynchronised),
        Err(error) => return Err(why(error, head)),
    }
    if request.headers.len() > limits.max_fields {
        return Err(Reason::TooManyFields);
    }
    check_method(request.method.unwrap_or_default())?;
    let is_http10 = request.version == Some(0);
    let mut facts = Facts::default();
    for field in request.headers.iter() {
        facts.note(field.name, field.value)?;
    }
    facts.check_host(is_http10)?;
    check_target(request.path.unwrap_or_default(), facts.host)?;
    facts.body(is_http10)
}

/// What the fields say about framing and authority.
#[derive(Default)]
struct Facts<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
}

impl<'a> Facts<'a> {
    /// Takes one field into account; told apart by length first, since most fields are none of
    /// these.
    fn note(&mut self, name: &str, value: &'a [u8]) -> Result<(), Reason> {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => match self.host.replace(value) {
                None => check_authority(value),
                Some(_) => Err(Reason::DuplicateHost),
            },
            6 if name.eq_ignore_ascii_case("expect") => check_expect(value),
            7 if name.eq_ignore_ascii_case("upgrade") => check_upgrade(value),
            10 if name.eq_ignore_ascii_case("connection") => check_connection(value),
            14 if name.eq_ignore_ascii_case("content-length") => {
                match self.length.replace(plain_length(value)?) {
                    None => Ok(()),
                    Some(_) => Err(Reason::DuplicateLength),
                }
            }
            14 if name.eq_ignore_ascii_case("content_length") => Err(Reason::DisguisedFraming),
            14 if name.eq_ignore_ascii_case("http2-settings") => Err(Reason::UpgradeToH2c),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                let seen = std::mem::replace(&mut self.chunked, true);
                match !seen && value.eq_ignore_ascii_case(b"chunked") {
                    true => Ok(()),
                    false => Err(Reason::BadTransferEncoding),
                }
            }
            17 if name.eq_ignore_ascii_case("transfer_encoding") => Err(Reason::DisguisedFraming),
            _ => Ok(()),
        }
    }

    fn check_host(&self, is_http10: bool) -> Result<(), Reason> {
        match self.host.is_some() || is_http10 {
            true => Ok(()),
            false => Err(Reason::MissingHost),
        }
    }

    fn body(&self, is_http10: bool) -> Result<Body, Reason> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Reason::LengthAndChunked),
            (true, None) if is_http10 => Err(Reason::ChunkedOnHttp10),
            (true, None) => Ok(Body::Chunked),
            (false, length) => Ok(Body::Length(length.unwrap_or(0))),
        }
    }
}

/// `CONNECT` makes tunnels, `TRACE` and `TRACK` echo credentials; methods are case-sensitive, so
/// one that is not in capitals is another method to us and perhaps the same one to an upstream.
fn check_method(method: &str) -> Result<(), Reason> {
    let is_plain = method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    match method {
        "CONNECT" | "TRACE" | "TRACK" | "PRI" => Err(Reason::BadMethod),
        _ if is_plain => Ok(()),
        _ => Err(Reason::BadMethod),
    }
}

/// Origin form, or absolute form that names the host of the `Host` field.
fn check_target(target: &str, host: Option<&[u8]>) -> Result<(), Reason> {
    if target.starts_with('/') {
        return CanonicalPath::parse(target).map(drop);
    }
    let (scheme, rest) = target.split_once("://").ok_or(Reason::BadTarget)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Reason::BadTarget);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or(Reason::BadTarget)?;
    check_authority(authority.as_bytes())?;
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_bytes())) {
        return Err(Reason::HostMismatch);
    }
    if path.is_empty() { Ok(()) } else { CanonicalPath::parse(path).map(drop) }
}

/// One or more digits without leading zeros (which some parsers take for octal), below 2^63.
fn plain_length(value: &[u8]) -> Result<u64, Reason> {
    let is_plain = match value {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let text = std::str::from_utf8(value).ok().filter(|_| is_plain).ok_or(Reason::BadLength)?;
    let length = text.parse::<i64>().map_err(|_| Reason::BadLength)?;
    u64::try_from(length).map_err(|_| Reason::BadLength)
}

fn check_expect(value: &[u8]) -> Result<(), Reason> {
    match value.eq_ignore_ascii_case(b"100-continue") {
        true => Ok(()),
        false => Err(Reason::BadExpect),
    }
}

/// An upgrade to h2c would carry requests past this guard; other protocols are never switched to,
/// so asking for them is harmless.
fn check_upgrade(value: &[u8]) -> Result<(), Reason> {
    let names_http2 = |item: &[u8]| {
        item.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"))
            || item.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"))
    };
    match list_items(value).any(names_http2) {
        true => Err(Reason::UpgradeToH2c),
        false => Ok(()),
    }
}

/// A field named here is dropped by whoever forwards the request; naming `authorization` or
/// `x-tenant-id` would strip what the decision stood on.
fn check_connection(value: &[u8]) -> Result<(), Reason> {
    const OPTIONS: [&[u8]; 5] = [b"close", b"keep-alive", b"upgrade", b"te", b"proxy-connection"];
    for item in list_items(value) {
        if item.eq_ignore_ascii_case(b"http2-settings") {
            return Err(Reason::UpgradeToH2c);
        }
        if !OPTIONS.iter().any(|option| item.eq_ignore_ascii_case(option)) {
            return Err(Reason::BadConnectionOption);
        }
    }
    Ok(())
}

/// The non-empty members of a comma-separated list.
fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Names the rule behind a parser error; on the slow path only.
fn why(error: httparse::Error, head: &[u8]) -> Reason {
    let is_bare_cr = |pair: &[u8]| matches!(pair, [b'\r', after] if *after != b'\n');
    if head.windows(2).any(is_bare_cr) {
        return Reason::BareCr;
    }
    match error {
        httparse::Error::HeaderName => Reason::BadFieldName,
        httparse::Error::HeaderValue => Reason::BadFieldValue,
        httparse::Error::TooManyHeaders => Reason::TooManyFields,
        httparse::Error::Version => Reason::BadVersion,
        _ => Reason::BadRequestLine,
    }
}
