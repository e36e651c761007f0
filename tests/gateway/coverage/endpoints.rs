//! What every route answers to everybody: a checked-in table, so that a change of who may do what is a readable diff.
//!
//! Each cell is a request of its own on things of the tenant `acme` that were made for it: what one cell deletes, the
//! next one still finds. The last column is an admin of another tenant.

use std::fmt::Write as _;

use harness::{Answer, Deployment, Upstream, Value, json};
use portcullis::door::ROUTES;
use reqwest::Method;

const CHECKED_IN: &str = include_str!("../../tables/endpoints.txt");

/// Head of the column, and who asks.
const COLUMNS: [(&str, &str); 6] = [
    ("guest", "nil"),
    ("reader", "ben"),
    ("editor", "ana"),
    ("chief", "ada"),
    ("admin", "max"),
    ("foreign admin", "gil"),
];

/// Doors that are no endpoints of the API: pages, MCP and the proxy have tests of their own, and so have streams, whose
/// answer has no end.
fn is_of_the_api(path: &str) -> bool {
    path.starts_with("/v1/")
        && !["/login", "/callback", "/events"].iter().any(|no| path.contains(no))
}

/// A body that the route takes; `{n}` is a number of the cell's own, `{id}` what was made for it.
fn body(method: &str, path: &str) -> Value {
    match (method, path) {
        (_, "/v1/extensions/{app}/call" | "/v1/extensions/{app}/operate") => {
            json!({ "function": "create_note", "params": { "title": "x" } })
        }
        ("POST", "/v1/confirmations/{id}/approve" | "/v1/confirmations/{id}/decline") => {
            json!({ "hash": "00".repeat(32) })
        }
        ("PUT", "/v1/secrets/{app}/{name}") => json!({ "value": "x" }),
        ("POST", "/v1/users") => {
            json!({ "email": "u{n}@acme.example", "password": "12345678", "role": "guest" })
        }
        ("PATCH", "/v1/users/{id}") => json!({ "is_active": true }),
        ("PATCH", "/v1/auth/users/{id}/cases-uid") => json!({ "cases_user_id": 7 }),
        ("POST", "/v1/roles") => json!({ "name": "made{n}" }),
        ("PATCH", "/v1/roles/{id}") => json!({ "display_name": "x" }),
        ("POST", "/v1/scopes") => json!({ "resource": "made{n}", "action": "read" }),
        ("PATCH", "/v1/scopes/{id}") => json!({ "display_name": "x" }),
        ("POST", "/v1/tenants") => json!({
            "tenant_id": "imp_t_made{n}", "name": "Made",
            "db_config": { "host": "h", "database": "d", "username": "u", "password": "p" },
        }),
        ("PATCH", "/v1/tenants/{id}") => json!({ "name": "x" }),
        ("POST", "/v1/agencies") => json!({ "name": "made{n}" }),
        ("PUT", "/v1/agencies/{id}/settings") => json!({ "retention_days": 30 }),
        ("POST", "/v1/keys") => json!({ "name": "made", "scopes": "notes:read" }),
        ("POST", "/v1/service-tokens") => {
            json!({ "app": "panel", "user_id": "{user}", "scopes": ["notes:read"] })
        }
        ("PATCH", "/v1/internal/users/{id}/settings" | "/v1/me/settings") => {
            json!({ "max_tool_rounds": 5 })
        }
        ("POST", "/v1/auth/refresh" | "/v1/auth/logout") => json!({ "refresh_token": "none" }),
        ("POST", "/v1/auth/register") => {
            json!({ "email": "u{n}@acme.example", "password": "12345678" })
        }
        ("POST", "/v1/auth/me/change-password") => {
            json!({ "current_password": "no password", "new_password": "12345678" })
        }
        ("POST", path) if path.ends_with("/extensions/disable") => json!({ "app_id": "notes" }),
        ("PUT", "/v1/me/nickname") => json!({ "nickname": "nick{n}" }),
        _ => Value::Null,
    }
}

