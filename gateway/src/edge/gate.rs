//! Above hyper: the last checks before a request becomes a call, for both HTTP versions alike.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, uri};
use http_body::Body as _;
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::body::{BodyFate, BoundedBody, Flight, Reply};
use super::connection_state::ConnectionState;
use super::framing::check_authority;
use super::malformed::Reason;
use super::path::CanonicalPath;
use super::report::Noted;
use super::{ConnectionFacts, EdgeService, Shared};

/// Serves the requests of one connection.
pub(super) struct Gate<S> {
    service: S,
    shared: Arc<Shared>,
    facts: ConnectionFacts,
    state: Arc<ConnectionState>,
    /// Requests that hyper has handed over.
    calls: AtomicU64,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>;

impl<S: EdgeService> hyper::service::Service<Request<Incoming>> for Gate<S> {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let flight = Flight::begin(&self.state);
        let refusals = self.refusals();
        match self.admit(request) {
            Err(reason) => Box::pin(async move { Ok(refusals.answer(reason, flight).await) }),
            Ok((request, fate)) => {
                let service = self.service.clone();
                Box::pin(async move { Ok(answer(service, request, fate, refusals, flight).await) })
            }
        }
    }
}

impl<S: EdgeService> Gate<S> {
    pub(super) fn new(
        service: S,
        shared: Arc<Shared>,
        facts: ConnectionFacts,
        state: Arc<ConnectionState>,
    ) -> Gate<S> {
        Gate { service, shared, facts, state, calls: AtomicU64::new(0) }
    }

    fn refusals(&self) -> Refusals {
        let Gate { shared, facts, state, .. } = self;
        Refusals { shared: Arc::clone(shared), facts: *facts, state: Arc::clone(state) }
    }

    /// Checks a request and brings it to the form that the service sees.
    fn admit(
        &self,
        request: Request<Incoming>,
    ) -> Result<(Request<Body>, Option<BodyFate>), Reason> {
        let number = self.calls.fetch_add(1, Ordering::AcqRel);
        let is_http2 = self.facts.version == Version::HTTP_2;
        if !is_http2 && let Some(reason) = self.state.head_offence(number) {
            return Err(reason);
        }
        let (mut parts, incoming) = request.into_parts();
        if is_http2 {
            check_http2(&parts.method, &parts.uri, &parts.headers)?;
        }
        check_once(&parts.headers)?;
        let target = parts.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
        let path = CanonicalPath::parse(target)?;
        if path.as_path_and_query() != target {
            parts.uri = Uri::from(path.to_path_and_query().map_err(|_| Reason::BadTarget)?);
        }
        let client = self.shared.trusted.client(self.facts.peer.ip(), &parts.headers);
        parts.extensions.insert(ConnectionFacts { client, ..self.facts });
        parts.extensions.insert(path);
        let (body, fate) = self.bound(incoming)?;
        Ok((Request::from_parts(parts, body), fate))
    }

    /// Puts the bound on a body; a request without one costs nothing.
    fn bound(&self, incoming: Incoming) -> Result<(Body, Option<BodyFate>), Reason> {
        if incoming.is_end_stream() {
            return Ok((Body::empty(), None));
        }
        let limits = &self.shared.limits;
        if incoming.size_hint().lower() > limits.max_body_bytes {
            return Err(Reason::BodyTooLarge);
        }
        let fate = Arc::new(OnceLock::new());
        let state = Arc::clone(&self.state);
        let body = BoundedBody::new(incoming, limits, Arc::clone(&fate), state);
        Ok((Body::new(body), Some(fate)))
    }
}

/// What the framing guard does for HTTP/1; the rest of RFC 9113 section 8 is h2's, which resets
/// the stream before anything here sees it.
fn check_http2(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Reason> {
    if matches!(method.as_str(), "CONNECT" | "TRACE" | "TRACK")
        || !method.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
    {
        return Err(Reason::BadMethod);
    }
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Reason::BadTarget);
    }
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        if headers.contains_key(name) {
            return Err(Reason::ConnectionFieldInHttp2);
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Reason::DuplicateHost);
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (None, None) => Err(Reason::MissingHost),
        (Some(a), Some(b)) if !a.eq_ignore_ascii_case(b) => Err(Reason::HostMismatch),
        (Some(name), _) | (None, Some(name)) => check_authority(name),
    }
}

