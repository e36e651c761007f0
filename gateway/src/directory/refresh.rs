//! Refresh tokens by digest: each is spent once, and a second spending ends its whole family.

use portcullis_policies::Strength;
use sqlx::AnyConnection;

use super::row::{Columns, json_text};
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
        /// How that sign-in was proved.
        strength: Strength,
    },
    /// It was spent before; its family has been ended.
    Reused,
    /// Never made, expired, or ended.
    Unknown,
}

/// A refresh token to be kept, by its digest.
#[derive(Debug, Clone, Copy)]
pub struct NewRefreshToken<'a> {
    /// SHA-256 of its text.
    pub sha256: [u8; 32],
    /// Whose it is.
    pub user_id: &'a str,
    /// The sign-in that it goes back to.
    pub family: &'a str,
    /// Unix milliseconds.
    pub expires_ms: i64,
    /// How that sign-in was proved.
    pub strength: &'a Strength,
}

/// The first statement waits for whoever spends a token of the family at this moment; only a second one sees the token
/// that they kept instead (PostgreSQL, READ COMMITTED: a statement sees what was there when it began).
const TWICE: usize = 2;

/// Ends all sessions of a user, those that are being refreshed at this moment among them.
pub(crate) async fn end_sessions(
    connection: &mut AnyConnection,
    user_id: &str,
) -> Result<(), DirectoryError> {
    for _ in 0..TWICE {
        sqlx::query("UPDATE refresh_tokens SET state = 'ended' WHERE user_id = $1")
            .bind(user_id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn insert(
    connection: &mut AnyConnection,
    new: NewRefreshToken<'_>,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO refresh_tokens (sha256, user_id, family, expires_ms, state, strength) \
         VALUES ($1, $2, $3, $4, 'whole', $5)",
    )
    .bind(hex::encode(new.sha256))
    .bind(new.user_id)
    .bind(new.family)
    .bind(new.expires_ms)
    .bind(json_text("strength", new.strength)?)
    .execute(connection)
    .await?;
    Ok(())
}

impl Directory {
    /// Keeps the digest of a new refresh token.
    pub async fn keep_refresh_token(&self, new: NewRefreshToken<'_>) -> Result<(), DirectoryError> {
        insert(&mut *self.pool().acquire().await?, new).await
    }

    /// Spends a refresh token, if it is whole, and keeps the next one of its family: both or neither, so that whoever
    /// ends the family meanwhile ends the next one too.
    pub async fn use_refresh_token(
        &self,
        sha256: [u8; 32],
        (next, expires_ms): ([u8; 32], i64),
    ) -> Result<RefreshUse, DirectoryError> {
        let mut transaction = self.pool().begin_with(self.begin_statement()).await?;
        let spent = sqlx::query(
            "UPDATE refresh_tokens SET state = 'spent' \
             WHERE sha256 = $1 AND state = 'whole' AND expires_ms > $2 \
             RETURNING user_id, family, strength",
        )
        .bind(hex::encode(sha256))
        .bind(now_ms())
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(row) = spent {
            let row = Columns(&row);
            let (user_id, family) = (row.text("user_id")?, row.text("family")?);
            let strength: Strength = row.json("strength")?;
            let (user, kept) = (user_id.as_str(), &strength);
            let next = NewRefreshToken {
                sha256: next,
                user_id: user,
                family: &family,
                expires_ms,
                strength: kept,
            };
            insert(&mut transaction, next).await?;
            transaction.commit().await?;
            return Ok(RefreshUse::First { user_id, family, strength });
        }
        transaction.rollback().await?;
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
        let mut transaction = self.pool().begin_with(self.begin_statement()).await?;
        for _ in 0..TWICE {
            sqlx::query(
                "UPDATE refresh_tokens SET state = 'ended' WHERE family IN \
                 (SELECT family FROM refresh_tokens WHERE sha256 = $1)",
            )
            .bind(hex::encode(sha256))
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn refresh_state(&self, sha256: [u8; 32]) -> Result<Option<String>, DirectoryError> {
        let row = sqlx::query("SELECT state FROM refresh_tokens WHERE sha256 = $1")
            .bind(hex::encode(sha256))
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| Columns(&row).text("state")).transpose()
    }
}
