//! Scope keys that die with the process; for tests and dry runs.

use super::{
    Destroyed, DestroyedKey, Erasure, KekUse, KekVersion, ReplicaReport, Rewrapped, ScopeKeyStore,
    StoreError, check_move, now_ms,
};
use crate::context::Scope;
use crate::provider::KeyRef;
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Scope keys that die with the process; for tests and dry runs.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<ScopeKeyId, WrappedScopeKey>,
    versions: Vec<KekVersion>,
    replicas: BTreeMap<String, ReplicaReport>,
}

impl MemoryStore {
    /// A store with these rows.
    #[must_use]
    pub fn with(rows: Vec<WrappedScopeKey>) -> Self {
        let rows = rows.into_iter().map(|row| (row.sk_id, row)).collect();
        Self { inner: Mutex::new(Inner { rows, ..Inner::default() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn active(&self, scope: &Scope) -> Option<&WrappedScopeKey> {
        self.rows.values().find(|row| row.state == KeyState::Active && row.scope == *scope)
    }

    fn taken(&self, row: &WrappedScopeKey) -> bool {
        let same = |other: &WrappedScopeKey| other.scope == row.scope && other.sk_ver == row.sk_ver;
        self.rows.contains_key(&row.sk_id) || self.rows.values().any(same)
    }

    fn in_state(&mut self, id: ScopeKeyId, state: KeyState) -> Option<&mut WrappedScopeKey> {
        self.rows.get_mut(&id).filter(|row| row.state == state)
    }

    fn living(&self) -> impl Iterator<Item = &WrappedScopeKey> {
        self.rows.values().filter(|row| row.state != KeyState::Destroyed)
    }
}

#[async_trait]
impl ScopeKeyStore for MemoryStore {
    async fn active(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, StoreError> {
        Ok(self.inner().active(scope).cloned())
    }

    async fn by_id(&self, id: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError> {
        Ok(self.inner().rows.get(&id).cloned())
    }

    async fn last_version(&self, scope: &Scope) -> Result<u32, StoreError> {
        let inner = self.inner();
        let versions = inner.rows.values().filter(|row| row.scope == *scope).map(|row| row.sk_ver);
        Ok(versions.max().unwrap_or_default())
    }

    async fn insert_if_absent(
        &self,
        row: &WrappedScopeKey,
    ) -> Result<Option<WrappedScopeKey>, StoreError> {
        let mut inner = self.inner();
        if inner.active(&row.scope).is_none() && !inner.taken(row) {
            inner.rows.insert(row.sk_id, row.clone());
        }
        Ok(inner.active(&row.scope).cloned())
    }

    async fn insert_pending(&self, row: &WrappedScopeKey) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        if inner.taken(row) {
            return Ok(false);
        }
        let state = KeyState::Pending;
        inner.rows.insert(row.sk_id, WrappedScopeKey { state, ..row.clone() });
        Ok(true)
    }

    async fn promote(&self, new: ScopeKeyId, old: ScopeKeyId) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        if inner.in_state(new, KeyState::Pending).is_none() {
            return Ok(false);
        }
        let Some(row) = inner.in_state(old, KeyState::Active) else { return Ok(false) };
        row.state = KeyState::DecryptOnly;
        if let Some(row) = inner.rows.get_mut(&new) {
            row.state = KeyState::Active;
        }
        Ok(true)
    }

    async fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError> {
        Ok(self.inner().living().next().cloned())
    }

    async fn page_by_kek(
        &self,
        kek: &KeyRef,
        after: Option<ScopeKeyId>,
        limit: u32,
    ) -> Result<Vec<WrappedScopeKey>, StoreError> {
        let inner = self.inner();
        let wanted = inner.living().filter(|row| row.kek() == *kek);
        let later = wanted.filter(|row| after.is_none_or(|after| row.sk_id > after));
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn kek_use(&self) -> Result<Vec<KekUse>, StoreError> {
        let mut counts = BTreeMap::new();
        for row in self.inner().living() {
            *counts.entry((row.kek_provider.clone(), row.kek())).or_default() += 1;
        }
        let counts = counts.into_iter();
        Ok(counts.map(|((kek_provider, key), keys)| KekUse { kek_provider, key, keys }).collect())
    }

    async fn replace(
        &self,
        expected: &WrappedScopeKey,
        new: &Rewrapped,
    ) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        let Some(row) = inner.rows.get_mut(&expected.sk_id) else { return Ok(false) };
        if row.state == KeyState::Destroyed || row.wrapped != expected.wrapped {
            return Ok(false);
        }
        row.kek_provider.clone_from(&new.kek_provider);
        row.kek_id.clone_from(&new.key.kek_id);
        row.kek_ver = new.key.kek_ver;
        row.wrapped.clone_from(&new.wrapped);
        Ok(true)
    }

    async fn set_state(
        &self,
        id: ScopeKeyId,
        from: KeyState,
        to: KeyState,
    ) -> Result<bool, StoreError> {
        check_move(from, to)?;
        let mut inner = self.inner();
        let Some(row) = inner.in_state(id, from) else { return Ok(false) };
        row.state = to;
        Ok(true)
    }

    async fn destroy(&self, what: &Erasure) -> Result<Destroyed, StoreError> {
        let mut inner = self.inner();
        let mut keys = Vec::new();
        for row in inner.rows.values_mut() {
            if !what.covers(&row.scope) {
                continue;
            }
            row.wrapped.fill(0);
            row.state = KeyState::Destroyed;
            keys.push(DestroyedKey::of(row));
        }
        Ok(Destroyed { keys, at_ms: now_ms() })
    }

    async fn kek_versions(&self) -> Result<Vec<KekVersion>, StoreError> {
        Ok(self.inner().versions.clone())
    }

    async fn set_kek_state(&self, version: &KekVersion) -> Result<(), StoreError> {
        let mut inner = self.inner();
        let same = |other: &&mut KekVersion| {
            other.kek_provider == version.kek_provider && other.key == version.key
        };
        match inner.versions.iter_mut().find(same) {
            Some(known) if known.state.rank() < version.state.rank() => *known = version.clone(),
            Some(_) => {}
            None => inner.versions.push(version.clone()),
        }
        Ok(())
    }

    async fn report(&self, report: &ReplicaReport) -> Result<(), StoreError> {
        self.inner().replicas.insert(report.replica.clone(), report.clone());
        Ok(())
    }

    async fn replicas(&self) -> Result<Vec<ReplicaReport>, StoreError> {
        Ok(self.inner().replicas.values().cloned().collect())
    }
}
