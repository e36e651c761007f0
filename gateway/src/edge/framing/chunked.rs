//! Chunked bodies (RFC 9112 section 7.1) without extensions, followed byte by byte.

use super::HeadLimits;
use super::block::BlockScan;
use super::head::FIELD_SLOTS;
use crate::edge::malformed::Reason;

/// Most digits of a chunk size: 2^60 bytes, so that no parser's integer overflows.
const MAX_SIZE_DIGITS: u8 = 15;

/// Progress through one chunked body.
#[derive(Debug)]
pub(super) enum Chunked {
    /// In the size line; digits read so far and their value.
    Size { digits: u8, value: u64 },
    /// After the size line's CR.
    SizeLf { value: u64 },
    /// In the data of a chunk.
    Data { left: u64 },
    /// After the data: CR, then LF.
    DataCr,
    /// After the data and CR.
    DataLf,
    /// After the last chunk.
    Trailers(BlockScan),
    /// The body is over.
    Done,
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked::Size { digits: 0, value: 0 }
    }
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Chunked::Done)
    }

    /// One step further: how many bytes of `rest` (not empty) are sound, 0 when a section is
    /// incomplete.
    pub(super) fn step(
        &mut self,
        rest: &[u8],
        limits: HeadLimits,
    ) -> Result<usize, (usize, Reason)> {
        match self {
            Chunked::Data { left } => {
                let available = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                let passed = available.min(*left);
                *left -= passed;
                if *left == 0 {
                    *self = Chunked::DataCr;
                }
                Ok(usize::try_from(passed).unwrap_or(rest.len()))
            }
            Chunked::Trailers(scan) => {
                let found = scan.find_trailer_end(rest, limits.max_bytes);
                let Some(end) = found.map_err(|reason| (0, reason))? else { return Ok(0) };
                check_trailers(rest.get(..end).unwrap_or_default(), limits)
                    .map_err(|reason| (0, reason))?;
                *self = Chunked::Done;
                Ok(end)
            }
            Chunked::Done => Ok(0),
            _ => {
                let byte = rest.first().copied().unwrap_or_default();
                *self = self.after_line_byte(byte).map_err(|reason| (0, reason))?;
                Ok(1)
            }
        }
    }

    /// The state after one byte of a size line or of a chunk's end.
    fn after_line_byte(&self, byte: u8) -> Result<Chunked, Reason> {
        match (self, byte) {
            (Chunked::Size { digits, value }, _) if byte.is_ascii_hexdigit() => {
                if *digits >= MAX_SIZE_DIGITS {
                    return Err(Reason::BadChunk);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Ok(Chunked::Size { digits: digits + 1, value: value * 16 + u64::from(digit) })
            }
            (Chunked::Size { digits, value }, b'\r') if *digits > 0 => {
                Ok(Chunked::SizeLf { value: *value })
            }
            (Chunked::Size { digits, .. }, b';') if *digits > 0 => Err(Reason::ChunkExtension),
            (Chunked::SizeLf { value: 0 }, b'\n') => Ok(Chunked::Trailers(BlockScan::default())),
            (Chunked::SizeLf { value }, b'\n') => Ok(Chunked::Data { left: *value }),
            (Chunked::DataCr, b'\r') => Ok(Chunked::DataLf),
            (Chunked::DataLf, b'\n') => Ok(Chunked::default()),
            _ => Err(Reason::BadChunk),
        }
    }
}

/// Refuses trailer fields that a recipient could take for part of the head (RFC 9110 6.5.1).
fn check_trailers(section: &[u8], limits: HeadLimits) -> Result<(), Reason> {
    if section == b"\r\n" {
        return Ok(());
    }
    let mut slots = [httparse::EMPTY_HEADER; FIELD_SLOTS];
    match httparse::parse_headers(section, &mut slots) {
        Ok(httparse::Status::Complete((end, fields))) if end == section.len() => {
            if fields.len() > limits.max_fields {
                return Err(Reason::BadTrailer);
            }
            match fields.iter().any(|field| is_forbidden_trailer(field.name)) {
                true => Err(Reason::ForbiddenTrailer),
                false => Ok(()),
            }
        }
        _ => Err(Reason::BadTrailer),
    }
}

/// Framing, routing, identity, conditions and content: fields that decide before the body is read.
fn is_forbidden_trailer(name: &str) -> bool {
    const FORBIDDEN: [&str; 32] = [
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "if-match",
        "if-none-match",
        "keep-alive",
        "max-forwards",
        "origin",
        "pragma",
        "proxy-authorization",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-acting-user",
        "x-api-key",
        "x-ext-id",
        "x-extension-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-service-token",
        "x-tenant-id",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}
