//! `/mcp`: the Model Context Protocol over streamable HTTP (design.md section 6).
//!
//! `tools/list` shows only what the caller could be allowed to call, if need be after another sign-in; `tools/call` runs
//! the seven steps. Nothing is kept between requests, so that any replica can answer; what a client says of itself when it begins
//! it keeps itself, signed ([`session`]). Only a call that waits for its person's word waits in one place ([`elicit`]).
//! A tool's MCP name is `{app}__{function}`: an app id holds no underscore, so the first `__` splits it in one way only.

pub mod elicit;
pub mod question;
pub mod session;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use portcullis_kernel_adapter::{Tool as KnownTool, ToolState};
use portcullis_policies::{ActionType, Channel};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tower::ServiceExt;

use elicit::{Elicitations, Pending};
use session::{Modes, Session};

use super::oauth::challenged;
use super::{Edge, read_body};
use crate::answer::{Answer, Asked, Told};
use crate::config::Elicitation;
use crate::directory::beyond;
use crate::edge::StrictJson;
use crate::gateway::Gateway;
use crate::identify::{Caller, Proof};
use crate::in_force::InForce;
use crate::knock::{Knock, Wanted};
use crate::oauth::OAuthFault;
use crate::pipeline::{self, Visit};
use crate::refusal::Refusal;

/// The route of the MCP door.
pub fn service(gateway: Arc<Gateway>) -> MethodRouter<Arc<Gateway>> {
    let door = Door { gateway: Arc::clone(&gateway) };
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(gateway.settings.server.limits.body_bytes)
        // A rebound DNS name brings no credential along, and without one nothing is answered.
        .disable_allowed_hosts();
    let sessions = Arc::new(NeverSessionManager::default());
    let mcp = StreamableHttpService::new(move || Ok(door.clone()), sessions, config);
    let all = Arc::new(Elicitations::default());
    post(move |state, edge, request| enter(state, edge, request, Inside { mcp, all }))
}

type Mcp = StreamableHttpService<Door, NeverSessionManager>;

/// What is behind the door.
#[derive(Clone)]
struct Inside {
    mcp: Mcp,
    all: Arc<Elicitations>,
}

/// No MCP message is read before its sender is known and its JSON has one meaning.
async fn enter(
    State(gateway): State<Arc<Gateway>>,
    Extension(edge): Extension<Edge>,
    request: Request,
    inside: Inside,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let refused = |refusal: &Refusal, scopes: &[String]| {
        let host = parts.uri.authority().map(http::uri::Authority::as_str);
        let named = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        challenged(&gateway, host.or(named), refusal, scopes)
    };
    let knock = Knock::new(&parts, &edge, Channel::Mcp, Wanted::Nothing);
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return refused(&refusal, &[]),
    };
    let caller = visit.caller.clone();
    let session = Session::of(&gateway.forms, &caller, &parts.headers);
    let mut needs = Vec::new();
    let read = async {
        let json = read_body(&gateway, body).await?;
        if is_answer(&json.value) {
            // The message was counted when it came in.
            let knock = Knock { counted: true, ..knock };
            inside.all.answer(&caller, session.as_ref(), &json.value, knock)?;
            return Ok(None);
        }
        needs = step_up(&gateway, &caller, &json.value).await?;
        if needs.is_empty() { Ok(Some(json)) } else { Err(OAuthFault::InsufficientScope.into()) }
    };
    let read = read.await;
    match visit.end(&gateway, read).await {
        Ok(Some(json)) => pass_on(gateway, inside, (caller, session), (parts, json)).await,
        Ok(None) => accepted(),
        Err(refusal) => refused(&refusal, &needs),
    }
}

/// Has a message answered; a call of which somebody must be asked first is asked about where the client can.
async fn pass_on(
    gateway: Arc<Gateway>,
    inside: Inside,
    (caller, session): (Caller, Option<Session>),
    (mut parts, json): (Parts, StrictJson),
) -> Response<Body> {
    let place = AskedHere::default();
    parts.extensions.insert(place.clone());
    let request = http::Request::from_parts(parts, Body::from(json.bytes));
    let mut response = match inside.mcp.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    };
    if json.value.get("method").and_then(Value::as_str) == Some("initialize")
        && gateway.settings.confirmation.elicitation != Elicitation::Off
        && let Some(modes) = Modes::declared(&json.value)
        && let Some(id) = Session::begin(&gateway.forms, &caller, modes)
    {
        response.headers_mut().insert(session::HEADER, id);
    }
    let Some((asked, session)) = place.take().zip(session) else { return response };
    let (head, body) = response.into_parts();
    let usual = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => {
            tracing::error!(%never, "an answer that was made broke off");
            Bytes::new()
        }
    };
    let request = json.value.get("id").cloned().unwrap_or_default();
    let pending = Box::new(Pending { asked, request, usual });
    match elicit::ask(&gateway, &inside.all, (caller, &session), pending) {
        Ok(asking) => asking,
        Err(pending) => Response::from_parts(head, Body::from(pending.usual)),
    }
}

