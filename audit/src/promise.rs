//! Promises: signed words that a record is durable at a place of a log, for callers who keep them
//! (ledger-and-vault.md 5.4). A ledger that does not have the record later is proved to have
//! broken its word, without anybody's help. No I/O, no clock.
//!
//! A promise is a signed note of its own kind under a key name of its own, `<origin>/promise`, so
//! that it cannot be replayed as a checkpoint, nor a checkpoint as a promise.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::chain::Hash;
use crate::note::{BadNote, LogKey, VerifierKey, decimal, parse_hash, write_hash};
use crate::session_seq::SessionSeq;

/// First line of the text about a record that is numbered in no session.
const TITLE: &str = "portcullis/promise/v1";

/// First line of the text about a record that is: two more lines tell its number and since where it
/// is counted, so that a caller can show that another of its own records is missing.
const TITLE_OF_COUNTED: &str = "portcullis/promise/v2";

/// That a record is durable at a place of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Name of the log.
    pub origin: String,
    /// Place of the record.
    pub seq: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Its number in its session, when it has one.
    pub session: Option<SessionSeq>,
}

/// Why a promise does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPromise {
    /// The note is not one, or not signed by the log's key.
    #[error("{0}")]
    Note(#[from] BadNote),
    /// The signed text is not a promise about this log.
    #[error("the signed text is not a promise about this log")]
    Text,
}

impl Promise {
    /// The signed note.
    #[must_use]
    pub fn sign(&self, key: &LogKey) -> String {
        let (origin, seq, leaf) = (&self.origin, self.seq, write_hash(&self.leaf));
        let text = match self.session {
            None => format!("{TITLE}\n{origin}\n{seq}\n{leaf}\n"),
            Some(SessionSeq { since, number }) => {
                format!("{TITLE_OF_COUNTED}\n{origin}\n{seq}\n{leaf}\n{number}\n{since}\n")
            }
        };
        key.sign(&name(&self.origin), &text)
    }

    /// The log that a promise is about, as it claims; believed by nobody before [`Self::open`].
    #[must_use]
    pub fn origin_of(note: &str) -> Option<&str> {
        let titled = note.strip_prefix(TITLE).or_else(|| note.strip_prefix(TITLE_OF_COUNTED));
        titled?.strip_prefix('\n')?.split('\n').next()
    }

    /// Reads a promise that the log's key signed.
    ///
    /// # Errors
    /// [`NotAPromise`].
    pub fn open(note: &str, log: &VerifierKey) -> Result<Self, NotAPromise> {
        let key = VerifierKey::of_public(&name(log.name()), *log.public());
        let text = key.map_err(|_| NotAPromise::Text)?.open(note)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let (origin, seq, leaf, session) = match lines.as_slice() {
            [TITLE, origin, seq, leaf, ""] => (*origin, seq, leaf, None),
            [TITLE_OF_COUNTED, origin, seq, leaf, number, since, ""] => {
                let number = decimal(number).filter(|number| *number > 0);
                let at = number.zip(decimal(since)).ok_or(NotAPromise::Text)?;
                (*origin, seq, leaf, Some(SessionSeq { number: at.0, since: at.1 }))
            }
            _ => return Err(NotAPromise::Text),
        };
        match (decimal(seq), parse_hash(leaf)) {
            (Some(seq), Some(leaf)) if origin == log.name() => {
                Ok(Self { origin: origin.to_owned(), seq, leaf, session })
            }
            _ => Err(NotAPromise::Text),
        }
    }

    /// A note from what a caller kept: the note itself, or the value of the header that carried it.
    #[must_use]
    pub fn note_from(kept: &str) -> Option<String> {
        if kept.starts_with(TITLE) || kept.starts_with(TITLE_OF_COUNTED) {
            return Some(kept.to_owned());
        }
        String::from_utf8(BASE64.decode(kept.trim()).ok()?).ok()
    }
}

fn name(origin: &str) -> String {
    format!("{origin}/promise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Checkpoint;

    fn keys() -> (LogKey, VerifierKey) {
        let key = LogKey::from_seed(&[7; 32]).unwrap();
        let log = VerifierKey::parse(&key.vkey("d/t/x")).unwrap();
        (key, log)
    }

    fn promise() -> Promise {
        Promise { origin: "d/t/x".to_owned(), seq: 7, leaf: [9; 32], session: None }
    }

    fn counted() -> Promise {
        Promise { session: Some(SessionSeq { since: 4, number: 3 }), ..promise() }
    }

    #[test]
    fn a_promise_reads_back_from_the_note_and_from_the_header() {
        let (key, log) = keys();
        for promise in [promise(), counted()] {
            let note = promise.sign(&key);
            assert_eq!(Promise::open(&note, &log), Ok(promise));
            assert_eq!(Promise::origin_of(&note), Some("d/t/x"));
            assert_eq!(Promise::note_from(&note), Some(note.clone()));
            assert_eq!(Promise::note_from(&BASE64.encode(&note)), Some(note));
        }
    }

    #[test]
    fn neither_stands_for_the_other_and_none_for_another_log() {
        let (key, log) = keys();
        let note = promise().sign(&key);
        assert!(Checkpoint::open(&note, &log).is_err());
        let head = Checkpoint { origin: "d/t/x".to_owned(), size: 7, root: [9; 32] };
        assert!(Promise::open(&head.sign(&key), &log).is_err());
        let other = VerifierKey::parse(&key.vkey("d/t/y")).unwrap();
        assert!(Promise::open(&note, &other).is_err());
        let foreign = Promise { origin: "d/t/y".to_owned(), ..promise() };
        let text = format!("{TITLE}\nd/t/y\n7\n{}\n", write_hash(&foreign.leaf));
        assert!(Promise::open(&key.sign("d/t/x/promise", &text), &log).is_err());
        for (from, to) in [("\n7\n", "\n8\n"), ("\n7\n", "\n07\n"), ("v1", "v2")] {
            assert!(Promise::open(&note.replace(from, to), &log).is_err(), "{to:?}");
        }
        let sign = |text: String| Promise::open(&key.sign("d/t/x/promise", &text), &log).is_ok();
        let text = |count: &str| {
            format!("{TITLE_OF_COUNTED}\nd/t/x\n7\n{}\n{count}", write_hash(&[9; 32]))
        };
        assert!(sign(text("3\n4\n")));
        for count in ["0\n4\n", "03\n4\n", "3\n\n", "3\n", "", "3\n4\n5\n"] {
            assert!(!sign(text(count)), "{count:?}");
        }
    }
}
