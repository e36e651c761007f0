//! What admins do with users beyond making them: change several things at once, look at what somebody may
//! do and why, and remove somebody for good.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::change::{Note, Writing};
use super::row::Columns;
use super::scopes::check_scopes;
use super::users::{attributes_text, insert_scope, note_taken};
use super::{Actor, Directory, DirectoryError, User, now_ms};

/// What to change of a user; `None` leaves a thing as it is.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    /// Name of another role of the same tenant.
    pub role: Option<String>,
    /// The scopes beside those of the role from now on, instead of those of before.
    pub scopes: Option<Vec<String>>,
    /// Free attributes from now on.
    pub attributes: Option<Map<String, Value>>,
    /// Whether the user may act.
    pub active: Option<bool>,
    /// The agency inside the tenant; an inner `None` takes the user out of it.
    pub agency_id: Option<Option<String>>,
    /// The person's number in a system of cases.
    pub cases_user_id: Option<i64>,
}

/// What a user may do, and why (wire-contract 1.3).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveScopes {
    /// The user.
    pub user_id: String,
    /// Name of the role.
    pub role: String,
    /// All scopes held, wildcards as granted, sorted.
    pub scopes: Vec<String>,
    /// Scopes that were taken back from the user and are not held today.
    pub denied: Vec<Denied>,
    /// Where each comes from: `role` (or `role_before`, kept when the role was changed without cascade) and
    /// `user`.
    pub sources: BTreeMap<&'static str, Vec<String>>,
}

/// A scope that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denied {
    /// The scope.
    pub scope: String,
    /// Unix milliseconds of the last time.
    pub taken_ms: i64,
    /// Who took it, as records name them.
    pub taken_by: String,
}

impl Directory {
    /// Changes a user, all or nothing; in force with the next call.
    pub async fn update_user(
        &self,
        id: &str,
        patch: UserPatch,
        by: &Actor,
    ) -> Result<User, DirectoryError> {
        let user = self.present_user(id).await?;
        check_scopes(patch.scopes.as_deref().unwrap_or_default())?;
        let role = match &patch.role {
            Some(name) => Some(self.role(&user.tenant, name).await?),
            None => None,
        };
        if let Some(Some(agency)) = &patch.agency_id {
            self.agency(&user.tenant, agency).await?;
        }
        let note = noted(Note::new(by, "user.update", &user.tenant).on(id), &patch);
        let mut writing = self.write().await?;
        update_columns(&mut writing, id, role.map(|role| role.id), &patch).await?;
        if patch.active == Some(false) {
            super::credentials::deny_devices(&mut writing, id).await?;
        }
        if let Some(scopes) = &patch.scopes {
            replace_scopes(&mut writing, &user, scopes, by).await?;
        }
        writing.finish(self, note).await?;
        self.user(id).await
    }

    /// What the person wants to be called; 1 to 200 characters, or nothing.
    pub async fn set_nickname(
        &self,
        id: &str,
        nickname: Option<&str>,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        nickname.map_or(Ok(()), super::tenants::check_name)?;
        let note = self.note_on_user(by, "user.nickname", id).await?;
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query("UPDATE users SET nickname = $1, version = $2 WHERE id = $3")
            .bind(nickname)
            .bind(version)
            .bind(id)
            .execute(writing.connection())
            .await?;
        writing.finish(self, note).await
    }

