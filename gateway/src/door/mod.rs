//! The doors: every route that can cause an effect runs the same pipeline.
//!
//! [`ROUTES`] lists every route with what it may do; a test fails on a route that is new and not
//! in the list, and knocks at each one without credentials.

pub mod account;
pub mod approvals;
pub mod auth;
pub mod cached;
pub mod confirmation_events;
pub mod confirmations;
pub mod device;
pub mod entry;
pub mod external;
pub mod health;
pub mod manage;
pub mod mcp;
pub mod oauth;
pub mod pages;
pub mod proxy;
pub mod secrets;
pub mod sse;
pub mod throttle;
pub mod totp;
pub mod v1;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::answer::refusal_response;
use crate::edge::{ConnectionFacts, StrictJson};
use crate::gateway::Gateway;
use crate::refusal::Refusal;

/// What a route may do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Runs the seven steps.
    Pipeline,
    /// Changes only the caller's own session or pending questions, and is recorded.
    Own,
    /// Shows something to an identified caller.
    Shows,
    /// Public, without effect.
    Public,
}

/// Every route: method, path pattern, effect.
pub const ROUTES: &[(&str, &str, Effect)] = &[
    ("POST", "/v1/extensions/{app}/call", Effect::Pipeline),
    ("POST", "/v1/extensions/{app}/operate", Effect::Pipeline),
    ("GET", "/v1/confirmations/active", Effect::Shows),
    ("GET", "/v1/confirmations/events", Effect::Shows),
    ("GET", "/v1/confirmations/approvals", Effect::Shows),
    ("GET", "/v1/confirmations/{id}", Effect::Shows),
    ("POST", "/v1/confirmations/{id}/approve", Effect::Pipeline),
    ("POST", "/v1/confirmations/{id}/decline", Effect::Pipeline),
    ("POST", "/v1/confirmations/{id}/confirm", Effect::Pipeline),
    ("POST", "/v1/confirmations/{id}/accept", Effect::Pipeline),
    ("POST", "/v1/confirmations/{id}/cancel", Effect::Own),
    ("POST", "/v1/auth/login", Effect::Own),
    ("POST", "/v1/auth/refresh", Effect::Own),
    ("GET", "/v1/auth/me", Effect::Shows),
    ("GET", "/v1/auth/.well-known/jwks.json", Effect::Public),
    ("GET", "/v1/secrets/{app}", Effect::Pipeline),
    ("GET", "/v1/secrets/{app}/{name}", Effect::Pipeline),
    ("PUT", "/v1/secrets/{app}/{name}", Effect::Pipeline),
    ("DELETE", "/v1/secrets/{app}/{name}", Effect::Pipeline),
    ("GET", "/v1/secrets/{app}/{name}/meta", Effect::Pipeline),
    ("GET", "/v1/users", Effect::Pipeline),
    ("POST", "/v1/users", Effect::Pipeline),
    ("GET", "/v1/users/{id}", Effect::Pipeline),
    ("PATCH", "/v1/users/{id}", Effect::Pipeline),
    ("DELETE", "/v1/users/{id}", Effect::Pipeline),
    ("PATCH", "/v1/auth/users/{id}/cases-uid", Effect::Pipeline),
    ("GET", "/v1/roles", Effect::Pipeline),
    ("POST", "/v1/roles", Effect::Pipeline),
    ("PATCH", "/v1/roles/{id}", Effect::Pipeline),
    ("DELETE", "/v1/roles/{id}", Effect::Pipeline),
    ("GET", "/v1/scopes", Effect::Pipeline),
    ("POST", "/v1/scopes", Effect::Pipeline),
    ("PATCH", "/v1/scopes/{id}", Effect::Pipeline),
    ("DELETE", "/v1/scopes/{id}", Effect::Pipeline),
    ("GET", "/v1/scopes/effective/{id}", Effect::Pipeline),
    ("GET", "/v1/tenants", Effect::Pipeline),
    ("POST", "/v1/tenants", Effect::Pipeline),
    ("GET", "/v1/tenants/{id}", Effect::Pipeline),
    ("PATCH", "/v1/tenants/{id}", Effect::Pipeline),
    ("DELETE", "/v1/tenants/{id}", Effect::Pipeline),
    ("GET", "/v1/tenants/{id}/health", Effect::Pipeline),
    ("GET", "/v1/agencies", Effect::Pipeline),
    ("POST", "/v1/agencies", Effect::Pipeline),
    ("GET", "/v1/agencies/{id}", Effect::Pipeline),
    ("PUT", "/v1/agencies/{id}/settings", Effect::Pipeline),
    ("GET", "/v1/keys", Effect::Pipeline),
    ("POST", "/v1/keys", Effect::Pipeline),
    ("DELETE", "/v1/keys/{id}", Effect::Pipeline),
    ("GET", "/v1/service-tokens", Effect::Pipeline),
    ("POST", "/v1/service-tokens", Effect::Pipeline),
    ("DELETE", "/v1/service-tokens/{id}", Effect::Pipeline),
    ("GET", "/v1/internal/users/{id}/settings", Effect::Pipeline),
    ("PATCH", "/v1/internal/users/{id}/settings", Effect::Pipeline),
    ("GET", "/v1/internal/extcache/{app}/{user}/{model}/{key}", Effect::Pipeline),
    ("PUT", "/v1/internal/extcache/{app}/{user}/{model}/{key}", Effect::Pipeline),
    ("DELETE", "/v1/internal/extcache/{app}/{user}/{model}/{key}", Effect::Pipeline),
    ("GET", "/v1/internal/skeleton/{app}/{user}/{section}", Effect::Pipeline),
    ("GET", "/v1/me/settings", Effect::Pipeline),
    ("PATCH", "/v1/me/settings", Effect::Pipeline),
    ("GET", "/v1/me/grants", Effect::Pipeline),
    ("DELETE", "/v1/me/grants/{id}", Effect::Pipeline),
    ("GET", "/v1/users/{id}/extensions", Effect::Pipeline),
    ("POST", "/v1/users/{id}/extensions/disable", Effect::Pipeline),
    ("DELETE", "/v1/users/{id}/extensions/disable/{app}", Effect::Pipeline),
    ("GET", "/v1/me/extensions", Effect::Pipeline),
    ("POST", "/v1/me/extensions/disable", Effect::Pipeline),
    ("DELETE", "/v1/me/extensions/disable/{app}", Effect::Pipeline),
    ("GET", "/v1/me/nickname", Effect::Pipeline),
    ("PUT", "/v1/me/nickname", Effect::Pipeline),
    ("POST", "/v1/auth/register", Effect::Own),
    ("POST", "/v1/auth/logout", Effect::Own),
    ("POST", "/v1/auth/me/change-password", Effect::Own),
    ("POST", "/v1/auth/me/totp", Effect::Own),
    ("DELETE", "/v1/auth/me/totp", Effect::Own),
    ("POST", "/v1/auth/me/totp/confirm", Effect::Own),
    ("DELETE", "/v1/users/{id}/totp", Effect::Pipeline),
    ("POST", "/v1/auth/cli/device/authorize", Effect::Own),
    ("POST", "/v1/auth/cli/device/token", Effect::Own),
    ("GET", "/device", Effect::Shows),
    ("POST", "/device", Effect::Own),
    ("GET", "/.well-known/oauth-protected-resource", Effect::Public),
    ("GET", "/.well-known/oauth-protected-resource/mcp", Effect::Public),
    ("GET", "/.well-known/oauth-authorization-server", Effect::Public),
    ("POST", "/v1/oauth/register", Effect::Own),
    ("GET", "/v1/oauth/authorize", Effect::Shows),
    ("POST", "/v1/oauth/authorize", Effect::Own),
    ("POST", "/v1/oauth/token", Effect::Own),
    ("POST", "/v1/oauth/revoke", Effect::Own),
    ("GET", "/v1/auth/login/{issuer}", Effect::Public),
    ("GET", "/v1/auth/callback/{issuer}", Effect::Own),
    ("GET", "/signin", Effect::Public),
    ("POST", "/signin", Effect::Own),
    ("POST", "/signout", Effect::Own),
    ("GET", "/ext/{app}/secrets", Effect::Pipeline),
    ("POST", "/ext/{app}/secrets/{name}", Effect::Pipeline),
    ("GET", "/confirm", Effect::Shows),
    ("GET", "/confirm/{id}", Effect::Shows),
    ("POST", "/confirm/{id}", Effect::Pipeline),
    ("POST", "/mcp", Effect::Pipeline),
    ("ANY", "/proxy/{app}/{*path}", Effect::Pipeline),
    ("GET", "/healthz", Effect::Public),
    ("GET", "/readyz", Effect::Public),
    ("GET", "/metrics", Effect::Public),
    ("GET", "/openapi.json", Effect::Public),
];

