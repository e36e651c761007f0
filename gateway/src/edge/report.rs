//! Tells the ledger about refused requests, as fast as the ledger can take it and no faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::ConnectionFacts;
use super::limits::Limits;
use super::malformed::{Malformed, OnMalformed, Reason, Recorded};

/// How a refusal was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// With a record of its own, or as one more in the count of the next record.
    Yes,
    /// Not at all: the ledger cannot take it.
    Unavailable,
}

/// The bounded way to the [`OnMalformed`] hook; one for an edge.
pub(super) struct Reporter {
    hook: Arc<dyn OnMalformed>,
    limits: Limits,
    places: Semaphore,
    started: Instant,
    /// Second since `started` in the upper half, records begun in that second in the lower.
    window: AtomicU64,
    unrecorded: AtomicU64,
}

impl Reporter {
    pub(super) fn new(hook: Arc<dyn OnMalformed>, limits: Limits) -> Reporter {
        Reporter {
            hook,
            limits,
            places: Semaphore::new(limits.malformed_in_flight.min(Semaphore::MAX_PERMITS)),
            started: Instant::now(),
            window: AtomicU64::new(0),
            unrecorded: AtomicU64::new(0),
        }
    }

    /// Refusals that are in no record yet.
    pub(super) fn unrecorded(&self) -> u64 {
        self.unrecorded.load(Ordering::Acquire)
    }

    /// Has one refusal recorded; resolves when its answer may leave.
    pub(super) async fn note(&self, facts: ConnectionFacts, reason: Reason) -> Noted {
        if !self.is_within_rate() {
            self.unrecorded.fetch_add(1, Ordering::AcqRel);
            return Noted::Yes;
        }
        let Ok(_place) = self.places.try_acquire() else {
            self.unrecorded.fetch_add(1, Ordering::AcqRel);
            return Noted::Unavailable;
        };
        let unrecorded = self.unrecorded.swap(0, Ordering::AcqRel);
        let ConnectionFacts { peer, tls, version, .. } = facts;
        let seen = Malformed { reason, peer, tls, version, unrecorded };
        match timeout(self.limits.record_deadline, self.hook.record(seen)).await {
            Ok(Recorded::Written) => Noted::Yes,
            Ok(Recorded::Unavailable) | Err(_) => {
                self.unrecorded.fetch_add(unrecorded + 1, Ordering::AcqRel);
                Noted::Unavailable
            }
        }
    }

    /// Counts this second's records.
    fn is_within_rate(&self) -> bool {
        let second = self.started.elapsed().as_secs() & 0xffff_ffff;
        let count = |window: u64| if window >> 32 == second { window & 0xffff_ffff } else { 0 };
        let rate = u64::from(self.limits.malformed_per_second);
        let updated = self.window.fetch_update(Ordering::AcqRel, Ordering::Acquire, |window| {
            let begun = count(window);
            (begun < rate).then_some(second << 32 | (begun + 1))
        });
        updated.is_ok()
    }
}
