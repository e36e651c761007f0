//! Listener, routes, watchers, and an end in order; no decision of any kind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use portcullis_audit::{CallFields, DEPLOYMENT, Entry, Kind, Ledger, ResultRef};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::config::Settings;
use crate::edge::{
    self, Drained, EdgeOptions, Limits, Malformed, OnMalformed, Recorded, Recording, ServerTls,
    TrustedProxies,
};
use crate::gateway::Gateway;
use crate::open::{OpenError, open};
use crate::{admin, confirm, demo, door, refresh, replicas, secrets, watch, witnessing};

/// A gateway that serves.
pub struct Running {
    gateway: Arc<Gateway>,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
    carrier: AbortOnDropHandle<()>,
    refresher: AbortOnDropHandle<()>,
    _keeper: AbortOnDropHandle<()>,
    noting: AbortOnDropHandle<()>,
    _turning: AbortOnDropHandle<()>,
    asking: witnessing::Tasks,
    _news: replicas::news::Tasks,
    _demo_app: Option<AbortOnDropHandle<()>>,
    _watcher: Option<Box<dyn Send>>,
}

impl Running {
    /// Opens every part, binds the address and begins to serve.
    ///
    /// # Errors
    /// The first part that can't be opened.
    pub async fn start(mut settings: Settings) -> Result<Self, OpenError> {
        let address = settings.server.listen;
        let listen = |source| OpenError::Listen { address: address.to_string(), source };
        // Bound before the parts are opened: a taken port is the commonest mistake.
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // From here on the settings say what was bound: port 0 is none to call oneself by.
        settings.server.listen = address;
        let demo_app = demo::host(&mut settings).await.map_err(listen)?;
        let gateway = open(settings).await?;
        let asking = witnessing::start(&gateway.watched)?;
        let carrier = tokio::spawn(admin::carry(Arc::clone(&gateway)));
        let news = replicas::news::start(&gateway);
        let refresher = tokio::spawn(refresh::keep_fresh(Arc::clone(&gateway)));
        let keeper = tokio::spawn(keep_house(Arc::clone(&gateway)));
        let noting = tokio::spawn(secrets::keep_noting(Arc::clone(&gateway)));
        let turning = tokio::spawn(secrets::keep_turning(Arc::clone(&gateway)));
        let options = edge_options(&gateway)?;
        let (stop, stopped) = oneshot::channel();
        let router = door::router(Arc::clone(&gateway));
        let serving = tokio::spawn(edge::serve(listener, router, options, async {
            stopped.await.ok();
        }));
        Ok(Self {
            _watcher: watcher(&gateway),
            gateway,
            address,
            stop,
            serving,
            carrier: AbortOnDropHandle::new(carrier),
            refresher: AbortOnDropHandle::new(refresher),
            _keeper: AbortOnDropHandle::new(keeper),
            noting: AbortOnDropHandle::new(noting),
            _turning: AbortOnDropHandle::new(turning),
            asking,
            _news: news,
            _demo_app: demo_app,
        })
    }

    /// The parts.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.gateway.settings.server.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Stops accepting, lets calls finish within the drain time, and flushes the ledger. What is
    /// left at the deadline is closed as unknown at the next start.
    pub async fn stop(self) {
        self.stop.send(()).ok();
        // Nothing is begun after this but what connections that are left ask for; streams without an end see it, and end.
        self.gateway.tasks.close();
        match self.serving.await {
            Ok(drained) => tracing::info!(?drained, "no more connections"),
            Err(fault) => tracing::error!(%fault, "the listener ended abnormally"),
        }
        drop((self.carrier, self.refresher, self.noting));
        let gateway = self.gateway;
        let patience = gateway.settings.server.limits.drain_timeout;
        if tokio::time::timeout(patience, gateway.tasks.wait()).await.is_err() {
            tracing::warn!(
                left = gateway.tasks.len(),
                "calls or other work are left; such calls end as unknown"
            );
        }
        drop(self.asking);
        gateway.secret_uses.write(&gateway.directory).await.ok();
        admin::carry_once(&gateway.directory, &gateway.ledger).await.ok();
        gateway.dispatcher.close().await;
        gateway.directory.close().await;
        if let Err(fault) = gateway.ledger.clone().close().await {
            tracing::error!(%fault, "the ledger could not be closed in order");
        }
    }
}

