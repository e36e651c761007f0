//! A requested name and arguments become a [`ToolCall`]: a known tool of a known app, arguments
//! that fit its schema, the target's tenant, and the exact argument bytes.
//!
//! Unknown tools, quarantined tools and arguments that do not fit are refusals here. Which caller
//! may do what is no business of this file.

mod cached;
mod secret;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri, header};
use portcullis_kernel_adapter::{
    App, Catalogue, RouteRefusal, Tool, ToolState, call_digest, only_for_upstream,
};
use portcullis_policies::{
    ActionType, AppId, Confirmation, PreparedPrincipal, Question, RequestFacts, TenantId, ToolName,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sync_wrapper::SyncWrapper;
use uuid::Uuid;

use crate::confirm::{OwnApproval, ShownRequest};
use crate::door::read_bytes;
use crate::edge::StrictJson;
use crate::gateway::Gateway;
use crate::guard;
use crate::identify::Caller;
use crate::in_force::InForce;
use crate::knock::{Hints, RouteWanted, Wanted};
use crate::manage::{self, ManageWanted, Managed};
use crate::refusal::{Changed, Refusal, Violation};

pub use cached::{OwnCached, section_name};
pub use secret::{Changeable, OwnCall, OwnSecret, changeable};

/// A call that makes sense: what would run, on whose things, with which bytes.
///
/// Only this file makes one.
#[derive(Debug)]
pub struct ToolCall {
    app: Arc<App>,
    tool: Arc<Tool>,
    args: StrictJson,
    digest: [u8; 32],
    target_tenant: TenantId,
    /// Id of the person on whose things it works, where the app says so; another text names nobody of the directory.
    target_owner: Option<String>,
    /// What the gateway itself carries out; then nothing is dispatched.
    own: Option<Own>,
    forward: Option<SyncWrapper<Box<http::Request<axum::body::Body>>>>,
}

impl ToolCall {
    /// The app that serves the tool.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The tool.
    #[must_use]
    pub fn tool(&self) -> &Arc<Tool> {
        &self.tool
    }

    /// The arguments, parsed once.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.args.value
    }

    /// The exact argument bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.args.bytes
    }

    /// SHA-256 over tool name and exact argument bytes; permit, receipt and confirmation carry it.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The tenant on whose things the tool works.
    #[must_use]
    pub fn target_tenant(&self) -> &TenantId {
        &self.target_tenant
    }

    /// The request to forward, for a proxied call; the first taker has it.
    pub fn take_forward(&mut self) -> Option<Box<http::Request<axum::body::Body>>> {
        self.forward.take().map(SyncWrapper::into_inner)
    }

    /// The secret that the gateway itself does something with, `app/name`.
    #[must_use]
    pub fn own_secret(&self) -> Option<String> {
        match &self.own {
            Some(Own::Secrets(own)) => own.shown(),
            _ => None,
        }
    }

    /// What the gateway itself carries out; the first taker has it.
    pub fn take_own(&mut self) -> Option<Own> {
        self.own.take()
    }

    /// Whether its bytes can be kept until somebody confirms.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        match &self.own {
            None => true,
            Some(Own::Secrets(_) | Own::Cached(_) | Own::Approval(_)) => false,
            Some(Own::Managed(managed)) => managed.can_wait(),
        }
    }

    /// What is told when they can't.
    #[must_use]
    pub fn cannot_wait(&self) -> Refusal {
        match &self.own {
            Some(Own::Secrets(_)) => Refusal::ConfirmOnPage,
            _ => Refusal::NotConfirmable,
        }
    }

    /// The question that the rules are asked about this call.
    #[must_use]
    pub fn question<'a>(
        &'a self,
        op: Uuid,
        principal: &'a PreparedPrincipal,
        request: RequestFacts,
        confirmation: &'a Confirmation,
    ) -> Question<'a> {
        Question {
            op,
            call_digest: self.digest,
            principal,
            tool: &self.tool.spec.name,
            target_tenant: &self.target_tenant,
            target_id: None,
            target_owner: self.target_owner.as_deref(),
            input: &self.args.value,
            request,
            confirmation,
        }
    }
}

