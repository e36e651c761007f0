//! Programs that registered themselves to be granted something by a person (RFC 7591). All are public: none keeps a
//! secret, and nothing that one says of itself is believed but its redirect addresses.

use super::change::{Note, Writing};
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

/// How many clients are kept that nobody ever granted anything; for one more the oldest of them goes, so that a flood
/// of strangers shuts nobody out.
const MAX_UNUSED: i64 = 10_000;
/// How long such a client is kept, in milliseconds: an hour.
const UNUSED_MS: i64 = 3_600_000;
/// How many go at most with one that comes: more than one, and few enough that nobody waits for them.
const AT_ONCE: i64 = 100;

impl Directory {
    /// Keeps a client.
    pub async fn register_client(
        &self,
        name: &str,
        redirect_uris: &[String],
        source: &str,
    ) -> Result<OAuthClient, DirectoryError> {
        let (id, now) = (fresh_id("imp_oc_"), now_ms());
        let mut writing = self.write().await?;
        make_room(&mut writing, MAX_UNUSED, now).await?;
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

/// Lets clients go that nobody uses: those that are too old, and the oldest ones as far as `max` or more are left.
async fn make_room(writing: &mut Writing, max: i64, now: i64) -> Result<(), DirectoryError> {
    let old = now.saturating_sub(UNUSED_MS);
    forget_unused(writing, old, AT_ONCE).await?;
    let unused: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM oauth_clients WHERE granted_ms IS NULL")
            .fetch_one(writing.connection())
            .await?;
    let too_many = unused.saturating_sub(max).saturating_add(1);
    if too_many > 0 {
        forget_unused(writing, i64::MAX, too_many.min(AT_ONCE)).await?;
    }
    Ok(())
}

/// Lets at most so many go of those that nobody ever granted anything and that came before, oldest first.
async fn forget_unused(
    writing: &mut Writing,
    before_ms: i64,
    limit: i64,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "DELETE FROM oauth_clients WHERE id IN (SELECT c.id FROM oauth_clients c \
         WHERE c.granted_ms IS NULL AND c.created_ms < $1 \
         AND NOT EXISTS (SELECT 1 FROM oauth_grants g WHERE g.client_id = c.id) \
         ORDER BY c.created_ms, c.id LIMIT $2)",
    )
    .bind(before_ms)
    .bind(limit)
    .execute(writing.connection())
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tests::Fixture;

    const URIS: [&str; 1] = ["https://client.example/cb"];

    async fn register(f: &Fixture) -> OAuthClient {
        f.directory.register_client("x", &URIS.map(str::to_owned), "192.0.2.1").await.unwrap()
    }

    async fn execute(f: &Fixture, sql: &'static str, id: &str) {
        sqlx::query(sql).bind(id).execute(f.directory.pool()).await.unwrap();
    }

    async fn is_there(f: &Fixture, client: &OAuthClient) -> bool {
        f.directory.oauth_client(&client.id).await.is_ok()
    }

    #[tokio::test]
    async fn a_full_house_of_unused_clients_loses_its_oldest_and_refuses_nobody() {
        let f = Fixture::new().await;
        let (used, oldest) = (register(&f).await, register(&f).await);
        execute(
            &f,
            "UPDATE oauth_clients SET granted_ms = 1, created_ms = 1 WHERE id = $1",
            &used.id,
        )
        .await;
        let age = "UPDATE oauth_clients SET created_ms = created_ms - 60000 WHERE id = $1";
        execute(&f, age, &oldest.id).await;
        // A flood that fills the house exactly, all of it younger than the oldest.
        let flood = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
                     INSERT INTO oauth_clients (id, name, redirect_uris, created_ms) \
                     SELECT 'flood' || i, 'x', '[]', c.created_ms + 1 FROM n, oauth_clients c WHERE c.id = $1";
        execute(&f, flood, &oldest.id).await;
        let new = register(&f).await;
        assert!(is_there(&f, &new).await && is_there(&f, &used).await);
        assert!(!is_there(&f, &oldest).await, "the oldest went");
        let left: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM oauth_clients WHERE granted_ms IS NULL")
                .fetch_one(f.directory.pool())
                .await
                .unwrap();
        assert_eq!(left, MAX_UNUSED, "one went for one");
    }

    #[tokio::test]
    async fn an_unused_client_lives_an_hour() {
        let f = Fixture::new().await;
        let (old, young) = (register(&f).await, register(&f).await);
        let age = "UPDATE oauth_clients SET created_ms = created_ms - 3600001 WHERE id = $1";
        execute(&f, age, &old.id).await;
        register(&f).await;
        assert!(!is_there(&f, &old).await && is_there(&f, &young).await);
    }
}
