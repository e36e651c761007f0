//! Why a request has no caller, and why identification itself cannot work.

use super::{CallTokenFault, TokenFault};
use crate::directory::DirectoryError;

/// A request without a caller. The messages may be shown outside: none says whether a user exists.
#[derive(Debug, thiserror::Error)]
pub enum Unidentified {
    /// No credential at all.
    #[error("no credential; send `Authorization: Bearer <access token>` or `x-api-key`")]
    Missing,
    /// More than one credential or hint of a kind, or both kinds at once: which one counts is a guess.
    #[error("more than one `{header}` or more than one kind of credential; send exactly one")]
    Ambiguous {
        /// The header that came twice.
        header: &'static str,
    },
    /// A credential in the query string, where logs and caches keep it.
    #[error("a credential must not be in the query string; send it as a header and replace it")]
    InQuery,
    /// An `Authorization` scheme that this gateway does not speak.
    #[error("this authorization scheme is not supported; use `Bearer`")]
    Scheme,
    /// A header that is not plain visible ASCII, or that is too long.
    #[error("the `{header}` header is malformed")]
    Malformed {
        /// The header.
        header: &'static str,
    },
    /// The access token does not verify.
    #[error("the access token is not valid; sign in again")]
    Token(#[from] TokenFault),
    /// The call token does not count.
    #[error(transparent)]
    CallToken(#[from] CallTokenFault),
    /// Whether the call token was used before can't be known now.
    #[error("call tokens cannot be checked now; try again")]
    NoReplayGuard,
    /// No such API key.
    #[error("the api key is not valid; make a new one")]
    UnknownKey,
    /// The credential is genuine, its user, tenant or key is gone or switched off.
    #[error("this account is not active; ask your administrator")]
    Inactive {
        /// `user`, `tenant` or `key`.
        what: &'static str,
    },
    /// The token is genuine, and nobody here is linked to the subject that it names.
    #[error("nobody here is linked to this identity; ask your administrator")]
    NotLinked,
    /// The client says it is someone else than its credential says. Callers map this to 403.
    #[error("`{hint}` does not agree with the credential; leave it out or send your own")]
    HintDiffers {
        /// Header or field.
        hint: &'static str,
    },
    /// The directory did not answer; nobody's fault that lasts.
    #[error("identification is not available; try again")]
    Unavailable(#[source] DirectoryError),
}

impl Unidentified {
    /// Stable word for records and refusals.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Ambiguous { .. } => "credential_ambiguous",
            Self::InQuery => "credential_in_query",
            Self::Scheme => "credential_scheme",
            Self::Malformed { .. } => "credential_malformed",
            Self::Token(fault) => fault.code(),
            Self::CallToken(fault) => fault.code(),
            Self::NoReplayGuard => "call_token_unchecked",
            Self::UnknownKey => "api_key_unknown",
            Self::Inactive { .. } => "account_inactive",
            Self::NotLinked => "identity_not_linked",
            Self::HintDiffers { .. } => "identity_mismatch",
            Self::Unavailable(_) => "identity_unavailable",
        }
    }
}

impl From<DirectoryError> for Unidentified {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Inactive { what } | DirectoryError::NotFound { what } => {
                Self::Inactive { what }
            }
            other => Self::Unavailable(other),
        }
    }
}

/// Identification cannot start or go on; the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory did not answer or refused.
    #[error("the directory failed under the signing keys")]
    Directory(#[from] DirectoryError),
    /// A stored signing key cannot be opened or read.
    #[error(
        "signing key {kid} cannot be opened; check that the key file is the one it was sealed with"
    )]
    Sealed {
        /// Key id.
        kid: String,
    },
    /// The cryptographic library refused to make a key.
    #[error("no key could be made; check the host's random source")]
    Generate,
    /// No key signs.
    #[error("no signing key is in use; promote the prepared one")]
    NoSigningKey,
}
