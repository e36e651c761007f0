//! A server behind the gateway that writes down every request before it answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

/// One request as it reached the upstream.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Vec<u8>,
}

impl Seen {
    /// A header as text, empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A recording server in a thread and a runtime of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    answers: Mutex<HashMap<String, (u16, String)>>,
    /// A place for each answer that may go out now.
    gate: Semaphore,
}

/// Answers that go out without waiting.
const OPEN: usize = 1 << 20;

/// When this returns nobody listens at its address any more.
impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Upstream {
    /// Starts on a free port.
    #[must_use]
    pub fn start() -> Self {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            answers: Mutex::default(),
            gate: Semaphore::new(OPEN),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = std::sync::mpsc::channel();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime for the upstream").block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
                let listener = listener.expect("a port for the upstream");
                ready.send(listener.local_addr().expect("its address")).expect("the test waits");
                let serving = async { axum::serve(listener, router).await };
                tokio::select! { _ = serving => {}, _ = stopped => {} }
            });
        });
        let address = address.recv().expect("the upstream listens");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Its base address, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in the order in which they came.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// The requests of one operation.
    #[must_use]
    pub fn of_op(&self, op: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.header("x-portcullis-op") == op).collect()
    }

    /// Answers requests for this path so from now on; without, every answer is a success.
    pub fn answers(&self, path: &str, status: u16, body: &str) {
        lock(&self.shared.answers).insert(path.to_owned(), (status, body.to_owned()));
    }

    /// Holds every answer back from now on; requests are still written down.
    pub async fn hold(&self) {
        let places = u32::try_from(OPEN).expect("a number of places");
        self.shared.gate.acquire_many(places).await.expect("an open gate").forget();
    }

    /// Lets the answers out again.
    pub fn release(&self) {
        self.shared.gate.add_permits(OPEN);
    }

    /// Waits until `count` requests have come.
    ///
    /// Panics when they do not come.
    pub async fn wait_for(&self, count: usize) {
        for _ in 0..2_000 {
            if lock(&self.shared.seen).len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the upstream saw {} requests, not {count}", self.seen().len());
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path == "/invoices" && parts.headers.contains_key("x-echo") {
        return echo(&shared, parts, body);
    }
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
    let said = json!({ "status": "success", "summary": "done", "data": received(&body) });
    write_down(&shared, parts, body);
    let place = shared.gate.acquire().await;
    drop(place);
    let scripted = lock(&shared.answers).get(&path).cloned();
    let (status, text) = scripted.unwrap_or((200, said.to_string()));
    json_answer(status, text)
}

/// Sends every piece of the body back as it comes.
fn echo(shared: &Shared, parts: http::request::Parts, body: Body) -> Response {
    write_down(shared, parts, Vec::new());
    Response::new(Body::from_stream(body.into_data_stream()))
}

fn write_down(shared: &Shared, parts: http::request::Parts, body: Vec<u8>) {
    let target = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let method = parts.method.to_string();
    lock(&shared.seen).push(Seen { method, target, headers: parts.headers, body });
}

fn received(body: &[u8]) -> Value {
    json!({ "received": String::from_utf8_lossy(body) })
}

fn json_answer(status: u16, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status code");
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    // Hop-by-hop: belongs to this connection and must not reach the caller (RFC 9110 7.6.1).
    response.headers_mut().insert("keep-alive", http::HeaderValue::from_static("timeout=5"));
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
