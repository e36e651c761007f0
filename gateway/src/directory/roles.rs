//! Roles: a named set of scopes inside one tenant.

use std::fmt;
use std::str::FromStr;

use portcullis_policies::TenantId;
use sqlx::AnyConnection;

use super::change::{Note, Writing};
use super::row::{Columns, json_text};
use super::scopes::check_scopes;
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

macro_rules! with_columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, tenant_id, name, display_name, default_scopes, confirmation_policy, is_system, ",
            "facts, created_ms ",
            $after
        )
    };
}

/// Whether the writes of a role's users ask first (wire-contract 1.3, `confirmation_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmationPolicy {
    /// Off until the user switches it on.
    DefaultOff,
    /// On until the user switches it off.
    DefaultOn,
    /// On, whatever the user says.
    AlwaysOn,
}

/// What a role says beside its scopes; clients and workers read it, rules do not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleFacts {
    /// Free attributes that a new user of the role begins with.
    pub default_attributes: serde_json::Map<String, serde_json::Value>,
    /// Apps that clients offer a new user of the role first.
    pub default_extensions: Vec<String>,
    /// Background tasks of one user at a time.
    pub max_concurrent_tasks: u32,
    /// Actions of one user a month.
    pub monthly_action_limit: u32,
    /// Turns of a conversation that a model is shown.
    pub context_window: u32,
}

impl Default for RoleFacts {
    /// The defaults of wire-contract 1.3.
    fn default() -> Self {
        Self {
            default_attributes: serde_json::Map::new(),
            default_extensions: Vec::new(),
            max_concurrent_tasks: 3,
            monthly_action_limit: 500,
            context_window: 20,
        }
    }
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Role {
    /// `imp_r_...`.
    pub id: String,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Unique inside the tenant.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// Scopes of everyone in the role, wildcards as granted.
    pub default_scopes: Vec<String>,
    /// Whether writes ask first.
    pub confirmation_policy: ConfirmationPolicy,
    /// What it says beside its scopes.
    #[serde(flatten)]
    pub facts: RoleFacts,
    /// Made with the tenant; its name stays.
    pub is_system: bool,
    /// Unix milliseconds.
    pub created_ms: i64,
}

/// A role to be made.
#[derive(Debug, Clone)]
pub struct NewRole {
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// 1 to 64 characters of `[a-z0-9_-]`.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// Scopes of everyone in the role.
    pub default_scopes: Vec<String>,
    /// Whether writes ask first.
    pub confirmation_policy: ConfirmationPolicy,
    /// What it says beside its scopes.
    pub facts: RoleFacts,
}

/// What to change of a role; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct RolePatch {
    /// Name for people.
    pub display_name: Option<String>,
    /// Scopes of everyone in the role.
    pub default_scopes: Option<Vec<String>>,
    /// Whether writes ask first.
    pub confirmation_policy: Option<ConfirmationPolicy>,
    /// What it says beside its scopes.
    pub facts: Option<RoleFacts>,
}

/// Whom a change of a role's scopes reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cascade {
    /// Everybody who holds the role, from the next call on.
    Holders,
    /// Those who get the role later; who holds it keeps the scopes of before.
    NewHolders,
}

impl Directory {
    /// Makes a role.
    pub async fn create_role(&self, new: NewRole, by: &Actor) -> Result<Role, DirectoryError> {
        check_role_name(&new.name)?;
        check_scopes(&new.default_scopes)?;
        self.tenant(&new.tenant).await?;
        let mut writing = self.write().await?;
        let version = writing.version;
        let role = insert_role(writing.connection(), new, false, version).await?;
        writing.finish(self, note_of("role.create", &role, by)).await?;
        Ok(role)
    }

    /// All roles of a tenant, by name.
    pub async fn roles(&self, tenant: &TenantId) -> Result<Vec<Role>, DirectoryError> {
        let sql = with_columns!("SELECT", "FROM roles WHERE tenant_id = $1 ORDER BY name");
        let rows = sqlx::query(sql).bind(tenant.to_string()).fetch_all(self.pool()).await?;
        rows.iter().map(|row| read_role(Columns(row))).collect()
    }

