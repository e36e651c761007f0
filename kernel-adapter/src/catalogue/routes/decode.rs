//! Request targets to values and back, refusing whatever two parsers could read differently.

use std::fmt::Write as _;

use http::uri::PathAndQuery;

use super::template::MAX_SEGMENTS;

/// Most query parameters of a request.
const MAX_PARAMS: usize = 128;

/// Query parameters in the order of their first appearance.
pub(super) type Query = Vec<(String, Vec<String>)>;

/// The decoded segments of a path that starts with `/`; `None` when it is ambiguous.
pub(super) fn path(path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix('/')?;
    let segments: Option<Vec<String>> =
        rest.split('/').take(MAX_SEGMENTS + 1).map(segment).collect();
    let segments = segments.filter(|s| s.len() <= MAX_SEGMENTS)?;
    // An empty segment inside ("//") is dropped by some servers and kept by others.
    let inner = segments.len() - 1;
    (!segments.iter().take(inner).any(String::is_empty)).then_some(segments)
}

/// `;` starts parameters that Tomcat and Spring cut off; `\` is `/` to IIS; an encoded `/` is a
/// separator to some; dot segments climb.
fn segment(text: &str) -> Option<String> {
    let decoded = percent_decode(text, false)?;
    let tricky = |c: char| c.is_control() || matches!(c, ';' | '\\' | '/' | '%');
    (decoded != "." && decoded != ".." && !decoded.chars().any(tricky)).then_some(decoded)
}

/// The decoded query; `None` when it is ambiguous. `repeats` says which names may be repeated.
pub(super) fn query(query: &str, repeats: impl Fn(&str) -> bool) -> Option<Query> {
    let mut found: Query = Vec::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        // `;` separates pairs for some parsers (W3C recommended it in 1999).
        if pair.contains(';') || found.len() >= MAX_PARAMS {
            return None;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (percent_decode(name, true)?, percent_decode(value, true)?);
        let control = |s: &str| s.chars().any(|c| c == '\0' || c == '\r' || c == '\n');
        // Rails, Laravel and others read the method itself from this field.
        if name.is_empty() || control(&name) || control(&value) || name == "_method" {
            return None;
        }
        match found.iter_mut().find(|(n, _)| *n == name) {
            // Which of two equal names counts differs between servers (parameter pollution).
            Some((_, values)) if repeats(&name) => values.push(value),
            Some(_) => return None,
            None => found.push((name, vec![value])),
        }
    }
    Some(found)
}

/// Path and query made anew from decoded values, every byte but the unreserved ones encoded.
pub(super) fn target(segments: &[String], query: &Query) -> Option<PathAndQuery> {
    let mut out = String::new();
    for s in segments {
        out.push('/');
        percent_encode(s, b"!$&'()*+,=:@", &mut out);
    }
    let mut separator = '?';
    for (name, values) in query {
        for value in values {
            out.push(separator);
            percent_encode(name, b"", &mut out);
            out.push('=');
            percent_encode(value, b"", &mut out);
            separator = '&';
        }
    }
    PathAndQuery::try_from(out).ok()
}

/// Decodes `%XX` (and `+` in forms); `None` for a broken escape or bytes that are no UTF-8.
fn percent_decode(text: &str, form: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if form => out.push(b' '),
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok()
}

fn percent_encode(text: &str, keep: &[u8], out: &mut String) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) || keep.contains(&b) {
            out.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
}
