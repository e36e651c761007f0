//! Why a key was not rotated, retired or destroyed.

use crate::keys::KeyError;
use crate::provider::KeyRef;
use crate::scope_key::ScopeKeyId;

/// Why a key was not rotated, retired or destroyed. Nothing became unreadable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// Provider or store failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Somebody keeps wrapping under an old version.
    #[error(
        "{left} scope keys are still under an old version: look for a replica that does not see the new one, then resume"
    )]
    Unfinished {
        /// Scope keys that are left.
        left: u64,
    },
    /// The version wraps now.
    #[error("key {key} is the current one: rotate first")]
    Current {
        /// The version.
        key: KeyRef,
    },
    /// Rows need the version.
    #[error("key {key} still wraps {keys} scope keys: resume the rotation first")]
    InUse {
        /// The version.
        key: KeyRef,
        /// Scope keys under it.
        keys: u64,
    },
    /// Live replicas wrap with the version.
    #[error("replicas {} still wrap with key {key}: restart them, or wait", replicas.join(", "))]
    Stragglers {
        /// The version.
        key: KeyRef,
        /// Names of the replicas.
        replicas: Vec<String>,
    },
    /// The version was not retired.
    #[error("key {key} is not retired: retire it first")]
    NotRetired {
        /// The version.
        key: KeyRef,
    },
    /// A backup of the rows may need the version.
    #[error(
        "backups that need key {key} are kept until {until_ms} (Unix milliseconds): wait, or shorten what is kept"
    )]
    Backups {
        /// The version.
        key: KeyRef,
        /// Unix milliseconds.
        until_ms: i64,
    },
    /// Something is still sealed by the scope key.
    #[error("{sealed} values are still sealed by scope key {sk_id}: seal them again first")]
    StillSeals {
        /// The scope key.
        sk_id: ScopeKeyId,
        /// Values that it sealed.
        sealed: u64,
    },
    /// The scope key is not decrypt-only.
    #[error("scope key {sk_id} is not decrypt-only: rotate its scope first")]
    NotDecryptOnly {
        /// The scope key.
        sk_id: ScopeKeyId,
    },
}
