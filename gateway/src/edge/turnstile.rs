//! Bounded concurrency: so many inside, so many waiting, everybody else is told to come back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Tenants that a [`PerTenant`] remembers before it forgets the idle ones.
const REMEMBERED_TENANTS: usize = 1024;

/// How many may be inside, how many may wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Inside at once.
    pub inside: usize,
    /// Waiting at once.
    pub waiting: usize,
    /// Longest wait.
    pub wait: Duration,
}

/// A place inside; leaving is dropping it.
#[derive(Debug)]
#[must_use]
pub struct Pass(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Nobody more fits: answer 503 with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls at once: try again in {retry_after} s")]
pub struct Overloaded {
    /// Seconds after which trying again makes sense.
    pub retry_after: u64,
}

/// One bounded room.
#[derive(Debug)]
pub struct Turnstile {
    bounds: Bounds,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Turnstile {
    /// An empty room.
    pub fn new(bounds: Bounds) -> Turnstile {
        let places = Arc::new(Semaphore::new(bounds.inside.min(Semaphore::MAX_PERMITS)));
        Turnstile { bounds, places, waiting: AtomicUsize::new(0) }
    }

    /// Enters, after a bounded wait in a bounded queue.
    ///
    /// # Errors
    /// [`Overloaded`] when the queue is full or the wait was too long.
    pub async fn enter(&self) -> Result<Pass, Overloaded> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Pass(permit));
        }
        let _queued = Queued::join(&self.waiting, self.bounds.waiting).ok_or(OVERLOADED)?;
        let acquire = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.bounds.wait, acquire).await {
            Ok(Ok(permit)) => Ok(Pass(permit)),
            _ => Err(OVERLOADED),
        }
    }

    fn is_empty(&self) -> bool {
        self.places.available_permits() == self.bounds.inside.min(Semaphore::MAX_PERMITS)
            && self.waiting.load(Ordering::Acquire) == 0
    }
}

const OVERLOADED: Overloaded = Overloaded { retry_after: 1 };

/// One [`Turnstile`] a tenant, so that a busy tenant cannot starve the others.
#[derive(Debug)]
pub struct PerTenant {
    bounds: Bounds,
    rooms: Mutex<HashMap<String, Arc<Turnstile>>>,
}

impl PerTenant {
    /// The same bounds for every tenant.
    pub fn new(bounds: Bounds) -> PerTenant {
        PerTenant { bounds, rooms: Mutex::new(HashMap::new()) }
    }

    /// Enters the tenant's room. Call it with identified tenants only: their number is bounded,
    /// that of claimed names is not.
    ///
    /// # Errors
    /// [`Overloaded`] when the tenant's queue is full or the wait was too long.
    pub async fn enter(&self, tenant: &str) -> Result<Pass, Overloaded> {
        let room = self.room(tenant);
        room.enter().await
    }

    fn room(&self, tenant: &str) -> Arc<Turnstile> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(tenant) {
            return Arc::clone(room);
        }
        if rooms.len() >= REMEMBERED_TENANTS {
            rooms.retain(|_, room| Arc::strong_count(room) > 1 || !room.is_empty());
        }
        let room = Arc::new(Turnstile::new(self.bounds));
        rooms.insert(tenant.to_owned(), Arc::clone(&room));
        room
    }
}

/// A place in the queue; left also when the waiting future is dropped.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn join(waiting: &'a AtomicUsize, bound: usize) -> Option<Queued<'a>> {
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        let queued = Queued(waiting);
        (before < bound).then_some(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { inside: 1, waiting: 1, wait: Duration::from_secs(60) };

    #[tokio::test]
    async fn refuses_at_once_when_the_queue_is_full_and_admits_the_waiting() {
        let room = Arc::new(Turnstile::new(BOUNDS));
        let inside = room.enter().await.expect("room for one");
        let second = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.enter().await.map(drop) }
        });
        while room.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(room.enter().await.map(drop), Err(OVERLOADED));
        drop(inside);
        assert_eq!(second.await.expect("no panic"), Ok(()));
        assert!(room.is_empty());
    }

    #[tokio::test]
    async fn a_wait_beyond_its_bound_is_refused_and_leaves_the_queue() {
        let room = Turnstile::new(Bounds { wait: Duration::from_millis(1), ..BOUNDS });
        let _inside = room.enter().await.expect("room for one");
        assert_eq!(room.enter().await.map(drop), Err(OVERLOADED));
        assert_eq!(room.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn one_busy_tenant_does_not_keep_another_out() {
        let tenants = PerTenant::new(Bounds { waiting: 0, ..BOUNDS });
        let _a = tenants.enter("a").await.expect("room");
        assert_eq!(tenants.enter("a").await.map(drop), Err(OVERLOADED));
        assert!(tenants.enter("b").await.is_ok());
    }

    #[tokio::test]
    async fn idle_tenants_are_forgotten_and_busy_ones_are_not() {
        let tenants = PerTenant::new(Bounds { waiting: 0, ..BOUNDS });
        let _busy = tenants.enter("busy").await.expect("room");
        for n in 0..3 * REMEMBERED_TENANTS {
            drop(tenants.enter(&n.to_string()).await.expect("room"));
        }
        assert!(tenants.rooms.lock().expect("lock").len() <= REMEMBERED_TENANTS + 1);
        assert_eq!(tenants.enter("busy").await.map(drop), Err(OVERLOADED));
    }
}
