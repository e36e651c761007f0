//! One session with one MCP server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_policies::ActionType;
use rmcp::model::CallToolRequestParams;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{answered, failed};
use super::exact;
use super::http_client::is_lost;
use super::live::{Listener, Live, over_http, over_stdio};
use super::loan::{OnLoan, Shown};
use super::{DiscoverError, OnToolsChanged};
use crate::app::{App, HttpUpstream, Upstream};
use crate::call::ResolvedCall;
use crate::catalogue::mcp::McpTool;
use crate::lend::{Borrowed, Borrower, CredentialValue, Headers, NotLent};
use crate::outcome::{Class, Outcome};

/// Longest that starting, greeting and listing may take together.
const CONNECT: Duration = Duration::from_secs(30);
/// First pause after a failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);
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
                part_of_value(&mut part, value);
            }
        }
        Upstream::McpHttp(h) => {
            part(h.base.to_string().as_bytes());
            for c in &h.credentials {
                part(c.header.as_str().as_bytes());
                part(c.prefix.as_bytes());
                part_of_value(&mut part, &c.value);
            }
        }
        Upstream::Http(_) | Upstream::Proxy(_) | Upstream::Own => {}
    }
    hash.finalize().into()
}

fn part_of_value(part: &mut impl FnMut(&[u8]), value: &CredentialValue) {
    match value {
        CredentialValue::Fixed(value) => part(value.expose_secret().as_bytes()),
        CredentialValue::Lent(name) => {
            part(b"lent");
            part(name.as_bytes());
        }
    }
}

/// One use of a session: for a call, or to list tools. What is lent for it is lent once.
struct Use<'a> {
    borrower: Borrower<'a>,
    headers: OnceCell<Borrowed<Arc<Headers>>>,
}

impl<'a> Use<'a> {
    fn new(borrower: Borrower<'a>) -> Use<'a> {
        Use { borrower, headers: OnceCell::new() }
    }

    async fn headers(&self, how: &HttpUpstream) -> Result<&Borrowed<Arc<Headers>>, NotLent> {
        let borrow = async || {
            let Borrowed { what, versions } = self.borrower.headers(how).await?;
            Ok(Borrowed { what: Arc::new(what), versions })
        };
        self.headers.get_or_try_init(borrow).await
    }

    /// Shows a connection its lent headers for as long as the guard lives; `None` when it is open
    /// with other values by now. A connection without lent headers needs no showing.
    async fn show(&self, live: &Live) -> Result<Option<Shown>, NotLent> {
        let (Some(on_loan), Upstream::McpHttp(how)) = (&live.on_loan, &self.borrower.app.upstream)
        else {
            return Ok(Some(Shown::default()));
        };
        let headers = self.headers(how).await?;
        let same = headers.versions == live.lent;
        Ok(same.then(|| on_loan.show(Arc::clone(&headers.what))))
    }
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
    pub(super) async fn list(
        &self,
        deadline: Instant,
        borrower: Borrower<'_>,
    ) -> Result<Vec<McpTool>, DiscoverError> {
        let using = Use::new(borrower);
        let live = timeout_at(deadline, self.live(&using)).await;
        let live = live.map_err(|_| DiscoverError::Timeout)??;
        let mut tools: Vec<McpTool> = live.tools().values().cloned().collect();
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tools)
    }

