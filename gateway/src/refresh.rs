//! Keeps the catalogue true while the gateway serves: an MCP server says that its tools changed, an
//! operator accepts one, a server that was away comes back.
//!
//! A new catalogue takes effect like a new policy set: the rules are typed for its tools, both are
//! written down, and only then they are swapped. Until then calls of a tool that changed are refused
//! by the dispatcher, which knows what its server listed last.

use std::sync::Arc;
use std::time::Duration;

use portcullis_kernel_adapter::{Catalogue, Dispatcher, DispatcherOptions};
use tokio::sync::Notify;

use crate::apps::{self, Lists};
use crate::gateway::Gateway;

/// How long it must be quiet before the servers are asked: news comes in bursts.
const QUIET: Duration = Duration::from_millis(100);
/// How often servers that could not be reached are asked again.
const AWAY: Duration = Duration::from_secs(15);

/// What the catalogue was made from, and word that it is out of date.
#[derive(Default)]
pub struct Freshness {
    /// Tells the keeper to look.
    pub news: Arc<Notify>,
    /// What each MCP server listed last.
    pub lists: Lists,
}

impl Freshness {
    /// A dispatcher that tells when tools changed.
    #[must_use]
    pub fn dispatcher(&self) -> Dispatcher {
        let news = Arc::clone(&self.news);
        Dispatcher::new(DispatcherOptions {
            on_tools_changed: Arc::new(move |_| news.notify_one()),
            ..DispatcherOptions::default()
        })
    }
}

/// Rebuilds the catalogue at each piece of news, until the task is dropped.
pub async fn keep_fresh(gateway: Arc<Gateway>) {
    let fresh = &gateway.freshness;
    loop {
        if fresh.lists.is_somebody_away() {
            tokio::time::timeout(AWAY, fresh.news.notified()).await.ok();
        } else {
            fresh.news.notified().await;
        }
        tokio::time::sleep(QUIET).await;
        if let Err(fault) = refresh(&gateway).await {
            tracing::error!(%fault, "the new catalogue was refused, the old one stays in force");
        }
    }
}

async fn refresh(gateway: &Gateway) -> Result<(), String> {
    let built = apps::rebuild(gateway).await.map_err(|fault| fault.to_string())?;
    let known = gateway.rules.current();
    if known.is_some_and(|known| is_same(&known.catalogue, &built.catalogue)) {
        // A change may have been written down whose catalogue was refused, and is taken back now.
        gateway.freshness.lists.settled(&built);
        return Ok(());
    }
    let catalogue = apps::keep(gateway, built).await.map_err(|fault| fault.to_string())?;
    gateway.rules.reload(Some(catalogue)).await.map_err(|fault| fault.to_string())
}

/// Whether calls would come to the same: same tools, same descriptions and schemas, same states.
fn is_same(a: &Catalogue, b: &Catalogue) -> bool {
    let facts = |c: &Catalogue| {
        let mut facts: Vec<_> = c
            .tools()
            .map(|t| (t.spec.name.to_string(), t.schema_digest, format!("{:?}", t.state)))
            .collect();
        facts.sort();
        facts
    };
    facts(a) == facts(b)
}
