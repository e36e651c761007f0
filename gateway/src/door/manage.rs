//! `/v1/users`, `/v1/roles`, `/v1/scopes`, `/v1/tenants`, `/v1/agencies`, `/v1/keys`, settings and service tokens
//! (wire-contract.md 1.3): each route is one verb of the gateway's own apps, and all run the same seven steps.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawPathParams, RawQuery, State};
use axum::routing::MethodRouter;
use axum::routing::{
    delete as on_delete, get as on_get, patch as on_patch, post as on_post, put as on_put,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::entry::AtDoor;
use super::read_body;
use crate::answer::{Answer, Told, json_response, refusal_response};
use crate::gateway::Gateway;
use crate::knock::{Hints, Wanted};
use crate::manage::{ManageWanted, Verb};
use crate::pipeline;
use crate::refusal::Refusal;

type Route = MethodRouter<Arc<Gateway>>;

/// Makes the handler of one verb.
macro_rules! verb {
    ($method:ident, $verb:ident) => {
        $method(
            |gateway: State<Arc<Gateway>>, at: RawPathParams, query: RawQuery, door: AtDoor| async move {
                run(gateway.0, Verb::$verb, at, query, door).await
            },
        )
    };
}

/// `/v1/users`
pub fn users() -> Route {
    verb!(on_get, ListUsers).merge(verb!(on_post, CreateUser))
}

/// `/v1/users/{id}`. `DELETE` switches the user off; with `permanent=true` it removes the user for good.
pub fn user() -> Route {
    let delete = on_delete(
        |gateway: State<Arc<Gateway>>, at: RawPathParams, query: RawQuery, door: AtDoor| async move {
            delete_user(gateway.0, at, query, door).await
        },
    );
    verb!(on_get, ReadUser).merge(verb!(on_patch, UpdateUser)).merge(delete)
}

/// `/v1/auth/users/{id}/cases-uid`
pub fn cases_uid() -> Route {
    verb!(on_patch, UpdateUser)
}

/// `/v1/roles`
pub fn roles() -> Route {
    verb!(on_get, ListRoles).merge(verb!(on_post, CreateRole))
}

/// `/v1/roles/{id}`
pub fn role() -> Route {
    verb!(on_patch, UpdateRole).merge(verb!(on_delete, DeleteRole))
}

/// `/v1/scopes`
pub fn scopes() -> Route {
    verb!(on_get, ListScopes).merge(verb!(on_post, CreateScope))
}

/// `/v1/scopes/{id}`
pub fn scope() -> Route {
    verb!(on_patch, UpdateScope).merge(verb!(on_delete, DeleteScope))
}

/// `/v1/scopes/effective/{id}`
pub fn effective_scopes() -> Route {
    verb!(on_get, EffectiveScopes)
}

/// `/v1/tenants`
pub fn tenants() -> Route {
    verb!(on_get, ListTenants).merge(verb!(on_post, CreateTenant))
}

/// `/v1/tenants/{id}`. `DELETE` switches the tenant off: what its people did stays on record.
pub fn tenant() -> Route {
    let delete = on_delete(
        |gateway: State<Arc<Gateway>>, at: RawPathParams, _: RawQuery, door: AtDoor| async move {
            let off = Map::from_iter([("is_active".to_owned(), Value::Bool(false))]);
            ask(gateway.0, Verb::UpdateTenant, at, off, door).await
        },
    );
    verb!(on_get, ReadTenant).merge(verb!(on_patch, UpdateTenant)).merge(delete)
}

/// `/v1/tenants/{id}/health`
pub fn tenant_health() -> Route {
    on_get(
        |gateway: State<Arc<Gateway>>, at: RawPathParams, _: RawQuery, door: AtDoor| async move {
            let answer = answer(gateway.0, Verb::ReadTenant, at, Map::new(), door).await;
            respond(Verb::ReadTenant, shaped(answer, health))
        },
    )
}

/// `/v1/agencies`
pub fn agencies() -> Route {
    verb!(on_get, ListAgencies).merge(verb!(on_post, CreateAgency))
}

/// `/v1/agencies/{id}`, `me` among them.
pub fn agency() -> Route {
    verb!(on_get, ReadAgency)
}

/// `/v1/agencies/{id}/settings`
pub fn agency_settings() -> Route {
    verb!(on_put, UpdateAgency)
}

/// `/v1/keys`
pub fn keys() -> Route {
    verb!(on_get, ListKeys).merge(verb!(on_post, CreateKey))
}

/// `/v1/keys/{id}`
pub fn key() -> Route {
    verb!(on_delete, RevokeKey)
}

/// `/v1/service-tokens`
pub fn service_tokens() -> Route {
    verb!(on_get, ListServiceTokens).merge(verb!(on_post, CreateServiceToken))
}

/// `/v1/service-tokens/{id}`
pub fn service_token() -> Route {
    verb!(on_delete, RevokeServiceToken)
}

/// `/v1/internal/users/{id}/settings`
pub fn settings() -> Route {
    verb!(on_get, ReadSettings).merge(verb!(on_patch, UpdateSettings))
}

/// `/v1/me/settings`
pub fn own_settings() -> Route {
    settings()
}

/// `/v1/me/nickname`
pub fn nickname() -> Route {
    verb!(on_get, ReadNickname).merge(verb!(on_put, SetNickname))
}

async fn run(
    gateway: Arc<Gateway>,
    verb: Verb,
    at: RawPathParams,
    RawQuery(query): RawQuery,
    door: AtDoor,
) -> Response<Body> {
    let (change, door) = match read(&gateway, verb, query.as_deref(), door).await {
        Ok(read) => read,
        Err((refusal, mut door)) => {
            door.knock.wanted = Wanted::Malformed(*refusal);
            return respond(verb, pipeline::run(gateway, door.knock).await);
        }
    };
    ask(gateway, verb, at, change, door).await
}

/// `DELETE /v1/users/{id}?permanent=bool`
async fn delete_user(
    gateway: Arc<Gateway>,
    at: RawPathParams,
    RawQuery(query): RawQuery,
    door: AtDoor,
) -> Response<Body> {
    let query = query_of(query.as_deref().unwrap_or_default());
    if query.get("permanent") == Some(&Value::Bool(true)) {
        return ask(gateway, Verb::RemoveUser, at, Map::new(), door).await;
    }
    let off = Map::from_iter([("is_active".to_owned(), Value::Bool(false))]);
    ask(gateway, Verb::UpdateUser, at, off, door).await
}

async fn ask(
    gateway: Arc<Gateway>,
    verb: Verb,
    at: RawPathParams,
    change: Map<String, Value>,
    door: AtDoor,
) -> Response<Body> {
    respond(verb, answer(gateway, verb, at, change, door).await)
}

async fn answer(
    gateway: Arc<Gateway>,
    verb: Verb,
    at: RawPathParams,
    mut change: Map<String, Value>,
    door: AtDoor,
) -> Answer {
    let mut knock = door.knock;
    let own = if matches!(verb, Verb::ReadSettings | Verb::UpdateSettings) { "me" } else { "" };
    let target = at.iter().next().map_or(own, |(_, id)| id).to_owned();
    // Whoever sends a tenant along names its own (wire-contract.md 1.4).
    if verb != Verb::CreateTenant
        && let Some(Value::String(tenant)) = change.remove("tenant_id")
        && tenant != PLATFORM
    {
        knock.hints.merge(Hints { user: None, tenant: Some(tenant) });
    }
    let password = match change.remove("password") {
        Some(Value::String(text)) => Some(SecretString::from(text)),
        _ => None,
    };
    // Where a tenant's own database is, and by which password, the gateway has no use for.
    change.remove("db_config");
    knock.wanted = Wanted::Manage(ManageWanted { verb, target, change, password });
    pipeline::run(gateway, knock).await
}

/// The tenant that stands for all in the contract; scopes are named in one's own all the same.
const PLATFORM: &str = "_platform_";

/// What the body says, or the query where there is no body; a change of a role has both.
async fn read(
    gateway: &Gateway,
    verb: Verb,
    query: Option<&str>,
    door: AtDoor,
) -> Result<(Map<String, Value>, AtDoor), (Box<Refusal>, AtDoor)> {
    let query = query_of(query.unwrap_or_default());
    let AtDoor { knock, body, method } = door;
    if method == Method::GET || method == Method::DELETE {
        return Ok((query, AtDoor { knock, body: Body::empty(), method }));
    }
    let json = read_body(gateway, body).await;
    let door = AtDoor { knock, body: Body::empty(), method };
    let mut change = match json.map(|json| json.value) {
        Ok(Value::Object(change)) => change,
        Ok(_) => {
            let refusal = Refusal::MalformedBody("an object is wanted".to_owned());
            return Err((Box::new(refusal), door));
        }
        Err(refusal) => return Err((Box::new(refusal), door)),
    };
    if verb == Verb::UpdateRole
        && let Some(cascade) = query.get("cascade")
    {
        change.insert("cascade".to_owned(), cascade.clone());
    }
    Ok((change, door))
}

/// A query as JSON: `true`, `false` and whole numbers are what they look like (wire-contract.md 0.11).
fn query_of(query: &str) -> Map<String, Value> {
    let value = |text: &str| match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<u32>().map_or_else(|_| Value::from(text), Value::from),
    };
    form_urlencoded::parse(query.as_bytes())
        .map(|(key, text)| (key.into_owned(), value(&text)))
        .collect()
}

