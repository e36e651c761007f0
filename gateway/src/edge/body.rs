//! Bodies on their way in (bounded, watched) and out (what they keep alive).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connection_state::ConnectionState;
use super::framing::clock::Clock;
use super::limits::Limits;
use super::malformed::Reason;
use super::stall::Watched;
use super::turnstile::Pass;

/// What became of a request body; shared by the body and the gate.
pub(super) type BodyFate = Arc<OnceLock<Reason>>;

/// Why reading a request body failed: the request must not take effect. The edge answers with the
/// reason's status whatever the handler makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.words())]
pub struct BodyRefused(pub Reason);

/// A request body within its bound of size and patience.
#[derive(Debug)]
pub(super) struct BoundedBody {
    incoming: Incoming,
    left: u64,
    fate: BodyFate,
    state: Arc<ConnectionState>,
    patience: Duration,
    clock: Option<Clock>,
    stalled_since: Option<Instant>,
}

impl BoundedBody {
    pub(super) fn new(
        incoming: Incoming,
        limits: &Limits,
        fate: BodyFate,
        state: Arc<ConnectionState>,
    ) -> BoundedBody {
        BoundedBody {
            incoming,
            left: limits.max_body_bytes,
            fate,
            state,
            patience: limits.body_timeout,
            clock: None,
            stalled_since: None,
        }
    }

    /// Waits for the peer's next bytes, but not for ever: the guard does this for HTTP/1, but it
    /// cannot see the streams of HTTP/2.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        let clock = self.clock.get_or_insert_with(|| Clock::new(self.patience));
        clock.poll_passed(cx, since + self.patience)
    }

    fn refuse(&self, reason: Reason) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        let _ = self.fate.set(reason);
        Poll::Ready(Some(Err(BodyRefused(reason))))
    }
}

impl http_body::Body for BoundedBody {
    type Data = Bytes;
    type Error = BodyRefused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => {
                ready!(self.poll_stalled(cx));
                return self.refuse(Reason::BodyTimeout);
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(_))) => {
                return self.refuse(self.state.body_offence().unwrap_or(Reason::BadBody));
            }
        };
        self.stalled_since = None;
        let length =
            frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return self.refuse(Reason::BodyTooLarge),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Counts a request as in flight until its answer is out.
#[derive(Debug)]
pub(super) struct Flight(Arc<ConnectionState>);

impl Flight {
    pub(super) fn begin(state: &Arc<ConnectionState>) -> Flight {
        state.begin_request();
        Flight(Arc::clone(state))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// An answer's body, and what ends with it.
#[derive(Debug)]
pub(super) struct Reply {
    body: Body,
    watched: Option<Watched>,
    _flight: Flight,
    _pass: Option<Pass>,
}

impl Reply {
    pub(super) fn new(body: Body, flight: Flight, pass: Option<Pass>) -> Reply {
        let watched = flight.0.stall_watch().map(Watched::begin);
        Reply { body, watched, _flight: flight, _pass: pass }
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match (&self.watched, polled.is_pending()) {
            (Some(watched), true) => watched.is_our_turn(),
            (Some(watched), false) => watched.is_the_peers_turn(),
            (None, _) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
