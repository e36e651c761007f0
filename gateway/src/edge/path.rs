//! One canonical path: what is decided, recorded and sent upstream is the same string.
//!
//! Two servers that spell a path differently disagree about which rule holds for it. So a target
//! is either refused or rewritten to the only spelling of its decoded segments:
//!
//! * every percent-encoded byte that may stand raw in a segment (RFC 3986 `pchar`) is decoded;
//!   every other one keeps its encoding with upper-case digits;
//! * refused, never repaired: encoded `/`, `\` in any form, NUL and control characters, `.` and
//!   `..` segments in any spelling, empty segments, `;` in any spelling (servlet containers cut
//!   path parameters off after the rules looked at them), a second layer of percent-encoding,
//!   bytes that RFC 3986 does not allow, text that is not UTF-8, fragments.
//!
//! A trailing slash stays: `/a` and `/a/` are two paths. The query is kept byte for byte; it must
//! consist of query characters with valid percent-encodings, none of them NUL.
//!
//! INVARIANT: canonical form is a fixed point: `canonical_form_is_a_fixed_point`.
//! INVARIANT: no decoded segment holds a slash, is `.` or `..`: `no_decoded_segment_can_climb`.
//! INVARIANT: one spelling for equal segments: `equal_segments_have_one_spelling`.

use std::borrow::Cow;
use std::fmt;

use http::uri::PathAndQuery;

use super::malformed::Reason;

/// Longest path accepted, in bytes, before and after rewriting.
pub const MAX_PATH_BYTES: usize = 4096;
/// Longest query accepted, in bytes.
pub const MAX_QUERY_BYTES: usize = 8192;

/// The one spelling of a request's path, and its query as it came.
///
/// Starts with `/`; ASCII; at most [`MAX_PATH_BYTES`]. The only path that rules, records and
/// upstreams may use; handlers find it in the request's extensions.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    /// Path, then `?` and the query if there is one.
    text: Box<str>,
    /// Length of the path in `text`.
    path_len: usize,
}

impl CanonicalPath {
    /// Reads an origin-form target (`/path?query`) and brings it to its one spelling.
    ///
    /// # Errors
    /// The [`Reason`] of the first rule that the target breaks.
    pub fn parse(target: &str) -> Result<CanonicalPath, Reason> {
        if target.contains('#') {
            return Err(Reason::Fragment);
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        if path.len() > MAX_PATH_BYTES || query.is_some_and(|q| q.len() > MAX_QUERY_BYTES) {
            return Err(Reason::TargetTooLong);
        }
        let path = canonical_path(path)?;
        let path_len = path.len();
        let text = match query {
            None => path.into_owned(),
            Some(query) => {
                check_query(query)?;
                let mut text = String::with_capacity(path_len + 1 + query.len());
                text.push_str(&path);
                text.push('?');
                text.push_str(query);
                text
            }
        };
        Ok(CanonicalPath { text: text.into_boxed_str(), path_len })
    }

    /// The path alone, without the query.
    pub fn as_str(&self) -> &str {
        self.text.get(..self.path_len).unwrap_or("/")
    }

    /// The query without its `?`, byte for byte as it came.
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_len + 1..)
    }

    /// Path and query as one string: what an upstream is sent.
    pub fn as_path_and_query(&self) -> &str {
        &self.text
    }

    /// Path and query for a request to an upstream.
    ///
    /// # Errors
    /// None for a value made by [`CanonicalPath::parse`]; the type of `http` cannot say so.
    pub fn to_path_and_query(&self) -> Result<PathAndQuery, http::uri::InvalidUri> {
        PathAndQuery::try_from(self.as_path_and_query())
    }

    /// The decoded segments in order; the last one is empty when the path ends in a slash.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.as_str().split('/').skip(1).map(decode_segment)
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CanonicalPath").field(&self.as_str()).finish()
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Checks a path; borrows it when it is canonical already, which is the common case.
fn canonical_path(path: &str) -> Result<Cow<'_, str>, Reason> {
    if !path.starts_with('/') {
        return Err(Reason::BadTarget);
    }
    let mut encoded = false;
    for byte in path.bytes() {
        match byte {
            b'%' => encoded = true,
            b'/' => {}
            _ if is_segment_byte(byte) => {}
            _ => return Err(why_not_raw(byte)),
        }
    }
    let canonical = if encoded { Cow::Owned(rewrite(path)?) } else { Cow::Borrowed(path) };
    check_segments(&canonical)?;
    Ok(canonical)
}

