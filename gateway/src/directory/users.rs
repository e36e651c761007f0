//! Users: people, and what they were granted beside their role.

use portcullis_policies::TenantId;

use super::change::{Note, Writing};
use super::row::{Columns, json_text};
use super::scopes::{check_scope, check_scopes};
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

macro_rules! select_users {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.tenant_id, u.email, r.name AS role, u.attributes, u.active, ",
            "u.created_ms, u.last_login_ms, u.agency_id, u.nickname, u.cases_user_id, ",
            "u.removed_ms FROM users u ",
            "JOIN roles r ON r.id = u.role_id ",
            $rest
        )
    };
}

/// Longest JSON text of a user's attributes, in bytes.
const MAX_ATTRIBUTES: usize = 16 * 1024;

/// Most rows that one list answers.
const MAX_LIST: u32 = 200;

/// A user. The password hash is not part of it: see [`Directory::password_of`].
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct User {
    /// `imp_u_...`.
    pub id: String,
    /// The tenant that the user belongs to.
    pub tenant: TenantId,
    /// Lowercase; unique inside the tenant.
    pub email: String,
    /// Name of the role.
    pub role: String,
    /// Scopes beside those of the role.
    pub scopes: Vec<String>,
    /// Free attributes; rules do not see them.
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// Whether the user may act.
    pub active: bool,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds of the last sign-in.
    pub last_login_ms: Option<i64>,
    /// The agency inside the tenant, if any.
    pub agency_id: Option<String>,
    /// What the person wants to be called.
    pub nickname: Option<String>,
    /// The person's number in a system of cases.
    pub cases_user_id: Option<i64>,
    /// Unix milliseconds when the user was removed for good; only the id is left then.
    pub removed_ms: Option<i64>,
}

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// An existing tenant.
    pub tenant: TenantId,
    /// Kept in lowercase.
    pub email: String,
    /// Name of an existing role of the tenant.
    pub role: String,
    /// Scopes beside those of the role.
    pub scopes: Vec<String>,
    /// argon2id string, or none for a user who cannot sign in by password.
    pub password_hash: Option<String>,
    /// Free attributes; those that the role gives when there are none.
    pub attributes: Option<serde_json::Map<String, serde_json::Value>>,
    /// An agency of the tenant.
    pub agency_id: Option<String>,
}

/// Which users to list.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Only those of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those whose email contains this, in any case.
    pub search: String,
    /// Only those of this role.
    pub role: String,
    /// Deactivated ones too.
    pub include_inactive: bool,
    /// Deactivated ones and nobody else.
    pub only_inactive: bool,
    /// Those too who were removed for good, of whom only the id is left.
    pub include_removed: bool,
    /// At most so many, 200 at most; 0 is 50.
    pub limit: u32,
    /// Skip so many.
    pub offset: u32,
}

impl Directory {
    /// Makes a user; the email must be new in the tenant.
    pub async fn create_user(&self, new: NewUser, by: &Actor) -> Result<User, DirectoryError> {
        let (writing, note, id) = self.begin_user(new, by).await?;
        writing.finish(self, note).await?;
        self.user(&id).await
    }