/// Fields of which a second one would be read by some and ignored by others.
fn check_once(headers: &HeaderMap) -> Result<(), Reason> {
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Reason::DuplicateField);
        }
    }
    Ok(())
}

/// Has the service answer, unless there is no room or the body turns out bad.
async fn answer<S: EdgeService>(
    service: S,
    request: Request<Body>,
    fate: Option<BodyFate>,
    refusals: Refusals,
    flight: Flight,
) -> Response<Reply> {
    let pass = match refusals.shared.requests.enter().await {
        Ok(pass) => pass,
        Err(overloaded) => return refusals.overloaded(overloaded.retry_after, flight),
    };
    let response = match service.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match fate.as_ref().and_then(|fate| fate.get()) {
        Some(reason) => refusals.answer(*reason, flight).await,
        None => response.map(|body| Reply::new(body, flight, Some(pass))),
    }
}

/// How this connection says no.
struct Refusals {
    shared: Arc<Shared>,
    facts: ConnectionFacts,
    state: Arc<ConnectionState>,
}

impl Refusals {
    /// Has the refusal recorded, then makes its answer.
    async fn answer(&self, reason: Reason, flight: Flight) -> Response<Reply> {
        self.state.claim_report();
        let noted = self.shared.reporter.note(self.facts, reason).await;
        match noted {
            Noted::Yes => self.reply(&Words::of(reason), flight),
            Noted::Unavailable => self.unavailable(AUDIT_UNAVAILABLE, 1, flight),
        }
    }

    fn overloaded(&self, retry_after: u64, flight: Flight) -> Response<Reply> {
        self.unavailable(BUSY, retry_after, flight)
    }

    fn unavailable(&self, words: Words, retry_after: u64, flight: Flight) -> Response<Reply> {
        let mut response = self.reply(&words, flight);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
        response
    }

    /// The refusal body of wire-contract.md 0.3; the connection ends after it (HTTP/1).
    fn reply(&self, words: &Words, flight: Flight) -> Response<Reply> {
        self.state.ask_to_linger();
        let body = serde_json::json!({
            "detail": words.message,
            "error": words.error,
            "message": words.message,
            "status": words.status.as_u16(),
            "i18n_key": words.i18n_key,
            "reason": words.reason,
        });
        let mut response = Response::new(Reply::new(Body::from(body.to_string()), flight, None));
        *response.status_mut() = words.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.facts.version != Version::HTTP_2 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What a caller reads; codes and keys are those of the gateway's table of refusals.
struct Words {
    status: StatusCode,
    error: &'static str,
    i18n_key: &'static str,
    message: &'static str,
    reason: Option<&'static str>,
}

impl Words {
    fn of(reason: Reason) -> Words {
        let (error, i18n_key) = match reason {
            Reason::BodyTooLarge => ("BODY_TOO_LARGE", "errors.request.too_large"),
            Reason::BadMethod => ("METHOD_NOT_ALLOWED", "errors.request.method"),
            _ => ("MALFORMED_REQUEST", "errors.request.malformed"),
        };
        let (status, message) = (reason.status(), reason.words());
        Words { status, error, i18n_key, message, reason: Some(reason.code()) }
    }
}

const AUDIT_UNAVAILABLE: Words = Words {
    status: StatusCode::SERVICE_UNAVAILABLE,
    error: "AUDIT_UNAVAILABLE",
    i18n_key: "errors.backend.audit",
    message: "this request cannot be written down now, so it is not served: try again later",
    reason: None,
};

const BUSY: Words = Words {
    status: StatusCode::SERVICE_UNAVAILABLE,
    error: "BUSY",
    i18n_key: "errors.busy",
    message: "the gateway has too many requests at once: try again later",
    reason: None,
};