/// Names the rule that a raw byte breaks.
fn why_not_raw(byte: u8) -> Reason {
    match byte {
        b'\\' => Reason::Backslash,
        b';' => Reason::PathParameter,
        0 => Reason::NulByte,
        _ if byte.is_ascii_control() => Reason::ControlByte,
        _ => Reason::RawByte,
    }
}

/// Decodes what may stand raw, upper-cases what may not.
fn rewrite(path: &str) -> Result<String, Reason> {
    let mut canonical = String::with_capacity(path.len());
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            canonical.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let (value, tail) = percent_value(tail).ok_or(Reason::BadPercent)?;
        check_decoded(value)?;
        decoded.push(value);
        if is_segment_byte(value) {
            canonical.push(char::from(value));
        } else {
            push_encoded(&mut canonical, value);
        }
        rest = tail;
    }
    let text = std::str::from_utf8(&decoded).map_err(|_| Reason::BadUtf8)?;
    // Of the decoded text, not of the bytes as they came: `%25%32e` is `%2e` after one decoding.
    if is_encoded_again(&decoded) {
        return Err(Reason::DoubleEncoding);
    }
    if text.chars().any(char::is_control) {
        return Err(Reason::ControlByte);
    }
    Ok(canonical)
}

/// Refuses a decoded byte that means something to whoever decodes the path next.
fn check_decoded(value: u8) -> Result<(), Reason> {
    match value {
        b'/' => Err(Reason::EncodedSlash),
        b'\\' => Err(Reason::Backslash),
        b';' => Err(Reason::PathParameter),
        0 => Err(Reason::NulByte),
        _ if value.is_ascii_control() => Err(Reason::ControlByte),
        _ => Ok(()),
    }
}

/// True for text that somebody who decodes once more reads otherwise.
fn is_encoded_again(decoded: &[u8]) -> bool {
    let mut parts = decoded.split(|byte| *byte == b'%').skip(1);
    parts.any(|part| percent_value(part).is_some())
}

/// Refuses empty and dot segments; an empty last segment is a trailing slash.
fn check_segments(path: &str) -> Result<(), Reason> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(Reason::DotSegment),
            "" if segments.peek().is_some() => return Err(Reason::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a query that two parsers could read differently.
fn check_query(query: &str) -> Result<(), Reason> {
    let mut rest = query.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => match percent_value(tail) {
                None => return Err(Reason::BadPercent),
                Some((0, _)) => return Err(Reason::NulByte),
                Some((_, tail)) => rest = tail,
            },
            _ if is_query_byte(byte) => {}
            _ => return Err(why_not_raw(byte)),
        }
    }
    Ok(())
}

/// Decodes one segment of a canonical path.
fn decode_segment(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, percent_value(tail)) {
            (b'%', Some((value, tail))) => {
                decoded.push(value);
                rest = tail;
            }
            _ => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Reads the two hexadecimal digits after a percent sign.
fn percent_value(tail: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, tail) = tail.split_first_chunk::<2>()?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let value = u8::try_from(high? * 16 + low?).ok()?;
    Some((value, tail))
}

/// Appends `%XX` with upper-case digits.
fn push_encoded(text: &mut String, value: u8) {
    text.push('%');
    for digit in [value >> 4, value & 0x0f] {
        let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
        text.push(digit.to_ascii_uppercase());
    }
}

/// RFC 3986 `pchar` without `%`, and without `;` (see the module header).
const fn is_segment_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
        | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// RFC 3986 query characters, and the five that clients send raw although they should not.
