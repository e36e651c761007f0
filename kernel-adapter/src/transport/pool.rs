//! One pool of HTTP connections for all upstreams.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::timeout::Timeout;
use tower::util::BoxCloneSyncService;

use super::{Body, BoxError};

/// Longest that a connection, TLS handshake included, may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections are closed after this long: shorter than what most servers grant.
const IDLE: Duration = Duration::from_secs(20);
/// Most headers of an answer.
const MAX_HEADERS: usize = 128;
/// Largest head of an answer in bytes.
const MAX_HEAD: usize = 64 * 1024;

type Connector = BoxCloneSyncService<http::Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// A pool of connections to HTTP upstreams. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    client: Client<Connector, Body>,
}

impl Pool {
    /// A pool that trusts the machine's certificates, or Mozilla's where the machine has none.
    pub(crate) fn new() -> Pool {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new()
            .with_native_roots()
            .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_headers(MAX_HEADERS)
            .http1_max_buf_size(MAX_HEAD)
            .http2_max_header_list_size(MAX_HEAD as u32)
            // Repeats only what a closed idle connection never began to write: safe for every
            // method.
            .retry_canceled_requests(true)
            .build(BoxCloneSyncService::new(Timeout::new(tls, CONNECT)));
        Pool { client }
    }

    /// Sends a request; resolves when the head of the answer is there.
    pub(crate) async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, Error> {
        self.client.request(request).await
    }
}

/// A whole body.
pub(crate) fn full(bytes: bytes::Bytes) -> Body {
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
