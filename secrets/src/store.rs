//! Where wrapped scope keys are kept. Rows are not secret, but losing them loses everything they sealed.

mod file;

pub use file::FileStore;

use crate::context::Scope;
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use std::io;
use std::sync::{Mutex, PoisonError};

/// Keeps wrapped scope keys. Called on a miss of the vault's cache only (once in five minutes for each
/// scope in use), so an implementation may block for a disk or a database.
pub trait ScopeKeyStore: Send + Sync {
    /// The active key of a scope.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read; absent is `None`.
    fn active(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, StoreError>;

    /// The key with this id, whatever its state.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read; absent is `None`.
    fn by_id(&self, id: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError>;

    /// Stores the row durably unless its scope has an active key already, and gives the row that is
    /// active afterwards. Two replicas that race get the same answer.
    ///
    /// # Errors
    /// [`StoreError`] when the row is not durable.
    fn insert_if_absent(&self, row: WrappedScopeKey) -> Result<WrappedScopeKey, StoreError>;

    /// Any row, to check the key-encryption key against at start.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError>;
}

/// Why the store gave no answer. Never mistaken for "there is no such key".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system or the database said no.
    #[error("the store of scope keys: {0}")]
    Io(#[from] io::Error),
    /// A stored row cannot be understood.
    #[error(
        "line {line} of the store of scope keys cannot be read: restore the file from its backup"
    )]
    Torn {
        /// Line, from 1.
        line: usize,
    },
    /// Any other storage's own words.
    #[error("the store of scope keys: {0}")]
    Other(String),
}

/// Scope keys that die with the process; for tests and dry runs.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: Mutex<Vec<WrappedScopeKey>>,
}

impl MemoryStore {
    /// A store with these rows.
    #[must_use]
    pub fn with(rows: Vec<WrappedScopeKey>) -> Self {
        Self { rows: Mutex::new(rows) }
    }

    fn find(&self, wanted: impl Fn(&WrappedScopeKey) -> bool) -> Option<WrappedScopeKey> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().find(|row| wanted(row)).cloned()
    }
}

impl ScopeKeyStore for MemoryStore {
    fn active(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, StoreError> {
        Ok(self.find(|row| is_active(row, scope)))
    }

    fn by_id(&self, id: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError> {
        Ok(self.find(|row| row.sk_id == id))
    }

    fn insert_if_absent(&self, row: WrappedScopeKey) -> Result<WrappedScopeKey, StoreError> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = rows.iter().find(|stored| is_active(stored, &row.scope)) {
            return Ok(first.clone());
        }
        rows.push(row.clone());
        Ok(row)
    }

    fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError> {
        Ok(self.find(|_| true))
    }
}

fn is_active(row: &WrappedScopeKey, scope: &Scope) -> bool {
    row.state == KeyState::Active && row.scope == *scope
}
