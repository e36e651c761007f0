//! Scope keys in one file, one JSON object a line, only ever appended to.
//!
//! A line counts once its line break is there and was synced; what a crash left behind the last line
//! break was never acknowledged and is cut off by the next writer. Several processes may share the file:
//! each reads what the others wrote before it writes, under a lock of the file.

use super::{ScopeKeyStore, StoreError};
use crate::context::Scope;
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A store of scope keys in one file. See the module's header for the format.
#[derive(Debug)]
pub struct FileStore {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Bytes of whole lines that were read.
    read: u64,
    lines: usize,
    rows: HashMap<ScopeKeyId, WrappedScopeKey>,
    active: HashMap<Scope, ScopeKeyId>,
}

impl FileStore {
    /// Opens the file, or makes an empty one with mode 0600.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be opened or a whole line of it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        file.sync_all()?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        let (rows, active) = (HashMap::new(), HashMap::new());
        let mut inner = Inner { file, read: 0, lines: 0, rows, active };
        inner.catch_up()?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScopeKeyStore for FileStore {
    fn active(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, StoreError> {
        let mut inner = self.inner();
        if inner.active_of(scope).is_none() {
            inner.catch_up()?;
        }
        Ok(inner.active_of(scope).cloned())
    }

    fn by_id(&self, id: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError> {
        let mut inner = self.inner();
        if !inner.rows.contains_key(&id) {
            inner.catch_up()?;
        }
        Ok(inner.rows.get(&id).cloned())
    }

    fn insert_if_absent(&self, row: WrappedScopeKey) -> Result<WrappedScopeKey, StoreError> {
        let mut inner = self.inner();
        inner.file.lock()?;
        let done = inner.insert_locked(row);
        inner.file.unlock()?;
        done
    }

    fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError> {
        Ok(self.inner().rows.values().next().cloned())
    }
}

impl Inner {
    fn active_of(&self, scope: &Scope) -> Option<&WrappedScopeKey> {
        self.active.get(scope).and_then(|id| self.rows.get(id))
    }

    fn insert_locked(&mut self, row: WrappedScopeKey) -> Result<WrappedScopeKey, StoreError> {
        self.catch_up()?;
        if let Some(first) = self.active_of(&row.scope) {
            return Ok(first.clone());
        }
        if self.file.metadata()?.len() != self.read {
            self.file.set_len(self.read)?;
        }
        let mut line = serde_json::to_vec(&row).map_err(|e| StoreError::Other(e.to_string()))?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.read += line.len() as u64;
        self.lines += 1;
        self.remember(row.clone());
        Ok(row)
    }

    /// Reads the whole lines that were appended since.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.read))?;
        self.file.read_to_end(&mut bytes)?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(json) = line.strip_suffix(b"\n") else { break };
            let torn = StoreError::Torn { line: self.lines + 1 };
            let row = serde_json::from_slice(json).map_err(|_| torn)?;
            self.read += line.len() as u64;
            self.lines += 1;
            self.remember(row);
        }
        Ok(())
    }

    /// A later line of the same key replaces the earlier one.
    fn remember(&mut self, row: WrappedScopeKey) {
        match row.state {
            KeyState::Active => {
                self.active.insert(row.scope.clone(), row.sk_id);
            }
            KeyState::DecryptOnly => self.active.retain(|_, id| *id != row.sk_id),
        }
        self.rows.insert(row.sk_id, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u8, user: &str) -> WrappedScopeKey {
        WrappedScopeKey {
            sk_id: ScopeKeyId::from_bytes([id; 16]),
            scope: Scope::new("t", user, "x").unwrap(),
            sk_ver: 1,
            kek_provider: "key-file".into(),
            kek_id: "k".into(),
            kek_ver: 1,
            wrapped: vec![id; 4],
            state: KeyState::Active,
        }
    }

    #[test]
    fn rows_survive_and_the_first_of_a_scope_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let (one, two) = (FileStore::open(&path).unwrap(), FileStore::open(&path).unwrap());
        assert_eq!(one.insert_if_absent(row(1, "a")).unwrap(), row(1, "a"));
        assert_eq!(two.insert_if_absent(row(2, "a")).unwrap(), row(1, "a"), "another process");
        assert_eq!(two.insert_if_absent(row(3, "b")).unwrap(), row(3, "b"));
        assert_eq!(one.by_id(row(3, "b").sk_id).unwrap(), Some(row(3, "b")));
        let again = FileStore::open(&path).unwrap();
        assert_eq!(again.active(&row(1, "a").scope).unwrap(), Some(row(1, "a")));
        assert_eq!(again.active(&row(9, "c").scope).unwrap(), None);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_dropped_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        FileStore::open(&path).unwrap().insert_if_absent(row(1, "a")).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"sk_id":"02"#).unwrap();
        let store = FileStore::open(&path).unwrap();
        store.insert_if_absent(row(3, "b")).unwrap();
        let again = FileStore::open(&path).unwrap();
        assert_eq!(again.active(&row(1, "a").scope).unwrap(), Some(row(1, "a")));
        assert_eq!(again.active(&row(3, "b").scope).unwrap(), Some(row(3, "b")));
    }

    #[test]
    fn an_unreadable_line_is_an_error_and_not_an_absent_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        FileStore::open(&path).unwrap().insert_if_absent(row(1, "a")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("sk_id", "sk_ix", 1)).unwrap();
        assert!(matches!(FileStore::open(&path), Err(StoreError::Torn { line: 1 })));
    }
}
