//! The reverse proxy: one request to one upstream, bodies streaming both ways.
//!
//! What the upstream is asked for is made anew from the arguments that were decided over
//! ([`crate::catalogue::routes::RouteMatch::target`]); headers go through [`headers`]; bodies are
//! counted and hashed on their way ([`metered`]). Upgrades are refused: a tunnel has no tool name.

mod headers;
mod metered;

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use portcullis_policies::ActionType;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::pool::{Pool, full};
use super::{Body, http as function};
use crate::app::ProxyUpstream;
use crate::call::ResolvedCall;
use crate::lend::Borrower;
use crate::outcome::{Class, Outcome};
use metered::{Ending, Metered};

pub use headers::only_for_upstream;
pub use metered::Tally;

/// Where the request came from, as the gateway saw it; it becomes `X-Forwarded-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Address of the peer, or the one that a trusted proxy vouched for.
    pub source: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The `Host` of the request, checked at the edge.
    pub host: String,
}

/// An answer that has begun, and its end.
#[derive(Debug)]
pub struct Forwarded {
    /// Head and streaming body for the caller.
    pub response: Response<Body>,
    /// Resolves when the body has ended, however it ended.
    pub end: StreamEnd,
}

/// The end of a proxied exchange, still to come.
#[derive(Debug)]
pub struct StreamEnd {
    status: StatusCode,
    request: oneshot::Receiver<Ending>,
    response: oneshot::Receiver<Ending>,
}

/// What became of a proxied exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The upstream's status.
    pub status: StatusCode,
    /// The outcome for the ledger.
    pub outcome: Outcome,
    /// Count and hash of the request body as sent; `None` when it was not sent to its end.
    pub request: Option<Tally>,
    /// Count and hash of the response body; `None` when the client went away before its end.
    pub response: Option<Tally>,
}

impl StreamEnd {
    /// Waits for the end of the response body. Never hangs: it ends with the body, which the idle
    /// limit ends at last, or with the client.
    pub async fn wait(mut self) -> Exchange {
        // A body that was dropped before its end says nothing: then the client went away.
        let response = self.response.await.ok();
        let request = self.request.try_recv().ok().and_then(|e| e.tally());
        let outcome = match &response {
            Some(Ending::Broken(why)) => Outcome::unknown(Class::Disconnected, why),
            Some(Ending::Whole(_)) | None => by_status(self.status),
        };
        let response = response.and_then(|e| e.tally());
        Exchange { status: self.status, outcome, request, response }
    }
}

/// The outcome that the head of an answer tells.
fn by_status(status: StatusCode) -> Outcome {
    let class = Class::Status(status.as_u16());
    let message = format!("the upstream answered {status}");
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
            Outcome::unknown(class, message)
        }
        s if s.is_client_error() => Outcome::Refused { class, message, value: None },
        s if s.is_server_error() => Outcome::failed(class, message),
        _ => Outcome::Done { value: bytes::Bytes::new() },
    }
}

/// Forwards one request; `within` are the idle limit and who lends its credentials.
pub(crate) async fn forward(
    pool: &Pool,
    upstream: &ProxyUpstream,
    call: &ResolvedCall,
    request: Request<Body>,
    inbound: &Inbound,
    (idle, borrower): (Duration, Borrower<'_>),
) -> Result<Forwarded, Outcome> {
    let bad = |why: String| Outcome::failed(Class::BadRequest, why);
    let target = target(upstream, call, &request)?;
    let uri = function::join(&upstream.http.base, &target).map_err(bad)?;
    let credentials = function::credentials(&upstream.http, call, borrower).await?;
    let (head, body) = request.into_parts();
    let headers = headers::to_upstream(head.headers, credentials, call, inbound).map_err(bad)?;
    let outgoing = Outgoing { method: head.method, uri, headers };
    let (answer, sent) = send(pool, call, &outgoing, body, idle).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Outcome::unknown(Class::Protocol, "the upstream switched protocols unasked"));
    }
    Ok(respond(answer, sent, idle))
}

/// Finds the route again and holds it against the call: what is sent is what was decided.
fn target(
    upstream: &ProxyUpstream,
    call: &ResolvedCall,
    request: &Request<Body>,
) -> Result<String, Outcome> {
    if headers::wants_upgrade(request.headers()) {
        return Err(Outcome::failed(Class::BadRequest, "protocol upgrades are not forwarded"));
    }
    let uri = request.uri();
    let found = upstream.routes.find(request.method(), uri.path(), uri.query());
    let found = found.map_err(|e| Outcome::failed(Class::BadRequest, e))?;
    if *found.function != *call.tool().name().function() || found.args != *call.args() {
        let why = "the request is not the one that was decided: report a bug";
        return Err(Outcome::failed(Class::NotTheSameCall, why));
    }
    Ok(found.target.as_str().to_owned())
}

struct Outgoing {
    method: Method,
    uri: http::Uri,
    headers: http::HeaderMap,
}

impl Outgoing {
    fn with(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Sends the request and waits for the head of the answer; a read without a body is tried once
/// more when not one byte came back.
async fn send(
    pool: &Pool,
    call: &ResolvedCall,
    outgoing: &Outgoing,
    body: Body,
    idle: Duration,
) -> Result<(Response<Incoming>, oneshot::Receiver<Ending>), Outcome> {
    let mut retries =
        u8::from(body.is_end_stream() && call.tool().spec.action_type == ActionType::Read);
    let (mut metered, mut sent) = Metered::new(body, idle);
    loop {
        portcullis_audit::crash_point!("dispatch_before_send");
        let head = timeout_at(call.deadline(), pool.send(outgoing.with(metered.boxed_unsync())));
        let failure = match head.await {
            Ok(Ok(answer)) => {
                portcullis_audit::crash_point!("dispatch_after_send_before_reply");
                return Ok((answer, sent));
            }
            Ok(Err(e)) if e.is_connect() => {
                Outcome::failed(Class::Unreachable, function::causes(&e))
            }
            Ok(Err(e)) => no_answer(&mut sent, &function::causes(&e)),
            Err(_) => {
                return Err(Outcome::unknown(Class::Timeout, "no answer within the deadline"));
            }
        };
        if retries == 0 {
            return Err(failure);
        }
        retries -= 1;
        (metered, sent) = Metered::new(full(bytes::Bytes::new()), idle);
    }
}

/// The request was on its way: whose fault it is that nothing came back shows in its body.
fn no_answer(sent: &mut oneshot::Receiver<Ending>, why: &str) -> Outcome {
    match sent.try_recv() {
        Ok(Ending::Broken(body)) => Outcome::unknown(Class::ClientGone, body),
        _ => Outcome::unknown(Class::Disconnected, why),
    }
}

fn respond(
    answer: Response<Incoming>,
    request: oneshot::Receiver<Ending>,
    idle: Duration,
) -> Forwarded {
    let (head, body) = answer.into_parts();
    let body = body.map_err(|e| Box::new(e) as super::BoxError).boxed_unsync();
    let (metered, ending) = Metered::new(body, idle);
    let mut response = Response::new(metered.boxed_unsync());
    *response.status_mut() = head.status;
    *response.headers_mut() = headers::to_caller(head.headers);
    Forwarded { response, end: StreamEnd { status: head.status, request, response: ending } }
}
