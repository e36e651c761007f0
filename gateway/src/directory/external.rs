//! External identities: issuer and subject to user. An email is never part of the link.
//!
//! INVARIANT: one subject of one issuer is one user at most (the primary key).

use super::change::Note;
use super::row::Columns;
use super::{Actor, Directory, DirectoryError, NewUser, now_ms};

/// A link between somebody at an issuer and a user here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExternalIdentity {
    /// Name of the issuer, as configured.
    pub issuer: String,
    /// Address of the issuer when it was linked.
    pub issuer_url: String,
    /// The subject, as the issuer names it.
    pub subject: String,
    /// The user.
    pub user_id: String,
    /// Whether the user was made because of it, so that the issuer's claims give the role.
    pub provisioned: bool,
    /// Unix seconds at which the newest token was issued that gave the role.
    pub role_iat: i64,
    /// Unix milliseconds.
    pub linked_ms: i64,
}

/// Somebody at an issuer.
#[derive(Debug, Clone, Copy)]
pub struct ExternalSubject<'a> {
    /// Name of the issuer, as configured.
    pub issuer: &'a str,
    /// Its address.
    pub url: &'a str,
    /// The subject, as the issuer names it.
    pub subject: &'a str,
}

impl Directory {
    /// The link of a subject.
    pub async fn external_identity(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<ExternalIdentity>, DirectoryError> {
        let row = sqlx::query(
            "SELECT issuer, issuer_url, subject, user_id, provisioned, role_iat, linked_ms FROM external_identities \
             WHERE issuer = $1 AND subject = $2",
        )
        .bind(issuer)
        .bind(subject)
        .fetch_optional(self.pool())
        .await?;
        row.as_ref().map(|row| read(Columns(row))).transpose()
    }

    /// The links of a user.
    pub async fn external_identities(
        &self,
        user_id: &str,
    ) -> Result<Vec<ExternalIdentity>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT issuer, issuer_url, subject, user_id, provisioned, role_iat, linked_ms FROM external_identities \
             WHERE user_id = $1 ORDER BY issuer, subject",
        )
        .bind(user_id)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(Columns(row))).collect()
    }

    /// Links a subject to a user. `Conflict` when it is somebody's already.
    pub async fn link_external(
        &self,
        user_id: &str,
        who: ExternalSubject<'_>,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        if !(1..=255).contains(&who.subject.len()) || who.issuer.is_empty() {
            return Err(DirectoryError::Invalid { what: "subject", why: "1 to 255 bytes" });
        }
        let note = self.note_on_user(by, "user.link", user_id).await?.with("issuer", who.issuer);
        let mut writing = self.write().await?;
        insert(writing.connection(), user_id, who, None).await?;
        super::users::touch_user(&mut writing, user_id).await?;
        writing.finish(self, note).await
    }

    /// Takes the links of a user to an issuer away, and ends the user's sessions.
    pub async fn unlink_external(
        &self,
        user_id: &str,
        issuer: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.unlink", user_id).await?.with("issuer", issuer);
        let mut writing = self.write().await?;
        let done =
            sqlx::query("DELETE FROM external_identities WHERE user_id = $1 AND issuer = $2")
                .bind(user_id)
                .bind(issuer)
                .execute(writing.connection())
                .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "linked identity" });
        }
        super::refresh::end_sessions(writing.connection(), user_id).await?;
        super::users::touch_user(&mut writing, user_id).await?;
        writing.finish(self, note).await
    }

    /// Gives a provisioned user the role of a token that was issued at `iat`, unless a newer one has given one already:
    /// who keeps an old token does not get an old role back by it. Answers whether the token counted.
    pub async fn follow_role(
        &self,
        identity: &ExternalIdentity,
        (role, iat): (&str, i64),
        by: &Actor,
    ) -> Result<bool, DirectoryError> {
        let user = self.present_user(&identity.user_id).await?;
        let role = self.role(&user.tenant, role).await?;
        let mut writing = self.write().await?;
        let newer = sqlx::query(
            "UPDATE external_identities SET role_iat = $1 \
             WHERE issuer = $2 AND subject = $3 AND role_iat < $1",
        )
        .bind(iat)
        .bind(&identity.issuer)
        .bind(&identity.subject)
        .execute(writing.connection())
        .await?;
        if newer.rows_affected() == 0 {
            return Ok(false);
        }
        let version = writing.version;
        let changed = sqlx::query(
            "UPDATE users SET role_id = $1, pinned_scopes = NULL, version = $2 \
             WHERE id = $3 AND role_id <> $1",
        )
        .bind(&role.id)
        .bind(version)
        .bind(&user.id)
        .execute(writing.connection())
        .await?;
        if changed.rows_affected() == 0 {
            // Nobody's rights changed: nothing to tell, only the newest token to remember.
            writing.quietly().await?;
            return Ok(true);
        }
        let note = Note::new(by, "user.set_role", &user.tenant).on(&user.id);
        writing.finish(self, note.with("role", role.name).with("iat", iat)).await?;
        Ok(true)
    }

    /// Makes a user and the link to it, both or neither. `Conflict` when the subject or the email is somebody's already.
    pub async fn create_external_user(
        &self,
        new: NewUser,
        who: ExternalSubject<'_>,
        role_iat: i64,
        by: &Actor,
    ) -> Result<ExternalIdentity, DirectoryError> {
        let tenant = new.tenant.clone();
        let (mut writing, note, user_id): (_, Note, _) = self.begin_user(new, by).await?;
        insert(writing.connection(), &user_id, who, Some(role_iat)).await?;
        let issuer = who.issuer;
        writing.finish(self, note.with("issuer", issuer)).await?;
        tracing::info!(%tenant, issuer, user = %user_id, "made a user for an external identity");
        let found = self.external_identity(issuer, who.subject).await?;
        found.ok_or(DirectoryError::NotFound { what: "linked identity" })
    }
}

async fn insert(
    connection: &mut sqlx::AnyConnection,
    user_id: &str,
    who: ExternalSubject<'_>,
    provisioned_at: Option<i64>,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO external_identities \
         (issuer, issuer_url, subject, user_id, provisioned, role_iat, linked_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(who.issuer)
    .bind(who.url)
    .bind(who.subject)
    .bind(user_id)
    .bind(i64::from(provisioned_at.is_some()))
    .bind(provisioned_at.unwrap_or_default())
    .bind(now_ms())
    .execute(connection)
    .await
    .map_err(|e| DirectoryError::of_insert(e, "linked identity"))?;
    Ok(())
}

fn read(row: Columns<'_>) -> Result<ExternalIdentity, DirectoryError> {
    Ok(ExternalIdentity {
        issuer: row.text("issuer")?,
        issuer_url: row.text("issuer_url")?,
        subject: row.text("subject")?,
        user_id: row.text("user_id")?,
        provisioned: row.truth("provisioned")?,
        role_iat: row.int("role_iat")?,
        linked_ms: row.int("linked_ms")?,
    })
}
