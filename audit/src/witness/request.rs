//! The body of an `add-checkpoint` request.

use std::fmt;

use crate::chain::Hash;
use crate::note::{Checkpoint, MAX_NOTE_BYTES, SignedNote, decimal, parse_hash, write_hash};

/// Most hashes of a consistency proof that a request may carry.
pub const MAX_REQUEST_HASHES: usize = 63;

/// Longest request that is read: the old size, the hashes and the checkpoint at their bounds.
pub const MAX_REQUEST_BYTES: usize = 32 + MAX_REQUEST_HASHES * 45 + MAX_NOTE_BYTES;

/// A checkpoint, and the proof that it continues the one that the witness cosigned last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    note: String,
    head: Checkpoint,
}

/// Why a request is not in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Longer than [`MAX_REQUEST_BYTES`].
    #[error("the request is longer than {MAX_REQUEST_BYTES} bytes")]
    TooLong,
    /// The first line is not `old` and a number.
    #[error("the first line is not `old` and a number")]
    OldSize,
    /// A line of the proof is not a hash.
    #[error("a line of the proof is not a hash in base64")]
    Hash,
    /// More hashes than a request may carry.
    #[error("the proof has more than {MAX_REQUEST_HASHES} hashes")]
    TooManyHashes,
    /// What follows the empty line is not a signed checkpoint.
    #[error("what follows the empty line is not a signed checkpoint")]
    Checkpoint,
}

impl AddCheckpoint {
    /// A request to cosign the signed checkpoint `note` after one of `old_size` leaves.
    ///
    /// # Errors
    /// [`BadRequest::TooManyHashes`], [`BadRequest::Checkpoint`].
    pub fn new(old_size: u64, proof: Vec<Hash>, note: &str) -> Result<Self, BadRequest> {
        if proof.len() > MAX_REQUEST_HASHES {
            return Err(BadRequest::TooManyHashes);
        }
        let signed = SignedNote::parse(note).map_err(|_| BadRequest::Checkpoint)?;
        let head = Checkpoint::parse(signed.text()).map_err(|_| BadRequest::Checkpoint)?;
        Ok(Self { old_size, proof, note: note.to_owned(), head })
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`BadRequest`]; the answer is 400.
    pub fn parse(body: &str) -> Result<Self, BadRequest> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(BadRequest::TooLong);
        }
        let (lines, note) = body.split_once("\n\n").ok_or(BadRequest::Checkpoint)?;
        let mut lines = lines.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(BadRequest::OldSize)?;
        let proof: Option<Vec<Hash>> = lines.take(MAX_REQUEST_HASHES + 1).map(parse_hash).collect();
        Self::new(old, proof.ok_or(BadRequest::Hash)?, note)
    }

    /// Leaves of the checkpoint that the proof begins with; 0 when there is none.
    #[must_use]
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint as a note, whose signatures nobody has looked at.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What the checkpoint says.
    #[must_use]
    pub const fn head(&self) -> &Checkpoint {
        &self.head
    }
}

/// The body of the request.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{}", write_hash(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}