/// `{tenant_id, db_backend, healthy, message}` of a tenant.
fn health(tenant: &Value) -> Value {
    let healthy = tenant.get("is_active").and_then(Value::as_bool).unwrap_or_default();
    serde_json::json!({
        "tenant_id": tenant.get("tenant_id"),
        "db_backend": tenant.get("db_backend"),
        "healthy": healthy,
        "message": if healthy { "its people may sign in" } else { "it is switched off" },
    })
}

fn shaped(answer: Answer, shape: impl Fn(&Value) -> Value) -> Answer {
    let told = match answer.told {
        Told::Done(bytes) => {
            let value = serde_json::from_slice(&bytes).unwrap_or_default();
            Told::Done(Bytes::from(shape(&value).to_string()))
        }
        other => other,
    };
    Answer { told, ..answer }
}

fn respond(verb: Verb, answer: Answer) -> Response<Body> {
    let mut headers = http::HeaderMap::new();
    answer.describe(&mut headers);
    // Some answers show a token once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = match answer.told {
        Told::Done(value) => json_response(verb.success(), value),
        Told::AskFirst(asked) => {
            let body = serde_json::to_vec(&asked).unwrap_or_default();
            json_response(StatusCode::ACCEPTED, Bytes::from(body))
        }
        Told::Refused(refusal) => refusal_response(&refusal),
        Told::Streamed(_) | Told::Cancelled(_) | Told::Lent(_) => {
            refusal_response(&Refusal::Unavailable("answer".to_owned()))
        }
    };
    response.headers_mut().extend(headers);
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_is_read_as_the_sdk_writes_it() {
        let read = query_of("search=a%2Bb@example.org&include_inactive=true&limit=50&offset=0");
        let wanted = json!({
            "search": "a+b@example.org", "include_inactive": true, "limit": 50, "offset": 0,
        });
        assert_eq!(Value::Object(read), wanted);
    }
}
