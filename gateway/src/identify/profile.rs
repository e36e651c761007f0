//! What a user is told of itself: `UserResponse` of wire-contract 1.3.

use jiff::Timestamp;
use serde::Serialize;

use crate::directory::{ServiceToken, User};

/// A user as the SDK's `User` is made of it; that type takes no other key, not even `id`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    imperal_id: String,
    email: String,
    tenant_id: String,
    role: String,
    auth_method: &'static str,
    created_at: String,
    agency_id: Option<String>,
    org_id: Option<String>,
    scopes: Vec<String>,
    attributes: serde_json::Map<String, serde_json::Value>,
    last_login: Option<String>,
    cases_user_id: Option<i64>,
    is_active: bool,
}

impl Profile {
    /// The profile of a user; `scopes` are those of the standing, the role's among them.
    #[must_use]
    pub fn of(user: User, scopes: &[String]) -> Self {
        Self {
            imperal_id: user.id,
            email: user.email,
            tenant_id: user.tenant.to_string(),
            role: user.role,
            auth_method: "email",
            created_at: rfc3339(user.created_ms),
            agency_id: user.agency_id,
            org_id: None,
            scopes: scopes.to_vec(),
            attributes: user.attributes,
            last_login: user.last_login_ms.map(rfc3339),
            cases_user_id: user.cases_user_id,
            is_active: user.active,
        }
    }

    /// The profile of the platform's own service, which is no user: what its token says.
    #[must_use]
    pub fn of_service(token: ServiceToken) -> Self {
        Self {
            imperal_id: format!("__{}__", token.purpose),
            email: String::new(),
            tenant_id: token.tenant_id.to_string(),
            role: "service".to_owned(),
            auth_method: "service_token",
            created_at: rfc3339(token.created_ms),
            agency_id: None,
            org_id: None,
            scopes: token.scopes,
            attributes: serde_json::Map::new(),
            last_login: None,
            cases_user_id: None,
            is_active: true,
        }
    }
}

fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