/// The whole HTTP surface.
#[expect(clippy::too_many_lines, reason = "one line a route")]
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/extensions/{app}/call", post(v1::call))
        .route("/v1/extensions/{app}/operate", post(v1::operate))
        .route("/v1/confirmations/active", get(confirmations::active))
        .route("/v1/confirmations/events", confirmation_events::service())
        .route("/v1/confirmations/approvals", get(approvals::list))
        .route("/v1/confirmations/{id}", get(confirmations::one))
        .route("/v1/confirmations/{id}/approve", post(approvals::approve))
        .route("/v1/confirmations/{id}/decline", post(approvals::decline))
        .route("/v1/confirmations/{id}/confirm", post(v1::confirm))
        .route("/v1/confirmations/{id}/accept", post(v1::confirm))
        .route("/v1/confirmations/{id}/cancel", post(v1::cancel))
        .route("/v1/auth/login", post(auth::login))
        .route("/v1/auth/refresh", post(auth::refresh))
        .route("/v1/auth/me", get(auth::me))
        .route("/v1/auth/.well-known/jwks.json", get(auth::jwks))
        .route("/v1/secrets/{app}", get(secrets::list))
        .route("/v1/secrets/{app}/{name}", secrets::one())
        .route("/v1/secrets/{app}/{name}/meta", get(secrets::meta))
        .route("/v1/users", manage::users())
        .route("/v1/users/{id}", manage::user())
        .route("/v1/auth/users/{id}/cases-uid", manage::cases_uid())
        .route("/v1/roles", manage::roles())
        .route("/v1/roles/{id}", manage::role())
        .route("/v1/scopes", manage::scopes())
        .route("/v1/scopes/{id}", manage::scope())
        .route("/v1/scopes/effective/{id}", manage::effective_scopes())
        .route("/v1/tenants", manage::tenants())
        .route("/v1/tenants/{id}", manage::tenant())
        .route("/v1/tenants/{id}/health", manage::tenant_health())
        .route("/v1/agencies", manage::agencies())
        .route("/v1/agencies/{id}", manage::agency())
        .route("/v1/agencies/{id}/settings", manage::agency_settings())
        .route("/v1/keys", manage::keys())
        .route("/v1/keys/{id}", manage::key())
        .route("/v1/service-tokens", manage::service_tokens())
        .route("/v1/service-tokens/{id}", manage::service_token())
        .route("/v1/internal/users/{id}/settings", manage::settings())
        .route("/v1/internal/extcache/{app}/{user}/{model}/{key}", cached::one())
        .route("/v1/internal/skeleton/{app}/{user}/{section}", get(cached::section))
        .route("/v1/me/settings", manage::own_settings())
        .route("/v1/me/grants", manage::grants())
        .route("/v1/me/grants/{id}", manage::grant())
        .route("/v1/users/{id}/extensions", manage::extensions())
        .route("/v1/users/{id}/extensions/disable", manage::disable_extension())
        .route("/v1/users/{id}/extensions/disable/{app}", manage::enable_extension())
        .route("/v1/me/extensions", manage::extensions())
        .route("/v1/me/extensions/disable", manage::disable_extension())
        .route("/v1/me/extensions/disable/{app}", manage::enable_extension())
        .route("/v1/me/nickname", manage::nickname())
        .route("/v1/auth/register", post(account::register))
        .route("/v1/auth/logout", post(account::logout))
        .route("/v1/auth/me/change-password", post(account::change_password))
        .route("/v1/auth/me/totp", post(totp::offer).delete(totp::remove))
        .route("/v1/auth/me/totp/confirm", post(totp::confirm))
        .route("/v1/users/{id}/totp", manage::totp())
        .merge(oauth())
        .route("/v1/auth/login/{issuer}", get(external::begin))
        .route("/v1/auth/callback/{issuer}", get(external::finish))
        .route("/signin", get(pages::session::ask).post(pages::session::begin))
        .route("/signout", post(pages::session::end))
        .route("/ext/{app}/secrets", get(pages::secrets::show))
        .route("/ext/{app}/secrets/{name}", post(pages::secrets::change))
        .route("/confirm", get(pages::confirm::list))
        .route("/confirm/{id}", get(pages::confirm::show).post(pages::confirm::answer))
        .route("/mcp", mcp::service(Arc::clone(&gateway)))
        .route("/proxy/{app}/{*path}", any(proxy::forward))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(health::openapi))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&gateway), throttle::by_address))
        .with_state(gateway)
}

