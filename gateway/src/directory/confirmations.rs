//! Questions that wait for an answer: the exact arguments, sealed, and one state each.
//!
//! INVARIANT: every change of state is a compare-and-set on the state before, so that of many answers
//! to one question exactly one counts (`of_many_claims_of_one_confirmation_exactly_one_wins`).

use std::fmt;
use std::str::FromStr;

use portcullis_policies::{ActionType, TenantId, ToolName};
use uuid::Uuid;

use super::row::{Columns, base64_encode, json_text};
use super::{Directory, DirectoryError, fresh_id, now_ms};

/// Every column that [`read_confirmation`] reads.
macro_rules! select_confirmations {
    ($rest:literal) => {
        concat!(
            "SELECT id, op, tenant_id, user_id, tool, target_tenant, target_id, wants, rules, ",
            "policy_digest, args_digest, sealed_args, summary, state, decided_by, created_ms, ",
            "expires_ms, changed_ms, tool_digest, action_type, approver_roles FROM confirmations ",
            $rest
        )
    };
}
pub(super) use select_confirmations;

/// Where a question is: `pending` to one of the ends, or through `executing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmationState {
    /// Waits for an answer.
    Pending,
    /// Accepted; the stored call is being decided again and run.
    Executing,
    /// Ran; whether it succeeded is in the ledger.
    Executed,
    /// The user said no.
    Cancelled,
    /// Nobody answered in time.
    Expired,
    /// Somebody who may approve said no.
    Declined,
    /// Accepted, but the fresh decision refused.
    Refused,
    /// Accepted, but the rules of then asked anew, by another question.
    Superseded,
    /// Accepted by a process that died: nobody knows whether it ran, and it is never run again.
    Unknown,
}

/// A question to be stored.
#[derive(Debug, Clone)]
pub struct NewConfirmation {
    /// Operation of the call that asked.
    pub op: Uuid,
    /// Tenant of the asker.
    pub tenant: TenantId,
    /// The asker.
    pub user_id: String,
    /// The tool of the call.
    pub tool: ToolName,
    /// What the tool said of itself, as a digest.
    pub tool_digest: [u8; 32],
    /// Its action type, as it was shown.
    pub action_type: ActionType,
    /// Tenant of the target.
    pub target_tenant: TenantId,
    /// Id of the target, where the call named one.
    pub target_id: Option<String>,
    /// `confirmation` or `confirmation_by_other`.
    pub wants: String,
    /// Roles as each of which another person has to approve.
    pub approver_roles: Vec<String>,
    /// Ids of the rules that asked.
    pub rules: Vec<String>,
    /// Lowercase hex digest of the policy set that asked.
    pub policy_digest: String,
    /// Call digest over tool name and exact argument bytes.
    pub args_digest: [u8; 32],
    /// The exact argument bytes, sealed by the caller.
    pub sealed_args: Vec<u8>,
    /// What the user is shown; must not hold more of the arguments than the user may see.
    pub summary: String,
    /// When it was asked, in Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub expires_ms: i64,
}

/// A stored question.
#[derive(Debug, Clone)]
pub struct Confirmation {
    /// `imp_c_...`.
    pub id: String,
    /// What was asked.
    pub asked: NewConfirmation,
    /// Where it is now.
    pub state: ConfirmationState,
    /// Who answered.
    pub decided_by: Option<String>,
    /// Unix milliseconds of the last change of state.
    pub changed_ms: i64,
}

impl Confirmation {
    /// What was asked just now.
    #[must_use]
    pub fn fresh(id: String, asked: NewConfirmation) -> Self {
        let changed_ms = asked.created_ms;
        Self { id, asked, state: ConfirmationState::Pending, decided_by: None, changed_ms }
    }
}

/// An id for a question to come: `imp_c_...`, 122 bits random.
#[must_use]
pub fn fresh_confirmation_id() -> String {
    fresh_id("imp_c_")
}

impl Directory {
    /// Stores a question under a fresh id ([`fresh_confirmation_id`]: the caller needs it before, to
    /// seal the arguments to it). Durable when it returns.
    pub async fn ask_confirmation(
        &self,
        id: &str,
        new: &NewConfirmation,
    ) -> Result<(), DirectoryError> {
        sqlx::query(
            "INSERT INTO confirmations (id, op, tenant_id, user_id, app, tool, target_tenant, \
             target_id, wants, rules, policy_digest, args_digest, sealed_args, summary, state, \
             created_ms, expires_ms, changed_ms, tool_digest, action_type, approver_roles) VALUES \
             ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'pending', $15, $16, $15, \
             $17, $18, $19)",
        )
        .bind(id)
        .bind(new.op.to_string())
        .bind(new.tenant.to_string())
        .bind(&new.user_id)
        .bind(new.tool.app().to_string())
        .bind(new.tool.to_string())
        .bind(new.target_tenant.to_string())
        .bind(new.target_id.clone())
        .bind(&new.wants)
        .bind(json_text("rules", &new.rules)?)
        .bind(&new.policy_digest)
        .bind(hex::encode(new.args_digest))
        .bind(base64_encode(&new.sealed_args))
        .bind(&new.summary)
        .bind(new.created_ms)
        .bind(new.expires_ms)
        .bind(hex::encode(new.tool_digest))
        .bind(new.action_type.to_string())
        .bind(json_text("approver_roles", &new.approver_roles)?)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// One question of a tenant, whatever its state.
    pub async fn confirmation(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Confirmation, DirectoryError> {
        let row = sqlx::query(select_confirmations!("WHERE id = $1 AND tenant_id = $2"))
            .bind(id)
            .bind(tenant.to_string())
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "confirmation" })?;
        read_confirmation(Columns(&row))
    }

