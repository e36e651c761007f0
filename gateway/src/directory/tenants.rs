//! Tenants: the outermost border.

use portcullis_policies::TenantId;

use super::change::Note;
use super::roles::{ConfirmationPolicy, NewRole, RoleFacts, insert_role};
use super::row::{Columns, json_text};
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

/// What admins note of a tenant; rules do not see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantFacts {
    /// Ways to sign in, comma-separated.
    pub allowed_auth_methods: String,
    /// How much it is kept apart, in the words of whoever runs the deployment.
    pub isolation: String,
    /// Connections of one app to the tenant's own database.
    pub max_connections: u32,
    /// Free switches.
    pub features: serde_json::Map<String, serde_json::Value>,
    /// The tenant that it belongs to.
    pub parent_tenant_id: Option<String>,
}

impl Default for TenantFacts {
    /// The defaults of wire-contract 1.3.
    fn default() -> Self {
        Self {
            allowed_auth_methods: "email,api_key".to_owned(),
            isolation: "dedicated".to_owned(),
            max_connections: 10,
            features: serde_json::Map::new(),
            parent_tenant_id: None,
        }
    }
}

/// What to change of a tenant; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct TenantPatch {
    /// Name for people.
    pub name: Option<String>,
    /// Whether its users may act.
    pub active: Option<bool>,
    /// What admins note of it.
    pub facts: Option<TenantFacts>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tenant {
    /// `default` or `imp_t_...`.
    pub id: TenantId,
    /// Name for people.
    pub name: String,
    /// Whether its users may act.
    pub active: bool,
    /// What admins noted of it.
    #[serde(flatten)]
    pub facts: TenantFacts,
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
        self.create_tenant_with(id, name, TenantFacts::default(), by).await
    }

    /// As [`Directory::create_tenant`], with what is known of the tenant.
    pub async fn create_tenant_with(
        &self,
        id: &TenantId,
        name: &str,
        facts: TenantFacts,
        by: &Actor,
    ) -> Result<Tenant, DirectoryError> {
        check_name(name)?;
        let (id, name) = (id.clone(), name.to_owned());
        let tenant = Tenant { id, name, active: true, facts, created_ms: now_ms() };
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query(
            "INSERT INTO tenants (id, name, active, created_ms, version, facts) \
             VALUES ($1, $2, 1, $3, $4, $5)",
        )
        .bind(tenant.id.to_string())
        .bind(&tenant.name)
        .bind(tenant.created_ms)
        .bind(version)
        .bind(json_text("facts", &tenant.facts)?)
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
        let rows =
            sqlx::query("SELECT id, name, active, facts, created_ms FROM tenants ORDER BY id")
                .fetch_all(self.pool())
                .await?;
        rows.iter().map(|row| read_tenant(Columns(row))).collect()
    }

    /// One tenant.
    pub async fn tenant(&self, id: &TenantId) -> Result<Tenant, DirectoryError> {
        let row =
            sqlx::query("SELECT id, name, active, facts, created_ms FROM tenants WHERE id = $1")
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
        let patch = TenantPatch { active: Some(active), ..TenantPatch::default() };
        self.update_tenant(id, patch, by).await.map(|_| ())
    }

    /// Changes a tenant; in force with the next call.
    pub async fn update_tenant(
        &self,
        id: &TenantId,
        patch: TenantPatch,
        by: &Actor,
    ) -> Result<Tenant, DirectoryError> {
        patch.name.as_deref().map_or(Ok(()), check_name)?;
        let mut writing = self.write().await?;
        let version = writing.version;
        let row = sqlx::query(
            "UPDATE tenants SET name = COALESCE($1, name), active = COALESCE($2, active), \
             facts = COALESCE($3, facts), version = $4 WHERE id = $5 \
             RETURNING id, name, active, facts, created_ms",
        )
        .bind(patch.name)
        .bind(patch.active.map(i64::from))
        .bind(patch.facts.map(|facts| json_text("facts", &facts)).transpose()?)
        .bind(version)
        .bind(id.to_string())
        .fetch_optional(writing.connection())
        .await?
        .ok_or(DirectoryError::NotFound { what: "tenant" })?;
        let tenant = read_tenant(Columns(&row))?;
        let action = if patch.active.is_some() { "tenant.set_active" } else { "tenant.update" };
        let note = Note::new(by, action, id).on(id).with("active", tenant.active);
        writing.finish(self, note.with("name", &tenant.name)).await?;
        Ok(tenant)
    }
}

fn system_roles(tenant: &TenantId) -> [NewRole; 2] {
    let role = |name: &str, display: &str, scopes: &[&str]| NewRole {
        tenant: tenant.clone(),
        name: name.to_owned(),
        display_name: display.to_owned(),
        default_scopes: scopes.iter().map(|&s| s.to_owned()).collect(),
        confirmation_policy: ConfirmationPolicy::DefaultOff,
        facts: RoleFacts::default(),
    };
    [role("admin", "Administrator", &["*"]), role("user", "User", &[])]
}

fn read_tenant(row: Columns<'_>) -> Result<Tenant, DirectoryError> {
    Ok(Tenant {
        id: row.parsed("id")?,
        name: row.text("name")?,
        active: row.truth("active")?,
        facts: row.json("facts")?,
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
