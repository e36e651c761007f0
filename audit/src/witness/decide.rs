//! What a witness makes of a request.

use super::request::{AddCheckpoint, BadRequest};
use crate::chain::{Hash, digest};
use crate::merkle::{BadProof, verify_consistency};
use crate::note::{BadNote, Checkpoint, Cosigner, SignedNote, VerifierKey};

/// What a witness keeps of a log: the last head that it cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

impl Default for TreeHead {
    /// The empty tree, with which every log begins.
    fn default() -> Self {
        Self { size: 0, root: digest(&[]) }
    }
}

/// Why a witness does not cosign, by the order in which it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is not in its form.
    #[error("{0}")]
    Form(#[from] BadRequest),
    /// No key is known for this origin.
    #[error("this log is not known here")]
    UnknownOrigin,
    /// No known key of the log signed the checkpoint.
    #[error("the checkpoint: {0}")]
    Signature(BadNote),
    /// The old size is larger than that of the checkpoint.
    #[error("the old size is larger than that of the checkpoint")]
    Sizes,
    /// The old size is not that of the last cosigned checkpoint.
    #[error("the last cosigned checkpoint has {size} leaves")]
    OtherSize {
        /// Leaves of the last cosigned checkpoint.
        size: u64,
    },
    /// A checkpoint of this size with another root was cosigned: the log has forked.
    #[error("a checkpoint of {size} leaves with another root was cosigned")]
    OtherRoot {
        /// Leaves of both checkpoints.
        size: u64,
    },
    /// The checkpoint does not continue the last cosigned one, or that is not shown.
    #[error("consistency: {0}")]
    Proof(BadProof),
    /// The last cosigned checkpoint was signed by a newer key of the log.
    #[error(
        "the last cosigned checkpoint is signed by a newer key of the log, and the keys that it replaced \
         sign no more (of the keys of a log the witness is given the newest first)"
    )]
    Retired,
}

impl Refusal {
    /// Status of the HTTP answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Form(_) | Self::Sizes => 400,
            Self::Signature(_) | Self::Retired => 403,
            Self::UnknownOrigin => 404,
            Self::OtherSize { .. } | Self::OtherRoot { .. } => 409,
            Self::Proof(_) => 422,
        }
    }

    /// The size that the answer must say, with the media type [`super::SIZE_MEDIA_TYPE`] and a
    /// newline after it.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        match self {
            Self::OtherSize { size } | Self::OtherRoot { size } => Some(*size),
            _ => None,
        }
    }

    /// Body of the HTTP answer.
    #[must_use]
    pub fn body(&self) -> String {
        self.size().map_or_else(|| format!("{self}\n"), |size| format!("{size}\n"))
    }
}

/// Checks a request against the keys that the witness trusts and the head that it has stored of
/// this origin (`None` when there is none yet), with the key that signed that. A key is for the origin that
/// its name says; of several for one origin the newest comes first.
///
/// Whoever took a key that was replaced can sign with it for ever. So once a newer key has signed what was
/// cosigned, an older one counts for nothing any more: what is stored says by whom, and what replaces it is
/// never signed by an older key. Until then nobody outside can tell that the key was replaced.
///
/// # Errors
/// [`Refusal`].
pub fn decide(
    request: AddCheckpoint,
    trusted: &[VerifierKey],
    stored: Option<(TreeHead, &VerifierKey)>,
) -> Result<Pending, Refusal> {
    let (stored, before) = stored.map_or_else(Default::default, |(head, by)| (head, Some(by)));
    let head = request.head();
    let text = signed_text(request.note(), &head.origin, trusted)?.to_owned();
    let by = signer(request.note(), trusted).ok_or(Refusal::Signature(BadNote::Unsigned))?;
    let age = |key: &VerifierKey| trusted.iter().position(|one| one == key);
    if before.is_some_and(|before| age(by) > age(before)) {
        return Err(Refusal::Retired);
    }
    if request.old_size() > head.size {
        return Err(Refusal::Sizes);
    }
    if request.old_size() != stored.size {
        return Err(Refusal::OtherSize { size: stored.size });
    }
    if head.size == stored.size && head.root != stored.root {
        return Err(Refusal::OtherRoot { size: stored.size });
    }
    verify_consistency(stored.size, &stored.root, head.size, &head.root, request.proof())
        .map_err(Refusal::Proof)?;
    Ok(Pending { head: head.clone(), text, expected: stored })
}

/// The newest of the keys that signed a checkpoint, when the newest comes first among them.
#[must_use]
pub fn signer<'k>(note: &str, trusted: &'k [VerifierKey]) -> Option<&'k VerifierKey> {
    trusted.iter().find(|key| Checkpoint::open(note, key).is_ok())
}

/// The text of the note when a trusted key of this origin signed it.
fn signed_text<'a>(
    note: &'a str,
    origin: &str,
    trusted: &[VerifierKey],
) -> Result<&'a str, Refusal> {
    let note = SignedNote::parse(note).map_err(|_| BadRequest::Checkpoint)?;
    let mut answer = Err(Refusal::UnknownOrigin);
    for key in trusted.iter().filter(|key| key.name() == origin) {
        match key.verify(&note) {
            Ok(()) => answer = Ok(note.text()),
            Err(BadNote::Unsigned) if answer.is_ok() => {}
            Err(BadNote::Unsigned) => answer = Err(Refusal::Signature(BadNote::Unsigned)),
            Err(bad) => return Err(Refusal::Signature(bad)),
        }
    }
    answer
}

/// A head that may be cosigned once it is stored.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the head must be stored, or the request is not answered"]
pub struct Pending {
    head: Checkpoint,
    text: String,
    expected: TreeHead,
}

impl Pending {
    /// The log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.head.origin
    }

    /// The stored head that was decided upon; it must still be stored when it is replaced. Where
    /// nothing is stored yet, this is the empty tree.
    #[must_use]
    pub const fn expected(&self) -> TreeHead {
        self.expected
    }

    /// What must be stored, durably, before the answer.
    #[must_use]
    pub const fn next(&self) -> TreeHead {
        TreeHead { size: self.head.size, root: self.head.root }
    }

    /// Takes what is stored for the log after the attempt to replace [`Self::expected`] by
    /// [`Self::next`]. Whoever calls this must have read it from the storage, after its fsync.
    ///
    /// # Errors
    /// [`Refusal::OtherSize`], [`Refusal::OtherRoot`] when another request came first.
    pub fn persisted(self, stored: TreeHead) -> Result<Persisted, Refusal> {
        if stored == self.next() {
            return Ok(Persisted { text: self.text });
        }
        let size = stored.size;
        if size == self.head.size {
            Err(Refusal::OtherRoot { size })
        } else {
            Err(Refusal::OtherSize { size })
        }
    }
}

/// A head that is stored as the last one of its log. Only this can be cosigned.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the cosignature is the answer"]
pub struct Persisted {
    text: String,
}

impl Persisted {
    /// The body of the answer with status 200: the cosignature line, at `unix_seconds`.
    #[must_use]
    pub fn cosign(self, key: &Cosigner, unix_seconds: u64) -> String {
        key.cosign(&self.text, unix_seconds)
    }
}
