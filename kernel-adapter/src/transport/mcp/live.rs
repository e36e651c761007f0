//! One connection to an MCP server: how it comes about, and what the server listed on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};

use portcullis_policies::AppId;
use rmcp::model::{ClientConfig, Implementation, PaginatedRequestParams};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ClientHandler, RoleClient, ServiceExt};

use super::child::{self, Group};
use super::http_client::{self, HttpClient};
use super::loan::OnLoan;
use super::{DiscoverError, OnToolsChanged};
use crate::app::{HttpUpstream, McpStdio};
use crate::call::ResolvedCall;
use crate::catalogue::mcp::McpTool;
use crate::lend::{Borrowed, Borrower, Headers, LentVersion};
use crate::outcome::{Class, Outcome, bounded};

/// Most tools of one server.
const MAX_TOOLS: usize = 2_000;
/// Most pages of one listing: a server that never ends it must not keep us.
const MAX_PAGES: usize = 200;

/// A connection that was greeted and listed.
pub(super) struct Live {
    pub(super) service: RunningService<RoleClient, Listener>,
    pub(super) group: StdMutex<Option<Group>>,
    tools: StdMutex<Arc<HashMap<String, McpTool>>>,
    pub(super) stale: Arc<AtomicBool>,
    /// Which values it was opened with; for others it gives way to a new one.
    pub(super) lent: Vec<LentVersion>,
    /// Where calls show its lent headers; none when it has no such.
    pub(super) on_loan: Option<OnLoan>,
}

/// Starts a child with the environment that is lent to it.
pub(super) async fn over_stdio(
    how: &McpStdio,
    listener: Listener,
    max_answer: usize,
    borrower: Borrower<'_>,
) -> Result<Live, DiscoverError> {
    let stale = Arc::clone(&listener.stale);
    let borrowed = borrower.environment(how).await?;
    let started = child::start(how, &borrowed.what);
    let (group, stdout, stdin) = started.map_err(|e| {
        DiscoverError::Connect(format!("{} does not start: {e}", how.command.display()))
    })?;
    // Room for the envelope around the answer.
    let limit = max_answer.saturating_add(64 * 1024);
    let transport = AsyncRwTransport::new_client(stdout, stdin).with_max_line_length(limit);
    match listener.serve(transport).await {
        Ok(service) => {
            let live = Live::new(service, stale, borrowed.versions);
            Ok(Live { group: StdMutex::new(Some(group)), ..live })
        }
        Err(e) => {
            let words = group.last_words().await;
            Err(DiscoverError::Connect(bounded(format!("{e}; its last words: {words:?}"))))
        }
    }
}

/// Greets a server over HTTP; what is on loan now is for the greeting.
pub(super) async fn over_http(
    how: &HttpUpstream,
    listener: Listener,
    max_answer: usize,
    headers: &Borrowed<Arc<Headers>>,
    on_loan: Option<OnLoan>,
) -> Result<Live, DiscoverError> {
    let stale = Arc::clone(&listener.stale);
    let mut config = http_client::config(how, max_answer);
    if on_loan.is_none() {
        config.custom_headers.extend(headers.what.iter().cloned());
    }
    let client = HttpClient::new(on_loan.clone())?;
    let transport = StreamableHttpClientTransport::with_client(client, config);
    let greeted = listener.serve(transport).await;
    let service = greeted.map_err(|e| DiscoverError::Connect(bounded(e)))?;
    Ok(Live { on_loan, ..Live::new(service, stale, headers.versions.clone()) })
}

impl Live {
    fn new(
        service: RunningService<RoleClient, Listener>,
        stale: Arc<AtomicBool>,
        lent: Vec<LentVersion>,
    ) -> Live {
        let (group, tools) = (StdMutex::default(), StdMutex::default());
        Live { service, group, tools, stale, lent, on_loan: None }
    }

    pub(super) fn is_open(&self) -> bool {
        // A grandchild may hold the pipe of a server that has ended.
        let ended = |g: &Group| g.leader_has_ended();
        let child_ended = self.group.lock().is_ok_and(|g| g.as_ref().is_some_and(ended));
        !child_ended && !self.service.is_closed() && !self.service.peer().is_transport_closed()
    }

    pub(super) fn tools(&self) -> Arc<HashMap<String, McpTool>> {
        self.tools.lock().map(|t| Arc::clone(&t)).unwrap_or_default()
    }

    /// Whether the tool is still what the catalogue says.
    pub(super) fn unchanged(&self, call: &ResolvedCall) -> Result<(), Outcome> {
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

    pub(super) async fn relist(&self) -> Result<(), DiscoverError> {
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

/// Our side of the conversation: listens for changed tools, offers the server nothing (no roots,
/// no sampling, no elicitation: the defaults decline).
pub(super) struct Listener {
    pub(super) app: AppId,
    pub(super) stale: Arc<AtomicBool>,
    pub(super) on_tools_changed: OnToolsChanged,
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
