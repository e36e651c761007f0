//! What a person granted a program: scopes, until it is revoked. Codes and refresh tokens belong to a grant, and
//! one that comes a second time was copied by someone, so the grant ends there (RFC 9700 sections 2.1.1 and 4.14.2).
//!
//! INVARIANT: a code begins one grant once (`of_many_redemptions_of_one_code_exactly_one_wins_and_then_all_ends`).
//! INVARIANT: a grant never does more than its person (`a_grant_never_does_more_than_its_person_or_its_consent`).

use super::change::{Note, Writing};
use super::row::{Columns, json_text};
use super::scopes::check_scopes;
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

/// A grant that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthGrant {
    /// `imp_g_...`.
    pub id: String,
    /// The program.
    pub client_id: String,
    /// What the program calls itself.
    pub client_name: String,
    /// Whose it is.
    pub user_id: String,
    /// What was consented to; in force is what the person holds of it.
    pub scopes: Vec<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds of the last new token; none before the first refresh.
    pub renewed_ms: Option<i64>,
    pub(crate) version: u64,
}

/// A consent of a person, and the code that its program gets.
#[derive(Debug, Clone)]
pub struct NewOAuthGrant {
    /// The program.
    pub client_id: String,
    /// Who consents.
    pub user_id: String,
    /// To what.
    pub scopes: Vec<String>,
    /// SHA-256 of the code.
    pub code_sha256: [u8; 32],
    /// Where the code is sent.
    pub redirect_uri: String,
    /// The challenge of the program.
    pub challenge: String,
    /// Unix milliseconds.
    pub expires_ms: i64,
}

/// A code that a program shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthCode {
    /// What it would begin.
    pub grant_id: String,
    /// For whom it was made.
    pub client_id: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// The challenge of the program.
    pub challenge: String,
    /// Whether nobody spent it and its time is not over.
    pub is_whole: bool,
    /// Whether it was spent before.
    pub is_spent: bool,
}

/// A refresh token of a grant that a program shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthRefresh {
    /// What it belongs to.
    pub grant_id: String,
    /// For whom it was made.
    pub client_id: String,
    /// Who granted it.
    pub user_id: String,
    /// Whether it was spent before.
    pub is_spent: bool,
}

/// Why a grant ended, as records say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEnd {
    /// The person took it back.
    ByPerson,
    /// The program gave it back.
    ByClient,
    /// A code came a second time.
    CodeReused,
    /// A refresh token came a second time.
    RefreshReused,
}

macro_rules! select_grants {
    ($rest:literal) => {
        concat!(
            "SELECT g.id, g.client_id, c.name AS client_name, g.user_id, g.scopes, g.created_ms, ",
            "g.renewed_ms, g.version FROM oauth_grants g JOIN oauth_clients c ON c.id = g.client_id ",
            "WHERE g.began_ms IS NOT NULL AND g.revoked_ms IS NULL AND ",
            $rest
        )
    };
}

