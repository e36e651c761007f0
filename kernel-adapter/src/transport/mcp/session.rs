//! One session with one MCP server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use portcullis_policies::{ActionType, AppId};
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig, ErrorCode, Implementation};
use rmcp::model::{JsonObject, PaginatedRequestParams};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ClientHandler, RoleClient, ServiceError, ServiceExt};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::child::{self, Group};
use super::http_client::{self, HttpClient, is_lost, was_not_begun};
use super::{DiscoverError, OnToolsChanged};
use crate::app::{App, HttpUpstream, McpStdio, Upstream};
use crate::call::ResolvedCall;
use crate::catalogue::mcp::McpTool;
use crate::outcome::{Class, Outcome, bounded};

/// Longest that starting, greeting and listing may take together.
const CONNECT: Duration = Duration::from_secs(30);
/// First pause after a failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Most tools of one server.
const MAX_TOOLS: usize = 2_000;
/// Most pages of one listing: a server that never ends it must not keep us.
const MAX_PAGES: usize = 200;

/// A server that is connected, or was, or will be.
pub(super) struct Session {
    app: Arc<App>,
    fingerprint: [u8; 32],
    max_answer: usize,
    on_tools_changed: OnToolsChanged,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    was_connected: bool,
    failures: u32,
    not_before: Option<Instant>,
}

/// A connection that was greeted and listed.
struct Live {
    service: RunningService<RoleClient, Listener>,
    group: StdMutex<Option<Group>>,
    tools: StdMutex<Arc<HashMap<String, McpTool>>>,
    stale: Arc<AtomicBool>,
}

/// Identity of an upstream's configuration, credentials included, without keeping them.
pub(super) fn fingerprint(upstream: &Upstream) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    match upstream {
        Upstream::McpStdio(s) => {
            part(s.command.as_os_str().as_encoded_bytes());
            part(format!("{:?}", s.dir).as_bytes());
            s.args.iter().for_each(|a| part(a.as_bytes()));
            for (name, value) in &s.env {
                part(name.as_bytes());
                part(value.expose_secret().as_bytes());
            }
        }
        Upstream::McpHttp(h) => {
            part(h.base.to_string().as_bytes());
            if let Some(c) = &h.credential {
                part(c.header.as_str().as_bytes());
                part(c.value.expose_secret().as_bytes());
            }
        }
        Upstream::Http(_) | Upstream::Proxy(_) | Upstream::Own => {}
    }
    hash.finalize().into()
}

impl Session {
    pub(super) fn new(
        app: Arc<App>,
        fingerprint: [u8; 32],
        max_answer: usize,
        on_tools_changed: OnToolsChanged,
    ) -> Session {
        Session { app, fingerprint, max_answer, on_tools_changed, state: Mutex::default() }
    }

    pub(super) fn is_for(&self, fingerprint: &[u8; 32]) -> bool {
        self.fingerprint == *fingerprint
    }

