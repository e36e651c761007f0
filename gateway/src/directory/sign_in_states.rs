//! Sign-ins in a browser that wait for their provider. A row goes with its use, so no state counts twice, on whichever
//! replica; nothing in a row lets anybody finish a sign-in.

use super::row::Columns;
use super::{Directory, DirectoryError, now_ms};

/// A sign-in that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInState {
    /// SHA-256 of the state that the provider gives back.
    pub state_sha256: [u8; 32],
    /// SHA-256 of what the browser's cookie holds.
    pub browser_sha256: [u8; 32],
    /// Name of the issuer that was asked.
    pub issuer: String,
    /// The page that is wanted afterwards; none: tokens as JSON.
    pub next: Option<String>,
    /// Unix milliseconds.
    pub expires_ms: i64,
}

impl Directory {
    /// Keeps a sign-in that waits, and forgets those that waited too long.
    pub async fn keep_sign_in_state(&self, new: &SignInState) -> Result<(), DirectoryError> {
        sqlx::query("DELETE FROM sign_in_states WHERE expires_ms <= $1")
            .bind(now_ms())
            .execute(self.pool())
            .await?;
        sqlx::query(
            "INSERT INTO sign_in_states (state_sha256, browser_sha256, issuer, next, expires_ms) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(hex::encode(new.state_sha256))
        .bind(hex::encode(new.browser_sha256))
        .bind(&new.issuer)
        .bind(new.next.as_deref())
        .bind(new.expires_ms)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Takes a sign-in that waits; nobody gets it a second time. Whether it is the caller's is not checked.
    pub async fn take_sign_in_state(
        &self,
        state_sha256: [u8; 32],
    ) -> Result<Option<SignInState>, DirectoryError> {
        let row = sqlx::query(
            "DELETE FROM sign_in_states WHERE state_sha256 = $1 \
             RETURNING state_sha256, browser_sha256, issuer, next, expires_ms",
        )
        .bind(hex::encode(state_sha256))
        .fetch_optional(self.pool())
        .await?;
        let read = |row| {
            let row = Columns(row);
            Ok(SignInState {
                state_sha256: row.digest("state_sha256")?,
                browser_sha256: row.digest("browser_sha256")?,
                issuer: row.text("issuer")?,
                next: row.optional_text("next")?,
                expires_ms: row.int("expires_ms")?,
            })
        };
        row.as_ref().map(read).transpose()
    }
}