const fn is_query_byte(byte: u8) -> bool {
    is_segment_byte(byte) || matches!(byte, b'/' | b'?' | b';' | b'[' | b']' | b'{' | b'}' | b'|')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(target: &str) -> Result<String, Reason> {
        CanonicalPath::parse(target).map(|p| p.as_path_and_query().to_owned())
    }

    #[test]
    fn plain_and_encoded_paths_get_their_one_spelling() {
        for (target, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/%61%2D%7e", "/a-~"),
            ("/a%40b", "/a@b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/100%25", "/100%25"),
            ("/...", "/..."),
            ("/a?b=%2f..%2F&c[]=1;d", "/a?b=%2f..%2F&c[]=1;d"),
            ("/a?", "/a?"),
        ] {
            assert_eq!(canonical(target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn targets_that_two_servers_read_differently_are_refused() {
        for (target, reason) in [
            ("", Reason::BadTarget),
            ("*", Reason::BadTarget),
            ("a/b", Reason::BadTarget),
            ("/a%2fb", Reason::EncodedSlash),
            ("/a%2Fb", Reason::EncodedSlash),
            ("/a%5cb", Reason::Backslash),
            ("/a\\b", Reason::Backslash),
            ("/a%00", Reason::NulByte),
            ("/a\0", Reason::NulByte),
            ("/a%0d%0a", Reason::ControlByte),
            ("/a\u{7f}", Reason::ControlByte),
            ("/%C2%85", Reason::ControlByte),
            ("/.", Reason::DotSegment),
            ("/a/../b", Reason::DotSegment),
            ("/a/%2e%2E/b", Reason::DotSegment),
            ("/a/.%2e", Reason::DotSegment),
            ("//a", Reason::EmptySegment),
            ("/a//b", Reason::EmptySegment),
            ("/a//", Reason::EmptySegment),
            ("/a;x=1/b", Reason::PathParameter),
            ("/a%3Bx/b", Reason::PathParameter),
            ("/%", Reason::BadPercent),
            ("/%4", Reason::BadPercent),
            ("/%zz", Reason::BadPercent),
            ("/%+1", Reason::BadPercent),
            ("/%252e%252e/", Reason::DoubleEncoding),
            ("/%25%32e%25%32e/", Reason::DoubleEncoding),
            ("/%252%65%25%32%65/", Reason::DoubleEncoding),
            ("/%c3%A9%250%30", Reason::DoubleEncoding),
            ("/caf\u{e9}", Reason::RawByte),
            ("/a b", Reason::RawByte),
            ("/<a>", Reason::RawByte),
            ("/%ff", Reason::BadUtf8),
            ("/%c0%af", Reason::BadUtf8),
            ("/a#b", Reason::Fragment),
            ("/a?b#c", Reason::Fragment),
            ("/a?b=%", Reason::BadPercent),
            ("/a?b=%00", Reason::NulByte),
            ("/a?b\\c", Reason::Backslash),
            ("/a?\u{e9}", Reason::RawByte),
        ] {
            assert_eq!(canonical(target), Err(reason), "{target:?}");
        }
    }

    #[test]
    fn overlong_paths_and_queries_are_refused() {
        let long = "a".repeat(MAX_PATH_BYTES);
        assert_eq!(canonical(&format!("/{long}")), Err(Reason::TargetTooLong));
        let query = "a".repeat(MAX_QUERY_BYTES + 1);
        assert_eq!(canonical(&format!("/?{query}")), Err(Reason::TargetTooLong));
    }

    #[test]
    fn segments_are_decoded_and_a_trailing_slash_is_an_empty_one() {
        let path = CanonicalPath::parse("/a%20b/caf%c3%a9/?q").expect("valid");
        assert_eq!(path.segments().collect::<Vec<_>>(), ["a b", "café", ""]);
        assert_eq!((path.as_str(), path.query()), ("/a%20b/caf%C3%A9/", Some("q")));
    }

    /// Targets made of what attackers combine, so that deep rules are reached.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/".to_owned()),
            Just(".".to_owned()),
            Just("%2e".to_owned()),
            Just("%25".to_owned()),
            Just("%2F".to_owned()),
            Just("%c3%A9".to_owned()),
            any::<u8>().prop_map(|b| format!("%{b:02x}")),
            "[a-zA-Z0-9@!~-]{1,3}",
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|p| format!("/{}", p.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn canonical_form_is_a_fixed_point(target in hostile()) {
            if let Ok(once) = canonical(&target) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
            }
        }

        #[test]
        fn no_decoded_segment_can_climb(target in hostile()) {
            if let Ok(path) = CanonicalPath::parse(&target) {
                prop_assert!(path.to_path_and_query().is_ok());
                prop_assert!(target.parse::<http::Uri>().is_ok(), "hyper would refuse it unseen");
                for segment in path.segments() {
                    prop_assert!(!segment.contains(['/', '\\', '\0', ';']));
                    prop_assert!(segment != "." && segment != "..");
                }
            }
        }

        #[test]
        fn equal_segments_have_one_spelling(plain in "[a-z@!~ é]{1,6}", mask in any::<u32>()) {
            let spell = |mask: u32| {
                plain.bytes().enumerate().fold(String::from("/"), |mut text, (i, byte)| {
                    if mask >> (i % 32) & 1 == 1 || !is_segment_byte(byte) {
                        text.push_str(&format!("%{byte:02x}"));
                    } else {
                        text.push(char::from(byte));
                    }
                    text
                })
            };
            prop_assert_eq!(canonical(&spell(mask)), canonical(&spell(0)));
        }

        #[test]
        fn no_target_panics(target in any::<String>()) {
            let _ = CanonicalPath::parse(&target);
        }
    }
}
