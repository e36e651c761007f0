//! Tenants: the outermost border.

use portcullis_policies::TenantId;

use super::change::Note;
use super::roles::{ConfirmationPolicy, NewRole, insert_role};
use super::row::Columns;
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tenant {
    /// `default` or `imp_t_...`.
    pub id: TenantId,
    /// Name for people.
    pub name: String,
    /// Whether its users may act.
    pub active: bool,
    /// Unix milliseconds.
    pub created_ms: i64,
}

impl Directory {
    /// Makes a tenant with its two system roles: `admin` (scope `*`) and `user` (no scopes). `name` is
    /// for people, 1 to 200 characters. `Conflict` when the id is taken.
    pub async fn create_tenant(
        &self,
        id: &TenantId,
        name: &str,
        by: &Actor,
    ) -> Result<Tenant, DirectoryError> {
        check_name(name)?;
        let (id, name) = (id.clone(), name.to_owned());
        let tenant = Tenant { id, name, active: true, created_ms: now_ms() };
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query(
            "INSERT INTO tenants (id, name, active, created_ms, version) VALUES ($1, $2, 1, $3, $4)",
        )
        .bind(tenant.id.to_string())
        .bind(&tenant.name)
        .bind(tenant.created_ms)
        .bind(version)
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "tenant"))?;
        for role in system_roles(&tenant.id) {
            insert_role(writing.connection(), role, true, version).await?;
        }
        let note = Note::new(by, "tenant.create", &tenant.id).on(&tenant.id);
        writing.finish(self, note.with("name", &tenant.name)).await?;
        Ok(tenant)
    }

    /// All tenants, by id.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, DirectoryError> {
        let rows = sqlx::query("SELECT id, name, active, created_ms FROM tenants ORDER BY id")
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| read_tenant(Columns(row))).collect()
    }

    /// One tenant.
    pub async fn tenant(&self, id: &TenantId) -> Result<Tenant, DirectoryError> {
        let row = sqlx::query("SELECT id, name, active, created_ms FROM tenants WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "tenant" })?;
        read_tenant(Columns(&row))
    }

    /// Switches a tenant on or off; off refuses all its users and keys from the next call on.
    pub async fn set_tenant_active(
        &self,
        id: &TenantId,
        active: bool,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let mut writing = self.write().await?;
        let version = writing.version;
        let done = sqlx::query("UPDATE tenants SET active = $1, version = $2 WHERE id = $3")
            .bind(i64::from(active))
            .bind(version)
            .bind(id.to_string())
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "tenant" });
        }
        let note = Note::new(by, "tenant.set_active", id).on(id).with("active", active);
        writing.finish(self, note).await
    }
}

fn system_roles(tenant: &TenantId) -> [NewRole; 2] {
    let role = |name: &str, display: &str, scopes: &[&str]| NewRole {
        tenant: tenant.clone(),
        name: name.to_owned(),
        display_name: display.to_owned(),
        default_scopes: scopes.iter().map(|&s| s.to_owned()).collect(),
        confirmation_policy: ConfirmationPolicy::DefaultOff,
    };
    [role("admin", "Administrator", &["*"]), role("user", "User", &[])]
}

fn read_tenant(row: Columns<'_>) -> Result<Tenant, DirectoryError> {
    Ok(Tenant {
        id: row.parsed("id")?,
        name: row.text("name")?,
        active: row.truth("active")?,
        created_ms: row.int("created_ms")?,
    })
}

/// An id for a tenant to come: `imp_t_...`.
pub fn fresh_tenant_id() -> Result<TenantId, DirectoryError> {
    fresh_id("imp_t_").parse().map_err(|_| DirectoryError::Invalid {
        what: "tenant id",
        why: "it must be `default` or `imp_t_` and letters, digits or `_`",
    })
}

/// Names for people are shown in tables and records, so they stay short and on one line.
pub(crate) fn check_name(name: &str) -> Result<(), DirectoryError> {
    let fits = (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(DirectoryError::Invalid { what: "name", why: "1 to 200 characters on one line" })
    }
}