    /// The tools as the server lists them now.
    pub(super) async fn list(&self, deadline: Instant) -> Result<Vec<McpTool>, DiscoverError> {
        let live =
            timeout_at(deadline, self.live()).await.map_err(|_| DiscoverError::Timeout)??;
        let mut tools: Vec<McpTool> = live.tools().values().cloned().collect();
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tools)
    }

    /// Calls a tool; a read is tried once more on a new connection when the old one was lost.
    pub(super) async fn call(&self, call: &ResolvedCall, max_answer: usize) -> Outcome {
        let Ok(arguments) = serde_json::from_slice::<JsonObject>(call.args()) else {
            return Outcome::failed(Class::BadRequest, "the arguments are no JSON object");
        };
        let mut retries = u8::from(call.tool().spec.action_type == ActionType::Read);
        loop {
            let live = match timeout_at(call.deadline(), self.live()).await {
                Ok(Ok(live)) => live,
                Ok(Err(e)) => return Outcome::failed(Class::Unreachable, e),
                Err(_) => return Outcome::failed(Class::TooLate, "not connected in time"),
            };
            if let Err(changed) = live.unchanged(call) {
                (self.on_tools_changed)(&self.app.id);
                return changed;
            }
            let function = call.tool().name().function().to_owned();
            let params = CallToolRequestParams::new(function).with_arguments(arguments.clone());
            portcullis_audit::crash_point!("dispatch_before_send");
            let answer = timeout_at(call.deadline(), live.service.call_tool(params)).await;
            portcullis_audit::crash_point!("dispatch_after_send_before_reply");
            match answer {
                Err(_) => return Outcome::unknown(Class::Timeout, "no answer within the deadline"),
                Ok(Ok(result)) => return answered(&result, max_answer),
                Ok(Err(e)) => {
                    if is_lost(&e) {
                        self.forget(&live).await;
                    }
                    if retries == 0 || !is_lost(&e) {
                        return failed(&e);
                    }
                    retries -= 1;
                }
            }
        }
    }

    /// Lets go of a connection that was lost, unless somebody has made a new one already.
    async fn forget(&self, lost: &Arc<Live>) {
        let mut state = self.state.lock().await;
        if state.live.as_ref().is_some_and(|live| Arc::ptr_eq(live, lost)) {
            state.live = None;
        }
    }

    /// Ends the connection and the child's group.
    pub(super) async fn close(&self) {
        let live = self.state.lock().await.live.take();
        if let Some(live) = live {
            live.service.cancellation_token().cancel();
            let group = live.group.lock().ok().and_then(|mut g| g.take());
            if let Some(group) = group {
                group.finish().await;
            }
        }
    }

    /// The connection, made or listed anew where needed. Waiters share one attempt.
    async fn live(&self) -> Result<Arc<Live>, DiscoverError> {
        let mut state = self.state.lock().await;
        if let Some(live) = state.live.clone().filter(|l| l.is_open()) {
            if !live.stale.swap(false, Ordering::AcqRel) {
                return Ok(live);
            }
            // A caller that gives up in the middle drops this future: then nothing is live, and the
            // next one connects anew. What is not known to be unchanged is not called.
            state.live = None;
            match timeout(CONNECT, live.relist()).await.unwrap_or(Err(DiscoverError::Timeout)) {
                Ok(()) => {
                    state.live = Some(Arc::clone(&live));
                    return Ok(live);
                }
                Err(e) => tracing::warn!(app = %self.app.id, error = %e, "listing anew failed"),
            }
        }
        state.live = None;
        state.wait_for_pause()?;
        let made = timeout(CONNECT, self.connect()).await.unwrap_or(Err(DiscoverError::Timeout));
        match made {
            Ok(live) => {
                let again = state.was_connected;
                *state = State {
                    live: Some(Arc::clone(&live)),
                    was_connected: true,
                    ..State::default()
                };
                if again {
                    (self.on_tools_changed)(&self.app.id);
                }
                Ok(live)
            }
            Err(e) => {
                state.pause();
                Err(e)
            }
        }
    }

    async fn connect(&self) -> Result<Arc<Live>, DiscoverError> {
        let stale = Arc::new(AtomicBool::new(false));
        let listener = Listener {
            app: self.app.id.clone(),
            stale: Arc::clone(&stale),
            on_tools_changed: Arc::clone(&self.on_tools_changed),
        };
        let (service, group) = match &self.app.upstream {
            Upstream::McpStdio(how) => {
                let (service, group) = over_stdio(how, listener, self.max_answer).await?;
                (service, Some(group))
            }
            Upstream::McpHttp(how) => (over_http(how, listener, self.max_answer).await?, None),
            Upstream::Http(_) | Upstream::Proxy(_) | Upstream::Own => {
                return Err(DiscoverError::NotMcp);
            }
        };
        let live = Live { service, group: StdMutex::new(group), tools: StdMutex::default(), stale };
        live.relist().await?;
        Ok(Arc::new(live))
    }
}

async fn over_stdio(
    how: &McpStdio,
    listener: Listener,
    max_answer: usize,
) -> Result<(RunningService<RoleClient, Listener>, Group), DiscoverError> {
    let (group, stdout, stdin) = child::start(how).map_err(|e| {
        DiscoverError::Connect(format!("{} does not start: {e}", how.command.display()))
    })?;
    // Room for the envelope around the answer.
    let limit = max_answer.saturating_add(64 * 1024);
    let transport = AsyncRwTransport::new_client(stdout, stdin).with_max_line_length(limit);
    match listener.serve(transport).await {
        Ok(service) => Ok((service, group)),
        Err(e) => {
            let words = group.last_words().await;
            Err(DiscoverError::Connect(bounded(format!("{e}; its last words: {words:?}"))))
        }
    }
}

async fn over_http(
    how: &HttpUpstream,
    listener: Listener,
    max_answer: usize,
) -> Result<RunningService<RoleClient, Listener>, DiscoverError> {
    let config = http_client::config(how, max_answer)?;
    let transport = StreamableHttpClientTransport::with_client(HttpClient::new()?, config);
    listener.serve(transport).await.map_err(|e| DiscoverError::Connect(bounded(e)))
}

