//! C2SP signed notes (c2sp.org/signed-note v1.0.0), checkpoints (c2sp.org/tlog-checkpoint v1.0.0)
//! and cosignatures (c2sp.org/tlog-cosignature v1.0.1), all Ed25519. No I/O, no clock.
//!
//! Only notes are ever signed; a raw record never is, so no record can be replayed as a head.
//! A log's key and a witness's key are of two types: neither can stand where the other is needed.

mod checkpoint;
mod cosignature;
mod key;
mod signed;

pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::{decimal, parse_hash, write_hash};
pub use cosignature::{Cosigner, CosignerKey};
pub use key::{BadKey, LogKey, VerifierKey};
pub(crate) use signed::parse_lines;
pub use signed::{MAX_NOTE_BYTES, MAX_SIGNATURES, Signature, SignedNote, append};

/// Why a note does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not a signed note.
    #[error("it is not a signed note")]
    Form,
    /// More signatures than are looked at.
    #[error("it has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// The expected key did not sign it.
    #[error("the expected key did not sign it")]
    Unsigned,
    /// The expected key's signature is wrong.
    #[error("the signature does not fit the text")]
    Signature,
    /// The text is not a checkpoint.
    #[error("the signed text is not a checkpoint")]
    Checkpoint,
    /// The checkpoint is that of another log.
    #[error("it is the head of another log")]
    Origin,
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