/// The gateway as authorization server.
fn oauth() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/v1/auth/cli/device/authorize", post(device::authorize))
        .route("/v1/auth/cli/device/token", post(device::token))
        .route("/device", get(pages::device::show).post(pages::device::decide))
        .route("/.well-known/oauth-protected-resource", get(oauth::metadata::gateway))
        .route("/.well-known/oauth-protected-resource/mcp", get(oauth::metadata::mcp))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata::server))
        .route("/v1/oauth/register", post(oauth::register::register))
        .route("/v1/oauth/authorize", get(pages::consent::show).post(pages::consent::decide))
        .route("/v1/oauth/token", post(oauth::token::token))
        .route("/v1/oauth/revoke", post(oauth::token::revoke))
}

/// Where a request came from, as the edge says.
pub type Edge = ConnectionFacts;

/// Reads a whole body within the limit and parses it strictly.
///
/// # Errors
/// [`Refusal::BodyTooLarge`] or [`Refusal::MalformedBody`].
pub async fn read_body(gateway: &Gateway, body: Body) -> Result<StrictJson, Refusal> {
    let limit = gateway.settings.server.limits.body_bytes;
    gateway.json(read_bytes(body, limit).await?)
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// [`Refusal::BodyTooLarge`], or [`Refusal::MalformedBody`] when it breaks off.
pub async fn read_bytes(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(fault) if fault.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge { limit }),
        Err(_) => Err(Refusal::MalformedBody("the body broke off".to_owned())),
    }
}