    /// Removes a user for good: email, password, scopes, settings, keys and sessions go, and the address is
    /// free again. The id stays, so that past records keep a pseudonym that belongs to nobody else.
    pub async fn remove_user(&self, id: &str, by: &Actor) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.remove", id).await?;
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query(
            "UPDATE users SET email = $1, password_hash = NULL, attributes = '{}', active = 0, \
             nickname = NULL, disabled_apps = '[]', cases_user_id = NULL, removed_ms = $2, version = $3 WHERE id = $4",
        )
        .bind(format!("{id}@removed.invalid"))
        .bind(now_ms())
        .bind(version)
        .bind(id)
        .execute(writing.connection())
        .await?;
        for sql in [
            "DELETE FROM user_scopes WHERE user_id = $1",
            "DELETE FROM taken_scopes WHERE user_id = $1",
            "DELETE FROM user_settings WHERE user_id = $1",
            "DELETE FROM refresh_tokens WHERE user_id = $1",
            "DELETE FROM service_tokens WHERE user_id = $1",
            "DELETE FROM external_identities WHERE user_id = $1",
            "DELETE FROM totp WHERE user_id = $1",
            "DELETE FROM recovery_codes WHERE user_id = $1",
            // Ids of keys stand in past records too.
            "UPDATE api_keys SET name = 'removed', scopes = '[]', \
             revoked_ms = COALESCE(revoked_ms, 0) WHERE user_id = $1",
        ] {
            sqlx::query(sql).bind(id).execute(writing.connection()).await?;
        }
        super::oauth_grants::end_all(&mut writing, id).await?;
        super::credentials::renew(&mut writing, id).await?;
        writing.finish(self, note).await
    }

    /// What a user may do, and why; also of one who is switched off.
    pub async fn effective_scopes(&self, id: &str) -> Result<EffectiveScopes, DirectoryError> {
        let user = self.user(id).await?;
        let role = self.role(&user.tenant, &user.role).await?;
        let row = sqlx::query("SELECT pinned_scopes FROM users WHERE id = $1")
            .bind(id)
            .fetch_one(self.pool())
            .await?;
        let row = Columns(&row);
        let of_role = match row.optional_text("pinned_scopes")? {
            Some(_) => ("role_before", row.json("pinned_scopes")?),
            None => ("role", role.default_scopes),
        };
        let mut scopes = [of_role.1.clone(), user.scopes.clone()].concat();
        scopes.sort_unstable();
        scopes.dedup();
        let denied = self.taken_scopes(id).await?;
        let denied = denied.into_iter().filter(|one| !scopes.contains(&one.scope)).collect();
        let sources = BTreeMap::from([of_role, ("user", user.scopes)]);
        Ok(EffectiveScopes { user_id: user.id, role: user.role, scopes, denied, sources })
    }

    async fn taken_scopes(&self, id: &str) -> Result<Vec<Denied>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT scope, taken_ms, taken_by FROM taken_scopes WHERE user_id = $1 ORDER BY scope",
        )
        .bind(id)
        .fetch_all(self.pool())
        .await?;
        let read = |row| {
            let row = Columns(row);
            let (scope, taken_by) = (row.text("scope")?, row.text("taken_by")?);
            Ok(Denied { scope, taken_ms: row.int("taken_ms")?, taken_by })
        };
        rows.iter().map(read).collect()
    }
}

async fn update_columns(
    writing: &mut Writing,
    id: &str,
    role_id: Option<String>,
    patch: &UserPatch,
) -> Result<(), DirectoryError> {
    let attributes = patch.attributes.as_ref().map(attributes_text).transpose()?;
    let agency = patch.agency_id.clone();
    let version = writing.version;
    // With another role nothing of the one before is kept.
    sqlx::query(
        "UPDATE users SET \
         pinned_scopes = CASE WHEN $1 IS NULL THEN pinned_scopes ELSE NULL END, \
         role_id = COALESCE($1, role_id), attributes = COALESCE($2, attributes), \
         active = COALESCE($3, active), \
         agency_id = CASE WHEN $4 = 1 THEN $5 ELSE agency_id END, \
         cases_user_id = COALESCE($6, cases_user_id), version = $7 WHERE id = $8",
    )
    .bind(role_id)
    .bind(attributes)
    .bind(patch.active.map(i64::from))
    .bind(i64::from(agency.is_some()))
    .bind(agency.flatten())
    .bind(patch.cases_user_id)
    .bind(version)
    .bind(id)
    .execute(writing.connection())
    .await?;
    Ok(())
}

async fn replace_scopes(
    writing: &mut Writing,
    user: &User,
    scopes: &[String],
    by: &Actor,
) -> Result<(), DirectoryError> {
    for taken in user.scopes.iter().filter(|scope| !scopes.contains(scope)) {
        sqlx::query("DELETE FROM user_scopes WHERE user_id = $1 AND scope = $2")
            .bind(&user.id)
            .bind(taken)
            .execute(writing.connection())
            .await?;
        note_taken(writing, &user.id, taken, by).await?;
    }
    for scope in scopes {
        insert_scope(writing.connection(), &user.id, scope, by).await?;
    }
    Ok(())
}

fn noted(mut note: Note, patch: &UserPatch) -> Note {
    if let Some(role) = &patch.role {
        note = note.with("role", role);
    }
    if let Some(scopes) = &patch.scopes {
        note = note.with("scopes", scopes.join(" "));
    }
    if let Some(active) = patch.active {
        note = note.with("active", active);
    }
    if let Some(agency) = &patch.agency_id {
        note = note.with("agency", agency.as_deref().unwrap_or("none"));
    }
    // What free attributes say is nobody's business in a record that cannot be erased.
    if patch.attributes.is_some() {
        note = note.with("attributes", "changed");
    }
    note
}
