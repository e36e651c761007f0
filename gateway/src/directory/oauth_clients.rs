//! Programs that registered themselves to be granted something by a person (RFC 7591). All are public: none keeps a
//! secret, and nothing that one says of itself is believed but its redirect addresses.

use super::change::Note;
use super::row::{Columns, json_text};
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

/// A program that registered itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// `imp_oc_...`.
    pub id: String,
    /// What it calls itself; anybody can write it.
    pub name: String,
    /// Where codes may be sent, exactly.
    pub redirect_uris: Vec<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
}

/// How many clients may be there that nobody ever granted anything.
const MAX_UNUSED: i64 = 10_000;
/// How long such a client is kept, in milliseconds: a day.
const UNUSED_MS: i64 = 86_400_000;

impl Directory {
    /// Keeps a client. `Conflict` when too many are there that nobody uses.
    pub async fn register_client(
        &self,
        name: &str,
        redirect_uris: &[String],
        source: &str,
    ) -> Result<OAuthClient, DirectoryError> {
        let (id, now) = (fresh_id("imp_oc_"), now_ms());
        let mut writing = self.write().await?;
        sqlx::query(
            "DELETE FROM oauth_clients WHERE granted_ms IS NULL AND created_ms < $1 \
             AND id NOT IN (SELECT client_id FROM oauth_grants)",
        )
        .bind(now.saturating_sub(UNUSED_MS))
        .execute(writing.connection())
        .await?;
        let unused: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM oauth_clients WHERE granted_ms IS NULL")
                .fetch_one(writing.connection())
                .await?;
        if unused >= MAX_UNUSED {
            return Err(DirectoryError::Conflict { what: "client", why: "too many are unused" });
        }
        sqlx::query(
            "INSERT INTO oauth_clients (id, name, redirect_uris, created_ms) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(&id)
        .bind(name)
        .bind(json_text("redirect addresses", redirect_uris)?)
        .bind(now)
        .execute(writing.connection())
        .await?;
        let note = Note::new(&Actor::program(), "client.register", "deployment").on(&id);
        let note = note.with("source", source).with("redirect_uris", redirect_uris.join(" "));
        writing.finish_beside_standings(note).await?;
        let (name, redirect_uris) = (name.to_owned(), redirect_uris.to_vec());
        Ok(OAuthClient { id, name, redirect_uris, created_ms: now })
    }

    /// One client.
    pub async fn oauth_client(&self, id: &str) -> Result<OAuthClient, DirectoryError> {
        let row = sqlx::query(
            "SELECT id, name, redirect_uris, created_ms FROM oauth_clients WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.pool())
        .await?
        .ok_or(DirectoryError::NotFound { what: "client" })?;
        let row = Columns(&row);
        Ok(OAuthClient {
            id: row.text("id")?,
            name: row.text("name")?,
            redirect_uris: row.json("redirect_uris")?,
            created_ms: row.int("created_ms")?,
        })
    }
}
