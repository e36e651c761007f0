//! What others said of a pending call: one word of each person, sealed by the caller.
//!
//! INVARIANT: each person's approval counts once (`nobody_approves_twice_and_nothing_that_is_decided`).

use std::fmt;
use std::str::FromStr;

use portcullis_policies::TenantId;

use super::confirmations::read_confirmation;
use super::row::{Columns, base64_encode};
use super::{Confirmation, Directory, DirectoryError, now_ms};

/// What somebody said of a call that somebody else asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalVerdict {
    /// It may be done, as far as they are concerned.
    Approved,
    /// It is not to be done; nothing changes that.
    Declined,
}

/// One person's word as it is stored.
#[derive(Clone)]
pub struct StoredApproval {
    /// The confirmation.
    pub confirmation_id: String,
    /// Whose word it is.
    pub approver_id: String,
    /// What they said.
    pub verdict: ApprovalVerdict,
    /// All of it, sealed by the caller.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for StoredApproval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredApproval")
            .field("confirmation_id", &self.confirmation_id)
            .field("approver_id", &self.approver_id)
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}

impl Directory {
    /// Keeps an approval of a call that still waits. `Conflict` when the same person has approved it already, or when it
    /// waits no more.
    pub async fn approve(&self, new: &StoredApproval) -> Result<(), DirectoryError> {
        let done = sqlx::query(
            "INSERT INTO approvals (confirmation_id, approver_id, verdict, sealed, created_ms) \
             SELECT id, $2, $3, $4, $5 FROM confirmations \
             WHERE id = $1 AND state = 'pending' AND expires_ms > $5 AND user_id <> $2 \
             ON CONFLICT (confirmation_id, approver_id) DO NOTHING",
        )
        .bind(&new.confirmation_id)
        .bind(&new.approver_id)
        .bind(new.verdict.to_string())
        .bind(base64_encode(&new.sealed))
        .bind(now_ms())
        .execute(self.pool())
        .await?;
        match done.rows_affected() {
            0 => Err(DirectoryError::Conflict {
                what: "approval",
                why: "you have approved it before, or it waits no more",
            }),
            _ => Ok(()),
        }
    }

    /// Ends a call that still waits by one person's word, whatever that person, or others, said before. `Conflict` when
    /// it waits no more.
    pub async fn decline(&self, new: &StoredApproval) -> Result<(), DirectoryError> {
        let now = now_ms();
        let mut writing = self.pool().begin().await?;
        let ended = sqlx::query(
            "UPDATE confirmations SET state = 'declined', decided_by = $2, changed_ms = $3 \
             WHERE id = $1 AND state = 'pending' AND user_id <> $2",
        )
        .bind(&new.confirmation_id)
        .bind(&new.approver_id)
        .bind(now)
        .execute(&mut *writing)
        .await?;
        if ended.rows_affected() == 0 {
            return Err(DirectoryError::Conflict { what: "confirmation", why: "it waits no more" });
        }
        sqlx::query(
            "INSERT INTO approvals (confirmation_id, approver_id, verdict, sealed, created_ms) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (confirmation_id, approver_id) DO UPDATE SET \
             verdict = excluded.verdict, sealed = excluded.sealed, created_ms = excluded.created_ms",
        )
        .bind(&new.confirmation_id)
        .bind(&new.approver_id)
        .bind(new.verdict.to_string())
        .bind(base64_encode(&new.sealed))
        .bind(now)
        .execute(&mut *writing)
        .await?;
        writing.commit().await?;
        Ok(())
    }

    /// What others said of one pending call, oldest first.
    pub async fn approvals(&self, id: &str) -> Result<Vec<StoredApproval>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT confirmation_id, approver_id, verdict, sealed FROM approvals \
             WHERE confirmation_id = $1 ORDER BY created_ms, approver_id LIMIT 100",
        )
        .bind(id)
        .fetch_all(self.pool())
        .await?;
        let read = |row| {
            let row = Columns(row);
            Ok(StoredApproval {
                confirmation_id: row.text("confirmation_id")?,
                approver_id: row.text("approver_id")?,
                verdict: row.parsed("verdict")?,
                sealed: row.sealed("sealed")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Open questions of a tenant's other people that want somebody else's word, and that this person has said nothing
    /// of; oldest first, 500 at most. A row that can't be read is left out, so that it hides no other.
    pub async fn pending_for_others(
        &self,
        tenant: &TenantId,
        user_id: &str,
    ) -> Result<Vec<Confirmation>, DirectoryError> {
        let rows = sqlx::query(super::confirmations::select_confirmations!(
            "WHERE tenant_id = $1 AND state = 'pending' AND wants = 'confirmation_by_other' \
             AND user_id <> $2 AND expires_ms > $3 AND NOT EXISTS (SELECT 1 FROM approvals \
             WHERE confirmation_id = confirmations.id AND approver_id = $2) \
             ORDER BY created_ms, id LIMIT 500"
        ))
        .bind(tenant.to_string())
        .bind(user_id)
        .bind(now_ms())
        .fetch_all(self.pool())
        .await?;
        let read = |row| match read_confirmation(Columns(row)) {
            Ok(found) => Some(found),
            Err(fault) => {
                tracing::error!(%fault, "a pending confirmation can't be read");
                None
            }
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}

impl fmt::Display for ApprovalVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
        })
    }
}

impl FromStr for ApprovalVerdict {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Approved, Self::Declined]
            .into_iter()
            .find(|verdict| verdict.to_string() == text)
            .ok_or(())
    }
}
