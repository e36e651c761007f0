//! Agencies: a part of a tenant, with settings of its own (wire-contract 1.3).

use portcullis_policies::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::change::Note;
use super::row::{Columns, json_text};
use super::tenants::check_name;
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

/// Settings of an agency: free, but no place for credentials.
pub type AgencySettings = Map<String, Value>;

/// Longest JSON text of the settings, in bytes.
const MAX_SETTINGS: usize = 16 * 1024;
/// Parts of a key by which people name credentials.
const SECRET_LIKE: [&str; 6] = ["password", "passwd", "token", "api_key", "apikey", "secret"];

/// An agency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agency {
    /// `imp_a_...`.
    pub id: String,
    /// The tenant that it is a part of.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub name: String,
    /// Settings.
    pub settings: AgencySettings,
    /// Unix milliseconds.
    pub created_ms: i64,
}

impl Directory {
    /// Makes an agency. `Conflict` when the tenant has one of that name.
    pub async fn create_agency(
        &self,
        tenant: &TenantId,
        name: &str,
        settings: AgencySettings,
        by: &Actor,
    ) -> Result<Agency, DirectoryError> {
        check_name(name)?;
        check_settings(&settings)?;
        let agency = Agency {
            id: fresh_id("imp_a_"),
            tenant_id: tenant.clone(),
            name: name.to_owned(),
            settings,
            created_ms: now_ms(),
        };
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO agencies (id, tenant_id, name, settings, created_ms) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&agency.id)
        .bind(tenant.as_str())
        .bind(&agency.name)
        .bind(json_text("settings", &agency.settings)?)
        .bind(agency.created_ms)
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "agency"))?;
        let note = Note::new(by, "agency.create", tenant).on(&agency.id);
        writing.finish(self, note.with("name", &agency.name)).await?;
        Ok(agency)
    }

    /// Agencies of a tenant, by name.
    pub async fn agencies(&self, tenant: &TenantId) -> Result<Vec<Agency>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT id, tenant_id, name, settings, created_ms FROM agencies \
             WHERE tenant_id = $1 ORDER BY name",
        )
        .bind(tenant.as_str())
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(Columns(row))).collect()
    }

    /// One agency of a tenant.
    pub async fn agency(&self, tenant: &TenantId, id: &str) -> Result<Agency, DirectoryError> {
        let row = sqlx::query(
            "SELECT id, tenant_id, name, settings, created_ms FROM agencies \
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(self.pool())
        .await?
        .ok_or(DirectoryError::NotFound { what: "agency" })?;
        read(Columns(&row))
    }

    /// Replaces the settings of an agency.
    pub async fn set_agency_settings(
        &self,
        tenant: &TenantId,
        id: &str,
        settings: AgencySettings,
        by: &Actor,
    ) -> Result<Agency, DirectoryError> {
        check_settings(&settings)?;
        let mut writing = self.write().await?;
        let row = sqlx::query(
            "UPDATE agencies SET settings = $1 WHERE tenant_id = $2 AND id = $3 \
             RETURNING id, tenant_id, name, settings, created_ms",
        )
        .bind(json_text("settings", &settings)?)
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(writing.connection())
        .await?
        .ok_or(DirectoryError::NotFound { what: "agency" })?;
        let agency = read(Columns(&row))?;
        let keys: Vec<&str> = agency.settings.keys().map(String::as_str).collect();
        let note = Note::new(by, "agency.settings", tenant).on(id).with("keys", keys.join(" "));
        writing.finish(self, note).await?;
        Ok(agency)
    }
}

/// Settings are shown to everybody in the agency, so nothing may be in them that opens a door.
pub(crate) fn check_settings(settings: &AgencySettings) -> Result<(), DirectoryError> {
    let invalid = |why| Err(DirectoryError::Invalid { what: "settings", why });
    if json_text("settings", settings)?.len() > MAX_SETTINGS {
        return invalid("16 KiB of JSON at most");
    }
    if settings.iter().any(|(key, value)| names_a_credential(key) || holds_a_credential(value)) {
        return invalid("no passwords, tokens or keys: store those with `portcullis secret`");
    }
    let https = |url: &Value| url.as_str().is_some_and(|url| url.starts_with("https://"));
    if settings.get("logo_url").is_some_and(|url| !https(url)) {
        return invalid("`logo_url` begins with `https://`");
    }
    let years = |days: &Value| days.as_u64().is_some_and(|days| (1..=3650).contains(&days));
    if settings.get("retention_days").is_some_and(|days| !years(days)) {
        return invalid("`retention_days` is a number from 1 to 3650");
    }
    Ok(())
}

fn names_a_credential(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    SECRET_LIKE.iter().any(|part| key.contains(part))
}

fn holds_a_credential(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            map.iter().any(|(key, value)| names_a_credential(key) || holds_a_credential(value))
        }
        Value::Array(list) => list.iter().any(holds_a_credential),
        _ => false,
    }
}

fn read(row: Columns<'_>) -> Result<Agency, DirectoryError> {
    Ok(Agency {
        id: row.text("id")?,
        tenant_id: row.parsed("tenant_id")?,
        name: row.text("name")?,
        settings: row.json("settings")?,
        created_ms: row.int("created_ms")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_hold_no_credential_however_deep_and_no_logo_by_plain_http() {
        for bad in [
            json!({ "password": "x" }),
            json!({ "smtp": { "API-Key": "x" } }),
            json!({ "list": [{ "accessToken": "x" }] }),
            json!({ "logo_url": "http://example.org/l.png" }),
            json!({ "logo_url": 7 }),
            json!({ "retention_days": 0 }),
            json!({ "retention_days": 3651 }),
            json!({ "retention_days": "90" }),
        ] {
            assert!(check_settings(bad.as_object().unwrap()).is_err(), "{bad}");
        }
        let good = json!({ "logo_url": "https://example.org/l.png", "retention_days": 3650 });
        assert!(check_settings(good.as_object().unwrap()).is_ok());
    }
}
