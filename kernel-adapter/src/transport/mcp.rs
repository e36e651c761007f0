//! MCP workers: one session per app, made when it is needed and made anew when it broke.
//!
//! A session knows the digest of every tool that its server listed last. A call is sent only when
//! that digest is the one in the catalogue, so a tool that changed since the operator looked is not
//! called, whatever the catalogue still says.

mod answer;
mod child;
mod exact;
mod http_client;
mod live;
mod loan;
mod session;

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_policies::AppId;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::app::{App, Upstream};
use crate::call::ResolvedCall;
use crate::catalogue::mcp::McpTool;
use crate::lend::{Borrower, NotLent};
use crate::outcome::{Class, Outcome};
use session::{Session, fingerprint};

/// Called with the id of an app whose tools may have changed.
pub type OnToolsChanged = Arc<dyn Fn(&AppId) + Send + Sync>;

/// Why the tools of an app cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// The app is not an MCP app.
    #[error("the app is not an MCP server: its tools come from its manifest or route table")]
    NotMcp,
    /// It could not be started or reached.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// It failed a moment ago and is left alone for now.
    #[error("it failed {failures} times in a row; next attempt in {wait_ms} ms")]
    BackingOff {
        /// Failures in a row.
        failures: u32,
        /// Time until the next attempt in milliseconds.
        wait_ms: u64,
    },
    /// It did not answer in time.
    #[error("no answer within the deadline")]
    Timeout,
    /// A credential would have to be lent for it, and no intent was written down.
    #[error("its credential is lent only once an intent is durable")]
    NeedsReceipt,
    /// Its credential was not lent.
    #[error(transparent)]
    NotLent(#[from] NotLent),
    /// It answered nonsense.
    #[error("its answer cannot be used: {0}")]
    Protocol(String),
}

/// All sessions of a dispatcher.
pub(crate) struct Sessions {
    by_app: Mutex<HashMap<AppId, Arc<Session>>>,
    max_answer: usize,
    on_tools_changed: OnToolsChanged,
}

impl Sessions {
    pub(crate) fn new(max_answer: usize, on_tools_changed: OnToolsChanged) -> Sessions {
        Sessions { by_app: Mutex::default(), max_answer, on_tools_changed }
    }

    pub(crate) async fn discover(
        &self,
        app: &Arc<App>,
        deadline: Instant,
        borrower: Borrower<'_>,
    ) -> Result<Vec<McpTool>, DiscoverError> {
        self.session(app).await?.list(deadline, borrower).await
    }

    pub(crate) async fn call(&self, call: &ResolvedCall, borrower: Borrower<'_>) -> Outcome {
        match self.session(call.app()).await {
            Ok(session) => session.call(call, self.max_answer, borrower).await,
            Err(e) => Outcome::failed(Class::WrongUpstream, e),
        }
    }

    pub(crate) async fn close(&self, app: &AppId) {
        let session = self.by_app.lock().await.remove(app);
        if let Some(session) = session {
            session.close().await;
        }
    }

    pub(crate) async fn close_all(&self) {
        let sessions: Vec<Arc<Session>> =
            self.by_app.lock().await.drain().map(|(_, session)| session).collect();
        for session in sessions {
            session.close().await;
        }
    }

    /// The session of an app; one for another upstream than the app's gives way to a new one.
    async fn session(&self, app: &Arc<App>) -> Result<Arc<Session>, DiscoverError> {
        if !matches!(app.upstream, Upstream::McpStdio(_) | Upstream::McpHttp(_)) {
            return Err(DiscoverError::NotMcp);
        }
        let wanted = fingerprint(&app.upstream);
        let mut by_app = self.by_app.lock().await;
        if let Some(session) = by_app.get(&app.id)
            && session.is_for(&wanted)
        {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::new(
            Arc::clone(app),
            wanted,
            self.max_answer,
            Arc::clone(&self.on_tools_changed),
        ));
        let old = by_app.insert(app.id.clone(), Arc::clone(&session));
        drop(by_app);
        if let Some(old) = old {
            old.close().await;
        }
        Ok(session)
    }
}
