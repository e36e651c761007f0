//! `/v1/...`: the HTTP API, such that the unmodified `imperal-sdk` and `imperal-mcp` work
//! (wire-contract.md 5.1 and 5.4).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::entry::AtDoor;
use super::read_body;
use crate::answer::{Answer, Told, json_response, refusal_response};
use crate::gateway::Gateway;
use crate::knock::{Hints, Wanted};
use crate::pipeline;
use crate::refusal::Refusal;

/// The body of `POST /v1/extensions/{app}/call`; further keys are ignored, as clients send them.
#[derive(Deserialize)]
struct CallBody {
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    tenant_id: Option<String>,
    function: String,
    /// Kept as the bytes that were sent: they are hashed, shown, stored and forwarded unchanged.
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

/// `POST /v1/extensions/{app}/call`
pub async fn call(
    State(gateway): State<Arc<Gateway>>,
    Path(app): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    respond(run(gateway, app, at).await)
}

/// `POST /v1/extensions/{app}/operate`: the same call, its answer in the words of `imperal-mcp`. That client's
/// `confirmation_bypassed` is its own claim about its own terminal, so it is not even read: the rules ask whom they ask.
pub async fn operate(
    State(gateway): State<Arc<Gateway>>,
    Path(app): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    let answer = run(gateway, app, at).await;
    let shown = match &answer.told {
        Told::Done(value) => json!({ "kind": "tool_result", "content": content(value, answer.op) }),
        Told::AskFirst(asked) => {
            let mut card = serde_json::to_value(asked).unwrap_or_default();
            if let Some(card) = card.as_object_mut() {
                card.insert("kind".into(), json!("confirmation"));
            }
            card
        }
        _ => return respond(answer),
    };
    let mut headers = http::HeaderMap::new();
    answer.describe(&mut headers);
    let mut response = json_response(StatusCode::OK, Bytes::from(shown.to_string()));
    response.headers_mut().extend(headers);
    response
}

/// What the tool gave, without empty members: that client takes any `error`, even none, for a failure.
fn content(value: &[u8], op: Uuid) -> Value {
    let body = serde_json::from_slice(&call_response(value, op)).unwrap_or_default();
    let members: Map<String, Value> = body;
    Value::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// A call of a function, by the body of `/call` and `/operate`.
async fn run(gateway: Arc<Gateway>, app: String, at: AtDoor) -> Answer {
    let AtDoor { mut knock, body, .. } = at;
    match read_call(&gateway, body).await {
        Ok(body) => {
            knock.hints.merge(Hints { user: body.user_id, tenant: body.tenant_id });
            let params = body
                .params
                .map_or_else(|| Bytes::from_static(b"{}"), |raw| Bytes::from(raw.get().to_owned()));
            knock.wanted = Wanted::Function { app, function: body.function, params };
        }
        Err(refusal) => knock.wanted = Wanted::Malformed(refusal),
    }
    pipeline::run(gateway, knock).await
}

/// `POST /v1/confirmations/{id}/confirm` and its alias `/accept`: runs the stored bytes, once.
pub async fn confirm(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    respond(pipeline::run(gateway, at.for_this(Wanted::Confirmed { id })).await)
}

/// `POST /v1/confirmations/{id}/cancel`
pub async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    respond(pipeline::run(gateway, at.for_this(Wanted::Cancelled { id })).await)
}

async fn read_call(gateway: &Gateway, body: Body) -> Result<CallBody, Refusal> {
    let json = read_body(gateway, body).await?;
    serde_json::from_slice(&json.bytes).map_err(|fault| Refusal::MalformedBody(fault.to_string()))
}

/// Shapes an answer as `CallResponse` (wire-contract.md 5.1) or as a refusal.
pub(super) fn respond(answer: Answer) -> Response<Body> {
    let mut headers = http::HeaderMap::new();
    answer.describe(&mut headers);
    let op = answer.op;
    let mut response = match answer.told {
        Told::Done(value) => json_response(StatusCode::OK, call_response(&value, op)),
        Told::Streamed(response) => response,
        // Only `/v1/secrets` asks for one.
        Told::Lent(_) => refusal_response(&Refusal::NoSuchRoute),
        Told::AskFirst(asked) => {
            let body = serde_json::to_vec(&asked).unwrap_or_default();
            json_response(StatusCode::ACCEPTED, Bytes::from(body))
        }
        Told::Cancelled(id) => {
            let body = json!({ "status": "cancelled", "confirmation_id": id });
            json_response(StatusCode::OK, Bytes::from(body.to_string()))
        }
        Told::Refused(Refusal::UnknownFunction(name)) => unknown_function(&name, op),
        Told::Refused(refusal) => refusal_response(&refusal),
    };
    response.headers_mut().extend(headers);
    response
}

/// An `ActionResult` is passed on; an MCP result keeps its word about failure; any other value
/// becomes the `data` of a success.
fn call_response(value: &[u8], op: Uuid) -> Bytes {
    let mut body = Map::new();
    match serde_json::from_slice::<Value>(value).unwrap_or_default() {
        Value::Object(map) if is_action_result(&map) => {
            body.extend(map.into_iter().filter(|(key, _)| PASSED_ON.contains(&key.as_str())));
        }
        data if data.get("isError") == Some(&Value::Bool(true)) => {
            let said = data.pointer("/content/0/text").cloned();
            body.insert("status".into(), json!("error"));
            body.insert("error".into(), said.unwrap_or_else(|| json!("the tool failed")));
            body.insert("data".into(), data);
        }
        data => {
            body.insert("status".into(), json!("success"));
            body.insert("data".into(), data);
        }
    }
    for key in ["data", "summary", "error", "ui"] {
        body.entry(key).or_insert(Value::Null);
    }
    body.insert("trace_id".into(), json!(op));
    Bytes::from(Value::Object(body).to_string())
}

/// wire-contract.md section 8: `status` is one of two words.
fn is_action_result(map: &Map<String, Value>) -> bool {
    matches!(map.get("status").and_then(Value::as_str), Some("success" | "error"))
}

const PASSED_ON: [&str; 8] =
    ["status", "data", "summary", "error", "ui", "error_code", "retryable", "refresh_panels"];

/// wire-contract.md 5.1: an unknown function of a known app is a result, not a fault.
fn unknown_function(name: &str, op: Uuid) -> Response<Body> {
    let refusal = Refusal::UnknownFunction(name.to_owned());
    let body = json!({
        "status": "error",
        "data": null,
        "summary": null,
        "error": refusal.to_string(),
        "ui": null,
        "error_code": refusal.code(),
        "i18n_key": refusal.i18n_key(),
        "trace_id": op,
    });
    json_response(refusal.status(), Bytes::from(body.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(value: &str) -> Value {
        serde_json::from_slice(&call_response(value.as_bytes(), Uuid::nil())).expect("JSON")
    }

    #[test]
    fn an_action_result_is_passed_on_without_what_it_may_not_say() {
        let body = shaped(r#"{"status":"error","error":"no","error_code":"X","secret":"s"}"#);
        assert_eq!((&body["status"], &body["error_code"]), (&json!("error"), &json!("X")));
        assert_eq!(body.get("secret"), None);
    }

    #[test]
    fn a_success_holds_no_error_for_the_client_that_looks_for_the_word() {
        let of = |value: &str| content(value.as_bytes(), Uuid::nil());
        let good = of(r#"{"status":"success","data":{"id":7},"error":null}"#);
        assert_eq!((good.get("error"), &good["data"]["id"]), (None, &json!(7)));
        assert_eq!(of(r#"{"status":"error","error":"no"}"#)["error"], "no");
    }

    #[test]
    fn an_mcp_failure_is_never_told_as_a_success() {
        let body = shaped(r#"{"content":[{"type":"text","text":"no file"}],"isError":true}"#);
        assert_eq!((&body["status"], &body["error"]), (&json!("error"), &json!("no file")));
    }

    #[test]
    fn a_status_of_the_apps_own_is_data() {
        let body = shaped(r#"{"status":"shipped","id":7}"#);
        assert_eq!((&body["status"], &body["data"]["id"]), (&json!("success"), &json!(7)));
    }
}
