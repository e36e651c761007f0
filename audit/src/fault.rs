//! The first bad record, in words that an auditor can act on.

use std::fmt;

/// What was done to the record, as far as the bytes can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The record's bytes are not those that were logged.
    Edited,
    /// Two records changed places.
    Swapped,
    /// A record stands where none was logged.
    Inserted,
    /// A record that was logged is missing.
    Deleted,
    /// Records at the end are missing.
    Truncated,
    /// A file ends in the middle, or is missing.
    Torn,
    /// The bytes are not a record in the canonical form.
    NotCanonical,
    /// The record belongs to another log.
    Foreign,
    /// Everything hangs together, but not under the signed head.
    Rewritten,
    /// The deployment's log vouches for another history of this log, or for one that is not here.
    Forked,
    /// The signed head itself is not valid.
    BadCheckpoint,
    /// A hash tile does not fit the signed head.
    BadTile,
    /// An outcome does not fit its intent.
    BadReference,
}

impl FaultKind {
    /// The word that reports use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Swapped => "swapped",
            Self::Inserted => "inserted",
            Self::Deleted => "deleted",
            Self::Truncated => "truncated",
            Self::Torn => "torn",
            Self::NotCanonical => "not_canonical",
            Self::Foreign => "foreign",
            Self::Rewritten => "rewritten",
            Self::Forked => "forked",
            Self::BadCheckpoint => "bad_checkpoint",
            Self::BadTile => "bad_tile",
            Self::BadReference => "bad_reference",
        }
    }
}

/// The first bad record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Origin of the log.
    pub log: String,
    /// Place of the record, when one record can be named.
    pub seq: Option<u64>,
    /// What was done to it.
    pub kind: FaultKind,
    /// How that can be told.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "record {seq} of log `{}`: ", self.log)?,
            None => write!(f, "log `{}`: ", self.log)?,
        }
        write!(f, "{}: {}", self.kind.as_str(), self.why)
    }
}
