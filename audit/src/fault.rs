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
    /// It ends before a head that was seen before.
    RolledBack,
    /// A record that was promised to a caller is not here.
    Omitted,
    /// A number of a session is missing, although everything hangs together.
    SessionGap,
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
    /// The head is signed by another key than the auditor believes.
    Resigned,
    /// The head is signed, and not cosigned as the auditor's policy wants it.
    NotWitnessed,
    /// The signed head itself is not valid.
    BadCheckpoint,
    /// A hash tile does not fit the signed head.
    BadTile,
    /// An outcome does not fit its intent.
    BadReference,
    /// A proof in the export does not prove the record that it carries.
    BadProof,
    /// A prune record gives up what it can't have known.
    BadPrune,
    /// What is disclosed of a record is not what the record commits to.
    BadDisclosure,
    /// A key record does not say, by both keys, that one takes over from the other.
    BadKey,
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
            Self::RolledBack => "rolled_back",
            Self::Omitted => "omitted",
            Self::SessionGap => "session_gap",
            Self::Torn => "torn",
            Self::NotCanonical => "not_canonical",
            Self::Foreign => "foreign",
            Self::Rewritten => "rewritten",
            Self::Forked => "forked",
            Self::Resigned => "re_signed",
            Self::NotWitnessed => "not_witnessed",
            Self::BadCheckpoint => "bad_checkpoint",
            Self::BadTile => "bad_tile",
            Self::BadReference => "bad_reference",
            Self::BadProof => "bad_proof",
            Self::BadPrune => "bad_prune",
            Self::BadDisclosure => "bad_disclosure",
            Self::BadKey => "bad_key",
        }
    }

    /// What must have happened for this to be found: what an operator would have to explain.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Edited => {
                "somebody who can write the files changed these bytes after they were logged; the \
                 record before and after still vouch for the original"
            }
            Self::Swapped => "somebody put the records of two places in each other's place",
            Self::Inserted => {
                "somebody put a record in that the ledger never wrote, or a copy of another"
            }
            Self::Deleted => {
                "somebody took this out after it was logged; an erasure never does: it destroys keys \
                 and leaves the record"
            }
            Self::Truncated => {
                "the end was cut off, or an older copy was put back; ask for what was written since"
            }
            Self::RolledBack => {
                "an older copy was put back, and what was logged since is gone; the checkpoint seen \
                 before proves that it was there"
            }
            Self::Omitted => {
                "the ledger promised a caller that this record is durable, and shows another one or \
                 none in its place"
            }
            Self::Torn => {
                "an incomplete copy, or a broken disk; copy it again, or put a backup back"
            }
            Self::NotCanonical => {
                "no version of the ledger writes such bytes, so something else wrote them"
            }
            Self::Foreign => "a record of another log was put here",
            Self::Rewritten => {
                "somebody wrote the history anew from here on and could not sign it: the signed head \
                 is that of the true one"
            }
            Self::Forked => {
                "somebody who holds the log key wrote this history anew and signed it; the \
                 deployment's log still names the head of the true one"
            }
            Self::Resigned => {
                "the history was signed with another key: a key rotation, of which you would have been \
                 told, or somebody who does not have the key wrote it anew"
            }
            Self::NotWitnessed => {
                "the witnesses were out of reach when this head was made, or they refused it because \
                 they know another history: ask them for the head that they have"
            }
            Self::BadCheckpoint => {
                "the head is not one that the log's key signed: it was changed, or it was signed by \
                 somebody else"
            }
            Self::BadTile | Self::BadProof => {
                "a hash or a proof was changed; the records themselves are what the head vouches for"
            }
            Self::SessionGap => SESSION_GAP,
            Self::BadReference => BAD_REFERENCE,
            Self::BadDisclosure => BAD_DISCLOSURE,
            Self::BadPrune => BAD_PRUNE,
            Self::BadKey => BAD_KEY,
        }
    }
}

// What hangs together and says what the ledger never says.
const SESSION_GAP: &str = "the ledger numbers what it writes of a session without a gap, so somebody who holds the \
    log key wrote this history anew without a record; the caller can say which of its \
    calls that was";
const BAD_REFERENCE: &str =
    "a program other than the ledger wrote this outcome: the ledger closes each intent once";
const BAD_DISCLOSURE: &str = "somebody disclosed another key or payload than the one that was committed to, or put \
    it to another record; the record itself is as it was logged";
const BAD_KEY: &str = "somebody who does not hold both keys wants another key to be believed, or signed with a key \
     that was replaced: the ledger changes a key only by the word of both";

const BAD_PRUNE: &str = "a program other than the ledger wrote this prune record: the ledger prunes only what an \
    export has that was made before";

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
            Some(seq) => write!(f, "record {seq} of log `{}`: ", printable(&self.log))?,
            None => write!(f, "log `{}`: ", printable(&self.log))?,
        }
        write!(f, "{}: {}", self.kind.as_str(), printable(&self.why))
    }
}

/// Text of others without what moves a terminal's cursor: a forged record must not paint "whole".
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