/// Makes what a path names, by an admin of the tenant, and gives its id.
async fn made(gate: &Deployment, (method, path): (&str, &str), n: usize) -> String {
    let of = |collection: &str| {
        let text = body("POST", collection).to_string();
        let text = text.replace("{n}", &format!("x{n}")).replace("{user}", &gate.user_id("ana"));
        (collection.to_owned(), serde_json::from_str::<Value>(&text).unwrap())
    };
    let (collection, body) = match path {
        "/v1/users/{id}" | "/v1/auth/users/{id}/cases-uid" => of("/v1/users"),
        "/v1/scopes/effective/{id}" | "/v1/internal/users/{id}/settings" => of("/v1/users"),
        path if path.starts_with("/v1/users/{id}/") => of("/v1/users"),
        "/v1/roles/{id}" => of("/v1/roles"),
        "/v1/scopes/{id}" => of("/v1/scopes"),
        "/v1/agencies/{id}" | "/v1/agencies/{id}/settings" => of("/v1/agencies"),
        "/v1/keys/{id}" => of("/v1/keys"),
        "/v1/service-tokens/{id}" => of("/v1/service-tokens"),
        "/v1/tenants/{id}" if method == "DELETE" => {
            let id = format!("imp_t_made{n}");
            gate.must(&["tenant", "create", "Made", "--id", &id]);
            return id;
        }
        "/v1/tenants/{id}" | "/v1/tenants/{id}/health" => return "imp_t_acme".to_owned(),
        path if path.starts_with("/v1/confirmations/{id}") => {
            let asked = gate.call("ana", "notes", "delete_note", json!({ "note_id": "note-1" }));
            return asked.await.confirmation();
        }
        _ => return String::new(),
    };
    let made = gate.post_as("max", &collection, &body).await;
    let id = made.body["id"].as_str().unwrap_or_else(|| panic!("{collection}: {made:?}"));
    id.to_owned()
}

async fn cell(gate: &Deployment, who: &str, (method, path): (&str, &str), n: usize) -> Answer {
    let id =
        if path.contains("{id}") { made(gate, (method, path), n).await } else { String::new() };
    let app = if path.contains("/secrets/") { "vaulty" } else { "notes" };
    let place = path.replace("{id}", &id).replace("{app}", app).replace("{name}", "api_key");
    let text = body(method, path).to_string();
    let text = text.replace("{n}", &n.to_string()).replace("{user}", &gate.user_id("ana"));
    let body: Value = serde_json::from_str(&text).unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = gate.signed(who, method, &place).await;
    gate.send(if body.is_null() { request } else { request.json(&body) }).await
}

/// The status, and the code of a refusal.
fn shown(answer: &Answer) -> String {
    match answer.status {
        200..=299 => answer.status.to_string(),
        status => format!("{status} {}", answer.code()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_for_every_role() {
    let upstream = Upstream::start();
    let gate =
        Deployment::builder().notes(&upstream).vaulty(&upstream).env("PATH", "").start().await;
    let mut table = format!("{:<48}", "endpoint");
    for (head, _) in COLUMNS {
        write!(table, "  {head:<26}").unwrap();
    }
    let mut cells = 0;
    for (method, path, _) in ROUTES.iter().filter(|(_, path, _)| is_of_the_api(path)) {
        write!(table, "\n{:<48}", format!("{method} {path}")).unwrap();
        for (_, who) in COLUMNS {
            cells += 1;
            let answer = cell(&gate, who, (method, path), cells).await;
            write!(table, "  {:<26}", shown(&answer)).unwrap();
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    let table = table.join("\n") + "\n";
    if std::env::var_os("WRITE_TABLES").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tables/endpoints.txt");
        std::fs::write(file, &table).unwrap();
    }
    assert!(
        table == CHECKED_IN,
        "if this is meant, run it with WRITE_TABLES=1 and read the diff of tests/tables/endpoints.txt:\n{table}"
    );
}
