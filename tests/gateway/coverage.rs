//! Nothing is left out: routes, refusals, and the decision table.

mod endpoints;
mod refusals;
mod table;

use harness::{Deployment, Upstream, json};
use portcullis::door::{Effect, ROUTES};
use reqwest::Method;

/// What each route answers to a stranger: method, path to knock at, status.
///
/// A route that is new fails the test until somebody has written down here what strangers get.
const STRANGERS: &[(&str, &str, &str, u16)] = &[
    ("POST", "/v1/extensions/{app}/call", "/v1/extensions/notes/call", 401),
    ("POST", "/v1/extensions/{app}/operate", "/v1/extensions/notes/operate", 401),
    ("GET", "/v1/confirmations/active", "/v1/confirmations/active", 401),
    ("GET", "/v1/confirmations/events", "/v1/confirmations/events", 401),
    ("GET", "/v1/confirmations/approvals", "/v1/confirmations/approvals", 401),
    ("GET", "/v1/confirmations/{id}", "/v1/confirmations/imp_c_x", 401),
    ("POST", "/v1/confirmations/{id}/approve", "/v1/confirmations/imp_c_x/approve", 401),
    ("POST", "/v1/confirmations/{id}/decline", "/v1/confirmations/imp_c_x/decline", 401),
    ("POST", "/v1/confirmations/{id}/confirm", "/v1/confirmations/imp_c_x/confirm", 401),
    ("POST", "/v1/confirmations/{id}/accept", "/v1/confirmations/imp_c_x/accept", 401),
    ("POST", "/v1/confirmations/{id}/cancel", "/v1/confirmations/imp_c_x/cancel", 401),
    ("POST", "/v1/auth/login", "/v1/auth/login", 401),
    ("POST", "/v1/auth/refresh", "/v1/auth/refresh", 401),
    ("GET", "/v1/auth/me", "/v1/auth/me", 401),
    ("GET", "/v1/auth/.well-known/jwks.json", "/v1/auth/.well-known/jwks.json", 200),
    ("GET", "/v1/secrets/{app}", "/v1/secrets/vaulty", 401),
    ("GET", "/v1/secrets/{app}/{name}", "/v1/secrets/vaulty/api_key", 401),
    ("PUT", "/v1/secrets/{app}/{name}", "/v1/secrets/vaulty/api_key", 401),
    ("DELETE", "/v1/secrets/{app}/{name}", "/v1/secrets/vaulty/api_key", 401),
    ("GET", "/v1/secrets/{app}/{name}/meta", "/v1/secrets/vaulty/api_key/meta", 401),
    ("GET", "/v1/users", "/v1/users", 401),
    ("POST", "/v1/users", "/v1/users", 401),
    ("GET", "/v1/users/{id}", "/v1/users/imp_x", 401),
    ("PATCH", "/v1/users/{id}", "/v1/users/imp_x", 401),
    ("DELETE", "/v1/users/{id}", "/v1/users/imp_x", 401),
    ("PATCH", "/v1/auth/users/{id}/cases-uid", "/v1/auth/users/imp_x/cases-uid", 401),
    ("GET", "/v1/roles", "/v1/roles", 401),
    ("POST", "/v1/roles", "/v1/roles", 401),
    ("PATCH", "/v1/roles/{id}", "/v1/roles/imp_x", 401),
    ("DELETE", "/v1/roles/{id}", "/v1/roles/imp_x", 401),
    ("GET", "/v1/scopes", "/v1/scopes", 401),
    ("POST", "/v1/scopes", "/v1/scopes", 401),
    ("PATCH", "/v1/scopes/{id}", "/v1/scopes/imp_x", 401),
    ("DELETE", "/v1/scopes/{id}", "/v1/scopes/imp_x", 401),
    ("GET", "/v1/scopes/effective/{id}", "/v1/scopes/effective/imp_x", 401),
    ("GET", "/v1/tenants", "/v1/tenants", 401),
    ("POST", "/v1/tenants", "/v1/tenants", 401),
    ("GET", "/v1/tenants/{id}", "/v1/tenants/imp_x", 401),
    ("PATCH", "/v1/tenants/{id}", "/v1/tenants/imp_x", 401),
    ("DELETE", "/v1/tenants/{id}", "/v1/tenants/imp_x", 401),
    ("GET", "/v1/tenants/{id}/health", "/v1/tenants/imp_x/health", 401),
    ("GET", "/v1/agencies", "/v1/agencies", 401),
    ("POST", "/v1/agencies", "/v1/agencies", 401),
    ("GET", "/v1/agencies/{id}", "/v1/agencies/imp_x", 401),
    ("PUT", "/v1/agencies/{id}/settings", "/v1/agencies/imp_x/settings", 401),
    ("GET", "/v1/keys", "/v1/keys", 401),
    ("POST", "/v1/keys", "/v1/keys", 401),
    ("DELETE", "/v1/keys/{id}", "/v1/keys/imp_x", 401),
    ("GET", "/v1/service-tokens", "/v1/service-tokens", 401),
    ("POST", "/v1/service-tokens", "/v1/service-tokens", 401),
    ("DELETE", "/v1/service-tokens/{id}", "/v1/service-tokens/imp_x", 401),
    ("GET", "/v1/internal/users/{id}/settings", "/v1/internal/users/imp_x/settings", 401),
    ("PATCH", "/v1/internal/users/{id}/settings", "/v1/internal/users/imp_x/settings", 401),
    (
        "GET",
        "/v1/internal/extcache/{app}/{user}/{model}/{key}",
        "/v1/internal/extcache/notes/imp_x/Weather/0123456789abcdef",
        401,
    ),
    (
        "PUT",
        "/v1/internal/extcache/{app}/{user}/{model}/{key}",
        "/v1/internal/extcache/notes/imp_x/Weather/0123456789abcdef",
        401,
    ),
    (
        "DELETE",
        "/v1/internal/extcache/{app}/{user}/{model}/{key}",
        "/v1/internal/extcache/notes/imp_x/Weather/0123456789abcdef",
        401,
    ),
    (
        "GET",
        "/v1/internal/skeleton/{app}/{user}/{section}",
        "/v1/internal/skeleton/notes/imp_x/overview",
        401,
    ),
    ("GET", "/v1/me/settings", "/v1/me/settings", 401),
    ("PATCH", "/v1/me/settings", "/v1/me/settings", 401),
    ("GET", "/v1/me/grants", "/v1/me/grants", 401),
    ("DELETE", "/v1/me/grants/{id}", "/v1/me/grants/imp_x", 401),
    ("GET", "/v1/users/{id}/extensions", "/v1/users/imp_x/extensions", 401),
    ("POST", "/v1/users/{id}/extensions/disable", "/v1/users/imp_x/extensions/disable", 401),
    (
        "DELETE",
        "/v1/users/{id}/extensions/disable/{app}",
        "/v1/users/imp_x/extensions/disable/notes",
        401,
    ),
    ("GET", "/v1/me/extensions", "/v1/me/extensions", 401),
    ("POST", "/v1/me/extensions/disable", "/v1/me/extensions/disable", 401),
    ("DELETE", "/v1/me/extensions/disable/{app}", "/v1/me/extensions/disable/notes", 401),
    ("GET", "/v1/me/nickname", "/v1/me/nickname", 401),
    ("PUT", "/v1/me/nickname", "/v1/me/nickname", 401),
    ("POST", "/v1/auth/register", "/v1/auth/register", 403),
    // A session that there is not needs no ending.
    ("POST", "/v1/auth/logout", "/v1/auth/logout", 200),
    ("POST", "/v1/auth/me/change-password", "/v1/auth/me/change-password", 401),
    ("POST", "/v1/auth/me/totp", "/v1/auth/me/totp", 401),
    ("DELETE", "/v1/auth/me/totp", "/v1/auth/me/totp", 401),
    ("POST", "/v1/auth/me/totp/confirm", "/v1/auth/me/totp/confirm", 401),
    ("DELETE", "/v1/users/{id}/totp", "/v1/users/imp_x/totp", 401),
    ("POST", "/v1/auth/cli/device/authorize", "/v1/auth/cli/device/authorize", 400),
    ("POST", "/v1/auth/cli/device/token", "/v1/auth/cli/device/token", 400),
    ("GET", "/device", "/device", 303),
    ("POST", "/device", "/device", 303),
    ("GET", RESOURCE, RESOURCE, 200),
    ("GET", "/.well-known/oauth-protected-resource/mcp", MCP_RESOURCE, 200),
    ("GET", "/.well-known/oauth-authorization-server", AUTHORIZATION_SERVER, 200),
    ("POST", "/v1/oauth/register", "/v1/oauth/register", 400),
    ("GET", "/v1/oauth/authorize", "/v1/oauth/authorize", 400),
    ("POST", "/v1/oauth/authorize", "/v1/oauth/authorize", 303),
    ("POST", "/v1/oauth/token", "/v1/oauth/token", 400),
    ("POST", "/v1/oauth/revoke", "/v1/oauth/revoke", 400),
    ("GET", "/v1/auth/login/{issuer}", "/v1/auth/login/none", 404),
    ("GET", "/v1/auth/callback/{issuer}", "/v1/auth/callback/none", 401),
    ("GET", "/signin", "/signin", 200),
    ("POST", "/signin", "/signin", 400),
    ("POST", "/signout", "/signout", 303),
    ("GET", "/ext/{app}/secrets", "/ext/vaulty/secrets", 303),
    ("POST", "/ext/{app}/secrets/{name}", "/ext/vaulty/secrets/api_key", 303),
    ("GET", "/confirm", "/confirm", 303),
    ("GET", "/confirm/{id}", "/confirm/imp_c_x", 303),
    ("POST", "/confirm/{id}", "/confirm/imp_c_x", 303),
    ("POST", "/mcp", "/mcp", 401),
    ("ANY", "/proxy/{app}/{*path}", "/proxy/bank/invoices", 401),
    ("GET", "/healthz", "/healthz", 200),
    ("GET", "/readyz", "/readyz", 200),
    ("GET", "/metrics", "/metrics", 200),
    ("GET", "/openapi.json", "/openapi.json", 200),
];

