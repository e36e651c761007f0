//! What the framing guard and the gate of one connection know together.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::malformed::Reason;
use super::stall::StallWatch;

/// Where in a request the guard found the offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In its head: hyper saw nothing of it.
    Head,
    /// In its body: hyper saw the sound bytes before the offence.
    Body,
}

/// The offence that ended an HTTP/1 connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offence {
    /// Number of the request on this connection, from 0.
    pub(super) request: u64,
    pub(super) place: Place,
    pub(super) reason: Reason,
}

/// Shared by guard (beneath hyper) and gate (above hyper); both run in the connection's task.
#[derive(Debug)]
pub(super) struct ConnectionState {
    opened: Instant,
    /// Heads that the guard let through.
    released: AtomicU64,
    offence: OnceLock<Offence>,
    reported: AtomicBool,
    in_flight: AtomicU32,
    /// When the last request ended, in milliseconds after `opened`.
    idle_since: AtomicU64,
    linger: AtomicBool,
    /// HTTP/2 only.
    stall_watch: OnceLock<Arc<StallWatch>>,
}

impl ConnectionState {
    pub(super) fn new() -> ConnectionState {
        ConnectionState {
            opened: Instant::now(),
            released: AtomicU64::new(0),
            offence: OnceLock::new(),
            reported: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            linger: AtomicBool::new(false),
            stall_watch: OnceLock::new(),
        }
    }

    /// Begins to watch the streams of an HTTP/2 connection.
    pub(super) fn watch_streams(&self) -> Arc<StallWatch> {
        Arc::clone(self.stall_watch.get_or_init(Arc::default))
    }

    pub(super) fn stall_watch(&self) -> Option<&Arc<StallWatch>> {
        self.stall_watch.get()
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn release(&self, heads: u64) {
        self.released.store(heads, Ordering::Release);
    }

    /// Keeps the first offence; the connection takes no request after it.
    pub(super) fn condemn(&self, offence: Offence) {
        let _ = self.offence.set(offence);
        self.linger.store(true, Ordering::Release);
    }

    /// What the gate must say about the `request`-th call of hyper, if it must refuse it.
    pub(super) fn head_offence(&self, request: u64) -> Option<Reason> {
        match self.offence.get() {
            Some(offence) if offence.place == Place::Head && request >= offence.request => {
                Some(offence.reason)
            }
            _ if request >= self.released.load(Ordering::Acquire) => Some(Reason::Desynchronised),
            _ => None,
        }
    }

    /// The offence in the body of the request that is being read.
    pub(super) fn body_offence(&self) -> Option<Reason> {
        self.offence.get().filter(|offence| offence.place == Place::Body).map(|o| o.reason)
    }

    /// Whether this is the first report of the connection's offence.
    pub(super) fn claim_report(&self) -> bool {
        !self.reported.swap(true, Ordering::AcqRel)
    }

    /// The offence, if no answer carried it: the peer left before its request was answered.
    pub(super) fn unreported(&self) -> Option<Reason> {
        self.offence.get().filter(|_| self.claim_report()).map(|offence| offence.reason)
    }

    pub(super) fn begin_request(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn end_request(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(now, Ordering::Release);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.opened + Duration::from_millis(self.idle_since.load(Ordering::Acquire))
    }

    /// Asks the guard to read on for a moment after the last answer, so that unread bytes do not
    /// turn the close into a reset that destroys the answer on its way.
    pub(super) fn ask_to_linger(&self) {
        self.linger.store(true, Ordering::Release);
    }

    pub(super) fn lingers(&self) -> bool {
        self.linger.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_the_guard_never_released_is_refused() {
        let state = ConnectionState::new();
        assert_eq!(state.head_offence(0), Some(Reason::Desynchronised));
        state.release(1);
        assert_eq!(state.head_offence(0), None);
        assert_eq!(state.head_offence(1), Some(Reason::Desynchronised));
        let offence = Offence { request: 1, place: Place::Head, reason: Reason::BareLf };
        state.condemn(offence);
        assert_eq!(state.head_offence(0), None, "sound requests before it are still answered");
        assert_eq!(state.head_offence(1), Some(Reason::BareLf));
        assert_eq!(state.head_offence(2), Some(Reason::BareLf));
    }
}