    /// One role by its name inside a tenant.
    pub async fn role(&self, tenant: &TenantId, name: &str) -> Result<Role, DirectoryError> {
        let sql = with_columns!("SELECT", "FROM roles WHERE tenant_id = $1 AND name = $2");
        let row = sqlx::query(sql)
            .bind(tenant.to_string())
            .bind(name)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "role" })?;
        read_role(Columns(&row))
    }

    /// One role by its id.
    pub async fn role_by_id(&self, id: &str) -> Result<Role, DirectoryError> {
        let row = sqlx::query(with_columns!("SELECT", "FROM roles WHERE id = $1"))
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "role" })?;
        read_role(Columns(&row))
    }

    /// Changes a role; who it reaches, `cascade` says.
    pub async fn update_role(
        &self,
        id: &str,
        patch: RolePatch,
        cascade: Cascade,
        by: &Actor,
    ) -> Result<Role, DirectoryError> {
        let scopes = patch.default_scopes.as_deref();
        check_scopes(scopes.unwrap_or_default())?;
        let mut writing = self.write().await?;
        if scopes.is_some() {
            pin_scopes(&mut writing, id, cascade).await?;
        }
        let version = writing.version;
        let row = sqlx::query(with_columns!(
            "UPDATE roles SET display_name = COALESCE($1, display_name), \
             default_scopes = COALESCE($2, default_scopes), \
             confirmation_policy = COALESCE($3, confirmation_policy), \
             facts = COALESCE($4, facts), version = $5 WHERE id = $6 RETURNING",
            ""
        ))
        .bind(patch.display_name)
        .bind(scopes.map(|s| json_text("scopes", s)).transpose()?)
        .bind(patch.confirmation_policy.map(|p| p.to_string()))
        .bind(patch.facts.map(|f| json_text("facts", &f)).transpose()?)
        .bind(version)
        .bind(id)
        .fetch_optional(writing.connection())
        .await?
        .ok_or(DirectoryError::NotFound { what: "role" })?;
        let role = read_role(Columns(&row))?;
        let note = note_of("role.update", &role, by).with("cascade", cascade);
        writing.finish(self, note).await?;
        Ok(role)
    }

    /// Deletes a role that nobody holds. `Conflict` for one that a tenant was made with or that is held.
    pub async fn delete_role(&self, id: &str, by: &Actor) -> Result<(), DirectoryError> {
        let role = self.role_by_id(id).await?;
        let conflict = |why| DirectoryError::Conflict { what: "role", why };
        if role.is_system {
            return Err(conflict("it belongs to the tenant itself"));
        }
        let mut writing = self.write().await?;
        let holders: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users WHERE role_id = $1")
            .bind(id)
            .fetch_one(writing.connection())
            .await?;
        if holders > 0 {
            return Err(conflict("somebody holds it; give them another role first"));
        }
        let done = sqlx::query("DELETE FROM roles WHERE id = $1")
            .bind(id)
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "role" });
        }
        writing.finish(self, note_of("role.delete", &role, by)).await
    }
}

/// Who holds the role keeps its scopes of now, or loses what was kept so far.
async fn pin_scopes(
    writing: &mut Writing,
    role: &str,
    cascade: Cascade,
) -> Result<(), DirectoryError> {
    let sql = match cascade {
        Cascade::Holders => {
            "UPDATE users SET pinned_scopes = NULL, version = $2 \
             WHERE role_id = $1 AND pinned_scopes IS NOT NULL"
        }
        Cascade::NewHolders => {
            "UPDATE users SET version = $2, \
             pinned_scopes = (SELECT default_scopes FROM roles WHERE roles.id = users.role_id) \
             WHERE role_id = $1 AND pinned_scopes IS NULL"
        }
    };
    let version = writing.version;
    sqlx::query(sql).bind(role).bind(version).execute(writing.connection()).await?;
    Ok(())
}

impl fmt::Display for Cascade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holders => "holders",
            Self::NewHolders => "new_holders",
        })
    }
}

pub(crate) async fn insert_role(
    connection: &mut AnyConnection,
    new: NewRole,
    is_system: bool,
    version: i64,
) -> Result<Role, DirectoryError> {
    let role = Role {
        id: fresh_id("imp_r_"),
        tenant: new.tenant,
        name: new.name,
        display_name: new.display_name,
        default_scopes: new.default_scopes,
        confirmation_policy: new.confirmation_policy,
        facts: new.facts,
        is_system,
        created_ms: now_ms(),
    };
    sqlx::query(
        "INSERT INTO roles (id, tenant_id, name, display_name, default_scopes, \
         confirmation_policy, is_system, created_ms, version, facts) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&role.id)
    .bind(role.tenant.to_string())
    .bind(&role.name)
    .bind(&role.display_name)
    .bind(json_text("scopes", &role.default_scopes)?)
    .bind(role.confirmation_policy.to_string())
    .bind(i64::from(is_system))
    .bind(role.created_ms)
    .bind(version)
    .bind(json_text("facts", &role.facts)?)
    .execute(connection)
    .await
    .map_err(|e| DirectoryError::of_insert(e, "role"))?;
    Ok(role)
}

fn note_of(action: &'static str, role: &Role, by: &Actor) -> Note {
    Note::new(by, action, &role.tenant)
        .on(&role.id)
        .with("name", &role.name)
        .with("default_scopes", role.default_scopes.join(" "))
        .with("confirmation_policy", role.confirmation_policy)
}

fn read_role(row: Columns<'_>) -> Result<Role, DirectoryError> {
    Ok(Role {
        id: row.text("id")?,
        tenant: row.parsed("tenant_id")?,
        name: row.text("name")?,
        display_name: row.text("display_name")?,
        default_scopes: row.json("default_scopes")?,
        confirmation_policy: row.parsed("confirmation_policy")?,
        facts: row.json("facts")?,
        is_system: row.truth("is_system")?,
        created_ms: row.int("created_ms")?,
    })
}

fn check_role_name(name: &str) -> Result<(), DirectoryError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        Ok(())
    } else {
        Err(DirectoryError::Invalid {
            what: "role name",
            why: "1 to 64 lowercase letters, digits, `_` or `-`",
        })
    }
}

impl fmt::Display for ConfirmationPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DefaultOff => "default_off",
            Self::DefaultOn => "default_on",
            Self::AlwaysOn => "always_on",
        })
    }
}

impl FromStr for ConfirmationPolicy {
    type Err = DirectoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::DefaultOff, Self::DefaultOn, Self::AlwaysOn]
            .into_iter()
            .find(|policy| policy.to_string() == text)
            .ok_or(DirectoryError::Invalid {
                what: "confirmation policy",
                why: "`default_off`, `default_on` or `always_on`",
            })
    }
}