/// Every half minute: unwrapped keys that nobody used are wiped, limits forget who may do all again,
/// questions that nobody answered expire, codes and tokens that had their time go,
/// and this replica says which version of the key-encryption key it wraps with.
async fn keep_house(gateway: Arc<Gateway>) {
    let mut tick = tokio::time::interval(Duration::from_secs(30));
    loop {
        tick.tick().await;
        gateway.vault.wipe_expired();
        gateway.limits.keep_house();
        gateway.identity.keep_house();
        if let Err(fault) = gateway.vault.report(&gateway.settings.server.replica).await {
            tracing::warn!(%fault, "the key provider does not answer; what is sealed opens for minutes at most");
        }
        if let Err(fault) = gateway.directory.expire_confirmations().await {
            tracing::warn!(%fault, "old confirmations could not be marked as expired");
        }
        confirm::close_abandoned(&gateway).await;
        if let Err(fault) = gateway.directory.forget_spent().await {
            tracing::warn!(%fault, "codes and tokens that had their time could not be deleted");
        }
    }
}

fn watcher(gateway: &Arc<Gateway>) -> Option<Box<dyn Send>> {
    let dir = gateway.rules.dir().filter(|_| gateway.settings.policies.watch)?;
    match watch::watch(Arc::clone(&gateway.rules), dir) {
        Ok(watcher) => Some(Box::new(watcher)),
        Err(fault) => {
            tracing::warn!(%fault, dir = %dir.display(), "the rules are not watched; restart to load changes");
            None
        }
    }
}

fn edge_options(gateway: &Arc<Gateway>) -> Result<EdgeOptions, OpenError> {
    let settings = &gateway.settings.server;
    let tls = match &settings.tls {
        None => None,
        Some(tls) => Some(ServerTls::from_pem_files(&tls.cert, &tls.key).map_err(|fault| {
            OpenError::Listen {
                address: settings.listen.to_string(),
                source: std::io::Error::other(fault),
            }
        })?),
    };
    // Bodies that are read whole have their own limit at the doors; streams may be longer.
    let whole_body = u64::try_from(settings.limits.body_bytes).unwrap_or(u64::MAX);
    // Twice what one tenant can hold, so that one alone can't fill the gateway.
    let of_a_tenant = settings.limits.calls_per_tenant + settings.limits.queue_per_tenant;
    let limits = Limits {
        max_requests: Limits::default().max_requests.max(2 * of_a_tenant),
        max_connections: settings.limits.connections,
        max_head_bytes: settings.limits.header_bytes,
        max_body_bytes: whole_body.max(Limits::default().max_body_bytes),
        header_timeout: settings.limits.header_timeout,
        drain_deadline: settings.limits.drain_timeout,
        ..Limits::default()
    };
    let trusted = TrustedProxies::new(settings.trusted_proxies.clone());
    let on_malformed = Arc::new(Recorder(gateway.ledger.clone()));
    Ok(EdgeOptions { limits, tls, trusted, on_malformed })
}

/// Writes a record for each request that is refused before it becomes a call.
struct Recorder(Ledger);

impl OnMalformed for Recorder {
    fn record(&self, seen: Malformed) -> Recording<'_> {
        Box::pin(async move {
            match self.0.append(malformed_entry(&seen)).await {
                Ok(_) => Recorded::Written,
                Err(_) => Recorded::Unavailable,
            }
        })
    }
}

fn malformed_entry(seen: &Malformed) -> Entry {
    let error = Some("malformed_request".to_owned());
    let res = Some(ResultRef { status: "refused".to_owned(), error });
    let mut fields = CallFields { res, ..CallFields::default() };
    fields.note.insert("reason".to_owned(), seen.reason.code().to_owned());
    fields.note.insert("peer".to_owned(), seen.peer.ip().to_string());
    if seen.unrecorded > 0 {
        fields.note.insert("unrecorded".to_owned(), seen.unrecorded.to_string());
    }
    Entry {
        tenant: DEPLOYMENT.to_owned(),
        kind: Kind::Decision,
        op: Uuid::now_v7(),
        reference: None,
        fields,
        body: None,
    }
}

/// Ctrl-C and SIGTERM, which no longer end the process by themselves once this is there.
#[derive(Debug)]
pub struct StopSignal(Vec<Signal>);

impl StopSignal {
    /// Listens from now on: whoever reads that the gateway listens may stop it at once. A signal that the
    /// system gives no handler for ends the process as before.
    #[must_use]
    pub fn listen() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        Self(kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect())
    }

    /// Resolves at the first of them.
    pub async fn asked(mut self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.0.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}
