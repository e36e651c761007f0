//! Why a value was not sealed or not opened.

use crate::envelope::Malformed;
use crate::keys::KeyError;

/// Why a value was not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Longer than [`crate::Purpose::limit`] or [`crate::SecretContext::limit`].
    #[error(
        "a value of {length} bytes is longer than the {limit} that may be sealed for this purpose"
    )]
    TooLong {
        /// Length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No key for the scope.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A length beyond what the cipher takes.
    #[error("the cipher did not take the value")]
    Cipher,
}

/// Why a blob was not opened. No plaintext was released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a sealed value.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The scope key that sealed it is not in the store: erased, or the store was replaced.
    #[error(
        "the key that sealed this value is gone: it was erased, or the store of keys is not the right one"
    )]
    NoKey,
    /// Sealed for another tenant, user, extension, name, purpose or version, or its header was altered.
    #[error("this value was not sealed for what it is opened for, or it was altered")]
    NotForThis,
    /// The text or tag was altered.
    #[error("this sealed value was altered: restore it from a backup")]
    Altered,
    /// No key for the scope.
    #[error(transparent)]
    Key(KeyError),
}

/// Why a blob was not sealed again. The old one still is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// It did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It opened, and was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl OpenError {
    pub(crate) fn of_key(error: KeyError) -> Self {
        match error {
            KeyError::Gone { .. } => Self::NoKey,
            other => Self::Key(other),
        }
    }
}
