//! Accepts connections within the cap, and lets go of them in order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::connection::serve_socket;
use super::{ConnectionFacts, Drained, EdgeService, Shared};

/// Pause after an accept error such as "too many open files": trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop` resolves, then drains.
pub(super) async fn run<S: EdgeService>(
    listener: TcpListener,
    service: S,
    shared: Arc<Shared>,
    stop: impl Future<Output = ()>,
) -> Drained {
    let connections = Connections::new();
    let slots =
        Arc::new(Semaphore::new(shared.limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((socket, peer, slot)) = accepted else { continue };
        connections.spawn(socket, peer, slot, service.clone(), Arc::clone(&shared));
    }
    drop(listener);
    let left = connections.drain(shared.limits.drain_deadline).await;
    Drained { left, unrecorded: shared.reporter.unrecorded() }
}

/// One connection and its slot; the slot is taken first, so that the cap holds.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => Some((socket, peer, slot)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The open connections, each with its own way to be asked to close: a shared signal would be
/// polled, behind one lock, whenever any connection makes progress.
struct Connections {
    tasks: TaskTracker,
    members: Arc<Mutex<Members>>,
}

#[derive(Default)]
struct Members {
    next: u64,
    open: HashMap<u64, Member>,
}

struct Member {
    drain: oneshot::Sender<()>,
    abort: Option<AbortHandle>,
}

impl Connections {
    fn new() -> Connections {
        Connections { tasks: TaskTracker::new(), members: Arc::default() }
    }

    fn spawn<S: EdgeService>(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
        service: S,
        shared: Arc<Shared>,
    ) {
        let (drain, drained) = oneshot::channel();
        let membership = Membership::join(&self.members, drain);
        let id = membership.id;
        let version = http::Version::HTTP_11;
        let (client, tls) = (peer.ip().to_canonical(), shared.tls.is_some());
        let facts = ConnectionFacts { peer, client, tls, version };
        let task = self.tasks.spawn(async move {
            let _kept = (slot, membership);
            serve_socket(socket, facts, service, shared, drained).await;
        });
        if let Some(member) = lock(&self.members).open.get_mut(&id) {
            member.abort = Some(task.abort_handle());
        }
    }

    /// Asks every connection to finish; cuts those that have not after `deadline`, and says how
    /// many those were.
    async fn drain(self, deadline: Duration) -> usize {
        self.tasks.close();
        let open = std::mem::take(&mut lock(&self.members).open);
        let aborts: Vec<_> = open
            .into_values()
            .filter_map(|member| {
                let _ = member.drain.send(());
                member.abort
            })
            .collect();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        aborts.iter().for_each(AbortHandle::abort);
        self.tasks.wait().await;
        left
    }
}

/// Leaves the list when the connection's task ends, however it ends.
struct Membership {
    id: u64,
    members: Arc<Mutex<Members>>,
}

impl Membership {
    fn join(members: &Arc<Mutex<Members>>, drain: oneshot::Sender<()>) -> Membership {
        let mut list = lock(members);
        let id = list.next;
        list.next += 1;
        list.open.insert(id, Member { drain, abort: None });
        Membership { id, members: Arc::clone(members) }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        lock(&self.members).open.remove(&self.id);
    }
}

fn lock(members: &Mutex<Members>) -> std::sync::MutexGuard<'_, Members> {
    members.lock().unwrap_or_else(PoisonError::into_inner)
}
