//! Scopes that have a name for people (wire-contract 1.3, `/v1/scopes`). A scope can be granted without one.

use portcullis_policies::TenantId;
use serde::{Deserialize, Serialize};

use super::change::Note;
use super::row::Columns;
use super::scopes::check_scope;
use super::tenants::check_name;
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

macro_rules! with_columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, tenant_id, resource, action, name, display_name, description, source, source_id, ",
            "created_ms ",
            $after
        )
    };
}

/// A scope with its name for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScopeName {
    /// `imp_s_...`.
    pub id: String,
    /// The tenant that named it.
    pub tenant_id: TenantId,
    /// What it reaches.
    pub resource: String,
    /// What it lets be done.
    pub action: String,
    /// The scope as it is granted, `resource:action`.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// What it means.
    pub description: String,
    /// `tenant`, or what else brought it.
    pub source: String,
    /// Id of what brought it.
    pub source_id: Option<String>,
    /// Always false: none is made by the gateway itself.
    pub is_system: bool,
    /// Unix milliseconds.
    pub created_ms: i64,
}

/// A scope to be named.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewScope {
    /// What it reaches.
    pub resource: String,
    /// What it lets be done.
    pub action: String,
    /// `resource:action` when it is left out; nothing else is taken.
    pub name: Option<String>,
    /// Name for people; the scope itself when it is left out.
    pub display_name: Option<String>,
    /// What it means.
    #[serde(default)]
    pub description: String,
    /// `tenant` when it is left out.
    pub source: Option<String>,
    /// Id of what brought it.
    pub source_id: Option<String>,
    /// A hint; the scope belongs to the tenant of whoever makes it.
    pub tenant_id: Option<String>,
}

/// What to change of a named scope.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopePatch {
    /// Name for people.
    pub display_name: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

impl Directory {
    /// Names a scope in a tenant. `Conflict` when it has a name there.
    pub async fn create_scope(
        &self,
        tenant: &TenantId,
        new: NewScope,
        by: &Actor,
    ) -> Result<ScopeName, DirectoryError> {
        let scope = described(tenant, new)?;
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO scopes (id, tenant_id, resource, action, name, display_name, description, \
             source, source_id, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&scope.id)
        .bind(tenant.as_str())
        .bind(&scope.resource)
        .bind(&scope.action)
        .bind(&scope.name)
        .bind(&scope.display_name)
        .bind(&scope.description)
        .bind(&scope.source)
        .bind(scope.source_id.as_deref())
        .bind(scope.created_ms)
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "scope"))?;
        writing.finish(self, note("scope.create", &scope, by)).await?;
        Ok(scope)
    }

    /// Named scopes of a tenant, by name; only those of a resource or a source when one is given.
    pub async fn scope_names(
        &self,
        tenant: &TenantId,
        resource: &str,
        source: &str,
    ) -> Result<Vec<ScopeName>, DirectoryError> {
        let rows = sqlx::query(with_columns!(
            "SELECT",
            "FROM scopes WHERE tenant_id = $1 AND ($2 = '' OR resource = $2) \
             AND ($3 = '' OR source = $3) ORDER BY name"
        ))
        .bind(tenant.as_str())
        .bind(resource)
        .bind(source)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(Columns(row))).collect()
    }

    /// One named scope.
    pub async fn scope_name(&self, id: &str) -> Result<ScopeName, DirectoryError> {
        let row = sqlx::query(with_columns!("SELECT", "FROM scopes WHERE id = $1"))
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "named scope" })?;
        read(Columns(&row))
    }

    /// Changes what a scope is called.
    pub async fn update_scope(
        &self,
        id: &str,
        patch: ScopePatch,
        by: &Actor,
    ) -> Result<ScopeName, DirectoryError> {
        patch.display_name.as_deref().map_or(Ok(()), check_name)?;
        check_description(patch.description.as_deref().unwrap_or_default())?;
        let mut writing = self.write().await?;
        let row = sqlx::query(with_columns!(
            "UPDATE scopes SET display_name = COALESCE($1, display_name), \
             description = COALESCE($2, description) WHERE id = $3 RETURNING",
            ""
        ))
        .bind(patch.display_name)
        .bind(patch.description)
        .bind(id)
        .fetch_optional(writing.connection())
        .await?
        .ok_or(DirectoryError::NotFound { what: "named scope" })?;
        let scope = read(Columns(&row))?;
        writing.finish(self, note("scope.update", &scope, by)).await?;
        Ok(scope)
    }

    /// Forgets the name of a scope. `Conflict` while a role or a user of the tenant holds it.
    pub async fn delete_scope(&self, id: &str, by: &Actor) -> Result<(), DirectoryError> {
        let scope = self.scope_name(id).await?;
        if self.is_held(&scope).await? {
            let why = "a role or a user holds it; take it back first";
            return Err(DirectoryError::Conflict { what: "named scope", why });
        }
        let mut writing = self.write().await?;
        sqlx::query("DELETE FROM scopes WHERE id = $1")
            .bind(id)
            .execute(writing.connection())
            .await?;
        writing.finish(self, note("scope.delete", &scope, by)).await
    }

    async fn is_held(&self, scope: &ScopeName) -> Result<bool, DirectoryError> {
        let roles = self.roles(&scope.tenant_id).await?;
        if roles.iter().any(|role| role.default_scopes.contains(&scope.name)) {
            return Ok(true);
        }
        let users: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM user_scopes s JOIN users u ON u.id = s.user_id \
             WHERE u.tenant_id = $1 AND s.scope = $2",
        )
        .bind(scope.tenant_id.as_str())
        .bind(&scope.name)
        .fetch_one(self.pool())
        .await?;
        Ok(users > 0)
    }
}

fn described(tenant: &TenantId, new: NewScope) -> Result<ScopeName, DirectoryError> {
    let name = format!("{}:{}", new.resource, new.action);
    check_scope(&name)?;
    if new.name.is_some_and(|given| given != name) {
        let why = "it is `resource:action`; leave it out";
        return Err(DirectoryError::Invalid { what: "name", why });
    }
    let display_name = new.display_name.unwrap_or_else(|| name.clone());
    let source = new.source.unwrap_or_else(|| "tenant".to_owned());
    [&display_name, &source].into_iter().chain(&new.source_id).try_for_each(|t| check_name(t))?;
    check_description(&new.description)?;
    Ok(ScopeName {
        id: fresh_id("imp_s_"),
        tenant_id: tenant.clone(),
        resource: new.resource,
        action: new.action,
        name,
        display_name,
        description: new.description,
        source,
        source_id: new.source_id,
        is_system: false,
        created_ms: now_ms(),
    })
}

fn check_description(text: &str) -> Result<(), DirectoryError> {
    if text.chars().count() <= 2_000 {
        Ok(())
    } else {
        Err(DirectoryError::Invalid { what: "description", why: "2,000 characters at most" })
    }
}

fn note(action: &'static str, scope: &ScopeName, by: &Actor) -> Note {
    Note::new(by, action, &scope.tenant_id).on(&scope.id).with("name", &scope.name)
}

fn read(row: Columns<'_>) -> Result<ScopeName, DirectoryError> {
    Ok(ScopeName {
        id: row.text("id")?,
        tenant_id: row.parsed("tenant_id")?,
        resource: row.text("resource")?,
        action: row.text("action")?,
        name: row.text("name")?,
        display_name: row.text("display_name")?,
        description: row.text("description")?,
        source: row.text("source")?,
        source_id: row.optional_text("source_id")?,
        is_system: false,
        created_ms: row.int("created_ms")?,
    })
}