/// What the gateway carries out itself.
#[derive(Debug)]
pub enum Own {
    /// Something about secrets.
    Secrets(OwnCall),
    /// Something that an app's code keeps.
    Cached(OwnCached),
    /// Something about users, roles, tenants or one's own account.
    Managed(Box<Managed>),
    /// A word about what somebody else asks for.
    Approval(Box<OwnApproval>),
}

/// A proxied request with its body, as it is stored for a confirmation.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredRequest {
    method: String,
    target: String,
    /// Those that the service gets: no credential, and no business of the connection.
    headers: Vec<(String, String)>,
    body: String,
}

impl StoredRequest {
    /// What the asker is shown of it, and what its hash covers.
    #[must_use]
    pub fn shown(&self) -> ShownRequest {
        let body = BASE64.decode(&self.body).unwrap_or_default();
        let line = (self.method.clone(), self.target.clone());
        ShownRequest::new(line, self.headers.clone(), &body)
    }
}

impl ToolCall {
    /// What would run, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        summary(&self.tool.spec.name, self.tool.spec.action_type)
    }

    /// Reads the request of a proxied call whole, so that it can be stored; none for other calls.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`], and [`Refusal::MalformedRequest`] for a header that is no text: what is confirmed has
    /// to be kept and shown.
    pub async fn store_forward(&mut self, limit: usize) -> Result<Option<StoredRequest>, Refusal> {
        let Some(request) = self.take_forward() else { return Ok(None) };
        let (parts, body) = request.into_parts();
        let body = read_bytes(body, limit).await?;
        let mut kept = parts.headers;
        let host = kept.remove(header::HOST);
        only_for_upstream(&mut kept);
        // The service gets it as the host that was asked.
        let host = host.iter().map(|host| (&header::HOST, host));
        let headers: Result<_, Refusal> = host.chain(&kept).map(kept_header).collect();
        Ok(Some(StoredRequest {
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            headers: headers?,
            body: BASE64.encode(&body),
        }))
    }

    /// Puts a stored request back.
    ///
    /// # Errors
    /// [`Refusal::ConfirmationChanged`] when it is not what was stored.
    pub fn restore_forward(&mut self, stored: StoredRequest) -> Result<(), Refusal> {
        let changed = || Refusal::from(Changed::Request);
        let body = BASE64.decode(&stored.body).map_err(|_| changed())?;
        let mut request =
            http::Request::builder().method(stored.method.as_str()).uri(stored.target);
        for (name, value) in stored.headers {
            request = request.header(name, value);
        }
        let request = request.body(axum::body::Body::from(body)).map_err(|_| changed())?;
        self.forward = Some(SyncWrapper::new(Box::new(request)));
        Ok(())
    }
}

/// What would run, in one line, of a tool and its action type.
#[must_use]
pub fn summary(name: &ToolName, action: ActionType) -> String {
    format!("{} of {} ({action})", name.function(), name.app())
}

fn kept_header((name, value): (&HeaderName, &HeaderValue)) -> Result<(String, String), Refusal> {
    match value.to_str() {
        Ok(value) => Ok((name.to_string(), value.to_owned())),
        Err(_) => Err(Refusal::MalformedRequest(format!(
            "this waits to be confirmed, and its header `{name}` can't be shown: send ASCII"
        ))),
    }
}

/// Resolves what a door asked for.
///
/// # Errors
/// A refusal that names the app, the function, or every argument that does not fit.
pub fn resolve(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    hints: &Hints,
    wanted: Wanted,
) -> Result<(ToolCall, Confirmation), Refusal> {
    let call = match wanted {
        Wanted::Function { app, function, params } => {
            let args = gateway.json(params)?;
            let name = tool_name(&in_force.catalogue, &app, &function)?;
            let call = function_call(in_force, caller, hints.tenant.as_deref(), &name, args)?;
            // A proxied service takes requests: there is nothing that a call could be sent as.
            if call.app.upstream.as_proxy().is_some() {
                return Err(Refusal::UnknownFunction(shown(&function)));
            }
            no_error_words(gateway, caller, call)
        }
        Wanted::Route(route) => {
            no_error_words(gateway, caller, route_call(in_force, caller, *route)?)
        }
        Wanted::Secret(wanted) => {
            let confirmation = secret::confirmed(&wanted, caller);
            let call = secret::call(gateway, in_force, caller, wanted)?;
            return Ok((call, confirmation));
        }
        Wanted::Cached(wanted) => cached::call(gateway, caller, wanted),
        Wanted::Malformed(refusal) => Err(refusal),
        Wanted::Confirmed { .. }
        | Wanted::Cancelled { .. }
        | Wanted::Approval(_)
        | Wanted::Manage(_)
        | Wanted::Nothing => Err(Refusal::NoSuchRoute),
    };
    Ok((call?, Confirmation::default()))
}