/// Whether a message answers a question of ours.
fn is_answer(message: &Value) -> bool {
    message.get("method").is_none()
        && message.get("id").is_some()
        && (message.get("result").is_some() || message.get("error").is_some())
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Where a call that must be asked about first leaves its question for the door.
#[derive(Clone, Default)]
struct AskedHere(Arc<Mutex<Option<Asked>>>);

impl AskedHere {
    fn put(&self, asked: &Asked) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked.clone());
    }

    fn take(&self) -> Option<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// All scopes that a program should ask for, when a call needs one that it was not granted and that its person holds;
/// none otherwise. Its client then asks the person, where a refusal in a result would only reach the model.
async fn step_up(
    gateway: &Gateway,
    caller: &Caller,
    message: &Value,
) -> Result<Vec<String>, Refusal> {
    let name = message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default();
    let is_call = message.get("method").and_then(Value::as_str) == Some("tools/call");
    if !is_call || !matches!(caller.proof(), Proof::Grant { .. }) {
        return Ok(Vec::new());
    }
    let now = gateway.in_force()?;
    let name = name.replacen("__", "/", 1);
    let Some(tool) = now.catalogue.tools().find(|tool| tool.spec.name.to_string() == name) else {
        return Ok(Vec::new());
    };
    let (held, needs) = (&caller.principal().scopes, needs(tool));
    // What every app's tools of a kind take instead of a scope of their own.
    let any_app = format!("extensions:{}", tool.spec.action_type.as_str());
    let by_kind = tool.spec.scopes.is_empty() && beyond(held, &[any_app]).is_empty();
    if by_kind || beyond(held, &needs).is_empty() {
        return Ok(Vec::new());
    }
    let person = gateway.directory.principal(caller.user_id()).await;
    let person = person.map_err(|fault| Refusal::Unavailable(fault.to_string()))?;
    if !beyond(&person.principal.scopes, &needs).is_empty() {
        return Ok(Vec::new());
    }
    let all: BTreeSet<String> = held.iter().cloned().chain(needs).collect();
    Ok(all.into_iter().collect())
}

#[derive(Clone)]
struct Door {
    gateway: Arc<Gateway>,
}

impl ServerHandler for Door {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new("portcullis", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(INSTRUCTIONS.to_owned());
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let knock = knock(&context, Wanted::Nothing)?;
        let refused = |refusal: Refusal| protocol_error(&refusal);
        let visit = Visit::begin(&self.gateway, &knock).await.map_err(refused)?;
        let found = visible_tools(&self.gateway, &visit.caller);
        let tools = visit.end(&self.gateway, found).await.map_err(refused)?;
        Ok(ListToolsResult { tools, ..ListToolsResult::default() })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let (app, function) = split_name(&request.name);
        let wanted = Wanted::Function {
            app: app.to_owned(),
            function: function.to_owned(),
            params: Bytes::from(arguments.to_string()),
        };
        let knock = knock(&context, wanted)?;
        let answer = pipeline::run(Arc::clone(&self.gateway), knock).await;
        let parts = context.extensions.get::<Parts>();
        let place = parts.and_then(|parts| parts.extensions.get::<AskedHere>());
        if let (Told::AskFirst(asked), Some(place)) = (&answer.told, place) {
            place.put(asked);
        }
        let told = in_record(&answer);
        let mut result = result_of(answer)?;
        result.meta.get_or_insert_default().0.extend(told);
        Ok(result.into())
    }
}

const INSTRUCTIONS: &str = "Every call is decided by policies and recorded. An answer with status \
`confirmation_required` was not carried out: a person must confirm it first. A refusal names the \
rule that refused; do not retry it unchanged.";

/// The tools that some input could be permitted for, by the same rules that decide calls.
fn visible_tools(gateway: &Gateway, caller: &Caller) -> Result<Vec<Tool>, Refusal> {
    let now = gateway.in_force()?;
    Ok(visible(&now, caller, AfterSigningIn::Counts).map(listed).collect())
}

/// What the tools need that a caller could be permitted to call, each scope once.
///
/// # Errors
/// [`Refusal::NoRules`].
pub fn scopes_of_tools(gateway: &Gateway, caller: &Caller) -> Result<Vec<String>, Refusal> {
    let now = gateway.in_force()?;
    let scopes: BTreeSet<String> =
        visible(&now, caller, AfterSigningIn::CountsNot).flat_map(needs).collect();
    Ok(scopes.into_iter().collect())
}

