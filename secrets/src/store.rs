//! Where wrapped scope keys are kept. Rows are not secret, but losing them loses everything they sealed.

mod memory;
mod rows;
mod sql;

pub use memory::MemoryStore;
pub use sql::SqlStore;

use crate::context::Scope;
use crate::provider::KeyRef;
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use async_trait::async_trait;
use std::sync::Arc;

/// Keeps wrapped scope keys and what is known of the key-encryption key's versions. Asked on a miss of
/// the vault's cache only (once in five minutes for each scope in use). Any number of processes may share
/// one store.
///
/// INVARIANT: at most one key of a scope is active, whoever writes at once
/// (`store::sql::tests::two_processes_agree_on_one_active_key`).
#[async_trait]
pub trait ScopeKeyStore: Send + Sync {
    /// The active key of a scope.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read; absent is `None`.
    async fn active(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, StoreError>;

    /// The key with this id, whatever its state.
    ///
    /// # Errors
    /// As [`ScopeKeyStore::active`].
    async fn by_id(&self, id: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError>;

    /// The highest version that a scope ever had, destroyed ones included; 0 when it had none.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    async fn last_version(&self, scope: &Scope) -> Result<u32, StoreError>;

    /// Stores the row durably unless its scope has an active key already, and gives the row that is
    /// active afterwards. Replicas that race get the same answer. `None` when the row's version or id is
    /// taken and nothing is active: ask [`ScopeKeyStore::last_version`] again.
    ///
    /// # Errors
    /// [`StoreError`] when the row is not durable.
    async fn insert_if_absent(
        &self,
        row: &WrappedScopeKey,
    ) -> Result<Option<WrappedScopeKey>, StoreError>;

    /// Stores a row beside the active one, in state pending. False when its version or id is taken.
    ///
    /// # Errors
    /// [`StoreError`] when the row is not durable.
    async fn insert_pending(&self, row: &WrappedScopeKey) -> Result<bool, StoreError>;

    /// Makes a pending key the active one and the active one `old` decrypt-only, both or neither. False
    /// when `old` is no longer the active one or `new` no longer pending.
    ///
    /// # Errors
    /// [`StoreError`] when the change is not durable.
    async fn promote(&self, new: ScopeKeyId, old: ScopeKeyId) -> Result<bool, StoreError>;

    /// Any row that was not destroyed, to check the key-encryption key against at start.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    async fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError>;

    /// Keys that `kek` wrapped and that were not destroyed, by id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    async fn page_by_kek(
        &self,
        kek: &KeyRef,
        after: Option<ScopeKeyId>,
        limit: u32,
    ) -> Result<Vec<WrappedScopeKey>, StoreError>;

    /// How many keys that were not destroyed each version of the key-encryption key wraps.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    async fn kek_use(&self) -> Result<Vec<KekUse>, StoreError>;

    /// Puts other wrapped bytes in place, if the row still holds `expected`. False when it does not:
    /// somebody else was first, or the key was destroyed.
    ///
    /// # Errors
    /// [`StoreError`] when the change is not durable.
    async fn replace(
        &self,
        expected: &WrappedScopeKey,
        new: &Rewrapped,
    ) -> Result<bool, StoreError>;

    /// Moves a key from one state to the next. False when it was not in `from`. Never to or from
    /// [`KeyState::Destroyed`] or [`KeyState::Active`].
    ///
    /// # Errors
    /// [`StoreError`] when the change is not durable.
    async fn set_state(
        &self,
        id: ScopeKeyId,
        from: KeyState,
        to: KeyState,
    ) -> Result<bool, StoreError>;

    /// Overwrites the wrapped bytes of every key in `what` and says which these were, those that were
    /// destroyed before among them: who was broken off asks again and can certify all of it.
    ///
    /// # Errors
    /// [`StoreError`] when the change is not durable, [`StoreError::JournalKept`] when old bytes are left;
    /// asking again is safe.
    async fn destroy(&self, what: &Erasure) -> Result<Destroyed, StoreError>;

    /// The versions of the key-encryption key that were seen here, with their states.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    async fn kek_versions(&self) -> Result<Vec<KekVersion>, StoreError>;

    /// Writes down the state of a version; a state that is further down the list stays.
    ///
    /// # Errors
    /// [`StoreError`] when the change is not durable.
    async fn set_kek_state(&self, version: &KekVersion) -> Result<(), StoreError>;

    /// A replica says which version it wraps with. `at_ms` is Unix time in milliseconds.
    ///
    /// # Errors
    /// [`StoreError`] when the change is not durable.
    async fn report(&self, report: &ReplicaReport) -> Result<(), StoreError>;

    /// What each replica last said.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    async fn replicas(&self) -> Result<Vec<ReplicaReport>, StoreError>;
}

/// Other wrapped bytes for the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// Kind of provider that wrapped.
    pub kek_provider: String,
    /// The version that wrapped.
    pub key: KeyRef,
    /// The wrapped bytes.
    pub wrapped: Vec<u8>,
}