/// A write without the words of what failed in this session a moment ago.
fn no_error_words(gateway: &Gateway, caller: &Caller, call: ToolCall) -> Result<ToolCall, Refusal> {
    let failed = gateway.turns.failed(&guard::turn_of(caller.session(), caller.user_id()));
    guard::of_write(call.tool.spec.action_type, &failed, &call.args.value)?;
    Ok(call)
}

/// Resolves a function by its name; also the way by which stored bytes come back.
///
/// # Errors
/// As [`resolve`].
pub fn function_call(
    in_force: &InForce,
    caller: &Caller,
    tenant_hint: Option<&str>,
    name: &ToolName,
    args: StrictJson,
) -> Result<ToolCall, Refusal> {
    let (app, tool) = find(&in_force.catalogue, name)?;
    guard::of_values(&args.value)?;
    check_arguments(&tool, &args.value)?;
    let digest = call_digest(name, &args.bytes);
    let argument = named(app.tenant_argument.as_ref(), &args.value, "tenant_id")?;
    let target_tenant = target_tenant(&app, argument, tenant_hint, caller)?;
    let owner = named(app.owner_argument.as_ref(), &args.value, "owner")?;
    let target_owner = owner.map(|owner| target_owner(owner, caller));
    Ok(ToolCall { app, tool, args, digest, target_tenant, target_owner, own: None, forward: None })
}

/// Resolves what is asked about people, roles, tenants or one's own account.
///
/// # Errors
/// What does not fit, and what is not there.
pub async fn managed(
    gateway: &Gateway,
    caller: &Caller,
    wanted: ManageWanted,
) -> Result<ToolCall, Refusal> {
    // What somebody made up is no better for being about people.
    guard::of_values(&Value::Object(wanted.change.clone()))?;
    let (managed, facts) = manage::resolve(gateway, caller, wanted).await?;
    let (app, function) = facts.tool;
    let own = Own::Managed(Box::new(managed));
    own_call(gateway, (app, function), own, facts.args, facts.target_tenant)
}

/// A call of one of the gateway's own tools.
///
/// # Errors
/// When the arguments do not fit, which only a defect makes.
pub fn own_call(
    gateway: &Gateway,
    (app, function): (&str, &str),
    own: Own,
    args: Value,
    target_tenant: TenantId,
) -> Result<ToolCall, Refusal> {
    let found = gateway.own.tool(app, function);
    let (app, tool) = found.ok_or_else(|| Refusal::Unavailable("own tools".to_owned()))?;
    check_arguments(tool, &args)?;
    let bytes = Bytes::from(args.to_string());
    let digest = call_digest(tool.name(), &bytes);
    Ok(ToolCall {
        app: Arc::clone(app),
        tool: Arc::clone(tool),
        args: StrictJson { value: args, bytes },
        digest,
        target_tenant,
        target_owner: None,
        own: Some(own),
        forward: None,
    })
}

fn tool_name(catalogue: &Catalogue, app: &str, function: &str) -> Result<ToolName, Refusal> {
    let unknown_app = || Refusal::UnknownApp(shown(app));
    let id: AppId = app.parse().map_err(|_| unknown_app())?;
    catalogue.app(&id).ok_or_else(unknown_app)?;
    ToolName::new(id, function).map_err(|_| Refusal::UnknownFunction(shown(function)))
}

