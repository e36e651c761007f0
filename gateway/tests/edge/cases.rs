//! Requests that no upstream may ever see, by name.

use portcullis::edge::Reason;

/// Name, bytes on the wire, and the reason that the record must give.
pub(crate) struct Case(pub(crate) &'static str, pub(crate) String, pub(crate) Reason);

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [framing_cases(), line_cases(), host_cases(), target_cases()].into_iter().flatten().collect()
}

fn get(name: &'static str, target: &str, reason: Reason) -> Case {
    Case(name, format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"), reason)
}

/// A request with further lines in its head.
fn with(name: &'static str, lines: &str, reason: Reason) -> Case {
    Case(name, format!("POST /x HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n\r\n"), reason)
}

/// A chunked request with this body.
fn chunked(name: &'static str, body: &str, reason: Reason) -> Case {
    let head = "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    Case(name, format!("{head}{body}"), reason)
}

fn raw(name: &'static str, bytes: &str, reason: Reason) -> Case {
    Case(name, bytes.to_owned(), reason)
}

#[rustfmt::skip] // one line a case
fn framing_cases() -> Vec<Case> {
    vec![
        with("length then chunked", "Content-Length: 4\r\nTransfer-Encoding: chunked", Reason::LengthAndChunked),
        with("chunked then length", "Transfer-Encoding: chunked\r\nContent-Length: 4", Reason::LengthAndChunked),
        with("two different lengths", "Content-Length: 4\r\nContent-Length: 5", Reason::DuplicateLength),
        with("two identical lengths", "Content-Length: 4\r\nContent-Length: 4", Reason::DuplicateLength),
        with("length as a list", "Content-Length: 4, 4", Reason::BadLength),
        with("length with a plus", "Content-Length: +4", Reason::BadLength),
        with("negative length", "Content-Length: -1", Reason::BadLength),
        with("hexadecimal length", "Content-Length: 0x4", Reason::BadLength),
        with("empty length", "Content-Length:", Reason::BadLength),
        with("length with a fraction", "Content-Length: 4.0", Reason::BadLength),
        with("length with inner space", "Content-Length: 1 0", Reason::BadLength),
        with("length with a leading zero", "Content-Length: 04", Reason::BadLength),
        with("length beyond 64 bits", "Content-Length: 18446744073709551617", Reason::BadLength),
        with("length beyond 63 bits", "Content-Length: 9223372036854775808", Reason::BadLength),
        with("length spelled with an underscore", "Content_Length: 4", Reason::DisguisedFraming),
        with("transfer-encoding with an underscore", "Transfer_Encoding: chunked", Reason::DisguisedFraming),
        with("gzip then chunked", "Transfer-Encoding: gzip, chunked", Reason::BadTransferEncoding),
        with("chunked twice in one field", "Transfer-Encoding: chunked, chunked", Reason::BadTransferEncoding),
        with("chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Reason::BadTransferEncoding),
        with("identity", "Transfer-Encoding: identity", Reason::BadTransferEncoding),
        with("chunked misspelled", "Transfer-Encoding: xchunked", Reason::BadTransferEncoding),
        with("chunked quoted", "Transfer-Encoding: \"chunked\"", Reason::BadTransferEncoding),
        with("chunked with a parameter", "Transfer-Encoding: chunked;a=b", Reason::BadTransferEncoding),
        with("empty transfer-encoding", "Transfer-Encoding:", Reason::BadTransferEncoding),
        with("chunked behind a vertical tab", "Transfer-Encoding: \u{b}chunked", Reason::BadFieldValue),
        raw("chunked on HTTP/1.0", "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::ChunkedOnHttp10),
        chunked("chunk extension", "3;a=b\r\nabc\r\n0\r\n\r\n", Reason::ChunkExtension),
        chunked("chunk size not hexadecimal", "g\r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk size with 0x", "0x3\r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk size with a sign", "+3\r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("negative chunk size", "-1\r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("empty chunk size", "\r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk size with a space before", " 3\r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk size with a space behind", "3 \r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk size beyond 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk size line ends in LF", "3\nabc\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n", Reason::BadChunk),
        chunked("chunk ends in LF", "3\r\nabc\n0\r\n\r\n", Reason::BadChunk),
        chunked("second chunk malformed", "3\r\nabc\r\nz\r\n", Reason::BadChunk),
        chunked("content-length as a trailer", "0\r\nContent-Length: 4\r\n\r\n", Reason::ForbiddenTrailer),
        chunked("authorization as a trailer", "0\r\nAuthorization: Bearer x\r\n\r\n", Reason::ForbiddenTrailer),
        chunked("tenant as a trailer", "0\r\nX-Tenant-ID: other\r\n\r\n", Reason::ForbiddenTrailer),
        chunked("trailer without a colon", "0\r\nnothing\r\n\r\n", Reason::BadTrailer),
        chunked("trailer line ends in LF", "0\r\nX-A: b\n\r\n", Reason::BareLf),
        chunked("folded trailer", "0\r\nX-A: b\r\n c\r\n\r\n", Reason::ObsFold),
    ]
}

#[rustfmt::skip] // one line a case
fn line_cases() -> Vec<Case> {
    vec![
        raw("head with LF only", "GET /x HTTP/1.1\nHost: a\n\n", Reason::BareLf),
        raw("one line with LF only", "GET /x HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Reason::BareLf),
        raw("empty line with LF only", "GET /x HTTP/1.1\r\nHost: a\r\n\n", Reason::BareLf),
        raw("bare CR in a value", "GET /x HTTP/1.1\r\nHost: a\r\nX: y\rZ: 1\r\n\r\n", Reason::BareCr),
        raw("bare CR after the version", "GET /x HTTP/1.1\rHost: a\r\n\r\n", Reason::BareCr),
        raw("CR before the first line", "\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::LeadingBlank),
        raw("space before the first line", " GET /x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::LeadingBlank),
        with("folded field", "X-A: b\r\n c", Reason::ObsFold),
        with("folded field with a tab", "X-A: b\r\n\tc", Reason::ObsFold),
        raw("space before the first field", "GET /x HTTP/1.1\r\n Host: a\r\n\r\n", Reason::ObsFold),
        with("space before the colon", "X-A : b", Reason::BadFieldName),
        with("length with a space before the colon", "Content-Length : 4", Reason::BadFieldName),
        with("tab before the colon", "X-A\t: b", Reason::BadFieldName),
        with("empty field name", ": b", Reason::BadFieldName),
        with("field without a colon", "nothing", Reason::BadFieldName),
        with("field name with a bracket", "X[a]: b", Reason::BadFieldName),
        with("field name with a NUL", "X\0A: b", Reason::BadFieldName),
        with("field name beyond ASCII", "X-é: b", Reason::BadFieldName),
        with("NUL in a value", "X-A: a\0b", Reason::BadFieldValue),
        with("escape in a value", "X-A: a\u{1b}b", Reason::BadFieldValue),
        with("DEL in a value", "X-A: a\u{7f}b", Reason::BadFieldValue),
        raw("two spaces before the target", "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        raw("two spaces before the version", "GET /x  HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadVersion),
        raw("tab in the request line", "GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        raw("space behind the version", "GET /x HTTP/1.1 \r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        raw("HTTP/0.9", "GET /x\r\n\r\n", Reason::BadRequestLine),
        raw("HTTP/1.2", "GET /x HTTP/1.2\r\nHost: a\r\n\r\n", Reason::BadVersion),
        raw("HTTP/2.0 in a request line", "GET /x HTTP/2.0\r\nHost: a\r\n\r\n", Reason::BadVersion),
        raw("version in small letters", "GET /x http/1.1\r\nHost: a\r\n\r\n", Reason::BadVersion),
        raw("version with two digits", "GET /x HTTP/1.10\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        raw("a TLS hello on a plain port", "\u{16}\u{3}\u{1}\0\u{5}hello", Reason::BadRequestLine),
        raw("method in small letters", "get /x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        raw("method in mixed letters", "GeT /x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadMethod),
        raw("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Reason::BadMethod),
        raw("TRACE", "TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadMethod),
        with("upgrade to h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA", Reason::UpgradeToH2c),
        with("upgrade to h2c in a list", "Connection: upgrade\r\nUpgrade: websocket, H2C", Reason::UpgradeToH2c),
        with("connection names a framing field", "Connection: close, Content-Length\r\nContent-Length: 0", Reason::BadConnectionOption),
        with("connection names an identity field", "Connection: Authorization", Reason::BadConnectionOption),
        with("another expectation", "Expect: 200-ok", Reason::BadExpect),
        with("two expectations in one field", "Expect: 100-continue, x", Reason::BadExpect),
        with("two authorizations", "Authorization: Bearer a\r\nAuthorization: Bearer b", Reason::DuplicateField),
        with("two content types", "Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0", Reason::DuplicateField),
    ]
}

#[rustfmt::skip] // one line a case
fn host_cases() -> Vec<Case> {
    let host = |name, value: &str, reason| {
        Case(name, format!("GET /x HTTP/1.1\r\nHost: {value}\r\n\r\n"), reason)
    };
    vec![
        raw("no host", "GET /x HTTP/1.1\r\nAccept: */*\r\n\r\n", Reason::MissingHost),
        raw("two hosts", "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Reason::DuplicateHost),
        raw("two equal hosts", "GET /x HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Reason::DuplicateHost),
        raw("two hosts on HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Reason::DuplicateHost),
        host("empty host", "", Reason::BadHost),
        host("host with a path", "a/b", Reason::BadHost),
        host("host with a space", "a b", Reason::BadHost),
        host("host list", "a, b", Reason::BadHost),
        host("host with userinfo", "user@a", Reason::Userinfo),
        host("host with a backslash", "a\\b", Reason::BadHost),
        host("host with a bad port", "a:99999", Reason::BadHost),
        host("host with an empty port", "a:", Reason::BadHost),
        host("host with an encoded byte", "a%2eb", Reason::BadHost),
        host("host with an open bracket", "[::1", Reason::BadHost),
        get("absolute target of another host", "http://b.example/x", Reason::HostMismatch),
        get("absolute target of another port", "http://a.example:81/x", Reason::HostMismatch),
        get("absolute target with userinfo", "http://u:p@a.example/x", Reason::Userinfo),
        get("absolute target without a host", "http:///x", Reason::BadHost),
        get("absolute target of another scheme", "ftp://a.example/x", Reason::BadTarget),
        get("absolute target without a path before its query", "http://a.example?x", Reason::BadTarget),
        get("absolute target with dot segments", "http://a.example/a/../x", Reason::DotSegment),
        get("network-path target", "//b.example/x", Reason::EmptySegment),
    ]
}

#[rustfmt::skip] // one line a case
fn target_cases() -> Vec<Case> {
    vec![
        raw("asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadTarget),
        get("asterisk form with GET", "*", Reason::BadTarget),
        get("authority form", "a.example:80", Reason::BadTarget),
        get("relative target", "x/y", Reason::BadTarget),
        get("encoded slash", "/a%2fb", Reason::EncodedSlash),
        get("encoded backslash", "/a%5Cb", Reason::Backslash),
        get("backslash", "/a\\b", Reason::Backslash),
        get("encoded NUL", "/a%00b", Reason::NulByte),
        get("encoded line end", "/a%0d%0aX:y", Reason::ControlByte),
        get("dot segments", "/a/../b", Reason::DotSegment),
        get("single dot segment", "/a/./b", Reason::DotSegment),
        get("encoded dot segments", "/a/%2e%2e/b", Reason::DotSegment),
        get("half-encoded dot segments", "/a/.%2E/b", Reason::DotSegment),
        get("dot segment at the end", "/a/..", Reason::DotSegment),
        get("empty segment", "/a//b", Reason::EmptySegment),
        get("double encoding", "/a/%252e%252e/b", Reason::DoubleEncoding),
        get("path parameter", "/a;v=1/b", Reason::PathParameter),
        get("path parameter that hides dots", "/a/..;/b", Reason::PathParameter),
        get("encoded path parameter", "/a%3bv=1", Reason::PathParameter),
        get("percent without digits", "/a%zz", Reason::BadPercent),
        get("percent at the end", "/a%", Reason::BadPercent),
        get("raw byte beyond ASCII", "/é", Reason::RawByte),
        get("overlong UTF-8", "/%c0%af", Reason::BadUtf8),
        get("invalid UTF-8", "/%ff", Reason::BadUtf8),
        get("fragment", "/a#b", Reason::Fragment),
        get("quote in the path", "/a\"b", Reason::RawByte),
        get("brace in the path", "/a{b}", Reason::RawByte),
        get("encoded NUL in the query", "/a?b=%00", Reason::NulByte),
        get("broken encoding in the query", "/a?b=%4", Reason::BadPercent),
        get("path too long", &format!("/{}", "a".repeat(5000)), Reason::TargetTooLong),
        get("query too long", &format!("/?{}", "a".repeat(9000)), Reason::TargetTooLong),
        with("head too large", &format!("X-A: {}", "a".repeat(40_000)), Reason::HeadTooLarge),
        with("too many fields", &["X: y"; 120].join("\r\n"), Reason::TooManyFields),
        with("length beyond the body limit", "Content-Length: 99999999", Reason::BodyTooLarge),
    ]
}