    /// Open questions of a user that have not expired, oldest first, 100 at most.
    pub async fn pending_confirmations(
        &self,
        tenant: &TenantId,
        user_id: &str,
    ) -> Result<Vec<Confirmation>, DirectoryError> {
        let rows = sqlx::query(select_confirmations!(
            "WHERE tenant_id = $1 AND user_id = $2 AND state = 'pending' AND expires_ms > $3 \
             ORDER BY created_ms, id LIMIT 100"
        ))
        .bind(tenant.to_string())
        .bind(user_id)
        .bind(now_ms())
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read_confirmation(Columns(row))).collect()
    }

    /// How many open questions of a user wait.
    pub async fn count_pending(
        &self,
        tenant: &TenantId,
        user_id: &str,
    ) -> Result<i64, DirectoryError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS waiting FROM confirmations \
             WHERE tenant_id = $1 AND user_id = $2 AND state = 'pending' AND expires_ms > $3",
        )
        .bind(tenant.to_string())
        .bind(user_id)
        .bind(now_ms())
        .fetch_one(self.pool())
        .await?;
        Columns(&row).int("waiting")
    }

    /// Claims an open question for execution. True for exactly one of all callers, and only before
    /// its expiry; false tells to read the state and say why.
    pub async fn claim_confirmation(&self, id: &str, by: &str) -> Result<bool, DirectoryError> {
        let now = now_ms();
        let done = sqlx::query(
            "UPDATE confirmations SET state = 'executing', decided_by = $1, changed_ms = $2 \
             WHERE id = $3 AND state = 'pending' AND expires_ms > $2",
        )
        .bind(by)
        .bind(now)
        .bind(id)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes back an open question. True when it was still open.
    pub async fn cancel_confirmation(&self, id: &str, by: &str) -> Result<bool, DirectoryError> {
        let done = sqlx::query(
            "UPDATE confirmations SET state = 'cancelled', decided_by = $1, changed_ms = $2 \
             WHERE id = $3 AND state = 'pending'",
        )
        .bind(by)
        .bind(now_ms())
        .bind(id)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends a claimed question: `Executed` once it was dispatched, `Refused` when the fresh decision said no,
    /// `Superseded` when it asked anew; `Pending` gives it back. `Conflict` when it was not executing.
    pub async fn settle_confirmation(
        &self,
        id: &str,
        end: ConfirmationState,
    ) -> Result<(), DirectoryError> {
        use ConfirmationState::{Executed, Pending, Refused, Superseded};
        if !matches!(end, Executed | Refused | Superseded | Pending) {
            return Err(DirectoryError::Invalid { what: "state", why: "no end of a claim" });
        }
        let done = sqlx::query(
            "UPDATE confirmations SET state = $1, changed_ms = $2 \
             WHERE id = $3 AND state = 'executing'",
        )
        .bind(end.to_string())
        .bind(now_ms())
        .bind(id)
        .execute(self.pool())
        .await?;
        match done.rows_affected() {
            0 => Err(DirectoryError::Conflict { what: "confirmation", why: "it is not executing" }),
            _ => Ok(()),
        }
    }

    /// Closes questions that were claimed before `before_ms` and never settled: who claimed them has died. Answers
    /// how many.
    pub async fn abandon_confirmations(&self, before_ms: i64) -> Result<u64, DirectoryError> {
        let done = sqlx::query(
            "UPDATE confirmations SET state = 'unknown', changed_ms = $1 \
             WHERE state = 'executing' AND changed_ms < $2",
        )
        .bind(now_ms())
        .bind(before_ms)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }

    /// Ends open questions whose time is over; answers how many.
    pub async fn expire_confirmations(&self) -> Result<u64, DirectoryError> {
        let done = sqlx::query(
            "UPDATE confirmations SET state = 'expired', changed_ms = $1 \
             WHERE state = 'pending' AND expires_ms <= $1",
        )
        .bind(now_ms())
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }
}

pub(super) fn read_confirmation(row: Columns<'_>) -> Result<Confirmation, DirectoryError> {
    Ok(Confirmation {
        id: row.text("id")?,
        asked: NewConfirmation {
            op: row.parsed("op")?,
            tenant: row.parsed("tenant_id")?,
            user_id: row.text("user_id")?,
            tool: row.parsed("tool")?,
            target_tenant: row.parsed("target_tenant")?,
            target_id: row.optional_text("target_id")?,
            wants: row.text("wants")?,
            approver_roles: row.json("approver_roles")?,
            rules: row.json("rules")?,
            policy_digest: row.text("policy_digest")?,
            args_digest: row.digest("args_digest")?,
            sealed_args: row.sealed("sealed_args")?,
            summary: row.text("summary")?,
            created_ms: row.int("created_ms")?,
            expires_ms: row.int("expires_ms")?,
            tool_digest: row.digest("tool_digest")?,
            action_type: row.parsed("action_type")?,
        },
        state: row.parsed("state")?,
        decided_by: row.optional_text("decided_by")?,
        changed_ms: row.int("changed_ms")?,
    })
}

impl fmt::Display for ConfirmationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Executing => "executing",
            Self::Executed => "executed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Declined => "declined",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
        })
    }
}

impl FromStr for ConfirmationState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use ConfirmationState::{
            Cancelled, Declined, Executed, Executing, Expired, Pending, Refused, Superseded,
            Unknown,
        };
        [Pending, Executing, Executed, Cancelled, Expired, Declined, Refused, Superseded, Unknown]
            .into_iter()
            .find(|state| state.to_string() == text)
            .ok_or(())
    }
}
