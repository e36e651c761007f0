//! Why a request was refused at the edge, and who is told before the answer leaves.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use http::StatusCode;

/// Makes the reason enum, its stable code, its status and its sentence from one table.
macro_rules! reasons {
    ($($name:ident $code:literal $status:ident $words:literal;)+) => {
        /// What is wrong with a request, in the words of the ledger record.
        ///
        /// Sources: RFC 9112 (HTTP/1.1 framing), RFC 9110 (fields, methods), RFC 9113 (HTTP/2),
        /// RFC 3986 (targets).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $(#[doc = $words] $name,)+ }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// Stable code for records and answers: lower case, underscores.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)+ }
            }

            /// Status that the caller sees; always 4xx or 505.
            pub const fn status(self) -> StatusCode {
                match self { $(Reason::$name => StatusCode::$status,)+ }
            }

            /// One sentence for the caller; holds nothing that the caller sent.
            pub const fn words(self) -> &'static str {
                match self { $(Reason::$name => $words,)+ }
            }
        }
    };
}

reasons! {
    // Line structure of an HTTP/1 head
    LeadingBlank "leading_blank" BAD_REQUEST "bytes before the request line";
    BareLf "bare_lf" BAD_REQUEST "a line ends in LF without CR";
    BareCr "bare_cr" BAD_REQUEST "a CR that is not followed by LF";
    ObsFold "obs_fold" BAD_REQUEST "a field value continues on a second line";
    BadRequestLine "bad_request_line" BAD_REQUEST "the request line is not `method target version`";
    BadVersion "bad_version" HTTP_VERSION_NOT_SUPPORTED "the version is neither HTTP/1.0 nor HTTP/1.1";
    BadFieldName "bad_field_name" BAD_REQUEST "a field name is not a token directly followed by a colon";
    BadFieldValue "bad_field_value" BAD_REQUEST "a field value holds a control byte";
    HeadTooLarge "head_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE "the request head is too large";
    TooManyFields "too_many_fields" REQUEST_HEADER_FIELDS_TOO_LARGE "too many header fields";
    TargetTooLong "target_too_long" URI_TOO_LONG "the request target is too long";
    HeadTimeout "head_timeout" REQUEST_TIMEOUT "the request head did not arrive in time";
    // Message framing
    LengthAndChunked "length_and_chunked" BAD_REQUEST "both content-length and transfer-encoding";
    DuplicateLength "duplicate_length" BAD_REQUEST "more than one content-length";
    BadLength "bad_length" BAD_REQUEST "content-length is not a plain decimal number";
    BadTransferEncoding "bad_transfer_encoding" BAD_REQUEST "transfer-encoding is not exactly one `chunked`";
    ChunkedOnHttp10 "chunked_on_http10" BAD_REQUEST "transfer-encoding on HTTP/1.0";
    DisguisedFraming "disguised_framing" BAD_REQUEST "a framing field spelled with underscores";
    BadChunk "bad_chunk" BAD_REQUEST "a chunk size or chunk end is malformed";
    ChunkExtension "chunk_extension" BAD_REQUEST "chunk extensions are not accepted";
    BadTrailer "bad_trailer" BAD_REQUEST "the trailer section is malformed";
    ForbiddenTrailer "forbidden_trailer" BAD_REQUEST "a trailer field that must not be in a trailer";
    BodyTimeout "body_timeout" REQUEST_TIMEOUT "the request body stopped arriving";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "the request body is too large";
    BadBody "bad_body" BAD_REQUEST "the request body broke off or was malformed";
    // Authority
    MissingHost "missing_host" BAD_REQUEST "no host";
    DuplicateHost "duplicate_host" BAD_REQUEST "more than one host";
    BadHost "bad_host" BAD_REQUEST "the host is not a name or address with an optional port";
    HostMismatch "host_mismatch" BAD_REQUEST "the target names another host than the host field";
    Userinfo "userinfo" BAD_REQUEST "the authority holds user information";
    // Method, target form, connection options
    BadMethod "bad_method" METHOD_NOT_ALLOWED "this method is never served here";
    BadTarget "bad_target" BAD_REQUEST "the target is not an absolute path";
    UpgradeToH2c "upgrade_to_h2c" BAD_REQUEST "upgrade to h2c is not accepted";
    BadExpect "bad_expect" EXPECTATION_FAILED "an expectation other than 100-continue";
    BadConnectionOption "bad_connection_option" BAD_REQUEST "the connection field names an end-to-end field";
    ConnectionFieldInHttp2 "connection_field_in_http2" BAD_REQUEST "a connection field in HTTP/2";
    DuplicateField "duplicate_field" BAD_REQUEST "a field that may come once came twice";
    Desynchronised "desynchronised" BAD_REQUEST "two parsers disagreed about where this request begins";
    // Path and query
    Fragment "fragment" BAD_REQUEST "the target holds a fragment";
    Backslash "backslash" BAD_REQUEST "the path holds a backslash";
    EncodedSlash "encoded_slash" BAD_REQUEST "the path holds an encoded slash";
    NulByte "nul_byte" BAD_REQUEST "the target holds a NUL byte";
    ControlByte "control_byte" BAD_REQUEST "the path holds a control character";
    DotSegment "dot_segment" BAD_REQUEST "the path holds a `.` or `..` segment";
    EmptySegment "empty_segment" BAD_REQUEST "the path holds an empty segment";
    PathParameter "path_parameter" BAD_REQUEST "the path holds a `;`";
    BadPercent "bad_percent" BAD_REQUEST "a percent sign without two hexadecimal digits";
    DoubleEncoding "double_encoding" BAD_REQUEST "the path is percent-encoded twice";
    RawByte "raw_byte" BAD_REQUEST "the target holds a byte that must be percent-encoded";
    BadUtf8 "bad_utf8" BAD_REQUEST "the decoded path is not UTF-8";
}

/// One refused request, as the ledger may know it: no byte that the peer sent is in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What was wrong.
    pub reason: Reason,
    /// Who was on the other end of the connection.
    pub peer: SocketAddr,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// Version that the connection speaks.
    pub version: http::Version,
    /// Refused requests since the last record that got none of their own, because they came
    /// faster than [`super::Limits::malformed_per_second`].
    pub unrecorded: u64,
}

/// Answer of [`OnMalformed::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// The record is durable.
    Written,
    /// Nothing could be written: the caller hears 503 instead of 400.
    Unavailable,
}

/// Future of [`OnMalformed::record`].
pub type Recording<'a> = Pin<Box<dyn Future<Output = Recorded> + Send + 'a>>;

/// Who writes a ledger record for each request that is refused before it becomes a call.
///
/// The edge waits for the record before it releases the refusal, at most
/// [`super::Limits::record_deadline`] long, and never holds more than
/// [`super::Limits::malformed_in_flight`] recordings at once. A connection waits only for its
/// own record.
pub trait OnMalformed: Send + Sync + 'static {
    /// Writes one record; resolves when it is durable or cannot be.
    fn record(&self, seen: Malformed) -> Recording<'_>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_own_code_and_a_client_error_status() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let status = reason.status();
            assert!(status.is_client_error() || status.as_u16() == 505, "{reason:?}");
            assert!(!reason.words().is_empty());
        }
    }
}