/// Where a stranger is told what is missing: each wants a proof of its own in the body.
const OPEN: [&str; 2] = ["/v1/auth/cli/device/", "/v1/oauth/"];

const RESOURCE: &str = "/.well-known/oauth-protected-resource";
const MCP_RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";

/// A body that every route could begin to read; without a credential none gets anywhere by it.
fn body() -> harness::Value {
    json!({
        "value": "x",
        "function": "create_note", "params": { "title": "x" },
        "email": "nobody@acme.example", "password": "no password", "refresh_token": "none",
        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
    })
}

#[tokio::test]
async fn every_route_without_credentials() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).bank(&upstream, "x").start().await;
    for (method, pattern, effect) in ROUTES {
        let listed = STRANGERS.iter().find(|row| (row.0, row.1) == (*method, *pattern));
        let (_, _, path, wanted) =
            listed.unwrap_or_else(|| panic!("{method} {pattern} is not listed in STRANGERS"));
        let pages = ["/signin", "/signout", "/device", "/v1/oauth/authorize", "/confirm"];
        let is_page = pages.contains(pattern)
            || ["/ext/", "/confirm/"].iter().any(|pages| pattern.starts_with(pages));
        let is_account = ["/v1/auth/register", "/v1/auth/logout"].contains(pattern);
        let is_account = is_account || OPEN.iter().any(|open| pattern.starts_with(open));
        let is_closed = *wanted == 401 || is_account || (is_page && [303, 400].contains(wanted));
        assert!(is_closed || *effect == Effect::Public, "{pattern} is open, but not public");
        let methods = match *method {
            "ANY" => vec!["GET", "POST", "PUT", "PATCH", "DELETE"],
            one => vec![one],
        };
        for method in methods {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = gate.request(method.clone(), path).json(&body());
            let answer = gate.send(request).await;
            assert_eq!(answer.status, *wanted, "{method} {path}: {answer:?}");
            // A page leads a stranger to the sign-in, and nowhere else.
            assert_eq!(answer.status == 303, answer.header("location").starts_with("/signin?"));
        }
    }
    assert_eq!(ROUTES.len(), STRANGERS.len(), "STRANGERS lists a route that is gone");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn every_other_method_and_path_is_refused() {
    let upstream = Upstream::start();
    let gate = Deployment::builder().notes(&upstream).start().await;
    let mut tried = 0;
    for (_, pattern, path, _) in STRANGERS.iter().filter(|row| row.0 != "ANY") {
        // TRACE is refused before any route is looked for.
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if ROUTES.iter().any(|route| (route.0, route.1) == (method, *pattern)) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = gate.send(gate.signed("ada", method.clone(), path).await).await;
            let said = (answer.status, answer.code());
            assert_eq!(said, (405, "METHOD_NOT_ALLOWED"), "{method} {path}");
            tried += 1;
        }
    }
    assert!(tried > 3 * STRANGERS.len(), "{tried}");
    for path in ["/", "/v1", "/v1/extensions/notes", "/admin", "/proxy", "/proxy/bank"] {
        let answer = gate.get_as("ada", path).await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{path}");
    }
    assert_eq!(upstream.seen().len(), 0);
}
