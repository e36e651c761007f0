//! What a log makes of a witness's answer.

use super::SIZE_MEDIA_TYPE;
use super::request::AddCheckpoint;
use crate::note::{BadNote, CosignerKey, MAX_NOTE_BYTES, SignedNote, decimal, parse_lines};

/// An answer that the log can go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The checkpoint is cosigned.
    Cosigned {
        /// The witness's signature lines, to append to the checkpoint.
        lines: String,
        /// When, in seconds since 1970.
        unix_seconds: u64,
    },
    /// The witness's last checkpoint has another size; a proof from there may be accepted.
    ProveFrom {
        /// Leaves of the last checkpoint that the witness cosigned.
        size: u64,
    },
}

/// Why an answer does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// Refused for a reason that the log can do nothing about.
    #[error("the witness refused with status {0}")]
    Refused(u16),
    /// Longer than any answer.
    #[error("the answer is longer than {MAX_NOTE_BYTES} bytes")]
    TooLong,
    /// Said to be cosigned, but not by this witness.
    #[error("the cosignature: {0}")]
    Cosignature(#[from] BadNote),
    /// A conflict without the size that must be said.
    #[error("the witness says that sizes conflict, but not which it has")]
    NoSize,
    /// The witness says that it cosigned more than there is: another history of this log, or a
    /// witness that errs.
    #[error("the witness says it cosigned {0} leaves, which is more than there are")]
    Ahead(u64),
    /// The witness refuses at the size that it says it has: it has seen another root there, or it
    /// errs.
    #[error("the witness refuses a proof from {0} leaves, which it says it has")]
    OtherRoot(u64),
}

impl Answer {
    /// Reads the answer to `request`: its status, media type and body. Cosignatures of other keys
    /// are left out.
    ///
    /// # Errors
    /// [`BadAnswer`].
    pub fn read(
        request: &AddCheckpoint,
        witness: &CosignerKey,
        status: u16,
        media_type: Option<&str>,
        body: &str,
    ) -> Result<Self, BadAnswer> {
        if body.len() > MAX_NOTE_BYTES {
            return Err(BadAnswer::TooLong);
        }
        match status {
            200 => read_cosignature(request, witness, body),
            409 => read_conflict(request, media_type, body),
            other => Err(BadAnswer::Refused(other)),
        }
    }
}

fn read_cosignature(
    request: &AddCheckpoint,
    witness: &CosignerKey,
    body: &str,
) -> Result<Answer, BadAnswer> {
    parse_lines(body)?;
    let text = SignedNote::parse(request.note())?.text();
    let (mut lines, mut last) = (String::new(), None);
    for line in body.split_inclusive('\n') {
        match witness.verify(&SignedNote::parse(&format!("{text}\n{line}"))?) {
            Ok(seconds) => {
                lines.push_str(line);
                last = last.max(Some(seconds));
            }
            Err(BadNote::Unsigned) => {} // Unknown keys are ignored.
            Err(bad) => return Err(bad.into()),
        }
    }
    let unix_seconds = last.ok_or(BadNote::Unsigned)?;
    Ok(Answer::Cosigned { lines, unix_seconds })
}

fn read_conflict(
    request: &AddCheckpoint,
    media_type: Option<&str>,
    body: &str,
) -> Result<Answer, BadAnswer> {
    if media_type != Some(SIZE_MEDIA_TYPE) {
        return Err(BadAnswer::NoSize);
    }
    let size = body.strip_suffix('\n').and_then(decimal).ok_or(BadAnswer::NoSize)?;
    if size > request.head().size {
        return Err(BadAnswer::Ahead(size));
    }
    if size == request.old_size() {
        return Err(BadAnswer::OtherRoot(size));
    }
    Ok(Answer::ProveFrom { size })
}
