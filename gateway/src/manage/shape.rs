//! What is told, in the shapes of wire-contract.md 1.3.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::directory::{ApiKey, OAuthGrant, Role, Tenant, User, UserSettings};

/// `UserDetailResponse`: what `UserResponse` says, and `id`.
pub(super) fn user(user: &User) -> Value {
    json!({
        "id": user.id,
        "imperal_id": user.id,
        "email": user.email,
        "tenant_id": user.tenant,
        "role": user.role,
        "auth_method": "email",
        "created_at": time(user.created_ms),
        "last_login": user.last_login_ms.map(time),
        "agency_id": user.agency_id,
        "org_id": null,
        "scopes": user.scopes,
        "attributes": user.attributes,
        "cases_user_id": user.cases_user_id,
        "nickname": user.nickname,
        "is_active": user.active,
    })
}

/// `RoleResponse`.
pub(super) fn role(role: &Role) -> Value {
    json!({
        "id": role.id,
        "tenant_id": role.tenant,
        "name": role.name,
        "display_name": role.display_name,
        "default_scopes": role.default_scopes,
        "default_attributes": role.facts.default_attributes,
        "default_extensions": role.facts.default_extensions,
        "confirmation_policy": role.confirmation_policy,
        "max_concurrent_tasks": role.facts.max_concurrent_tasks,
        "monthly_action_limit": role.facts.monthly_action_limit,
        "context_window": role.facts.context_window,
        "is_system": role.is_system,
        "created_at": time(role.created_ms),
    })
}

/// `TenantResponse`; every tenant is kept in the gateway's own directory.
pub(super) fn tenant(tenant: &Tenant) -> Value {
    json!({
        "tenant_id": tenant.id,
        "name": tenant.name,
        "db_backend": "portcullis",
        "isolation": tenant.facts.isolation,
        "allowed_auth_methods": tenant.facts.allowed_auth_methods,
        "max_connections": tenant.facts.max_connections,
        "features": tenant.facts.features,
        "parent_tenant_id": tenant.facts.parent_tenant_id,
        "is_active": tenant.active,
        "created_at": time(tenant.created_ms),
    })
}

/// A key without its text; scopes as one text, as they are asked for.
pub(super) fn key(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "key_prefix": key.key_prefix,
        "name": key.name,
        "scopes": key.scopes.join(" "),
        "last_used_at": key.last_used_ms.map(time),
        "created_at": time(key.created_ms),
    })
}

/// What somebody granted a program.
pub(super) fn grant(grant: &OAuthGrant) -> Value {
    json!({
        "id": grant.id,
        "client_id": grant.client_id,
        "client_name": grant.client_name,
        "scopes": grant.scopes,
        "created_at": time(grant.created_ms),
        "renewed_at": grant.renewed_ms.map(time),
    })
}

/// Settings under the names of the contract.
pub(super) fn settings(settings: &UserSettings) -> Value {
    json!({
        "confirmation_enabled": settings.confirmation_enabled,
        "confirmation_actions": settings.confirmation_actions,
        "confirmation_overrides": settings.facts.confirmation_overrides,
        "confirmation_ttl": settings.confirmation_ttl_s,
        "kav_max_retries": settings.facts.kav_max_retries,
        "routing_context": settings.facts.routing_context,
        "max_tool_rounds": settings.facts.max_tool_rounds,
        "max_response_tokens": settings.facts.max_response_tokens,
    })
}

/// What is shown once, and the text with it.
pub(super) fn with_text(mut shown: Value, member: &str, text: &str) -> Value {
    if let Some(map) = shown.as_object_mut() {
        map.insert(member.to_owned(), json!(text));
    }
    shown
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
