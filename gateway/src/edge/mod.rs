//! The HTTP edge: one request in, one meaning; everything else is refused before it is a call.
//!
//! hyper alone is not enough in front of an upstream that may read requests differently. It has no
//! header timeout under `axum::serve`, and it lets through both `Content-Length` and
//! `Transfer-Encoding`, identical duplicates of `Content-Length`, no `Host` or two of them, an
//! absolute target that names another host, `%2e%2e`, `//` and `%00`. Each of these is read in two
//! ways by some pair of servers, and the difference between the two is a request that no rule saw.
//!
//! What it never does: identify, decide, route, or write to the ledger itself.
//!
//! Vocabulary:
//! * *head*: request line and fields, up to the empty line;
//! * *guard*: the framer beneath hyper, which sees bytes;
//! * *gate*: the service above hyper, which sees requests;
//! * *canonical path*: the one spelling of a path that rules, records and upstreams use;
//! * *malformed*: a request that is refused here, with a [`Reason`].
//!
//! The life of one connection:
//! 1. `listener` takes a slot, then accepts; `connection` does the TLS handshake, within a time.
//! 2. The guard reads until it knows the version.
//! 3. HTTP/1: the guard holds a head back until it is whole, checks it, and lets it pass or
//!    condemns the connection. HTTP/2: bytes pass, h2 does the framing.
//! 4. hyper parses; the gate compares its count of requests with the guard's, checks what both
//!    versions share, makes the [`CanonicalPath`] and puts it, with [`ConnectionFacts`], into the
//!    request's extensions. The URI that the service sees is the canonical one.
//! 5. The request waits for its place (bounded), the service answers, the body is bounded.
//! 6. A malformed request is reported to [`OnMalformed`] first and answered then; the connection
//!    closes.
//! 7. On stop: no new connections, idle ones close, busy ones finish until the deadline.
//!
//! INVARIANT: no malformed request reaches the service: `no_malformed_request_reaches_the_service`.
//! INVARIANT: nor does it when sent byte by byte: `packet_boundaries_change_nothing`.
//! INVARIANT: hyper sees no request that the guard did not release:
//! `a_request_that_the_guard_never_released_is_refused`.
//! INVARIANT: record before answer; no record, no 400: `a_refusal_that_cannot_be_recorded_is_a_503`.
//! INVARIANT: nobody holds a place by being slow: `half_sent_heads_are_closed_in_time`,
//! `a_body_that_stops_arriving_is_refused`, `a_stream_whose_answer_is_not_taken_gives_its_place_back`.
//!
//! Known limits: h2 resets streams with malformed frames or connection fields by itself, so these
//! leave no record; a chunked body that turns bad after its head was let through ends the request
//! with an error in the middle of the body (the answer is 400 all the same).
//!
//! Begin reading at [`serve`], then `framing`, then `gate`.

mod body;
mod client;
mod connection;
mod connection_state;
mod framing;
mod gate;
pub mod json;
mod limits;
mod listener;
mod malformed;
mod path;
mod report;
mod stall;
mod tls;
mod turnstile;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, Version};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use body::BodyRefused;
pub use client::TrustedProxies;
pub use json::{JsonError, JsonFault, JsonLimits, StrictJson};
pub use limits::Limits;
pub use malformed::{Malformed, OnMalformed, Reason, Recorded, Recording};
pub use path::{CanonicalPath, MAX_PATH_BYTES, MAX_QUERY_BYTES};
pub use tls::{ServerTls, TlsError};
pub use turnstile::{Bounds, Overloaded, Pass, PerTenant, Turnstile};

use report::Reporter;

/// Serves `service` on `listener` until `stop` resolves, then drains within
/// [`Limits::drain_deadline`].
///
/// The service finds [`ConnectionFacts`] and [`CanonicalPath`] in each request's extensions; the
/// request's URI holds the canonical path.
pub async fn serve<S: EdgeService>(
    listener: TcpListener,
    service: S,
    options: EdgeOptions,
    stop: impl Future<Output = ()>,
) -> Drained {
    listener::run(listener, service, Arc::new(Shared::new(options)), stop).await
}

/// What an edge is made of.
pub struct EdgeOptions {
    /// Every bound.
    pub limits: Limits,
    /// Certificate and key; `None` serves plain HTTP.
    pub tls: Option<ServerTls>,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted: TrustedProxies,
    /// Who records refused requests.
    pub on_malformed: Arc<dyn OnMalformed>,
}

/// Who is on the other end; in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// Address of the peer that the socket names; no header changes it.
    pub peer: SocketAddr,
    /// Address of the client: the peer's own, or what trusted proxies say ([`TrustedProxies`]).
    pub client: IpAddr,
    /// Whether the connection is encrypted; the scheme is `https` then.
    pub tls: bool,
    /// `HTTP_2`, or `HTTP_11` for both HTTP/1 versions (the request knows which).
    pub version: Version,
}

/// What was left when serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the deadline and were cut.
    pub left: usize,
    /// Refused requests that are in no ledger record, because they came faster than the bound.
    pub unrecorded: u64,
}

/// What the edge can serve: an `axum::Router`, and whatever else has its shape.
pub trait EdgeService:
    tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> EdgeService for S where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What all connections of an edge share.
struct Shared {
    limits: Limits,
    tls: Option<TlsAcceptor>,
    trusted: TrustedProxies,
    reporter: Reporter,
    requests: Turnstile,
}

impl Shared {
    fn new(options: EdgeOptions) -> Shared {
        let limits = options.limits;
        let bounds = Bounds {
            inside: limits.max_requests,
            waiting: limits.max_waiting,
            wait: limits.max_wait,
        };
        Shared {
            limits,
            tls: options.tls.as_ref().map(ServerTls::acceptor),
            trusted: options.trusted,
            reporter: Reporter::new(options.on_malformed, limits),
            requests: Turnstile::new(bounds),
        }
    }
}
