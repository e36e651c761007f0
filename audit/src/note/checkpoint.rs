//! The head of a log as the text of a note (c2sp.org/tlog-checkpoint v1.0.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{BadNote, LogKey, VerifierKey};
use crate::chain::Hash;

/// The head of a log: how many records, under which root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// RFC 6962 root over their leaf hashes.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: origin, size, root, each on a line.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// The signed note.
    #[must_use]
    pub fn sign(&self, key: &LogKey) -> String {
        key.sign(&self.origin, &self.text())
    }

    /// Reads the text of a note. Extension lines may follow; nothing is made of them.
    ///
    /// # Errors
    /// [`BadNote::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, BadNote> {
        let lines = text.strip_suffix('\n').ok_or(BadNote::Checkpoint)?;
        if lines.split('\n').any(str::is_empty) {
            return Err(BadNote::Checkpoint);
        }
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(BadNote::Checkpoint);
        };
        match (decimal(size), parse_hash(root)) {
            (Some(size), Some(root)) => Ok(Self { origin: origin.to_owned(), size, root }),
            _ => Err(BadNote::Checkpoint),
        }
    }

    /// Reads a checkpoint that `key` signed; the key's name is the origin that it must have.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, BadNote> {
        let text = key.open(note)?;
        if text.split('\n').next() != Some(key.name()) {
            return Err(BadNote::Origin);
        }
        Self::parse(text)
    }
}

/// A number in its one decimal spelling.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// A hash in base64, in its one spelling.
pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    BASE64.decode(text).ok().and_then(|bytes| Hash::try_from(bytes).ok())
}

/// A hash in base64.
pub(crate) fn write_hash(hash: &Hash) -> String {
    BASE64.encode(hash)
}