impl Directory {
    /// Keeps a consent and its code; it begins when the code is spent. Gives its id.
    pub async fn offer_grant(&self, new: NewOAuthGrant) -> Result<String, DirectoryError> {
        check_scopes(&new.scopes)?;
        let id = fresh_id("imp_g_");
        let by = Actor::user(&new.user_id);
        let note = self.note_on_user(&by, "grant.consent", &new.user_id).await?;
        let note = note
            .on(&id)
            .with("client", &new.client_id)
            .with("scopes", new.scopes.join(" "))
            .with("redirect_uri", &new.redirect_uri);
        let mut writing = self.write().await?;
        let (now, version) = (now_ms(), writing.version);
        sqlx::query(
            "INSERT INTO oauth_grants (id, client_id, user_id, scopes, created_ms, version) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&id)
        .bind(&new.client_id)
        .bind(&new.user_id)
        .bind(json_text("scopes", &new.scopes)?)
        .bind(now)
        .bind(version)
        .execute(writing.connection())
        .await?;
        sqlx::query(
            "INSERT INTO oauth_codes (sha256, grant_id, redirect_uri, challenge, expires_ms, state) \
             VALUES ($1, $2, $3, $4, $5, 'whole')",
        )
        .bind(hex::encode(new.code_sha256))
        .bind(&id)
        .bind(&new.redirect_uri)
        .bind(&new.challenge)
        .bind(new.expires_ms)
        .execute(writing.connection())
        .await?;
        sqlx::query("UPDATE oauth_clients SET granted_ms = COALESCE(granted_ms, $1) WHERE id = $2")
            .bind(now)
            .bind(&new.client_id)
            .execute(writing.connection())
            .await?;
        writing.finish_beside_standings(note).await?;
        Ok(id)
    }

    /// What is known of a code.
    pub async fn oauth_code(&self, sha256: [u8; 32]) -> Result<OAuthCode, DirectoryError> {
        let row = sqlx::query(
            "SELECT o.grant_id, g.client_id, o.redirect_uri, o.challenge, o.state, o.expires_ms \
             FROM oauth_codes o JOIN oauth_grants g ON g.id = o.grant_id WHERE o.sha256 = $1",
        )
        .bind(hex::encode(sha256))
        .fetch_optional(self.pool())
        .await?
        .ok_or(DirectoryError::NotFound { what: "code" })?;
        let row = Columns(&row);
        let state = row.text("state")?;
        Ok(OAuthCode {
            grant_id: row.text("grant_id")?,
            client_id: row.text("client_id")?,
            redirect_uri: row.text("redirect_uri")?,
            challenge: row.text("challenge")?,
            is_whole: state == "whole" && row.int("expires_ms")? > now_ms(),
            is_spent: state == "spent",
        })
    }

    /// Spends a code: its grant begins, with a first refresh token. False when it was not whole (any more).
    pub async fn begin_grant(
        &self,
        code_sha256: [u8; 32],
        refresh_sha256: [u8; 32],
        refresh_expires_ms: i64,
    ) -> Result<bool, DirectoryError> {
        let mut writing = self.write().await?;
        let now = now_ms();
        let grant: Option<String> = sqlx::query_scalar(
            "UPDATE oauth_codes SET state = 'spent' \
             WHERE sha256 = $1 AND state = 'whole' AND expires_ms > $2 AND grant_id IN \
             (SELECT id FROM oauth_grants WHERE revoked_ms IS NULL) RETURNING grant_id",
        )
        .bind(hex::encode(code_sha256))
        .bind(now)
        .fetch_optional(writing.connection())
        .await?;
        let Some(grant) = grant else { return Ok(false) };
        let version = writing.version;
        sqlx::query("UPDATE oauth_grants SET began_ms = $1, version = $2 WHERE id = $3")
            .bind(now)
            .bind(version)
            .bind(&grant)
            .execute(writing.connection())
            .await?;
        insert_refresh(writing.connection(), &grant, refresh_sha256, refresh_expires_ms).await?;
        let note = of_grant(&mut writing, "grant.begin", &grant, None).await?;
        writing.finish(self, note).await?;
        Ok(true)
    }

    /// What is known of a refresh token of a grant.
    pub async fn oauth_refresh(&self, sha256: [u8; 32]) -> Result<OAuthRefresh, DirectoryError> {
        let row = sqlx::query(
            "SELECT r.grant_id, g.client_id, g.user_id, r.state FROM oauth_refresh_tokens r \
             JOIN oauth_grants g ON g.id = r.grant_id WHERE r.sha256 = $1",
        )
        .bind(hex::encode(sha256))
        .fetch_optional(self.pool())
        .await?
        .ok_or(DirectoryError::NotFound { what: "refresh token" })?;
        let row = Columns(&row);
        Ok(OAuthRefresh {
            grant_id: row.text("grant_id")?,
            client_id: row.text("client_id")?,
            user_id: row.text("user_id")?,
            is_spent: row.text("state")? == "spent",
        })
    }

    /// Spends a refresh token for the next one. False when it was not whole (any more), or its grant has ended.
    pub async fn renew_grant(
        &self,
        sha256: [u8; 32],
        next_sha256: [u8; 32],
        expires_ms: i64,
    ) -> Result<bool, DirectoryError> {
        let mut transaction = self.pool().begin_with(self.begin_statement()).await?;
        let now = now_ms();
        let grant: Option<String> = sqlx::query_scalar(
            "UPDATE oauth_refresh_tokens SET state = 'spent' \
             WHERE sha256 = $1 AND state = 'whole' AND expires_ms > $2 AND grant_id IN \
             (SELECT id FROM oauth_grants WHERE revoked_ms IS NULL) RETURNING grant_id",
        )
        .bind(hex::encode(sha256))
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(grant) = grant else { return Ok(false) };
        sqlx::query("UPDATE oauth_grants SET renewed_ms = $1 WHERE id = $2")
            .bind(now)
            .bind(&grant)
            .execute(&mut *transaction)
            .await?;
        insert_refresh(&mut transaction, &grant, next_sha256, expires_ms).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Grants of a user that work, newest first.
    pub async fn oauth_grants(&self, user_id: &str) -> Result<Vec<OAuthGrant>, DirectoryError> {
        let rows = sqlx::query(select_grants!("g.user_id = $1 ORDER BY g.created_ms DESC, g.id"))
            .bind(user_id)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| read(Columns(row))).collect()
    }

    /// One grant that works.
    pub async fn oauth_grant(&self, id: &str) -> Result<OAuthGrant, DirectoryError> {
        let row = sqlx::query(select_grants!("g.id = $1"))
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::Inactive { what: "grant" })?;
        read(Columns(&row))
    }

