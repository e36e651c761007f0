//! Destroying scope keys: noted where no restore reaches, overwritten where they are, and the journal is cut.
//! Broken off behind the note, it is finished when the table is opened next.

use super::SqlStore;
use super::endings::Ending;
use crate::crash;
use crate::scope_key::{KeyState, WrappedScopeKey};
use crate::store::{Destroyed, DestroyedKey, Erasure, StoreError, now_ms};
use sqlx::{Any, AssertSqlSafe, Executor as _, Row as _, Transaction};
use std::time::{Duration, Instant};

/// How long it is tried to cut the journal that a reader keeps; one try may itself wait for SQLite's lock.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

impl SqlStore {
    pub(super) async fn overwrite(&self, what: &Erasure) -> Result<Destroyed, StoreError> {
        let mut transaction = self.pool.begin_with(self.begin).await?;
        let rows = meant(&mut transaction, what).await?;
        let left = rows.iter().filter(|row| row.state != KeyState::Destroyed);
        self.keep(left.map(|row| Ending::Destroyed(row.sk_id)).collect()).await?;
        crash::reached("vault_erase_noted");
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            // The same length in zeros, so that the row is rewritten where it stands.
            sqlx::query(
                "UPDATE scope_keys SET wrapped = $1, state = 'destroyed', changed_ms = $2 \
                 WHERE sk_id = $3 AND state <> 'destroyed'",
            )
            .bind("00".repeat(row.wrapped.len()))
            .bind(now_ms())
            .bind(row.sk_id.to_string())
            .execute(&mut *transaction)
            .await?;
            keys.push(DestroyedKey::of(row));
        }
        transaction.commit().await?;
        crash::reached("vault_erase_overwritten");
        // Until the commit, others read the row as it was.
        let at_ms = now_ms();
        self.cut_journal().await?;
        Ok(Destroyed { keys, at_ms })
    }

    /// SQLite keeps replaced pages in its journal until it is cut; Postgres keeps replaced rows until
    /// they are vacuumed. Archives of either end with the key-encryption key's version only.
    pub(super) async fn cut_journal(&self) -> Result<(), StoreError> {
        if !self.sqlite {
            self.pool.execute("VACUUM scope_keys").await?;
            return Ok(());
        }
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            // A reader in the way is no error to SQLite: it says so in the first column.
            let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.pool).await?;
            if row.try_get::<i64, _>(0)? == 0 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(StoreError::JournalKept)
    }
}

/// Every key of those, destroyed ones too: one who was broken off asks again and is told all of it.
async fn meant(
    transaction: &mut Transaction<'_, Any>,
    what: &Erasure,
) -> Result<Vec<WrappedScopeKey>, StoreError> {
    let (filter, values): (&str, Vec<&str>) = match what {
        Erasure::Scope(scope) => (
            "tenant = $1 AND user_id = $2 AND ext = $3",
            vec![scope.tenant(), scope.user(), scope.extension()],
        ),
        Erasure::Tenant(tenant) => ("tenant = $1", vec![tenant]),
        Erasure::User { tenant, user } => ("tenant = $1 AND user_id = $2", vec![tenant, user]),
    };
    // Only our own words above are put together; values are bound.
    let text = AssertSqlSafe(format!("SELECT * FROM scope_keys WHERE {filter} ORDER BY sk_id"));
    let mut query = sqlx::query(text);
    for value in values {
        query = query.bind(value);
    }
    let rows = query.fetch_all(&mut **transaction).await?;
    rows.iter().map(WrappedScopeKey::read).collect()
}
