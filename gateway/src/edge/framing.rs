//! Strict HTTP/1 framing, beneath hyper.
//!
//! hyper reads requests the way that most servers do: leniently where the RFCs allow it. A
//! gateway must not be lenient, because the server behind it may be lenient in another way, and
//! the difference is a smuggled request. So the bytes of a connection pass a [`Framer`] first. It
//! follows message boundaries by itself, refuses a head before hyper has seen one byte of it, and
//! knows nothing of sockets or clocks; [`guard`] puts it between socket and hyper.
//!
//! INVARIANT: verdicts do not depend on packet boundaries:
//! `verdicts_do_not_depend_on_packet_boundaries`.

mod authority;
mod block;
mod chunked;
pub(super) mod clock;
pub(super) mod guard;
mod head;

pub(super) use authority::check_authority;

use block::BlockScan;
use chunked::Chunked;
use head::Body;

use super::malformed::Reason;

/// Bounds of one HTTP/1 head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    /// Longest head or trailer section in bytes, end of section included.
    pub(super) max_bytes: usize,
    /// Most fields; at most [`head::FIELD_SLOTS`].
    pub(super) max_fields: usize,
}

/// Follows the requests of one HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Framer {
    limits: HeadLimits,
    place: Place,
    heads: u64,
}

#[derive(Debug)]
enum Place {
    Head(BlockScan),
    Length(u64),
    Chunked(Chunked),
}

/// What of the input may pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inspection {
    /// Length of the input's prefix that is sound; the rest must be presented again with more
    /// bytes behind it, unless it is refused.
    pub(super) sound: usize,
    /// Why the byte after the sound prefix, or the section that starts there, is refused. Final.
    pub(super) refused: Option<Reason>,
}

impl Framer {
    pub(super) fn new(limits: HeadLimits) -> Framer {
        Framer { limits, place: Place::Head(BlockScan::default()), heads: 0 }
    }

    /// Heads found sound so far.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to a head.
    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Judges as much of `input` as can be judged.
    pub(super) fn inspect(&mut self, input: &[u8]) -> Inspection {
        let mut sound = 0;
        loop {
            let rest = input.get(sound..).unwrap_or_default();
            if rest.is_empty() {
                return Inspection { sound, refused: None };
            }
            match self.step(rest) {
                Ok(0) => return Inspection { sound, refused: None },
                Ok(more) => sound += more,
                Err((before, reason)) => {
                    return Inspection { sound: sound + before, refused: Some(reason) };
                }
            }
        }
    }

    /// One section further: how many bytes are sound, 0 when more are needed; or how many are
    /// sound before the offence, and the offence.
    fn step(&mut self, rest: &[u8]) -> Result<usize, (usize, Reason)> {
        match &mut self.place {
            Place::Head(scan) => {
                let found = scan.find_head_end(rest, self.limits.max_bytes);
                let Some(end) = found.map_err(|reason| (0, reason))? else { return Ok(0) };
                let section = rest.get(..end).unwrap_or_default();
                let body = head::check(section, self.limits).map_err(|reason| (0, reason))?;
                self.heads += 1;
                self.place = Place::after_head(body);
                Ok(end)
            }
            Place::Length(left) => {
                let available = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                let passed = available.min(*left);
                *left -= passed;
                if *left == 0 {
                    self.place = Place::Head(BlockScan::default());
                }
                Ok(usize::try_from(passed).unwrap_or(rest.len()))
            }
            Place::Chunked(chunked) => {
                let passed = chunked.step(rest, self.limits)?;
                if chunked.is_done() {
                    self.place = Place::Head(BlockScan::default());
                }
                Ok(passed)
            }
        }
    }
}

impl Place {
    fn after_head(body: Body) -> Place {
        match body {
            Body::Length(0) => Place::Head(BlockScan::default()),
            Body::Length(left) => Place::Length(left),
            Body::Chunked => Place::Chunked(Chunked::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { max_bytes: 512, max_fields: 8 };

    /// Feeds `input` in the given portions, the way the guard does; the verdict on all of it.
    fn feed(input: &[u8], portions: impl Iterator<Item = usize>) -> (usize, Option<Reason>) {
        let mut framer = Framer::new(LIMITS);
        let (mut passed, mut seen) = (0, 0);
        for portion in portions.chain(std::iter::once(input.len())) {
            seen = input.len().min(seen + portion);
            let inspection = framer.inspect(&input[passed..seen]);
            passed += inspection.sound;
            if inspection.refused.is_some() {
                return (passed, inspection.refused);
            }
        }
        (passed, None)
    }

    fn hostile_stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("GET /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            Just("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_owned()),
            Just("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
            Just("3\r\nabc\r\n".to_owned()),
            Just("0\r\n\r\n".to_owned()),
            Just("0\r\nX-T: 1\r\n\r\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            "[ -~]{0,8}",
        ];
        proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn verdicts_do_not_depend_on_packet_boundaries(
            stream in hostile_stream(),
            portions in proptest::collection::vec(1usize..40, 0..40),
        ) {
            let whole = feed(&stream, std::iter::empty());
            prop_assert_eq!(feed(&stream, std::iter::repeat_n(1, stream.len())), whole);
            prop_assert_eq!(feed(&stream, portions.into_iter()), whole);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            feed(&bytes, std::iter::empty());
        }
    }
}
