//! Where a user's questions are, for who watches them.

use portcullis_policies::TenantId;
use uuid::Uuid;

use super::row::Columns;
use super::{ConfirmationState, Directory, DirectoryError, now_ms};

/// More than a user has open, with the last that were decided.
const SHOWN: i64 = 200;

/// Where one question is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmationPlace {
    /// `imp_c_...`.
    pub id: String,
    /// Operation of the call that asked.
    pub op: Uuid,
    /// Where it is; one whose time is over is expired, marked or not.
    pub state: ConfirmationState,
    /// Unix milliseconds of the last change of state.
    pub changed_ms: i64,
}

impl Directory {
    /// Where a user's questions are, those that changed last first. No order of clocks between replicas is needed to
    /// compare it with what one saw before.
    pub async fn confirmation_places(
        &self,
        tenant: &TenantId,
        user_id: &str,
    ) -> Result<Vec<ConfirmationPlace>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT id, op, state, changed_ms, expires_ms FROM confirmations \
             WHERE tenant_id = $1 AND user_id = $2 ORDER BY changed_ms DESC, id LIMIT $3",
        )
        .bind(tenant.to_string())
        .bind(user_id)
        .bind(SHOWN)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read_place(Columns(row))).collect()
    }
}

fn read_place(row: Columns<'_>) -> Result<ConfirmationPlace, DirectoryError> {
    let late = row.int("expires_ms")? <= now_ms();
    let state = match row.parsed("state")? {
        ConfirmationState::Pending if late => ConfirmationState::Expired,
        state => state,
    };
    let (id, op) = (row.text("id")?, row.parsed("op")?);
    Ok(ConfirmationPlace { id, op, state, changed_ms: row.int("changed_ms")? })
}
