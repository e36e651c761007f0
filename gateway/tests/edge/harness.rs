//! A real edge on a free port, a service that records what reaches it, and raw clients.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use portcullis::edge::{
    CanonicalPath, ConnectionFacts, Drained, EdgeOptions, Limits, Malformed, OnMalformed, Recorded,
    Recording, ServerTls, TrustedProxies, serve,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// Longest wait for anything in these tests; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request that reached the service whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
    pub(crate) facts: ConnectionFacts,
}

/// What the service saw and what the hook was told.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) requests: Mutex<Vec<Seen>>,
    pub(crate) records: Mutex<Vec<Malformed>>,
    pub(crate) ledger_is_down: AtomicBool,
    /// Requests to `/wait` answer after one `notify`.
    pub(crate) gate: Notify,
    pub(crate) waiting: Notify,
}

impl Witness {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }

    pub(crate) fn take_records(&self) -> Vec<Malformed> {
        std::mem::take(&mut self.records.lock().unwrap())
    }
}

struct Hook(Arc<Witness>);

impl OnMalformed for Hook {
    fn record(&self, seen: Malformed) -> Recording<'_> {
        Box::pin(async move {
            if self.0.ledger_is_down.load(Ordering::SeqCst) {
                return Recorded::Unavailable;
            }
            self.0.records.lock().unwrap().push(seen);
            Recorded::Written
        })
    }
}

pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) witness: Arc<Witness>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Drained>,
}

impl Edge {
    pub(crate) async fn start(limits: Limits) -> Edge {
        Edge::start_with(limits, None).await
    }

    pub(crate) async fn start_with(limits: Limits, tls: Option<ServerTls>) -> Edge {
        let witness = Arc::new(Witness::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let on_malformed = Arc::new(Hook(Arc::clone(&witness)));
        let options = EdgeOptions { limits, tls, trusted: TrustedProxies::default(), on_malformed };
        let (stop, stopped) = oneshot::channel::<()>();
        let app = app(Arc::clone(&witness));
        let served = tokio::spawn(serve(listener, app, options, async move {
            let _ = stopped.await;
        }));
        Edge { address, witness, stop: Some(stop), served }
    }

    pub(crate) fn ask_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn stopped(self) -> Drained {
        within(self.served).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Sends `bytes` on a new connection; everything that comes back until the edge closes it.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.unwrap();
        read_to_end(&mut socket).await
    }

    /// The same, one byte to a packet (as far as the kernel keeps them apart).
    pub(crate) async fn exchange_bytewise(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        for byte in bytes {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        read_to_end(&mut socket).await
    }
}

fn app(witness: Arc<Witness>) -> Router {
    Router::new().fallback(move |request: Request<Body>| record(Arc::clone(&witness), request))
}

/// Records a request once its body is complete, as the gateway's doors act only on whole bodies.
async fn record(witness: Arc<Witness>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let facts = *parts.extensions.get::<ConnectionFacts>().unwrap();
    let path = parts.extensions.get::<CanonicalPath>().unwrap().clone();
    assert_eq!(parts.uri.path(), path.as_str(), "one path for router and rules");
    if path.as_str() == "/big" {
        return Response::new(Body::from(vec![b'x'; 64 * 1024 * 1024]));
    }
    if path.as_str() == "/early" {
        return Response::new(Body::from("answered without reading\n"));
    }
    let Ok(body) = body.collect().await else {
        let mut response = Response::new(Body::from("a body that broke off"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    let body = body.to_bytes().to_vec();
    let line = format!("{} {}", parts.method, path.as_path_and_query());
    witness.requests.lock().unwrap().push(Seen { line: line.clone(), body, facts });
    if path.as_str() == "/wait" {
        witness.waiting.notify_one();
        witness.gate.notified().await;
    }
    Response::new(Body::from(format!("saw {line}\n")))
}

pub(crate) async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    within(socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("took too long")
}

/// Statuses of the answers on a connection, in order.
pub(crate) fn statuses(answer: &str) -> Vec<u16> {
    answer
        .split("HTTP/1.")
        .skip(1)
        .filter_map(|part| part.get(2..5).and_then(|status| status.parse().ok()))
        .collect()
}
