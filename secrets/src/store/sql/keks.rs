//! What the store knows of the key-encryption key's versions and of the replicas that use them.

use super::SqlStore;
use super::endings::Ending;
use crate::store::{KekUse, KekVersion, ReplicaReport, StoreError};

impl SqlStore {
    pub(super) async fn read_kek_use(&self) -> Result<Vec<KekUse>, StoreError> {
        let rows = sqlx::query(
            "SELECT kek_provider, kek_id, kek_ver, COUNT(*) AS keys FROM scope_keys \
             WHERE state <> 'destroyed' GROUP BY kek_provider, kek_id, kek_ver \
             ORDER BY kek_provider, kek_id, kek_ver",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(KekUse::read).collect()
    }

    pub(super) async fn read_kek_versions(&self) -> Result<Vec<KekVersion>, StoreError> {
        let rows = sqlx::query("SELECT * FROM kek_versions ORDER BY kek_provider, kek_ver, kek_id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(KekVersion::read).collect()
    }

    pub(super) async fn write_kek_state(&self, version: &KekVersion) -> Result<(), StoreError> {
        let known = self.read_kek_versions().await?;
        let known = known
            .iter()
            .find(|known| known.key == version.key && known.kek_provider == version.kek_provider);
        if known.is_some_and(|known| known.state.rank() >= version.state.rank()) {
            return Ok(());
        }
        self.keep(vec![Ending::of_version(version)]).await?;
        self.upsert_kek_state(version).await
    }

    /// A state that is further down the list stays.
    pub(super) async fn upsert_kek_state(&self, version: &KekVersion) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO kek_versions (kek_provider, kek_id, kek_ver, state, rank, changed_ms) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (kek_provider, kek_id, kek_ver) \
             DO UPDATE SET state = excluded.state, rank = excluded.rank, \
             changed_ms = excluded.changed_ms WHERE kek_versions.rank < excluded.rank",
        )
        .bind(&version.kek_provider)
        .bind(&version.key.kek_id)
        .bind(i64::from(version.key.kek_ver))
        .bind(version.state.as_str())
        .bind(version.state.rank())
        .bind(version.changed_ms)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(super) async fn write_report(&self, report: &ReplicaReport) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO kek_replicas (replica, kek_id, kek_ver, at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (replica) DO UPDATE SET kek_id = excluded.kek_id, \
             kek_ver = excluded.kek_ver, at_ms = excluded.at_ms",
        )
        .bind(&report.replica)
        .bind(&report.key.kek_id)
        .bind(i64::from(report.key.kek_ver))
        .bind(report.at_ms)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(super) async fn read_replicas(&self) -> Result<Vec<ReplicaReport>, StoreError> {
        let rows = sqlx::query("SELECT * FROM kek_replicas ORDER BY replica")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(ReplicaReport::read).collect()
    }
}