    /// Ends a grant for good, and every token of it; the next call with one is refused. False when it had ended.
    pub async fn end_grant(
        &self,
        id: &str,
        why: GrantEnd,
        by: &Actor,
    ) -> Result<bool, DirectoryError> {
        let mut writing = self.write().await?;
        let version = writing.version;
        let done = sqlx::query(
            "UPDATE oauth_grants SET revoked_ms = $1, version = $2 \
             WHERE id = $3 AND revoked_ms IS NULL",
        )
        .bind(now_ms())
        .bind(version)
        .bind(id)
        .execute(writing.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let note = of_grant(&mut writing, "grant.end", id, Some(by)).await?;
        writing.finish(self, note.with("why", why.word())).await?;
        Ok(true)
    }

    /// Id and owner of every grant that a tenant's users ever gave, ended ones too: records name them by pseudonym.
    pub async fn grant_owners(
        &self,
        tenant: &portcullis_policies::TenantId,
    ) -> Result<Vec<(String, String)>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT g.id, g.user_id FROM oauth_grants g JOIN users u ON u.id = g.user_id \
             WHERE u.tenant_id = $1 ORDER BY g.id",
        )
        .bind(tenant.as_str())
        .fetch_all(self.pool())
        .await?;
        rows.iter()
            .map(|row| Ok((Columns(row).text("id")?, Columns(row).text("user_id")?)))
            .collect()
    }
}

/// Ends every grant of a user within a change of that user, whose note tells of it.
pub(crate) async fn end_all(writing: &mut Writing, user_id: &str) -> Result<(), DirectoryError> {
    let version = writing.version;
    sqlx::query(
        "UPDATE oauth_grants SET revoked_ms = $1, version = $2 \
         WHERE user_id = $3 AND revoked_ms IS NULL",
    )
    .bind(now_ms())
    .bind(version)
    .bind(user_id)
    .execute(writing.connection())
    .await?;
    Ok(())
}

/// A note about a grant, in its person's tenant; by its person unless somebody is named.
async fn of_grant(
    writing: &mut Writing,
    action: &'static str,
    grant: &str,
    by: Option<&Actor>,
) -> Result<Note, DirectoryError> {
    let row = sqlx::query(
        "SELECT g.user_id, g.client_id, u.tenant_id FROM oauth_grants g \
         JOIN users u ON u.id = g.user_id WHERE g.id = $1",
    )
    .bind(grant)
    .fetch_one(writing.connection())
    .await?;
    let row = Columns(&row);
    let person = Actor::user(&row.text("user_id")?);
    let note = Note::new(by.unwrap_or(&person), action, row.text("tenant_id")?);
    Ok(note.on(grant).with("client", row.text("client_id")?))
}

async fn insert_refresh(
    connection: &mut sqlx::AnyConnection,
    grant: &str,
    sha256: [u8; 32],
    expires_ms: i64,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO oauth_refresh_tokens (sha256, grant_id, expires_ms, state) \
         VALUES ($1, $2, $3, 'whole')",
    )
    .bind(hex::encode(sha256))
    .bind(grant)
    .bind(expires_ms)
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: Columns<'_>) -> Result<OAuthGrant, DirectoryError> {
    Ok(OAuthGrant {
        id: row.text("id")?,
        client_id: row.text("client_id")?,
        client_name: row.text("client_name")?,
        user_id: row.text("user_id")?,
        scopes: row.json("scopes")?,
        created_ms: row.int("created_ms")?,
        renewed_ms: row.optional_int("renewed_ms")?,
        version: u64::try_from(row.int("version")?).unwrap_or_default(),
    })
}

impl GrantEnd {
    /// The word in records; `..._reused` is a security matter.
    fn word(self) -> &'static str {
        match self {
            Self::ByPerson => "revoked_by_person",
            Self::ByClient => "revoked_by_client",
            Self::CodeReused => "code_reused",
            Self::RefreshReused => "refresh_token_reused",
        }
    }
}

#[cfg(test)]
mod tests;
