//! What can go wrong in the directory, sorted by whose fault it is.

/// A failed question to or change of the directory. No variant carries a secret.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The caller named something that is not there.
    #[error("no such {what}{}", remedy(what))]
    NotFound {
        /// Kind of the thing: `tenant`, `user`, `role`, `key` ...
        what: &'static str,
    },
    /// The caller wants to create what is there already, or to change what may not change.
    #[error("{what} cannot be changed so: {why}")]
    Conflict {
        /// Kind of the thing.
        what: &'static str,
        /// What stands in the way, in words for the caller.
        why: &'static str,
    },
    /// The caller's value does not have the form that the directory keeps.
    #[error("the {what} is not acceptable: {why}")]
    Invalid {
        /// Name of the field.
        what: &'static str,
        /// The form that is wanted.
        why: &'static str,
    },
    /// The thing exists and is switched off.
    #[error("the {what} is deactivated; an operator can activate it again")]
    Inactive {
        /// Kind of the thing.
        what: &'static str,
    },
    /// The operator must act: the file or its rows are not what this program wrote.
    #[error(
        "the directory holds a value that cannot be read in column {column}; restore it from a backup"
    )]
    Corrupt {
        /// Column of the row that could not be read.
        column: String,
    },
    /// The operator must act: other accounts of the host can read the file.
    #[error("{path} can be read by others; run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: String,
    },
    /// Nobody's fault that lasts: the database did not answer. Trying again may help.
    #[error("the directory does not answer; check the database and try again")]
    Unavailable(#[source] sqlx::Error),
    /// The operator must act: the file cannot be opened or migrated.
    #[error(
        "the directory at {path} cannot be opened; check that the folder exists, is writable and holds a directory of this version"
    )]
    Open {
        /// The file or URL without credentials.
        path: String,
        /// What the library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where to look for what is not there; only kinds that have a command of their own.
fn remedy(what: &str) -> String {
    match what {
        "tenant" | "user" | "role" => format!(
            "; `portcullis {what} list` shows what exists, `portcullis {what} create` makes one"
        ),
        "key" => "; `portcullis key list USER` shows those that work".to_owned(),
        "scope" => "; `portcullis user show` lists those that were granted".to_owned(),
        _ => String::new(),
    }
}

impl DirectoryError {
    /// Turns a unique-key violation into [`DirectoryError::Conflict`] on `what`, anything else into
    /// [`DirectoryError::Unavailable`].
    pub(crate) fn of_insert(error: sqlx::Error, what: &'static str) -> Self {
        match error.as_database_error() {
            Some(e) if e.is_unique_violation() => Self::Conflict { what, why: "it exists already" },
            _ => Self::Unavailable(error),
        }
    }
}

impl From<sqlx::Error> for DirectoryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error)
    }
}
