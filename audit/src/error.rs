//! What can go wrong at the border of this crate, sorted by whose fault it is.

use std::path::PathBuf;

/// Why a record was not made durable. Whatever the variant, the caller got no receipt and must
/// not act; for an outcome, the deed may be done and the record of it is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The queue to the writer is at its bound: overload. Try again later.
    #[error("the ledger's queue is full; try again in a second")]
    Full,
    /// The record was not durable within the deadline. An intent refused so is either never
    /// written or closed as unknown by the ledger itself.
    #[error("the ledger did not confirm in time; check the disk under the ledger file")]
    Deadline,
    /// The ledger takes no new intents; the reason is in the text and in [`crate::Status`].
    #[error("the ledger is sealed: {0}")]
    Sealed(String),
    /// The ledger was closed; the process is going down.
    #[error("the ledger is closed because the gateway is shutting down")]
    Closed,
    /// The caller handed in something that the format does not allow.
    #[error("the record is not valid: {0}")]
    Invalid(#[from] InvalidEntry),
}

/// A record that the format does not allow. The fault of the code that built it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// The tenant is not 1 to 64 characters of `[A-Za-z0-9_-]`.
    #[error("the tenant is not a name of 1 to 64 letters, digits, `_` or `-`")]
    Tenant,
    /// A key of `note` is not ASCII lower snake case.
    #[error("the note key `{0}` is not ascii lower snake case")]
    NoteKey(String),
    /// The record would be longer than [`crate::MAX_RECORD_BYTES`].
    #[error("the record would have {0} bytes, the format allows 65535; put payloads in the body")]
    TooLong(usize),
    /// An outcome names an intent that does not exist, is closed, or is of another operation.
    #[error("the outcome names no open intent of its operation")]
    NoSuchIntent,
    /// What may be done once was begun before: the log has an intent of this operation for this tool.
    #[error("the log has an intent of this operation for this tool already")]
    AlreadyBegun,
    /// `append` was used for a kind that has its own verb.
    #[error("`{0}` records are made by their own verb only")]
    WrongVerb(&'static str),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Randomness(#[from] crate::NoRandomness),
}

/// Why a ledger could not be opened. Each answer is a different situation (absent, empty and
/// whole are not errors: see [`crate::Opened`]).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the ledger.
    #[error("`{}` is in use by another process; stop that one first", path.display())]
    Locked {
        /// The ledger file.
        path: PathBuf,
    },
    /// Fewer records than were acknowledged, or a file that SQLite cannot read: a torn write, a
    /// lost WAL, or an older copy put back.
    #[error(
        "the ledger is torn: {why}; restore the newest copy of the folder, do not delete anything"
    )]
    Torn {
        /// What is missing.
        why: String,
    },
    /// A record does not fit the chain.
    #[error("the ledger was changed: {fault}; keep the file as evidence and restore a copy")]
    Forged {
        /// The first bad record.
        fault: crate::Fault,
    },
    /// A trigger or table of the file is not as this program made it.
    #[error(
        "`{name}` of the ledger's schema was changed or removed; verify an export of it, then restore a copy"
    )]
    Guard {
        /// Name of the table, index or trigger.
        name: String,
    },
    /// The signing key is missing, unreadable, or readable by others.
    #[error("the log key `{}` cannot be used: {why}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The options themselves are wrong.
    #[error("the ledger's options are wrong: {0}")]
    Options(String),
    /// The storage does not keep its promises, or an I/O error.
    #[error("the ledger's storage failed: {0}")]
    Storage(String),
}

impl From<crate::store::StoreError> for OpenError {
    fn from(error: crate::store::StoreError) -> Self {
        match error {
            crate::store::StoreError::Sqlite(error) => error.into(),
            crate::store::StoreError::Postgres(error) => error.into(),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Torn { why: error.to_string() },
            _ => Self::Storage(error.to_string()),
        }
    }
}

/// Why reading or exporting failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no ledger file.
    #[error("there is no ledger at `{}`", .0.display())]
    Absent(PathBuf),
    /// SQLite could not read it.
    #[error("the ledger cannot be read: {0}")]
    Storage(#[from] rusqlite::Error),
    /// PostgreSQL could not read it.
    #[error("the ledger cannot be read: {0}")]
    Postgres(String),
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The key file is not the one that signs.
    #[error(
        "the key file does not hold the key that signs log `{log}` now; put the newest key file in \
         its place, or start the gateway once after an interrupted `ledger key rotate`"
    )]
    Key {
        /// Origin of the log.
        log: String,
    },
    /// The record is not there, or not under a signed head yet.
    #[error(
        "record {seq} of log `{log}` is not under a signed head; a running gateway signs one a second"
    )]
    NotYet {
        /// Origin of the log.
        log: String,
        /// Its place.
        seq: u64,
    },
    /// The record has expired and is gone.
    #[error(
        "record {seq} of log `{log}` was pruned; it is in the export that the log's `prune` records name"
    )]
    Pruned {
        /// Origin of the log.
        log: String,
        /// Its place.
        seq: u64,
    },
    /// A stored record is not in the format.
    #[error("record {seq} of log `{log}` is not in the format: {why}")]
    Record {
        /// Origin of the log.
        log: String,
        /// Its place.
        seq: u64,
        /// What is wrong.
        why: String,
    },
}
