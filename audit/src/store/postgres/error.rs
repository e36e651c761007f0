//! PostgreSQL's errors, sorted by what the writer may do about them.

use crate::error::{OpenError, ReadError};

/// Why PostgreSQL did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PgError {
    /// The connection is gone; whether what was under way took effect must be looked up.
    #[error("PostgreSQL cannot be reached: {0}")]
    Lost(String),
    /// Rolled back because something is in use or full; may be tried again for as long as needed.
    #[error("PostgreSQL is busy: {0}")]
    Busy(String),
    /// Rolled back because another transaction was in the way; may be tried a few times.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// This replica may not write any more.
    #[error("{0}")]
    Fenced(String),
    /// No later try can mend it.
    #[error("{0}")]
    Refused(String),
}

impl From<sqlx::Error> for PgError {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                    Self::Lost(error.to_string())
                }
                error => Self::Refused(error.to_string()),
            };
        };
        let (why, code) = (database.message().to_owned(), database.code().unwrap_or_default());
        let class = code.get(..2).unwrap_or_default();
        match (class, &*code) {
            // Gone, going down, coming up, or turned into a standby.
            ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006") => {
                Self::Lost(why)
            }
            // A lock or a statement took too long, no disk, no memory, no connection left.
            ("53" | "58", _) | (_, "55P03" | "57014") => Self::Busy(why),
            (_, "40001" | "40P01" | "23505") => Self::Conflict(why),
            _ => Self::Refused(why),
        }
    }
}

impl From<PgError> for OpenError {
    fn from(error: PgError) -> Self {
        match error {
            PgError::Lost(why) => Self::Storage(format!(
                "PostgreSQL cannot be reached ({why}); start it, or correct the ledger's address"
            )),
            error => Self::Storage(error.to_string()),
        }
    }
}

impl From<PgError> for ReadError {
    fn from(error: PgError) -> Self {
        Self::Postgres(error.to_string())
    }
}
