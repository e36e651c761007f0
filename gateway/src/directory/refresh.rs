//! Refresh tokens by digest: each is spent once, and a second spending ends its whole family.

use super::row::Columns;
use super::{Directory, DirectoryError, now_ms};

/// What the directory knows of a refresh token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshUse {
    /// It was whole and is spent now.
    First {
        /// Whose it is.
        user_id: String,
        /// The sign-in that it goes back to.
        family: String,
    },
    /// It was spent before; its family has been ended.
    Reused,
    /// Never made, expired, or ended.
    Unknown,
}

impl Directory {
    /// Keeps the digest of a new refresh token.
    pub async fn keep_refresh_token(
        &self,
        sha256: [u8; 32],
        user_id: &str,
        family: &str,
        expires_ms: i64,
    ) -> Result<(), DirectoryError> {
        sqlx::query(
            "INSERT INTO refresh_tokens (sha256, user_id, family, expires_ms, state) \
             VALUES ($1, $2, $3, $4, 'whole')",
        )
        .bind(hex::encode(sha256))
        .bind(user_id)
        .bind(family)
        .bind(expires_ms)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Spends a refresh token, if it is whole.
    pub async fn use_refresh_token(&self, sha256: [u8; 32]) -> Result<RefreshUse, DirectoryError> {
        let spent = sqlx::query(
            "UPDATE refresh_tokens SET state = 'spent' \
             WHERE sha256 = $1 AND state = 'whole' AND expires_ms > $2 RETURNING user_id, family",
        )
        .bind(hex::encode(sha256))
        .bind(now_ms())
        .fetch_optional(self.pool())
        .await?;
        if let Some(row) = spent {
            let row = Columns(&row);
            return Ok(RefreshUse::First {
                user_id: row.text("user_id")?,
                family: row.text("family")?,
            });
        }
        if self.refresh_state(sha256).await?.as_deref() == Some("spent") {
            self.end_refresh_family(sha256).await?;
            return Ok(RefreshUse::Reused);
        }
        Ok(RefreshUse::Unknown)
    }

    /// User and family of a refresh token that is whole.
    pub async fn session_of(
        &self,
        sha256: [u8; 32],
    ) -> Result<Option<(String, String)>, DirectoryError> {
        let row = sqlx::query(
            "SELECT user_id, family FROM refresh_tokens WHERE sha256 = $1 AND state = 'whole'",
        )
        .bind(hex::encode(sha256))
        .fetch_optional(self.pool())
        .await?;
        let read = |row| Ok((Columns(row).text("user_id")?, Columns(row).text("family")?));
        row.as_ref().map(read).transpose()
    }

    /// Ends every token that goes back to the same sign-in as this one.
    pub async fn end_refresh_family(&self, sha256: [u8; 32]) -> Result<(), DirectoryError> {
        sqlx::query(
            "UPDATE refresh_tokens SET state = 'ended' WHERE family IN \
             (SELECT family FROM refresh_tokens WHERE sha256 = $1)",
        )
        .bind(hex::encode(sha256))
        .execute(self.pool())
        .await?;
        Ok(())
    }

    async fn refresh_state(&self, sha256: [u8; 32]) -> Result<Option<String>, DirectoryError> {
        let row = sqlx::query("SELECT state FROM refresh_tokens WHERE sha256 = $1")
            .bind(hex::encode(sha256))
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| Columns(&row).text("state")).transpose()
    }
}
