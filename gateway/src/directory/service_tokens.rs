//! Service tokens: what an app's service presents, bound to app, tenant, user or purpose, and a day when it
//! ends (wire-contract 0.14). Only digests are kept.

use std::fmt;
use std::str::FromStr;

use portcullis_policies::{AppId, TenantId};
use serde::{Deserialize, Serialize};

use super::change::Note;
use super::row::{Columns, json_text};
use super::scopes::check_scopes;
use super::{Actor, Directory, DirectoryError, fresh_id, now_ms};

macro_rules! with_columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, app, tenant_id, user_id, purpose, scopes, created_ms, created_by, expires_ms, ",
            "revoked_ms, version ",
            $after
        )
    };
}

/// Longest life of a service token, in milliseconds: a year.
const MAX_LIFE_MS: i64 = 366 * 86_400_000;

/// For whom a service token speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServicePurpose {
    /// For one user, whom it names.
    User,
    /// For the platform: the acting user of a request is free inside the tenant.
    System,
    /// For whoever knocks at a webhook of the app: as `System`.
    Webhook,
}

/// A service token as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceToken {
    /// `imp_st_...`.
    pub id: String,
    /// The app whose service presents it.
    pub app: AppId,
    /// The tenant that it reaches.
    pub tenant_id: TenantId,
    /// The user for whom it speaks; none for the platform.
    pub user_id: Option<String>,
    /// For whom it speaks.
    pub purpose: ServicePurpose,
    /// What it may do; for one user never more than that user.
    pub scopes: Vec<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Who made it, as records name them.
    pub created_by: String,
    /// Unix milliseconds; dead from then on.
    pub expires_ms: i64,
    /// Unix milliseconds; none while it works.
    pub revoked_ms: Option<i64>,
    #[serde(skip)]
    pub(crate) version: u64,
}

/// A service token to be kept.
#[derive(Debug, Clone)]
pub struct NewServiceToken {
    /// SHA-256 of the whole token.
    pub sha256: [u8; 32],
    /// The app whose service presents it.
    pub app: AppId,
    /// The tenant that it reaches.
    pub tenant: TenantId,
    /// The user for whom it speaks; wanted for, and only for, [`ServicePurpose::User`].
    pub user_id: Option<String>,
    /// For whom it speaks.
    pub purpose: ServicePurpose,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Unix milliseconds; at most a year from now.
    pub expires_ms: i64,
}

