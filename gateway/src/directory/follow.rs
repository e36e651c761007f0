//! What was changed since one last looked, by whichever replica or command.
//!
//! Versions are given out under a lock that is held until the commit, so none is missed.

use super::change::read_change;
use super::row::Columns;
use super::{Change, Directory, DirectoryError};

/// How many changes are looked at in one go; the rest comes with the next.
const AT_ONCE: i64 = 500;

impl Directory {
    /// Number of the last change.
    pub async fn last_change(&self) -> Result<i64, DirectoryError> {
        let found = sqlx::query_scalar("SELECT value FROM counters WHERE name = 'changes'")
            .fetch_one(self.pool())
            .await?;
        Ok(found)
    }

    /// Changes after this one, oldest first. Cached standings do not outlive them.
    pub async fn changes_after(&self, version: i64) -> Result<Vec<Change>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT version, at_ms, actor, action, tenant, target, fields FROM changes \
             WHERE version > $1 ORDER BY version LIMIT $2",
        )
        .bind(version)
        .bind(AT_ONCE)
        .fetch_all(self.pool())
        .await?;
        if !rows.is_empty() {
            self.forget_standings();
        }
        rows.iter().map(|row| read_change(Columns(row))).collect()
    }
}
