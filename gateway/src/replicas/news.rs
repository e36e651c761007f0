//! A change of the directory is news for every replica, whichever of them or which command made it.
//!
//! Each replica looks at the changes that are new to it four times a second, which needs no Redis. Where
//! there is one, who made a change says so there, and the others look at once.
//!
//! INVARIANT: news may be lost, doubled or made up, and no replica is wrong for it: it only looks
//! (`replicas::refuse_a_deactivated_user_everywhere_within_a_second`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::Redis;
use crate::directory::{Actor, Change, ERASED, SCOPES_ROTATED};
use crate::gateway::Gateway;

/// How often a replica looks by itself.
const EVERY: Duration = Duration::from_millis(250);

/// Between two tries to listen.
const PAUSE: Duration = Duration::from_millis(500);

/// The running tasks; they end when this is dropped.
pub struct Tasks {
    _all: Vec<AbortOnDropHandle<()>>,
}

/// Begins to follow the changes, to tell of one's own and to listen for those of others.
#[must_use]
pub fn start(gateway: &Arc<Gateway>) -> Tasks {
    let heard = Arc::new(Notify::new());
    let mut all = vec![tokio::spawn(follow(Arc::clone(gateway), Arc::clone(&heard)))];
    if let Some(redis) = &gateway.redis {
        all.push(tokio::spawn(tell(Arc::clone(gateway), Arc::clone(redis))));
        all.push(tokio::spawn(listen(Arc::clone(redis), heard)));
    }
    Tasks { _all: all.into_iter().map(AbortOnDropHandle::new).collect() }
}

/// Looks at what is new, now and then and when somebody says so.
async fn follow(gateway: Arc<Gateway>, heard: Arc<Notify>) {
    let mut seen = None;
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = heard.notified() => {}
        }
        // What a change before the start was about was read at the start.
        let Some(after) = seen else {
            seen = gateway.directory.last_change().await.ok();
            continue;
        };
        match gateway.directory.changes_after(after).await {
            Ok(changes) => {
                if let Some(last) = changes.last() {
                    seen = Some(last.version);
                }
                take(&gateway, &changes).await;
            }
            Err(fault) => tracing::warn!(%fault, "changes of the directory cannot be looked at"),
        }
    }
}

/// Lets go what a change made stale; standings are forgotten already.
async fn take(gateway: &Gateway, changes: &[Change]) {
    let any = |is_it: &dyn Fn(&Change) -> bool| changes.iter().any(is_it);
    if any(&|change| [ERASED, SCOPES_ROTATED].contains(&change.action.as_str())) {
        gateway.vault.purge_all();
    }
    let ours = Actor::gateway().to_string();
    if any(&|change| change.action == "tool.accept" && change.actor != ours) {
        gateway.freshness.news.notify_one();
    }
    if any(&|change| change.action.starts_with("signing_key.")) {
        gateway.identity.reread_keys().await;
    }
}

/// Says that something was changed here.
async fn tell(gateway: Arc<Gateway>, redis: Arc<Redis>) {
    let channel = redis.name("news", "directory");
    loop {
        gateway.directory.changed().notified().await;
        let told = redis.ask(async |mut connection| {
            redis::cmd("PUBLISH")
                .arg(&channel)
                .arg("changed")
                .query_async::<()>(&mut connection)
                .await
        });
        // When it is away the others look by themselves.
        told.await;
    }
}

/// Wakes who looks, each time that another replica says so, and after each time that it could not be heard.
async fn listen(redis: Arc<Redis>, heard: Arc<Notify>) {
    let channel = redis.name("news", "directory");
    loop {
        if let Ok(mut listening) = redis.client().get_async_pubsub().await
            && listening.subscribe(&channel).await.is_ok()
        {
            heard.notify_one();
            let mut messages = listening.on_message();
            while messages.next().await.is_some() {
                heard.notify_one();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