fn needs(tool: &KnownTool) -> Vec<String> {
    match tool.spec.scopes.as_slice() {
        [] => vec![format!("{}:{}", tool.spec.name.app(), tool.spec.action_type.as_str())],
        scopes => scopes.to_vec(),
    }
}

/// Whether a tool counts that only another sign-in of the same person would allow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterSigningIn {
    /// It is shown: who calls it is told which sign-in is needed.
    Counts,
    /// It is not there.
    CountsNot,
}

fn visible<'a>(
    now: &'a InForce,
    caller: &'a Caller,
    after: AfterSigningIn,
) -> impl Iterator<Item = &'a KnownTool> {
    let principal = now.prepare(caller);
    now.catalogue.tools().map(AsRef::as_ref).filter(move |tool: &&KnownTool| {
        let Some(app) = now.catalogue.app(tool.spec.name.app()) else { return false };
        let target = app.tenant.as_ref().unwrap_or_else(|| caller.tenant());
        matches!(tool.state, ToolState::Active)
            // A proxied service takes requests, not calls.
            && app.upstream.as_proxy().is_none()
            && (now.rulebook.may_ever(&principal, &tool.spec.name, target)
                || after == AfterSigningIn::Counts
                    && now.rulebook.may_after_signing_in(&principal, &tool.spec.name, target))
    })
}

fn listed(tool: &KnownTool) -> Tool {
    let schema = match &tool.spec.input_schema {
        Value::Object(map) => map.clone(),
        _ => serde_json::Map::new(),
    };
    let name = format!("{}__{}", tool.spec.name.app(), tool.spec.name.function());
    let action = tool.spec.action_type;
    let hints = ToolAnnotations::new()
        .read_only(action == ActionType::Read)
        .destructive(action == ActionType::Destructive);
    let mut listed = Tool::new(name, tool.spec.description.clone(), schema);
    listed.annotations = Some(hints);
    listed
}

fn split_name(name: &str) -> (&str, &str) {
    name.split_once("__").unwrap_or((name, ""))
}

/// The request behind an MCP message: its headers and its connection.
fn knock(context: &RequestContext<RoleServer>, wanted: Wanted) -> Result<Knock, ErrorData> {
    let lost = || ErrorData::internal_error("the request behind this message is lost", None);
    let parts = context.extensions.get::<Parts>().ok_or_else(lost)?;
    let edge = parts.extensions.get::<Edge>().ok_or_else(lost)?;
    // The message was counted when it came in.
    Ok(Knock { counted: true, ..Knock::new(parts, edge, Channel::Mcp, wanted) })
}

/// Where the call is in the ledger, as HTTP callers see it in headers: an answer over MCP may be one of
/// several events of one response.
fn in_record(answer: &Answer) -> impl Iterator<Item = (String, Value)> + use<> {
    let counted = answer.counted.as_ref().map(|at| json!(at.to_string()));
    let promise = answer.promise_header().map(Value::from);
    let members = [("op", Some(json!(answer.op))), ("session-seq", counted), ("promise", promise)];
    let members = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
    members.map(|(name, value)| (format!("portcullis/{name}"), value))
}

/// Shapes an answer as a tool result. A model can act on a refusal that it can read, so only a
/// tool that is not there is a protocol error.
fn result_of(answer: Answer) -> Result<CallToolResult, ErrorData> {
    match answer.told {
        Told::Done(value) => Ok(done(&value)),
        Told::Streamed(_) => Ok(CallToolResult::structured_error(json!({
            "message": "this tool answers with a stream; call it through /proxy"
        }))),
        Told::Lent(_) => Ok(CallToolResult::default()),
        Told::Cancelled(id) => Ok(CallToolResult::structured_error(json!({
            "status": "cancelled",
            "confirmation_id": id,
            "message": "the person said no; nothing was done",
        }))),
        Told::AskFirst(asked) => {
            Ok(CallToolResult::structured_error(serde_json::to_value(asked).unwrap_or_default()))
        }
        Told::Refused(refusal @ (Refusal::UnknownApp(_) | Refusal::UnknownFunction(_))) => {
            Err(protocol_error(&refusal))
        }
        Told::Refused(refusal) => {
            let mut body = refusal.body();
            if let Some(map) = body.as_object_mut() {
                map.insert("op".into(), json!(answer.op));
            }
            Ok(CallToolResult::structured_error(body))
        }
    }
}

/// An MCP server's own result is passed on; anything else becomes structured content.
fn done(value: &[u8]) -> CallToolResult {
    let value: Value = serde_json::from_slice(value).unwrap_or_default();
    if value.get("content").is_some_and(Value::is_array)
        && let Ok(result) = serde_json::from_value(value.clone())
    {
        return result;
    }
    CallToolResult::structured(value)
}

fn protocol_error(refusal: &Refusal) -> ErrorData {
    ErrorData::invalid_params(refusal.to_string(), Some(refusal.body()))
}
