//! Second factors: a sealed secret, the last step that was used, and recovery codes by digest.
//!
//! Of many uses of one code exactly one counts, on whichever replica: steps and recovery codes are spent by a
//! compare-and-set. Wrong codes are counted before they are checked, in the row, so that all replicas share one bound.
//!
//! INVARIANT: no step and no recovery code counts twice (`of_many_uses_of_one_code_exactly_one_counts`).

use std::time::Duration;

use super::change::Note;
use super::row::{Columns, base64_encode};
use super::{Actor, Directory, DirectoryError, now_ms};

/// So many codes in a row may be wrong; after that one is looked at per [`WAIT_MS`]. Of a million codes three count at a
/// time, so a guesser who knows the password wins once in ten years.
const WRONG_IN_A_ROW: i64 = 5;
const WAIT_MS: i64 = 15 * 60 * 1_000;

/// A second factor as it is stored.
#[derive(Clone)]
pub struct StoredTotp {
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// Whether its owner has shown a code of it; before that it is not asked for.
    pub confirmed: bool,
}

impl std::fmt::Debug for StoredTotp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredTotp").field("confirmed", &self.confirmed).finish_non_exhaustive()
    }
}

impl Directory {
    /// The second factor of a user.
    pub async fn totp(&self, user_id: &str) -> Result<Option<StoredTotp>, DirectoryError> {
        let row = sqlx::query("SELECT sealed, confirmed_ms FROM totp WHERE user_id = $1")
            .bind(user_id)
            .fetch_optional(self.pool())
            .await?;
        let read = |row| {
            let confirmed = Columns(row).optional_int("confirmed_ms")?.is_some();
            Ok(StoredTotp { sealed: Columns(row).sealed("sealed")?, confirmed })
        };
        row.as_ref().map(read).transpose()
    }

    /// Keeps a secret that was offered to a user, instead of one that was offered before. `Conflict` when the user has a
    /// second factor already.
    pub async fn offer_totp(
        &self,
        user_id: &str,
        sealed: &[u8],
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.totp_offer", user_id).await?;
        let mut writing = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO totp (user_id, sealed, last_step, wrong, wrong_ms, created_ms) \
             VALUES ($1, $2, 0, 0, 0, $3) ON CONFLICT (user_id) DO UPDATE SET \
             sealed = excluded.sealed, created_ms = excluded.created_ms, last_step = 0, wrong = 0 \
             WHERE totp.confirmed_ms IS NULL",
        )
        .bind(user_id)
        .bind(base64_encode(sealed))
        .bind(now_ms())
        .execute(writing.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(enrolled());
        }
        writing.finish(self, note).await
    }

    /// From now on the offered secret is asked for. `sealed` is the one whose code was shown, `step` that of the code,
    /// `recovery` the digests of the codes that stand in for it.
    pub async fn confirm_totp(
        &self,
        user_id: &str,
        (sealed, step): (&[u8], i64),
        recovery: &[[u8; 32]],
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.totp_confirm", user_id).await?;
        let mut writing = self.write().await?;
        let done = sqlx::query(
            "UPDATE totp SET confirmed_ms = $1, last_step = $2, wrong = 0 \
             WHERE user_id = $3 AND sealed = $4 AND confirmed_ms IS NULL",
        )
        .bind(now_ms())
        .bind(step)
        .bind(user_id)
        .bind(base64_encode(sealed))
        .execute(writing.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(enrolled());
        }
        for sha256 in recovery {
            sqlx::query("INSERT INTO recovery_codes (user_id, sha256) VALUES ($1, $2)")
                .bind(user_id)
                .bind(hex::encode(sha256))
                .execute(writing.connection())
                .await?;
        }
        writing.finish(self, note).await
    }

    /// Counts a code before it is checked. `Err` is how long to wait when too many in a row were wrong.
    pub async fn try_totp(&self, user_id: &str) -> Result<Result<(), Duration>, DirectoryError> {
        let now = now_ms();
        let done = sqlx::query(
            "UPDATE totp SET wrong = wrong + 1, wrong_ms = $1 \
             WHERE user_id = $2 AND (wrong < $3 OR wrong_ms <= $4)",
        )
        .bind(now)
        .bind(user_id)
        .bind(WRONG_IN_A_ROW)
        .bind(now.saturating_sub(WAIT_MS))
        .execute(self.pool())
        .await?;
        if done.rows_affected() == 1 {
            return Ok(Ok(()));
        }
        let last: Option<i64> = sqlx::query_scalar("SELECT wrong_ms FROM totp WHERE user_id = $1")
            .bind(user_id)
            .fetch_optional(self.pool())
            .await?;
        let left = last.unwrap_or(now).saturating_add(WAIT_MS).saturating_sub(now).max(1_000);
        Ok(Err(Duration::from_millis(left.unsigned_abs())))
    }

    /// Spends a step whose code was right; `false` when it or a later one was spent before.
    pub async fn spend_totp_step(&self, user_id: &str, step: i64) -> Result<bool, DirectoryError> {
        let done = sqlx::query(
            "UPDATE totp SET last_step = $1, wrong = 0 \
             WHERE user_id = $2 AND last_step < $1 AND confirmed_ms IS NOT NULL",
        )
        .bind(step)
        .bind(user_id)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Spends a recovery code; `false` when there is none such.
    pub async fn spend_recovery_code(
        &self,
        user_id: &str,
        sha256: [u8; 32],
    ) -> Result<bool, DirectoryError> {
        let by = Actor::user(user_id);
        let note = self.note_on_user(&by, "user.recovery_code_used", user_id).await?;
        let mut writing = self.write().await?;
        let done = sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND sha256 = $2")
            .bind(user_id)
            .bind(hex::encode(sha256))
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        writing.finish(self, note).await?;
        Ok(true)
    }

    /// Takes the second factor of a user away, with its recovery codes. `NotFound` when there is none. Whoever else than
    /// the user does it, does it because the factor may be in other hands: sessions and tokens from before end.
    pub async fn remove_totp(&self, user_id: &str, by: &Actor) -> Result<(), DirectoryError> {
        let note: Note = self.note_on_user(by, "user.totp_remove", user_id).await?;
        let mut writing = self.write().await?;
        let done = sqlx::query("DELETE FROM totp WHERE user_id = $1")
            .bind(user_id)
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "second factor" });
        }
        sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1")
            .bind(user_id)
            .execute(writing.connection())
            .await?;
        if *by != Actor::user(user_id) {
            sqlx::query("UPDATE refresh_tokens SET state = 'ended' WHERE user_id = $1")
                .bind(user_id)
                .execute(writing.connection())
                .await?;
            super::oauth_grants::end_all(&mut writing, user_id).await?;
            super::credentials::renew(&mut writing, user_id).await?;
        }
        writing.finish(self, note).await
    }
}

fn enrolled() -> DirectoryError {
    DirectoryError::Conflict {
        what: "the second factor",
        why: "there is one already; remove it first",
    }
}