/// Wipes a body that nobody else holds; the connection's own buffers are not ours to wipe.
fn wipe(bytes: Bytes) {
    if let Ok(mut bytes) = bytes.try_into_mut() {
        zeroize::Zeroize::zeroize(bytes.as_mut());
    }
}

async fn no_such_route(Extension(_): Extension<Edge>) -> Response<Body> {
    refusal_response(&Refusal::NoSuchRoute)
}

async fn method_not_allowed() -> Response<Body> {
    refusal_response(&Refusal::MethodNotAllowed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_published_api_names_every_route() {
        let text = include_str!("openapi.json");
        let published: serde_json::Value = serde_json::from_str(text).expect("valid JSON");
        let published: BTreeSet<String> =
            published["paths"].as_object().expect("paths").keys().cloned().collect();
        let served: BTreeSet<String> =
            ROUTES.iter().map(|(_, path, _)| path.replace("{*path}", "{path}")).collect();
        assert_eq!(published, served);
    }

    #[test]
    fn no_route_is_served_that_is_not_listed_with_its_effect() {
        let source = include_str!("mod.rs");
        let routes = source.split(".route(\"").skip(1);
        let served: BTreeSet<&str> = routes.filter_map(|rest| rest.split('"').next()).collect();
        let listed: BTreeSet<&str> = ROUTES.iter().map(|(_, path, _)| *path).collect();
        assert_eq!(served, listed);
    }
}