/// What one version of the key-encryption key still wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekUse {
    /// Kind of provider.
    pub kek_provider: String,
    /// The version.
    pub key: KeyRef,
    /// Number of scope keys that were not destroyed.
    pub keys: u64,
}

/// One version of the key-encryption key as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekVersion {
    /// Kind of provider.
    pub kek_provider: String,
    /// The version.
    pub key: KeyRef,
    /// Pending is not used here.
    pub state: KeyState,
    /// Unix milliseconds of the last change of state.
    pub changed_ms: i64,
}

/// What a replica said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Name of the replica.
    pub replica: String,
    /// The version that it wraps with.
    pub key: KeyRef,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// Whose keys are destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasure {
    /// One scope.
    Scope(Scope),
    /// A tenant with all its users.
    Tenant(String),
    /// One user of a tenant, in every extension.
    User {
        /// The tenant.
        tenant: String,
        /// The user.
        user: String,
    },
}

/// What a destruction did; the facts for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// Every key whose bytes were overwritten, by id.
    pub keys: Vec<DestroyedKey>,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// One destroyed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestroyedKey {
    /// Id, as in the header of what it sealed.
    pub sk_id: ScopeKeyId,
    /// Whose key it was.
    pub scope: Scope,
    /// Version within the scope.
    pub sk_ver: u32,
    /// The version of the key-encryption key that wrapped it: copies in backups stay readable with it.
    pub kek: KeyRef,
}

/// Why the store gave no answer. Never mistaken for "there is no such key".
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nobody's fault that lasts: the database did not answer.
    #[error("the store of scope keys does not answer; check the database and try again: {0}")]
    Unavailable(Arc<sqlx::Error>),
    /// The operator must act: a row is not what this program wrote.
    #[error(
        "the store of scope keys holds a value that cannot be read in column {column}: restore it from a backup"
    )]
    Corrupt {
        /// Column of the row.
        column: &'static str,
    },
    /// The operator must act: other accounts of the host can read the file.
    #[error("{path} can be read by others: run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: String,
    },
    /// The operator must act: the file cannot be opened or migrated.
    #[error(
        "the store of scope keys at {path} cannot be opened; check that the folder exists, is writable and holds a store of this version: {detail}"
    )]
    Open {
        /// The file, or words for a URL.
        path: String,
        /// What the library said.
        detail: String,
    },
    /// The keys are overwritten, and their old bytes are still in the journal of the database.
    #[error(
        "the keys are overwritten, but another connection keeps their old bytes in the journal: end it (a backup, a reader) and ask again"
    )]
    JournalKept,
    /// A change of state that no key may make.
    #[error("a scope key never goes from {from} to {to}")]
    State {
        /// The state it is in.
        from: &'static str,
        /// The state that was asked for.
        to: &'static str,
    },
}

impl Erasure {
    /// Whether a scope's keys are destroyed by it.
    #[must_use]
    pub fn covers(&self, scope: &Scope) -> bool {
        match self {
            Self::Scope(one) => one == scope,
            Self::Tenant(tenant) => scope.tenant() == tenant,
            Self::User { tenant, user } => scope.tenant() == tenant && scope.user() == user,
        }
    }
}

/// The changes that [`ScopeKeyStore::set_state`] makes; the others have methods of their own.
fn check_move(from: KeyState, to: KeyState) -> Result<(), StoreError> {
    use KeyState::{DecryptOnly, Pending, Retired};
    match (from, to) {
        (Pending | DecryptOnly, Retired) | (Retired, DecryptOnly) => Ok(()),
        _ => Err(StoreError::State { from: from.as_str(), to: to.as_str() }),
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default()
}