    /// Calls a tool; a read is tried once more on a new connection when the old one was lost.
    pub(super) async fn call(
        &self,
        call: &ResolvedCall,
        max_answer: usize,
        borrower: Borrower<'_>,
    ) -> Outcome {
        let arguments = match exact::arguments(call.args()) {
            Ok(arguments) => arguments,
            Err(why) => {
                let message = why.to_string();
                return Outcome::Refused { class: Class::Invalid, message, value: None };
            }
        };
        let using = Use::new(borrower);
        let mut retries = u8::from(call.tool().spec.action_type == ActionType::Read);
        loop {
            let (live, shown) = match timeout_at(call.deadline(), self.ready(call, &using)).await {
                Ok(Ok(ready)) => ready,
                Ok(Err(nothing_sent)) => return nothing_sent,
                Err(_) => return Outcome::failed(Class::TooLate, "not connected in time"),
            };
            let function = call.tool().name().function().to_owned();
            let params = CallToolRequestParams::new(function).with_arguments(arguments.clone());
            portcullis_audit::crash_point!("dispatch_before_send");
            let answer = timeout_at(call.deadline(), live.service.call_tool(params)).await;
            portcullis_audit::crash_point!("dispatch_after_send_before_reply");
            drop(shown);
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

    /// A connection on which the call's tool is what the catalogue says, with its credentials shown.
    async fn ready(
        &self,
        call: &ResolvedCall,
        using: &Use<'_>,
    ) -> Result<(Arc<Live>, Shown), Outcome> {
        loop {
            let live = self.live(using).await.map_err(|why| match why {
                DiscoverError::NotLent(why) => why.into(),
                why => Outcome::failed(Class::Unreachable, why),
            })?;
            if let Err(changed) = live.unchanged(call) {
                (self.on_tools_changed)(&self.app.id);
                return Err(changed);
            }
            if let Some(shown) = using.show(&live).await? {
                return Ok((live, shown));
            }
            // The value was set again between two looks: the connection is one of before.
            self.forget(&live).await;
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
    async fn live(&self, using: &Use<'_>) -> Result<Arc<Live>, DiscoverError> {
        let mut state = self.state.lock().await;
        if let Some(live) = self.kept(&mut state, using).await? {
            return Ok(live);
        }
        state.wait_for_pause()?;
        let made = timeout(CONNECT, self.connect(using)).await;
        match made.unwrap_or(Err(DiscoverError::Timeout)) {
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
            // That is not the server's fault, and passes at once when the operator sets the value.
            Err(e @ (DiscoverError::NotLent(_) | DiscoverError::NeedsReceipt)) => Err(e),
            Err(e) => {
                state.pause();
                Err(e)
            }
        }
    }

    /// The connection of before, if it is still good for this use. When it is not, or when the caller
    /// gives up in the middle, nothing is live, and the next one connects anew: what is not known to be
    /// unchanged is not called.
    async fn kept(
        &self,
        state: &mut State,
        using: &Use<'_>,
    ) -> Result<Option<Arc<Live>>, DiscoverError> {
        let Some(live) = state.live.take().filter(|l| l.is_open()) else { return Ok(None) };
        // A value that was set again or deleted ends the connection that was opened with it, once the
        // calls on it have ended.
        if using.borrower.versions().await? != live.lent {
            return Ok(None);
        }
        if live.stale.load(Ordering::Acquire) {
            if live.on_loan.is_some() && using.borrower.receipt.is_none() {
                state.live = Some(live);
                return Err(DiscoverError::NeedsReceipt);
            }
            if !self.relist(&live, using).await {
                return Ok(None);
            }
        }
        state.live = Some(Arc::clone(&live));
        Ok(Some(live))
    }

    /// Asks a connection whose tools changed for its list; false when it is of no use any more.
    async fn relist(&self, live: &Live, using: &Use<'_>) -> bool {
        let listing = async {
            let Some(_shown) = using.show(live).await? else { return Ok(false) };
            live.stale.store(false, Ordering::Release);
            live.relist().await.map(|()| true)
        };
        match timeout(CONNECT, listing).await.unwrap_or(Err(DiscoverError::Timeout)) {
            Ok(listed) => listed,
            Err(e) => {
                tracing::warn!(app = %self.app.id, error = %e, "listing anew failed");
                false
            }
        }
    }

    async fn connect(&self, using: &Use<'_>) -> Result<Arc<Live>, DiscoverError> {
        let is_lent = !self.app.upstream.lent().is_empty();
        // Before an intent is asked for: one that has no value would only be one more record.
        using.borrower.versions().await?;
        if is_lent && using.borrower.receipt.is_none() {
            return Err(DiscoverError::NeedsReceipt);
        }
        let listener = Listener {
            app: self.app.id.clone(),
            stale: Arc::default(),
            on_tools_changed: Arc::clone(&self.on_tools_changed),
        };
        let (live, _shown) = match &self.app.upstream {
            Upstream::McpStdio(how) => {
                let live = over_stdio(how, listener, self.max_answer, using.borrower).await?;
                (live, Shown::default())
            }
            Upstream::McpHttp(how) => {
                let headers = using.headers(how).await?;
                let on_loan = is_lent.then(OnLoan::default);
                let shown = on_loan.as_ref().map(|on_loan| on_loan.show(Arc::clone(&headers.what)));
                let live = over_http(how, listener, self.max_answer, headers, on_loan).await?;
                (live, shown.unwrap_or_default())
            }
            Upstream::Http(_) | Upstream::Proxy(_) | Upstream::Own => {
                return Err(DiscoverError::NotMcp);
            }
        };
        live.relist().await?;
        Ok(Arc::new(live))
    }
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
