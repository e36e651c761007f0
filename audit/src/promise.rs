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

/// First line of the text.
const TITLE: &str = "portcullis/promise/v1";

/// That a record is durable at a place of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Name of the log.
    pub origin: String,
    /// Place of the record.
    pub seq: u64,
    /// Its leaf hash.
    pub leaf: Hash,
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
        let text = format!("{TITLE}\n{}\n{}\n{}\n", self.origin, self.seq, write_hash(&self.leaf));
        key.sign(&name(&self.origin), &text)
    }

    /// The log that a promise is about, as it claims; believed by nobody before [`Self::open`].
    #[must_use]
    pub fn origin_of(note: &str) -> Option<&str> {
        note.strip_prefix(TITLE)?.strip_prefix('\n')?.split('\n').next()
    }

    /// Reads a promise that the log's key signed.
    ///
    /// # Errors
    /// [`NotAPromise`].
    pub fn open(note: &str, log: &VerifierKey) -> Result<Self, NotAPromise> {
        let key = VerifierKey::of_public(&name(log.name()), *log.public());
        let text = key.map_err(|_| NotAPromise::Text)?.open(note)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [TITLE, origin, seq, leaf, ""] = lines.as_slice() else {
            return Err(NotAPromise::Text);
        };
        match (decimal(seq), parse_hash(leaf)) {
            (Some(seq), Some(leaf)) if *origin == log.name() => {
                Ok(Self { origin: (*origin).to_owned(), seq, leaf })
            }
            _ => Err(NotAPromise::Text),
        }
    }

    /// A note from what a caller kept: the note itself, or the value of the header that carried it.
    #[must_use]
    pub fn note_from(kept: &str) -> Option<String> {
        if kept.starts_with(TITLE) {
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
        Promise { origin: "d/t/x".to_owned(), seq: 7, leaf: [9; 32] }
    }

    #[test]
    fn a_promise_reads_back_from_the_note_and_from_the_header() {
        let (key, log) = keys();
        let note = promise().sign(&key);
        assert_eq!(Promise::open(&note, &log), Ok(promise()));
        assert_eq!(Promise::origin_of(&note), Some("d/t/x"));
        assert_eq!(Promise::note_from(&note), Some(note.clone()));
        assert_eq!(Promise::note_from(&BASE64.encode(&note)), Some(note));
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
    }
}