    /// Makes a user in a change that the caller finishes.
    pub(crate) async fn begin_user(
        &self,
        new: NewUser,
        by: &Actor,
    ) -> Result<(Writing, Note, String), DirectoryError> {
        let email = normal_email(&new.email)?;
        check_scopes(&new.scopes)?;
        self.tenant(&new.tenant).await?;
        let role = self.role(&new.tenant, &new.role).await?;
        if let Some(agency) = &new.agency_id {
            self.agency(&new.tenant, agency).await?;
        }
        let attributes = new.attributes.unwrap_or(role.facts.default_attributes);
        let attributes = attributes_text(&attributes)?;
        let id = fresh_id("imp_u_");
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query(
            "INSERT INTO users (id, tenant_id, email, password_hash, role_id, attributes, active, \
             created_ms, version, agency_id) VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $9)",
        )
        .bind(&id)
        .bind(new.tenant.to_string())
        .bind(&email)
        .bind(new.password_hash)
        .bind(role.id)
        .bind(attributes)
        .bind(now_ms())
        .bind(version)
        .bind(new.agency_id)
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "user"))?;
        for scope in &new.scopes {
            insert_scope(writing.connection(), &id, scope, by).await?;
        }
        let note = Note::new(by, "user.create", &new.tenant)
            .on(&id)
            .with("role", &new.role)
            .with("scopes", new.scopes.join(" "));
        Ok((writing, note, id))
    }

    /// One user by id, deactivated or not.
    pub async fn user(&self, id: &str) -> Result<User, DirectoryError> {
        let row = sqlx::query(select_users!("WHERE u.id = $1"))
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "user" })?;
        self.read_user(Columns(&row)).await
    }

    /// One user by id who was not removed for good: nothing changes those.
    pub async fn present_user(&self, id: &str) -> Result<User, DirectoryError> {
        let user = self.user(id).await?;
        match user.removed_ms {
            None => Ok(user),
            Some(_) => Err(DirectoryError::NotFound { what: "user" }),
        }
    }

    /// One user by email inside a tenant, deactivated or not.
    pub async fn user_by_email(
        &self,
        tenant: &TenantId,
        email: &str,
    ) -> Result<User, DirectoryError> {
        let row = sqlx::query(select_users!("WHERE u.tenant_id = $1 AND u.email = $2"))
            .bind(tenant.to_string())
            .bind(normal_email(email)?)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "user" })?;
        self.read_user(Columns(&row)).await
    }

    /// Users by tenant and email.
    pub async fn users(&self, filter: &UserFilter) -> Result<Vec<User>, DirectoryError> {
        let limit = if filter.limit == 0 { 50 } else { filter.limit.min(MAX_LIST) };
        let rows = sqlx::query(select_users!(
            "WHERE (u.removed_ms IS NULL OR $7 = 1) AND ($1 = '' OR u.tenant_id = $1) \
             AND (u.active = 1 OR $2 = 1) AND (u.active = 0 OR $8 = 0) AND ($3 = '' OR r.name = $3) \
             AND ($4 = '' OR u.email LIKE $4 ESCAPE '!') \
             ORDER BY u.tenant_id, u.email LIMIT $5 OFFSET $6"
        ))
        .bind(filter.tenant.as_ref().map(ToString::to_string).unwrap_or_default())
        .bind(i64::from(filter.include_inactive || filter.only_inactive))
        .bind(&filter.role)
        .bind(containing(&filter.search))
        .bind(i64::from(limit))
        .bind(i64::from(filter.offset))
        .bind(i64::from(filter.include_removed))
        .bind(i64::from(filter.only_inactive))
        .fetch_all(self.pool())
        .await?;
        let mut users = Vec::with_capacity(rows.len());
        for row in &rows {
            users.push(self.read_user(Columns(row)).await?);
        }
        Ok(users)
    }

    /// The argon2id string of a user, for the one who checks passwords.
    pub async fn password_of(&self, id: &str) -> Result<Option<String>, DirectoryError> {
        let row = sqlx::query("SELECT password_hash FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "user" })?;
        Columns(&row).optional_text("password_hash")
    }

    /// Switches a user on or off; off refuses tokens and keys of the user from the next call on.
    pub async fn set_user_active(
        &self,
        id: &str,
        active: bool,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.set_active", id).await?.with("active", active);
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query("UPDATE users SET active = $1, version = $2 WHERE id = $3")
            .bind(i64::from(active))
            .bind(version)
            .bind(id)
            .execute(writing.connection())
            .await?;
        if !active {
            super::credentials::deny_devices(&mut writing, id).await?;
        }
        writing.finish(self, note).await
    }

    /// Gives a user another role of the same tenant.
    pub async fn set_user_role(
        &self,
        id: &str,
        role: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let user = self.present_user(id).await?;
        let role = self.role(&user.tenant, role).await?;
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query(
            "UPDATE users SET role_id = $1, pinned_scopes = NULL, version = $2 WHERE id = $3",
        )
        .bind(role.id)
        .bind(version)
        .bind(id)
        .execute(writing.connection())
        .await?;
        let note = Note::new(by, "user.set_role", &user.tenant).on(id).with("role", role.name);
        writing.finish(self, note).await
    }

    /// Stores the same password under today's parameters; whoever is signed in stays so.
    pub async fn renew_password_hash(
        &self,
        id: &str,
        hash: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.renew_password_hash", id).await?;
        let mut writing = self.write().await?;
        sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2")
            .bind(hash)
            .bind(id)
            .execute(writing.connection())
            .await?;
        writing.finish(self, note).await
    }

    /// Stores a new argon2id string for a user.
    pub async fn set_password_hash(
        &self,
        id: &str,
        hash: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.set_password", id).await?;
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query("UPDATE users SET password_hash = $1, version = $2 WHERE id = $3")
            .bind(hash)
            .bind(version)
            .bind(id)
            .execute(writing.connection())
            .await?;
        // Who knew the old password may hold a session; a new password ends them all.
        super::refresh::end_sessions(writing.connection(), id).await?;
        super::oauth_grants::end_all(&mut writing, id).await?;
        super::credentials::renew(&mut writing, id).await?;
        writing.finish(self, note).await
    }

    /// Grants a user one scope beside those of the role; granting it twice is no fault.
    pub async fn grant_scope(
        &self,
        id: &str,
        scope: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        check_scope(scope)?;
        let note = self.note_on_user(by, "user.grant_scope", id).await?.with("scope", scope);
        let mut writing = self.write().await?;
        insert_scope(writing.connection(), id, scope, by).await?;
        touch_user(&mut writing, id).await?;
        writing.finish(self, note).await
    }

    /// Takes a scope back that was granted to the user (those of the role stay).
    pub async fn revoke_scope(
        &self,
        id: &str,
        scope: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let note = self.note_on_user(by, "user.revoke_scope", id).await?.with("scope", scope);
        let mut writing = self.write().await?;
        let done = sqlx::query("DELETE FROM user_scopes WHERE user_id = $1 AND scope = $2")
            .bind(id)
            .bind(scope)
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "scope" });
        }
        note_taken(&mut writing, id, scope, by).await?;
        touch_user(&mut writing, id).await?;
        writing.finish(self, note).await
    }

    /// Notes a sign-in; not a change, since the ledger has its own record of it.
    pub async fn note_login(&self, id: &str) -> Result<(), DirectoryError> {
        sqlx::query("UPDATE users SET last_login_ms = $1 WHERE id = $2")
            .bind(now_ms())
            .bind(id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    pub(crate) async fn scopes_of(&self, id: &str) -> Result<Vec<String>, DirectoryError> {
        let rows = sqlx::query("SELECT scope FROM user_scopes WHERE user_id = $1 ORDER BY scope")
            .bind(id)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Columns(row).text("scope")).collect()
    }

    pub(crate) async fn note_on_user(
        &self,
        by: &Actor,
        action: &'static str,
        id: &str,
    ) -> Result<Note, DirectoryError> {
        let user = self.present_user(id).await?;
        Ok(Note::new(by, action, user.tenant).on(id))
    }

    async fn read_user(&self, row: Columns<'_>) -> Result<User, DirectoryError> {
        let id = row.text("id")?;
        Ok(User {
            scopes: self.scopes_of(&id).await?,
            id,
            tenant: row.parsed("tenant_id")?,
            email: row.text("email")?,
            role: row.text("role")?,
            attributes: row.json("attributes")?,
            active: row.truth("active")?,
            created_ms: row.int("created_ms")?,
            last_login_ms: row.optional_int("last_login_ms")?,
            agency_id: row.optional_text("agency_id")?,
            nickname: row.optional_text("nickname")?,
            cases_user_id: row.optional_int("cases_user_id")?,
            removed_ms: row.optional_int("removed_ms")?,
        })
    }
}

