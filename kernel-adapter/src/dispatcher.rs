//! The dispatcher: takes a cleared call to its worker and says what became of it.

use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use portcullis_audit::IntentReceipt;
use tokio::time::Instant;

use crate::app::{App, Upstream};
use crate::call::ResolvedCall;
use crate::catalogue::mcp::McpTool;
use crate::cleared::Cleared;
use crate::lend::{Borrower, Lender};
use crate::outcome::{Class, Outcome};
use crate::transport::mcp::{DiscoverError, OnToolsChanged, Sessions};
use crate::transport::pool::Pool;
use crate::transport::proxy::{Forwarded, Inbound};
use crate::transport::{Body, http, proxy};

/// Limits and hooks of a dispatcher.
#[derive(Clone)]
pub struct DispatcherOptions {
    /// Largest answer to a function or MCP call, in bytes. Proxied answers stream and have none.
    pub max_answer: usize,
    /// Longest silence in a proxied body, in either direction.
    pub stream_idle: Duration,
    /// Called with the app's id when an MCP server says that its tools changed, or when it was
    /// connected anew; the owner then discovers and builds a new catalogue. Must not block.
    pub on_tools_changed: OnToolsChanged,
}

impl Default for DispatcherOptions {
    fn default() -> Self {
        DispatcherOptions {
            max_answer: 8 * 1024 * 1024,
            stream_idle: Duration::from_secs(60),
            on_tools_changed: Arc::new(|_| {}),
        }
    }
}

/// Sends cleared calls to workers. One for the process; share it in an `Arc`.
pub struct Dispatcher {
    pool: Pool,
    sessions: Sessions,
    options: DispatcherOptions,
}

impl Dispatcher {
    /// A dispatcher without connections; they come about when they are needed. Must be made inside
    /// a tokio runtime.
    pub fn new(options: DispatcherOptions) -> Dispatcher {
        let sessions = Sessions::new(options.max_answer, Arc::clone(&options.on_tools_changed));
        Dispatcher { pool: Pool::new(), sessions, options }
    }

    /// Lists the tools of an MCP app, connecting first where needed. An app whose upstream differs
    /// from the one that it is connected to is connected anew.
    ///
    /// Ask without a receipt first: it is wanted only when a credential has to be lent for it.
    ///
    /// # Errors
    /// [`DiscoverError::NeedsReceipt`]; or the app is no MCP app, cannot be reached, or answers nonsense.
    pub async fn discover(
        &self,
        app: &Arc<App>,
        deadline: Instant,
        lender: &dyn Lender,
        receipt: Option<&IntentReceipt>,
    ) -> Result<Vec<McpTool>, DiscoverError> {
        self.sessions.discover(app, deadline, Borrower { app, lender, receipt }).await
    }

    /// Runs a call to its end. The future must be run to its end too: dropping it may leave an
    /// effect without an outcome, which recovery then records as unknown. Credentials of the vault are
    /// asked of `lender`, after everything else was checked.
    pub async fn call(&self, cleared: Cleared, call: ResolvedCall, lender: &dyn Lender) -> Outcome {
        if let Err(refused) = check(&cleared, &call) {
            return refused;
        }
        let borrower = borrower(&cleared, &call, lender);
        match &call.app().upstream {
            Upstream::Http(upstream) => {
                http::call(&self.pool, upstream, &call, self.options.max_answer, borrower).await
            }
            Upstream::McpStdio(_) | Upstream::McpHttp(_) => {
                self.sessions.call(&call, borrower).await
            }
            Upstream::Proxy(_) => {
                Outcome::failed(Class::WrongUpstream, "a proxied app takes requests, not calls")
            }
            Upstream::Own => {
                Outcome::failed(Class::WrongUpstream, "the gateway carries this out itself")
            }
        }
    }

    /// Forwards a request to a proxied app, bodies streaming both ways. The request's URI is the
    /// canonical path and query *below* the app's prefix: it must lead to the very tool and
    /// arguments of `call`, else nothing is sent.
    ///
    /// # Errors
    /// The outcome when there is no answer to stream.
    pub async fn forward(
        &self,
        cleared: Cleared,
        call: ResolvedCall,
        request: Request<Body>,
        inbound: Inbound,
        lender: &dyn Lender,
    ) -> Result<Forwarded, Outcome> {
        check(&cleared, &call)?;
        let Upstream::Proxy(upstream) = &call.app().upstream else {
            let why = "this app takes calls, not requests";
            return Err(Outcome::failed(Class::WrongUpstream, why));
        };
        let within = (self.options.stream_idle, borrower(&cleared, &call, lender));
        proxy::forward(&self.pool, upstream, &call, request, &inbound, within).await
    }

    /// Ends the session of an app that is no more; does nothing where there is none.
    pub async fn close_app(&self, app: &portcullis_policies::AppId) {
        self.sessions.close(app).await;
    }

    /// Ends every session and every child process with its group.
    pub async fn close(&self) {
        self.sessions.close_all().await;
    }
}

fn borrower<'a>(
    cleared: &'a Cleared,
    call: &'a ResolvedCall,
    lender: &'a dyn Lender,
) -> Borrower<'a> {
    Borrower { app: call.app(), lender, receipt: Some(cleared.receipt()) }
}

/// What must hold for every dispatch, whatever the transport.
fn check(cleared: &Cleared, call: &ResolvedCall) -> Result<(), Outcome> {
    if !cleared.is_for(call.op(), call.digest()) {
        let why = "the clearance is for another call: report a bug";
        return Err(Outcome::failed(Class::NotTheSameCall, why));
    }
    if !call.tool().is_active() || call.tool().name().app() != &call.app().id {
        let why = "the tool waits for the operator's acceptance";
        return Err(Outcome::failed(Class::Quarantined, why));
    }
    if call.deadline() <= Instant::now() {
        return Err(Outcome::failed(Class::TooLate, "the deadline passed before the dispatch"));
    }
    Ok(())
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}