impl State {
    fn wait_for_pause(&self) -> Result<(), DiscoverError> {
        let wait = self.not_before.map(|t| t.saturating_duration_since(Instant::now()));
        match wait.filter(|w| !w.is_zero()) {
            None => Ok(()),
            Some(wait) => Err(DiscoverError::BackingOff {
                failures: self.failures,
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    fn pause(&mut self) {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + doubled.min(LAST_PAUSE));
    }
}

impl Live {
    fn is_open(&self) -> bool {
        // A grandchild may hold the pipe of a server that has ended.
        let ended = |g: &Group| g.leader_has_ended();
        let child_ended = self.group.lock().is_ok_and(|g| g.as_ref().is_some_and(ended));
        !child_ended && !self.service.is_closed() && !self.service.peer().is_transport_closed()
    }

    fn tools(&self) -> Arc<HashMap<String, McpTool>> {
        self.tools.lock().map(|t| Arc::clone(&t)).unwrap_or_default()
    }

    /// Whether the tool is still what the catalogue says.
    fn unchanged(&self, call: &ResolvedCall) -> Result<(), Outcome> {
        let tools = self.tools();
        let is = tools.get(call.tool().name().function()).map(McpTool::digest);
        if is == Some(call.tool().schema_digest) {
            return Ok(());
        }
        let why = if is.is_some() {
            "the tool changed upstream; it is called again once it is accepted"
        } else {
            "the server no longer has this tool"
        };
        Err(Outcome::failed(Class::Quarantined, why))
    }

    async fn relist(&self) -> Result<(), DiscoverError> {
        let protocol = |e: &dyn std::fmt::Display| DiscoverError::Protocol(bounded(e));
        let mut tools = HashMap::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let mut params = PaginatedRequestParams::default();
            params.cursor = cursor;
            let page =
                self.service.peer().list_tools(Some(params)).await.map_err(|e| protocol(&e))?;
            for tool in page.tools {
                let tool = ours(tool);
                if let Some(twice) = tools.insert(tool.name.clone(), tool) {
                    let why = format!("it lists the tool {:?} twice", twice.name);
                    return Err(protocol(&why));
                }
            }
            cursor = page.next_cursor;
            if tools.len() > MAX_TOOLS || cursor.is_none() {
                break;
            }
        }
        if tools.len() > MAX_TOOLS || cursor.is_some() {
            return Err(protocol(&"it lists more tools or pages than are read"));
        }
        if let Ok(mut known) = self.tools.lock() {
            *known = Arc::new(tools);
        }
        Ok(())
    }
}

/// The SDK's tool as ours.
fn ours(tool: rmcp::model::Tool) -> McpTool {
    McpTool {
        input_schema: tool.schema_as_json_value(),
        description: tool.description.map(|d| d.into_owned()).unwrap_or_default(),
        read_only: tool.annotations.as_ref().and_then(|a| a.read_only_hint),
        destructive: tool.annotations.as_ref().and_then(|a| a.destructive_hint),
        name: tool.name.into_owned(),
    }
}

/// A result of the tool: its own error is a refusal by the worker (MCP "Tools", error handling).
fn answered(result: &CallToolResult, max_answer: usize) -> Outcome {
    let value = match serde_json::to_vec(result) {
        Ok(value) if value.len() <= max_answer => bytes::Bytes::from(value),
        Ok(_) => return Outcome::unknown(Class::TooLarge, "the answer is larger than allowed"),
        Err(e) => return Outcome::unknown(Class::Protocol, e),
    };
    if result.is_error != Some(true) {
        return Outcome::Done { value };
    }
    let text = result.content.iter().find_map(|c| c.as_text()).map(|t| t.text.as_str());
    let message = bounded(text.unwrap_or("the tool reports an error"));
    Outcome::Refused { class: Class::WorkerError, message, value: Some(value) }
}

fn failed(e: &ServiceError) -> Outcome {
    match e {
        ServiceError::McpError(said) => {
            let message = bounded(&said.message);
            let refused = [
                ErrorCode::INVALID_PARAMS,
                ErrorCode::METHOD_NOT_FOUND,
                ErrorCode::INVALID_REQUEST,
                ErrorCode::RESOURCE_NOT_FOUND,
            ];
            if refused.contains(&said.code) {
                Outcome::Refused { class: Class::WorkerError, message, value: None }
            } else {
                Outcome::failed(Class::WorkerError, message)
            }
        }
        e if was_not_begun(e) => Outcome::failed(Class::Unreachable, e),
        e if is_lost(e) => Outcome::unknown(Class::Disconnected, e),
        e => Outcome::unknown(Class::Protocol, e),
    }
}

/// Our side of the conversation: listens for changed tools, offers the server nothing (no roots,
/// no sampling, no elicitation: the defaults decline).
struct Listener {
    app: AppId,
    stale: Arc<AtomicBool>,
    on_tools_changed: OnToolsChanged,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new("portcullis", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.stale.store(true, Ordering::Release);
        (self.on_tools_changed)(&self.app);
    }
}