/// Marks a user's rows as changed by the change that is being made.
pub(crate) async fn touch_user(
    writing: &mut super::change::Writing,
    id: &str,
) -> Result<(), DirectoryError> {
    let version = writing.version;
    sqlx::query("UPDATE users SET version = $1 WHERE id = $2")
        .bind(version)
        .bind(id)
        .execute(writing.connection())
        .await?;
    Ok(())
}

/// Remembers that a scope was taken back.
pub(crate) async fn note_taken(
    writing: &mut super::change::Writing,
    user: &str,
    scope: &str,
    by: &Actor,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO taken_scopes (user_id, scope, taken_ms, taken_by) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (user_id, scope) DO UPDATE SET taken_ms = excluded.taken_ms, \
         taken_by = excluded.taken_by",
    )
    .bind(user)
    .bind(scope)
    .bind(now_ms())
    .bind(by.to_string())
    .execute(writing.connection())
    .await?;
    Ok(())
}

pub(crate) async fn insert_scope(
    connection: &mut sqlx::AnyConnection,
    user: &str,
    scope: &str,
    by: &Actor,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO user_scopes (user_id, scope, granted_ms, granted_by) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(user)
    .bind(scope)
    .bind(now_ms())
    .bind(by.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Attributes as they are kept: 16 KiB of JSON at most.
pub(crate) fn attributes_text(
    attributes: &serde_json::Map<String, serde_json::Value>,
) -> Result<String, DirectoryError> {
    let text = json_text("attributes", attributes)?;
    if text.len() <= MAX_ATTRIBUTES {
        Ok(text)
    } else {
        Err(DirectoryError::Invalid { what: "attributes", why: "16 KiB of JSON at most" })
    }
}

/// The `LIKE` pattern of a text anywhere; its own wildcards are ordinary characters. Emails are lowercase.
fn containing(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut pattern = "%".to_owned();
    for c in text.to_lowercase().chars() {
        if "%_!".contains(c) {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern + "%"
}

/// Lowercase and trimmed; one `@` between two parts, no blanks or control characters, 254 bytes.
pub(crate) fn normal_email(email: &str) -> Result<String, DirectoryError> {
    let email = email.trim().to_lowercase();
    let parts = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    let clean = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if parts && clean && email.len() <= 254 {
        Ok(email)
    } else {
        Err(DirectoryError::Invalid { what: "email", why: "a form like `name@example.org`" })
    }
}
