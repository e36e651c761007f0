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
    /// The subject, as the issuer names it.
    pub subject: String,
    /// The user.
    pub user_id: String,
    /// Whether the user was made because of it, so that the issuer's claims give the role.
    pub provisioned: bool,
    /// Unix milliseconds.
    pub linked_ms: i64,
}

impl Directory {
    /// The link of a subject.
    pub async fn external_identity(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<ExternalIdentity>, DirectoryError> {
        let row = sqlx::query(
            "SELECT issuer, subject, user_id, provisioned, linked_ms FROM external_identities \
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
            "SELECT issuer, subject, user_id, provisioned, linked_ms FROM external_identities \
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
        (issuer, subject): (&str, &str),
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        if !(1..=255).contains(&subject.len()) || issuer.is_empty() {
            return Err(DirectoryError::Invalid { what: "subject", why: "1 to 255 bytes" });
        }
        let note = self.note_on_user(by, "user.link", user_id).await?.with("issuer", issuer);
        let mut writing = self.write().await?;
        insert(writing.connection(), user_id, (issuer, subject), false).await?;
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
        sqlx::query("UPDATE refresh_tokens SET state = 'ended' WHERE user_id = $1")
            .bind(user_id)
            .execute(writing.connection())
            .await?;
        super::users::touch_user(&mut writing, user_id).await?;
        writing.finish(self, note).await
    }

    /// Makes a user and the link to it, both or neither. `Conflict` when the subject or the email is somebody's already.
    pub async fn create_external_user(
        &self,
        new: NewUser,
        (issuer, subject): (&str, &str),
        by: &Actor,
    ) -> Result<ExternalIdentity, DirectoryError> {
        let tenant = new.tenant.clone();
        let (mut writing, note, user_id): (_, Note, _) = self.begin_user(new, by).await?;
        insert(writing.connection(), &user_id, (issuer, subject), true).await?;
        writing.finish(self, note.with("issuer", issuer)).await?;
        tracing::info!(%tenant, issuer, user = %user_id, "made a user for an external identity");
        let found = self.external_identity(issuer, subject).await?;
        found.ok_or(DirectoryError::NotFound { what: "linked identity" })
    }
}

async fn insert(
    connection: &mut sqlx::AnyConnection,
    user_id: &str,
    (issuer, subject): (&str, &str),
    provisioned: bool,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO external_identities (issuer, subject, user_id, provisioned, linked_ms) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(issuer)
    .bind(subject)
    .bind(user_id)
    .bind(i64::from(provisioned))
    .bind(now_ms())
    .execute(connection)
    .await
    .map_err(|e| DirectoryError::of_insert(e, "linked identity"))?;
    Ok(())
}

fn read(row: Columns<'_>) -> Result<ExternalIdentity, DirectoryError> {
    Ok(ExternalIdentity {
        issuer: row.text("issuer")?,
        subject: row.text("subject")?,
        user_id: row.text("user_id")?,
        provisioned: row.truth("provisioned")?,
        linked_ms: row.int("linked_ms")?,
    })
}
