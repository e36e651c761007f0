//! Streams whose peer does not take the answer (HTTP/2 slow read, CVE-2016-1546 and its kin).
//!
//! HTTP/1 needs none of this: there a stalled peer stalls the socket, which the guard sees. An
//! HTTP/2 peer can keep the socket moving with pings and leave one stream's window at zero, and
//! with it a place among the requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The answers of one connection that wait for their peer, and since when.
#[derive(Debug, Default)]
pub(super) struct StallWatch {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Instant>>,
}

impl StallWatch {
    /// Resolves when the peer has left an answer untaken for `patience`.
    pub(super) async fn stalled(&self, patience: Duration) {
        loop {
            tokio::time::sleep(patience / 2).await;
            if self.lock().values().any(|since| since.elapsed() >= patience) {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One answer under watch, from its head to its end.
#[derive(Debug)]
pub(super) struct Watched {
    id: u64,
    watch: Arc<StallWatch>,
}

impl Watched {
    /// Begins with the peer's turn.
    pub(super) fn begin(watch: &Arc<StallWatch>) -> Watched {
        let id = watch.next.fetch_add(1, Ordering::Relaxed);
        let watched = Watched { id, watch: Arc::clone(watch) };
        watched.is_the_peers_turn();
        watched
    }

    /// There is more to take: from now on the peer is waited for.
    pub(super) fn is_the_peers_turn(&self) {
        self.watch.lock().insert(self.id, Instant::now());
    }

    /// The service has nothing to give yet: the peer is not to blame.
    pub(super) fn is_our_turn(&self) {
        self.watch.lock().remove(&self.id);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.is_our_turn();
    }
}
