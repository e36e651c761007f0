//! API keys: only their digest is kept; the text is shown once, by whoever made it.

use portcullis_policies::TenantId;

use super::change::Note;
use super::row::{Columns, json_text};
use super::scopes::check_scopes;
use super::tenants::check_name;
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, name, key_prefix, scopes, created_ms, last_used_ms, revoked_ms, ",
            "version FROM api_keys ",
            $rest
        )
    };
}

/// An API key as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ApiKey {
    /// `imp_k_...`.
    pub id: String,
    /// The user whose standing bounds the key.
    pub user_id: String,
    /// Name for people.
    pub name: String,
    /// First characters of the key, to recognise it by.
    pub key_prefix: String,
    /// What the key was made for; never more than what its owner has.
    pub scopes: Vec<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds, to the minute.
    pub last_used_ms: Option<i64>,
    /// Unix milliseconds; none while the key works.
    pub revoked_ms: Option<i64>,
    /// Number of the change that last touched it.
    #[serde(skip)]
    pub(crate) version: u64,
}

/// An API key to be kept.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The owner.
    pub user_id: String,
    /// Name for people.
    pub name: String,
    /// First characters of the key.
    pub key_prefix: String,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// What the key is for.
    pub scopes: Vec<String>,
}

impl Directory {
    /// Keeps a new key.
    pub async fn create_api_key(
        &self,
        new: NewApiKey,
        by: &Actor,
    ) -> Result<ApiKey, DirectoryError> {
        check_name(&new.name)?;
        check_scopes(&new.scopes)?;
        let id = fresh_id("imp_k_");
        let note = self
            .note_on_user(by, "key.create", &new.user_id)
            .await?
            .on(&id)
            .with("owner", &new.user_id)
            .with("scopes", new.scopes.join(" "));
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query(
            "INSERT INTO api_keys (id, user_id, name, key_prefix, key_sha256, scopes, created_ms, \
             version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&id)
        .bind(&new.user_id)
        .bind(&new.name)
        .bind(&new.key_prefix)
        .bind(hex::encode(new.sha256))
        .bind(json_text("scopes", &new.scopes)?)
        .bind(now_ms())
        .bind(version)
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "key"))?;
        writing.finish(self, note).await?;
        self.api_key_by_digest(&new.sha256).await
    }

    /// Keys of a user that still work, newest first.
    pub async fn api_keys(&self, user_id: &str) -> Result<Vec<ApiKey>, DirectoryError> {
        let rows = sqlx::query(select_keys!(
            "WHERE user_id = $1 AND revoked_ms IS NULL ORDER BY created_ms DESC, id"
        ))
        .bind(user_id)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read_key(Columns(row))).collect()
    }

    /// Id and owner of every key that a tenant's users ever had, revoked ones too: records name keys
    /// by pseudonym, and a past record outlives its key.
    pub async fn key_owners(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(String, String)>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT k.id, k.user_id FROM api_keys k JOIN users u ON u.id = k.user_id \
             WHERE u.tenant_id = $1 ORDER BY k.id",
        )
        .bind(tenant.as_str())
        .fetch_all(self.pool())
        .await?;
        rows.iter()
            .map(|row| Ok((Columns(row).text("id")?, Columns(row).text("user_id")?)))
            .collect()
    }

    /// Revokes a key for good; the next call with it is refused.
    pub async fn revoke_api_key(&self, id: &str, by: &Actor) -> Result<(), DirectoryError> {
        let tenant = self.tenant_of_key(id).await?;
        let mut writing = self.write().await?;
        let version = writing.version;
        let done = sqlx::query(
            "UPDATE api_keys SET revoked_ms = $1, version = $2 WHERE id = $3 AND revoked_ms IS NULL",
        )
        .bind(now_ms())
        .bind(version)
        .bind(id)
        .execute(writing.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::Conflict { what: "key", why: "it is revoked already" });
        }
        writing.finish(self, Note::new(by, "key.revoke", tenant).on(id)).await
    }

    /// Notes that a key was used; not a change, since the ledger has its own record of the call.
    pub async fn note_key_use(&self, id: &str) -> Result<(), DirectoryError> {
        sqlx::query("UPDATE api_keys SET last_used_ms = $1 WHERE id = $2")
            .bind(now_ms())
            .bind(id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    pub(crate) async fn api_key_by_digest(
        &self,
        sha256: &[u8; 32],
    ) -> Result<ApiKey, DirectoryError> {
        let row = sqlx::query(select_keys!("WHERE key_sha256 = $1"))
            .bind(hex::encode(sha256))
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "key" })?;
        read_key(Columns(&row))
    }

    async fn tenant_of_key(&self, id: &str) -> Result<String, DirectoryError> {
        let row = sqlx::query(
            "SELECT u.tenant_id FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1",
        )
        .bind(id)
        .fetch_optional(self.pool())
        .await?
        .ok_or(DirectoryError::NotFound { what: "key" })?;
        Columns(&row).text("tenant_id")
    }
}

fn read_key(row: Columns<'_>) -> Result<ApiKey, DirectoryError> {
    Ok(ApiKey {
        id: row.text("id")?,
        user_id: row.text("user_id")?,
        name: row.text("name")?,
        key_prefix: row.text("key_prefix")?,
        scopes: row.json("scopes")?,
        created_ms: row.int("created_ms")?,
        last_used_ms: row.optional_int("last_used_ms")?,
        revoked_ms: row.optional_int("revoked_ms")?,
        version: u64::try_from(row.int("version")?).unwrap_or_default(),
    })
}
