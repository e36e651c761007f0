//! One connection, from the handshake to the last answer.

use std::sync::Arc;
use std::time::Duration;

use http::Version;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection_state::ConnectionState;
use super::framing::guard::{Guarded, Spoken};
use super::gate::Gate;
use super::limits::Limits;
use super::{ConnectionFacts, EdgeService, Shared};

/// Serves one accepted socket; `drain` asks to finish what is in flight and close.
pub(super) async fn serve_socket<S: EdgeService>(
    socket: TcpStream,
    facts: ConnectionFacts,
    service: S,
    shared: Arc<Shared>,
    drain: oneshot::Receiver<()>,
) {
    // Answers are small and waited for; Nagle's algorithm would only delay them.
    let _ = socket.set_nodelay(true);
    let Some(tls) = shared.tls.clone() else {
        return serve_stream(socket, facts, service, shared, drain).await;
    };
    match timeout(shared.limits.handshake_timeout, tls.accept(socket)).await {
        Ok(Ok(stream)) => serve_stream(stream, facts, service, shared, drain).await,
        Ok(Err(error)) => tracing::debug!(peer = %facts.peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %facts.peer, "TLS handshake timed out"),
    }
}

async fn serve_stream<T, S>(
    stream: T,
    mut facts: ConnectionFacts,
    service: S,
    shared: Arc<Shared>,
    mut drain: oneshot::Receiver<()>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: EdgeService,
{
    let limits = shared.limits;
    let state = Arc::new(ConnectionState::new());
    let mut guarded = Guarded::new(stream, limits, Arc::clone(&state));
    let detected = tokio::select! {
        detected = guarded.detect() => detected,
        _ = &mut drain => return,
    };
    let Ok(spoken) = detected else { return };
    let io = TokioIo::new(guarded);
    match spoken {
        Spoken::Http1 => {
            let gate = Gate::new(service, Arc::clone(&shared), facts, Arc::clone(&state));
            drive(http1_builder(&limits).serve_connection(io, gate), drain).await;
        }
        Spoken::Http2 => {
            facts.version = Version::HTTP_2;
            let gate = Gate::new(service, Arc::clone(&shared), facts, Arc::clone(&state));
            let streams = state.watch_streams();
            tokio::select! {
                () = drive(http2_builder(&limits).serve_connection(io, gate), drain) => {}
                () = streams.stalled(limits.write_timeout) => {
                    tracing::debug!(peer = %facts.peer, "a stream's answer was not taken");
                }
            }
        }
    }
    if let Some(reason) = state.unreported() {
        let _ = shared.reporter.note(facts, reason).await;
    }
}

/// Runs a connection to its end; on `drain` it answers what it has begun and closes.
async fn drive<C: GracefulConnection>(connection: C, drain: oneshot::Receiver<()>)
where
    C::Error: std::fmt::Display,
{
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = drain => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The guard keeps both times; hyper's is the net below it. No `pipeline_flush`: with unread
    // bytes behind a request whose answer closes the connection, it drops answers unsent.
    let slowest = limits.header_timeout.max(limits.idle_timeout) + Duration::from_secs(5);
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(slowest)
        .max_buf_size(limits.max_head_bytes.max(8192) + 8192);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX))
        // CVE-2023-44487 (rapid reset) and its kin: few streams may be reset unanswered.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
