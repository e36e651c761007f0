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
use crate::knock::{Hints, Knock, Wanted};
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

/// `/v1/users/{id}/totp`
pub fn totp() -> Route {
    verb!(on_delete, ResetTotp)
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
            ask(gateway.0, Verb::UpdateTenant, at, Ok(switched_off()), door.knock).await
        },
    );
    verb!(on_get, ReadTenant).merge(verb!(on_patch, UpdateTenant)).merge(delete)
}

/// `/v1/tenants/{id}/health`
pub fn tenant_health() -> Route {
    on_get(
        |gateway: State<Arc<Gateway>>, at: RawPathParams, _: RawQuery, door: AtDoor| async move {
            let answer = answer(gateway.0, Verb::ReadTenant, at, Ok(Map::new()), door.knock).await;
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

/// `/v1/me/grants`
pub fn grants() -> Route {
    verb!(on_get, ListGrants)
}

/// `/v1/me/grants/{id}`
pub fn grant() -> Route {
    verb!(on_delete, RevokeGrant)
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

/// `/v1/users/{id}/extensions` and `/v1/me/extensions`
pub fn extensions() -> Route {
    verb!(on_get, ListExtensions)
}

/// `/v1/users/{id}/extensions/disable` and `/v1/me/extensions/disable`
pub fn disable_extension() -> Route {
    verb!(on_post, DisableExtension)
}

/// `/v1/users/{id}/extensions/disable/{app}` and `/v1/me/extensions/disable/{app}`: switched off no longer.
pub fn enable_extension() -> Route {
    on_delete(
        |gateway: State<Arc<Gateway>>, at: RawPathParams, _: RawQuery, door: AtDoor| async move {
            let app = at.iter().find(|(name, _)| *name == "app").map(|(_, app)| Value::from(app));
            let change = Map::from_iter([("app_id".to_owned(), app.unwrap_or_default())]);
            ask(gateway.0, Verb::EnableExtension, at, Ok(change), door.knock).await
        },
    )
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
    let (knock, change) = read(&gateway, verb, query.as_deref(), door).await;
    ask(gateway, verb, at, change, knock).await
}

/// `DELETE /v1/users/{id}?permanent=bool`
async fn delete_user(
    gateway: Arc<Gateway>,
    at: RawPathParams,
    RawQuery(query): RawQuery,
    door: AtDoor,
) -> Response<Body> {
    let change = query_of(query.as_deref().unwrap_or_default());
    let (verb, change) = match change.map(|mut query| (query.remove("permanent"), query)) {
        Ok((Some(Value::Bool(true)), rest)) => (Verb::RemoveUser, Ok(rest)),
        Ok((None | Some(Value::Bool(false)), rest)) if rest.is_empty() => {
            (Verb::UpdateUser, Ok(switched_off()))
        }
        Ok(_) => {
            let wanted = "`permanent` is `true` or `false`, and nothing else is taken".to_owned();
            (Verb::UpdateUser, Err(Refusal::MalformedRequest(wanted)))
        }
        Err(refusal) => (Verb::UpdateUser, Err(refusal)),
    };
    ask(gateway, verb, at, change, door.knock).await
}

fn switched_off() -> Map<String, Value> {
    Map::from_iter([("is_active".to_owned(), Value::Bool(false))])
}

async fn ask(
    gateway: Arc<Gateway>,
    verb: Verb,
    at: RawPathParams,
    change: Result<Map<String, Value>, Refusal>,
    knock: Knock,
) -> Response<Body> {
    respond(verb, answer(gateway, verb, at, change, knock).await)
}

/// What could not be read is refused by the pipeline, so that the caller is identified and it is on record.
async fn answer(
    gateway: Arc<Gateway>,
    verb: Verb,
    at: RawPathParams,
    change: Result<Map<String, Value>, Refusal>,
    mut knock: Knock,
) -> Answer {
    let own = if verb.is_of_one_person() { "me" } else { "" };
    let named = at.iter().find(|(name, _)| *name == "id");
    let target = named.map_or(own, |(_, id)| id).to_owned();
    let wanted = change.and_then(|mut change| {
        knock.hints.merge(Hints { user: None, tenant: tenant_hint(verb, &mut change)? });
        let password = password_of(verb, &mut change)?;
        Ok(ManageWanted { verb, target, change, password })
    });
    knock.wanted = wanted.map_or_else(Wanted::Malformed, Wanted::Manage);
    unseen(verb, pipeline::run(gateway, knock).await)
}

/// What belongs to another tenant is told like what is not there, so that nobody learns what others have; the ledger
/// says which of the two it was.
fn unseen(verb: Verb, answer: Answer) -> Answer {
    match (&answer.told, verb.thing()) {
        (Told::Refused(refusal), Some(thing)) if refusal.is_of_the_tenant_gate() => {
            let told = Told::Refused(Refusal::NotThere(thing.to_owned()));
            Answer { rules: Vec::new(), told, ..answer }
        }
        _ => answer,
    }
}

/// Whoever sends a tenant along names its own (wire-contract.md 1.4); only a tenant to be made is named otherwise.
fn tenant_hint(verb: Verb, change: &mut Map<String, Value>) -> Result<Option<String>, Refusal> {
    if verb == Verb::CreateTenant {
        return Ok(None);
    }
    match change.remove("tenant_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(tenant)) => Ok(Some(tenant).filter(|tenant| tenant != PLATFORM)),
        Some(_) => Err(Refusal::HintMismatch("tenant_id")),
    }
}

/// What may never be part of the arguments: the password of a new user, and that of a tenant's own database, for
/// which the gateway has no use. Anywhere else a password is a member that is not known.
fn password_of(
    verb: Verb,
    change: &mut Map<String, Value>,
) -> Result<Option<SecretString>, Refusal> {
    if verb == Verb::CreateTenant {
        change.remove("db_config");
    }
    if verb != Verb::CreateUser {
        return Ok(None);
    }
    match change.remove("password") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(SecretString::from(text))),
        Some(_) => Err(Refusal::MalformedBody("`password` is a text".to_owned())),
    }
}

/// The tenant that stands for all in the contract; scopes are named in one's own all the same.
const PLATFORM: &str = "_platform_";

/// What the body says, or the query where there is no body; a change of a role has both.
async fn read(
    gateway: &Gateway,
    verb: Verb,
    query: Option<&str>,
    door: AtDoor,
) -> (Knock, Result<Map<String, Value>, Refusal>) {
    let AtDoor { knock, body, method } = door;
    let query = query_of(query.unwrap_or_default());
    if method == Method::GET || method == Method::DELETE {
        return (knock, query);
    }
    let change = match read_body(gateway, body).await.map(|json| json.value) {
        Ok(Value::Object(change)) => Ok(change),
        Ok(_) => Err(Refusal::MalformedBody("an object is wanted".to_owned())),
        Err(refusal) => Err(refusal),
    };
    let both = change.and_then(|mut change| {
        let mut query = query?;
        if verb == Verb::UpdateRole
            && let Some(cascade) = query.remove("cascade")
        {
            change.insert("cascade".to_owned(), cascade);
        }
        if query.is_empty() {
            Ok(change)
        } else {
            Err(Refusal::MalformedRequest("this takes no such query".to_owned()))
        }
    });
    (knock, both)
}

/// Members of a query that are no text.
const TRUTHS: [&str; 4] = ["include_inactive", "is_active", "cascade", "permanent"];
const NUMBERS: [&str; 2] = ["limit", "offset"];

/// A query as JSON, each member once; truth values are `true` and `false` (wire-contract.md 0.11). What is neither
/// stays a text, which no reader takes for one.
fn query_of(query: &str) -> Result<Map<String, Value>, Refusal> {
    let mut members = Map::new();
    for (key, text) in form_urlencoded::parse(query.as_bytes()) {
        let value = match text.as_ref() {
            "true" | "false" if TRUTHS.contains(&key.as_ref()) => Value::Bool(text == "true"),
            text if NUMBERS.contains(&key.as_ref()) => {
                text.parse::<u32>().map_or_else(|_| Value::from(text), Value::from)
            }
            text => Value::from(text),
        };
        if members.insert(key.into_owned(), value).is_some() {
            return Err(Refusal::MalformedRequest("a member of the query comes twice".to_owned()));
        }
    }
    Ok(members)
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
    fn a_query_is_read_as_the_sdk_writes_it_and_a_search_for_a_number_is_a_text() {
        let read = query_of("search=a%2Bb@example.org&include_inactive=true&limit=50&offset=0");
        let wanted = json!({
            "search": "a+b@example.org", "include_inactive": true, "limit": 50, "offset": 0,
        });
        assert_eq!(read.map(Value::Object).ok(), Some(wanted));
        let read = query_of("search=2024&role=true&limit=-1").unwrap();
        assert_eq!(Value::Object(read), json!({ "search": "2024", "role": "true", "limit": "-1" }));
        assert!(query_of("permanent=false&permanent=true").is_err());
    }

    #[test]
    fn a_password_is_taken_out_of_a_new_user_only_and_never_silently_dropped() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let mut new = map(json!({ "email": "a@b.example", "password": "12345678" }));
        assert!(password_of(Verb::CreateUser, &mut new).unwrap().is_some());
        assert!(!new.contains_key("password"));
        let mut number = map(json!({ "password": 12345678 }));
        assert!(password_of(Verb::CreateUser, &mut number).is_err());
        let mut update = map(json!({ "password": "12345678" }));
        assert!(password_of(Verb::UpdateUser, &mut update).unwrap().is_none());
        assert!(update.contains_key("password"), "so that its reader refuses it");
        let mut tenant = map(json!({ "db_config": { "password": "x" } }));
        password_of(Verb::CreateTenant, &mut tenant).unwrap();
        assert!(tenant.is_empty());
    }
}
