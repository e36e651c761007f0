//! Scope keys in SQLite or Postgres, from one SQL text.

mod endings;
mod erase;
mod keks;
mod open;

use super::{
    Destroyed, Erasure, KekUse, KekVersion, ReplicaReport, Rewrapped, ScopeKeyStore, StoreError,
    check_move, now_ms,
};
use crate::context::Scope;
use crate::provider::KeyRef;
use crate::scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
use async_trait::async_trait;
use sqlx::AnyPool;
use std::path::PathBuf;
use std::sync::Arc;

/// A store of scope keys in a database. Any number of processes may share it.
#[derive(Clone)]
pub struct SqlStore {
    pool: AnyPool,
    /// How a transaction that writes begins.
    begin: &'static str,
    sqlite: bool,
    /// The file of what no restored table may forget; with SQLite only.
    endings: Option<PathBuf>,
}

#[async_trait]
impl ScopeKeyStore for SqlStore {
    async fn active(&self, scope: &Scope) -> Result<Option<WrappedScopeKey>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM scope_keys \
             WHERE tenant = $1 AND user_id = $2 AND ext = $3 AND state = 'active'",
        )
        .bind(scope.tenant())
        .bind(scope.user())
        .bind(scope.extension())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(WrappedScopeKey::read).transpose()
    }

    async fn by_id(&self, id: ScopeKeyId) -> Result<Option<WrappedScopeKey>, StoreError> {
        let row = sqlx::query("SELECT * FROM scope_keys WHERE sk_id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(WrappedScopeKey::read).transpose()
    }

    async fn last_version(&self, scope: &Scope) -> Result<u32, StoreError> {
        let last: i64 = sqlx::query_scalar(
            "SELECT COALESCE(MAX(sk_ver), 0) FROM scope_keys \
             WHERE tenant = $1 AND user_id = $2 AND ext = $3",
        )
        .bind(scope.tenant())
        .bind(scope.user())
        .bind(scope.extension())
        .fetch_one(&self.pool)
        .await?;
        u32::try_from(last).map_err(|_| StoreError::Corrupt { column: "sk_ver" })
    }

    async fn insert_if_absent(
        &self,
        row: &WrappedScopeKey,
    ) -> Result<Option<WrappedScopeKey>, StoreError> {
        self.insert(row, KeyState::Active).await?;
        self.active(&row.scope).await
    }

    async fn insert_pending(&self, row: &WrappedScopeKey) -> Result<bool, StoreError> {
        self.insert(row, KeyState::Pending).await
    }

    async fn promote(&self, new: ScopeKeyId, old: ScopeKeyId) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin_with(self.begin).await?;
        for (id, from, to) in [
            (old, KeyState::Active, KeyState::DecryptOnly),
            (new, KeyState::Pending, KeyState::Active),
        ] {
            let moved = sqlx::query(MOVE)
                .bind(to.as_str())
                .bind(now_ms())
                .bind(id.to_string())
                .bind(from.as_str())
                .execute(&mut *transaction)
                .await?;
            if moved.rows_affected() != 1 {
                transaction.rollback().await?;
                return Ok(false);
            }
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn sample(&self) -> Result<Option<WrappedScopeKey>, StoreError> {
        let row = sqlx::query("SELECT * FROM scope_keys WHERE state <> 'destroyed' LIMIT 1")
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(WrappedScopeKey::read).transpose()
    }

    async fn page_by_kek(
        &self,
        kek: &KeyRef,
        after: Option<ScopeKeyId>,
        limit: u32,
    ) -> Result<Vec<WrappedScopeKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM scope_keys WHERE kek_id = $1 AND kek_ver = $2 AND sk_id > $3 \
             AND state <> 'destroyed' ORDER BY sk_id LIMIT $4",
        )
        .bind(&kek.kek_id)
        .bind(i64::from(kek.kek_ver))
        .bind(after.map(String::from).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(WrappedScopeKey::read).collect()
    }

    async fn kek_use(&self) -> Result<Vec<KekUse>, StoreError> {
        self.read_kek_use().await
    }

    async fn replace(
        &self,
        expected: &WrappedScopeKey,
        new: &Rewrapped,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE scope_keys \
             SET kek_provider = $1, kek_id = $2, kek_ver = $3, wrapped = $4, changed_ms = $5 \
             WHERE sk_id = $6 AND wrapped = $7 AND state <> 'destroyed'",
        )
        .bind(&new.kek_provider)
        .bind(&new.key.kek_id)
        .bind(i64::from(new.key.kek_ver))
        .bind(hex::encode(&new.wrapped))
        .bind(now_ms())
        .bind(expected.sk_id.to_string())
        .bind(hex::encode(&expected.wrapped))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_state(
        &self,
        id: ScopeKeyId,
        from: KeyState,
        to: KeyState,
    ) -> Result<bool, StoreError> {
        check_move(from, to)?;
        let moved = sqlx::query(MOVE)
            .bind(to.as_str())
            .bind(now_ms())
            .bind(id.to_string())
            .bind(from.as_str())
            .execute(&self.pool)
            .await?;
        Ok(moved.rows_affected() == 1)
    }

    async fn destroy(&self, what: &Erasure) -> Result<Destroyed, StoreError> {
        self.overwrite(what).await
    }

    async fn kek_versions(&self) -> Result<Vec<KekVersion>, StoreError> {
        self.read_kek_versions().await
    }

    async fn set_kek_state(&self, version: &KekVersion) -> Result<(), StoreError> {
        self.write_kek_state(version).await
    }

    async fn report(&self, report: &ReplicaReport) -> Result<(), StoreError> {
        self.write_report(report).await
    }

    async fn replicas(&self) -> Result<Vec<ReplicaReport>, StoreError> {
        self.read_replicas().await
    }
}

const MOVE: &str =
    "UPDATE scope_keys SET state = $1, changed_ms = $2 WHERE sk_id = $3 AND state = $4";

impl SqlStore {
    /// False when the id, the version or the one place of the active key is taken.
    async fn insert(&self, row: &WrappedScopeKey, state: KeyState) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO scope_keys (sk_id, tenant, user_id, ext, sk_ver, kek_provider, kek_id, \
             kek_ver, wrapped, state, changed_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
        )
        .bind(row.sk_id.to_string())
        .bind(row.scope.tenant())
        .bind(row.scope.user())
        .bind(row.scope.extension())
        .bind(i64::from(row.sk_ver))
        .bind(&row.kek_provider)
        .bind(&row.kek_id)
        .bind(i64::from(row.kek_ver))
        .bind(hex::encode(&row.wrapped))
        .bind(state.as_str())
        .bind(now_ms())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

#[cfg(test)]
mod tests;
