//! The proof that one record is in a log, as a file that is checked without the log
//! (c2sp.org/tlog-proof@v1, `.tlog-proof`). No I/O, no clock.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::chain::{Hash, leaf};
use crate::merkle::{BadProof, MAX_PROOF_HASHES, verify_inclusion};
use crate::note::{Checkpoint, MAX_NOTE_BYTES, SignedNote, decimal, parse_hash, write_hash};
use crate::policy::{Evaluation, NotTrusted, Policy};

/// First line of the file.
pub const TITLE: &str = "c2sp.org/tlog-proof@v1";

/// Ending of the file's name.
pub const EXTENSION: &str = "tlog-proof";

/// Longest `extra` data, in bytes.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;

/// Longest file that is read: the checkpoint, the hashes and the extra data at their bounds.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + MAX_PROOF_HASHES * 45 + MAX_EXTRA_BYTES * 2;

/// A proof as it was made or read; nothing of it is believed before it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: String,
}

/// Why a file is not a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAProof {
    /// Longer than [`MAX_PROOF_BYTES`].
    #[error("it is longer than {MAX_PROOF_BYTES} bytes")]
    TooLong,
    /// The first line is another.
    #[error("it does not begin with `{TITLE}`")]
    Title,
    /// The extra data is not base64, empty, or too long.
    #[error("the `extra` line is not base64 of 1 to {MAX_EXTRA_BYTES} bytes")]
    Extra,
    /// There is no index in its one decimal spelling.
    #[error("there is no `index` line with a number")]
    Index,
    /// A line of the proof is not a hash.
    #[error("a line of the proof is not a hash in base64")]
    Hash,
    /// More hashes than any tree needs.
    #[error("it has more than {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// What follows the empty line is not a signed checkpoint.
    #[error("what follows the empty line is not a signed checkpoint")]
    Checkpoint,
}

/// Why a record is not proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProved {
    /// The policy does not know the checkpoint's log, or the signature is wrong.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] NotTrusted),
    /// Not enough witnesses cosigned the checkpoint.
    #[error("the checkpoint has not the cosignatures that the policy asks for")]
    Quorum,
    /// The record is not at this index under this checkpoint.
    #[error("the record is not in the log at this index: {0}")]
    Inclusion(#[from] BadProof),
}

/// What a verified proof says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Place of the record in its log.
    pub index: u64,
    /// The head that it is in, who signed it, and who cosigned it when.
    pub head: Evaluation,
}

impl TlogProof {
    /// A proof of the record at `index` from its inclusion proof and a signed checkpoint.
    ///
    /// # Errors
    /// [`NotAProof::TooManyHashes`], [`NotAProof::Checkpoint`].
    pub fn new(index: u64, hashes: Vec<Hash>, checkpoint: &str) -> Result<Self, NotAProof> {
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(NotAProof::TooManyHashes);
        }
        let note = SignedNote::parse(checkpoint).map_err(|_| NotAProof::Checkpoint)?;
        Checkpoint::parse(note.text()).map_err(|_| NotAProof::Checkpoint)?;
        Ok(Self { extra: None, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// The same proof with data that nothing vouches for; empty data is none.
    ///
    /// # Errors
    /// [`NotAProof::Extra`] when it is too long.
    pub fn with_extra(mut self, extra: Vec<u8>) -> Result<Self, NotAProof> {
        if extra.len() > MAX_EXTRA_BYTES {
            return Err(NotAProof::Extra);
        }
        self.extra = (!extra.is_empty()).then_some(extra);
        Ok(self)
    }

    /// Reads the text of a proof file.
    ///
    /// # Errors
    /// [`NotAProof`].
    pub fn parse(text: &str) -> Result<Self, NotAProof> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(NotAProof::TooLong);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(NotAProof::Checkpoint)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(TITLE) {
            return Err(NotAProof::Title);
        }
        let extra = lines.next_if(|line| line.starts_with("extra"));
        let extra = extra.map(parse_extra).transpose()?.unwrap_or_default();
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(NotAProof::Index)?;
        let hashes: Option<Vec<Hash>> = lines.take(MAX_PROOF_HASHES + 1).map(parse_hash).collect();
        Self::new(index, hashes.ok_or(NotAProof::Hash)?, checkpoint)?.with_extra(extra)
    }

    /// Data that came with the proof, which nothing vouches for.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// Claimed place of the record in its log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof, the leaf's sibling first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The signed checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Checks that the bytes of `record` are in a log that `policy` believes. Cosignatures of a
    /// time after `now` (seconds since 1970) do not count.
    ///
    /// # Errors
    /// [`NotProved`].
    pub fn verify(&self, record: &[u8], policy: &Policy, now: u64) -> Result<Proved, NotProved> {
        self.verify_leaf(&leaf(record), policy, now)
    }

    /// [`Self::verify`] for a record of which only the leaf hash is left.
    ///
    /// # Errors
    /// [`NotProved`].
    pub fn verify_leaf(&self, leaf: &Hash, policy: &Policy, now: u64) -> Result<Proved, NotProved> {
        let head = policy.evaluate(&self.checkpoint, now)?;
        if !head.quorum {
            return Err(NotProved::Quorum);
        }
        let Checkpoint { size, root, .. } = &head.checkpoint;
        verify_inclusion(leaf, self.index, *size, &self.hashes, root)?;
        Ok(Proved { index: self.index, head })
    }
}

/// The file.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", write_hash(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, NotAProof> {
    let data = line.strip_prefix("extra ").and_then(|text| BASE64.decode(text).ok());
    data.filter(|data| !data.is_empty()).ok_or(NotAProof::Extra)
}

#[cfg(test)]
#[path = "tlog_proof_tests.rs"]
mod tests;