impl Directory {
    /// Keeps a new service token.
    pub async fn create_service_token(
        &self,
        new: NewServiceToken,
        by: &Actor,
    ) -> Result<ServiceToken, DirectoryError> {
        self.check(&new).await?;
        let id = fresh_id("imp_st_");
        let mut writing = self.write().await?;
        let version = writing.version;
        sqlx::query(
            "INSERT INTO service_tokens (id, sha256, app, tenant_id, user_id, purpose, scopes, \
             created_ms, created_by, expires_ms, version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&id)
        .bind(hex::encode(new.sha256))
        .bind(new.app.as_str())
        .bind(new.tenant.as_str())
        .bind(new.user_id.as_deref())
        .bind(new.purpose.to_string())
        .bind(json_text("scopes", &new.scopes)?)
        .bind(now_ms())
        .bind(by.to_string())
        .bind(new.expires_ms)
        .bind(version)
        .execute(writing.connection())
        .await
        .map_err(|e| DirectoryError::of_insert(e, "service token"))?;
        let note = Note::new(by, "service_token.create", &new.tenant)
            .on(&id)
            .with("app", &new.app)
            .with("purpose", new.purpose)
            .with("user", new.user_id.as_deref().unwrap_or("none"))
            .with("scopes", new.scopes.join(" "))
            .with("expires_ms", new.expires_ms);
        writing.finish(self, note).await?;
        self.service_token_by_digest(&new.sha256).await
    }

    /// Service tokens of a tenant that still work, newest first.
    pub async fn service_tokens(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<ServiceToken>, DirectoryError> {
        let rows = sqlx::query(with_columns!(
            "SELECT",
            "FROM service_tokens WHERE tenant_id = $1 AND revoked_ms IS NULL AND expires_ms > $2 \
             ORDER BY created_ms DESC, id"
        ))
        .bind(tenant.as_str())
        .bind(now_ms())
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(Columns(row))).collect()
    }

    /// One service token of a tenant.
    pub async fn service_token(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<ServiceToken, DirectoryError> {
        let row = sqlx::query(with_columns!(
            "SELECT",
            "FROM service_tokens WHERE tenant_id = $1 AND id = $2"
        ))
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(self.pool())
        .await?
        .ok_or(DirectoryError::NotFound { what: "service token" })?;
        read(Columns(&row))
    }

    /// Id and owner of every service token that ever spoke for one user of a tenant, revoked ones too: records
    /// name them by pseudonym.
    pub async fn service_token_owners(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(String, String)>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT id, user_id FROM service_tokens \
             WHERE tenant_id = $1 AND user_id IS NOT NULL ORDER BY id",
        )
        .bind(tenant.as_str())
        .fetch_all(self.pool())
        .await?;
        rows.iter()
            .map(|row| Ok((Columns(row).text("id")?, Columns(row).text("user_id")?)))
            .collect()
    }

    /// Revokes a service token for good; the next call with it is refused.
    pub async fn revoke_service_token(
        &self,
        tenant: &TenantId,
        id: &str,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let mut writing = self.write().await?;
        let version = writing.version;
        let done = sqlx::query(
            "UPDATE service_tokens SET revoked_ms = $1, version = $2 \
             WHERE tenant_id = $3 AND id = $4 AND revoked_ms IS NULL",
        )
        .bind(now_ms())
        .bind(version)
        .bind(tenant.as_str())
        .bind(id)
        .execute(writing.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(DirectoryError::NotFound { what: "service token" });
        }
        writing.finish(self, Note::new(by, "service_token.revoke", tenant).on(id)).await
    }

    pub(crate) async fn service_token_by_digest(
        &self,
        sha256: &[u8; 32],
    ) -> Result<ServiceToken, DirectoryError> {
        let row = sqlx::query(with_columns!("SELECT", "FROM service_tokens WHERE sha256 = $1"))
            .bind(hex::encode(sha256))
            .fetch_optional(self.pool())
            .await?
            .ok_or(DirectoryError::NotFound { what: "service token" })?;
        read(Columns(&row))
    }

    async fn check(&self, new: &NewServiceToken) -> Result<(), DirectoryError> {
        check_scopes(&new.scopes)?;
        let invalid = |what, why| Err(DirectoryError::Invalid { what, why });
        if !(1..=MAX_LIFE_MS).contains(&new.expires_ms.saturating_sub(now_ms())) {
            return invalid("lifetime", "from now to a year from now");
        }
        match (&new.user_id, new.purpose) {
            (Some(user), ServicePurpose::User) => {
                if self.present_user(user).await?.tenant != new.tenant {
                    return Err(DirectoryError::NotFound { what: "user" });
                }
                Ok(())
            }
            (None, ServicePurpose::System | ServicePurpose::Webhook) => {
                self.tenant(&new.tenant).await.map(|_| ())
            }
            _ => invalid("purpose", "`user` names a user; `system` and `webhook` name none"),
        }
    }
}

fn read(row: Columns<'_>) -> Result<ServiceToken, DirectoryError> {
    Ok(ServiceToken {
        id: row.text("id")?,
        app: row.parsed("app")?,
        tenant_id: row.parsed("tenant_id")?,
        user_id: row.optional_text("user_id")?,
        purpose: row.parsed("purpose")?,
        scopes: row.json("scopes")?,
        created_ms: row.int("created_ms")?,
        created_by: row.text("created_by")?,
        expires_ms: row.int("expires_ms")?,
        revoked_ms: row.optional_int("revoked_ms")?,
        version: u64::try_from(row.int("version")?).unwrap_or_default(),
    })
}

impl fmt::Display for ServicePurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::System => "system",
            Self::Webhook => "webhook",
        })
    }
}

impl FromStr for ServicePurpose {
    type Err = DirectoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::User, Self::System, Self::Webhook]
            .into_iter()
            .find(|purpose| purpose.to_string() == text)
            .ok_or(DirectoryError::Invalid {
                what: "purpose",
                why: "`user`, `system` or `webhook`",
            })
    }
}