fn find(catalogue: &Catalogue, name: &ToolName) -> Result<(Arc<App>, Arc<Tool>), Refusal> {
    let app = catalogue.app(name.app());
    let app = app.ok_or_else(|| Refusal::UnknownApp(name.app().to_string()))?;
    let tool = catalogue.tool(name);
    let tool = tool.ok_or_else(|| Refusal::UnknownFunction(name.function().to_owned()))?;
    match &tool.state {
        ToolState::Active => Ok((Arc::clone(app), Arc::clone(tool))),
        ToolState::Quarantined { .. } => Err(Refusal::ToolQuarantined(name.to_string())),
    }
}

fn check_arguments(tool: &Tool, args: &Value) -> Result<(), Refusal> {
    tool.check(args).map_err(|violations| {
        let shown = violations.into_iter().map(|v| Violation {
            path: v.path,
            message: v.message,
            keyword: v.keyword,
            missing: v.missing,
        });
        Refusal::InvalidArguments(shown.collect::<Vec<_>>().into())
    })
}

/// What an argument names: a function's own, or a path or query parameter of a route. One that is there and is no text
/// names nobody, and two that differ would let the app take the other one: then the call is refused.
fn named<'a>(
    argument: Option<&String>,
    args: &'a Value,
    what: &'static str,
) -> Result<Option<&'a str>, Refusal> {
    let Some(name) = argument else { return Ok(None) };
    let in_route = ["path", "query"].into_iter().filter_map(|part| args.get(part)?.get(name));
    let mut found = None;
    for value in args.get(name).into_iter().chain(in_route) {
        let text = value.as_str().ok_or(Refusal::HintMismatch(what))?;
        if found.is_some_and(|before| before != text) {
            return Err(Refusal::HintMismatch(what));
        }
        found = Some(text);
    }
    Ok(found)
}

/// The caller's own e-mail is their id; whoever else is named stays as named, because it is somebody else in any case.
fn target_owner(owner: &str, caller: &Caller) -> String {
    match owner.eq_ignore_ascii_case(caller.email()) {
        true => caller.user_id().to_owned(),
        false => owner.to_owned(),
    }
}

/// Whose things the call works on. The app, an argument of the call and the client's hint may each
/// name a tenant; when any of them names another tenant than the caller's, the call is about that
/// one, and the tenant gate of the rules sees it.
fn target_tenant(
    app: &App,
    argument: Option<&str>,
    hint: Option<&str>,
    caller: &Caller,
) -> Result<TenantId, Refusal> {
    let own = caller.tenant();
    let of_app = app.tenant.as_ref().map(TenantId::as_str);
    let hint = hint.filter(|tenant| *tenant != "default");
    let foreign =
        [of_app, argument, hint].into_iter().flatten().find(|tenant| *tenant != own.as_str());
    match foreign {
        None => Ok(own.clone()),
        Some(tenant) => tenant.parse().map_err(|_| Refusal::HintMismatch("tenant_id")),
    }
}

fn route_call(
    in_force: &InForce,
    caller: &Caller,
    route: RouteWanted,
) -> Result<ToolCall, Refusal> {
    let unknown_app = || Refusal::UnknownApp(shown(&route.app));
    let id: AppId = route.app.parse().map_err(|_| unknown_app())?;
    let app = in_force.catalogue.app(&id).ok_or_else(unknown_app)?;
    let proxy = app.upstream.as_proxy().ok_or_else(unknown_app)?;
    let mut request = route.request.into_inner();
    let method = request.method();
    let found = proxy.routes.find(method, route.path.as_str(), route.path.query());
    let matched = found.map_err(|why| match why {
        RouteRefusal::NoRoute => {
            Refusal::UnknownAppRoute(shown(&format!("{method} {}", route.path.as_str())))
        }
        ambiguous => Refusal::MalformedRequest(ambiguous.to_string()),
    })?;
    let name = ToolName::new(id, &matched.function)
        .map_err(|_| Refusal::UnknownFunction(shown(&matched.function)))?;
    let args = StrictJson { value: matched.input, bytes: matched.args };
    let mut call = function_call(in_force, caller, None, &name, args)?;
    // The service sees the path that was decided on, in its one spelling.
    *request.uri_mut() = Uri::from(
        route.path.to_path_and_query().map_err(|_| Refusal::MalformedRequest("path".into()))?,
    );
    call.forward = Some(SyncWrapper::new(Box::new(request)));
    Ok(call)
}

/// Attacker's text in a refusal: printable and short.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}
