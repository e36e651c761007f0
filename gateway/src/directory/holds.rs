//! Holds: what must be kept for a while, whoever wants it erased (ledger-and-vault.md 5.9).

use super::change::Note;
use super::row::Columns;
use super::{Actor, Directory, DirectoryError, now_ms};

/// Longest reason, in characters.
const MAX_REASON: usize = 500;

/// Whose keys nobody may destroy until the hold is lifted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hold {
    /// The tenant.
    pub tenant: String,
    /// The user; none: the tenant with all its users.
    pub user: Option<String>,
    /// Unix milliseconds.
    pub since_ms: i64,
    /// Text form of an [`Actor`].
    pub by: String,
    /// Why. Stays in the directory: records can't be erased, and a reason may name somebody.
    pub reason: String,
}

impl Directory {
    /// Holds the keys of a tenant, or of one user of it; the ledger says who did.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when they are held already, [`DirectoryError::Invalid`] for no reason or a long one.
    pub async fn hold(
        &self,
        (tenant, user): (&str, Option<&str>),
        reason: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        if reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
            return Err(DirectoryError::Invalid { what: "reason", why: "1 to 500 characters" });
        }
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO erasure_holds (tenant_id, owner, since_ms, set_by, reason) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(tenant)
        .bind(user.unwrap_or_default())
        .bind(now_ms())
        .bind(by.to_string())
        .bind(reason.trim())
        .execute(writing.connection())
        .await
        .map_err(|fault| DirectoryError::of_insert(fault, "hold"))?;
        writing.finish(self, Note::new(by, "vault.hold", tenant).on(user.unwrap_or(tenant))).await
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none on exactly this tenant or user.
    pub async fn lift_hold(
        &self,
        (tenant, user): (&str, Option<&str>),
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let mut writing = self.write().await?;
        let done = sqlx::query("DELETE FROM erasure_holds WHERE tenant_id = $1 AND owner = $2")
            .bind(tenant)
            .bind(user.unwrap_or_default())
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "hold" });
        }
        writing
            .finish(self, Note::new(by, "vault.lift_hold", tenant).on(user.unwrap_or(tenant)))
            .await
    }

    /// All holds, by tenant and user.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    pub async fn holds(&self) -> Result<Vec<Hold>, DirectoryError> {
        let rows = sqlx::query("SELECT * FROM erasure_holds ORDER BY tenant_id, owner")
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| read(Columns(row))).collect()
    }
}

/// What stands in the way of an erasure: a hold on the tenant, on the user, or on any user of a tenant that
/// is to be erased as a whole. Asked in the transaction that begins the erasure.
pub(super) async fn in_the_way(
    connection: &mut sqlx::AnyConnection,
    tenant: &str,
    user: Option<&str>,
) -> Result<Option<Hold>, DirectoryError> {
    let row = sqlx::query(
        "SELECT * FROM erasure_holds WHERE tenant_id = $1 AND (owner = '' OR $2 = '' OR owner = $2) \
         ORDER BY owner LIMIT 1",
    )
    .bind(tenant)
    .bind(user.unwrap_or_default())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(|row| read(Columns(row))).transpose()
}

fn read(row: Columns<'_>) -> Result<Hold, DirectoryError> {
    let owner = row.text("owner")?;
    Ok(Hold {
        tenant: row.text("tenant_id")?,
        user: (!owner.is_empty()).then_some(owner),
        since_ms: row.int("since_ms")?,
        by: row.text("set_by")?,
        reason: row.text("reason")?,
    })
}
