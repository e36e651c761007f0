//! Epochs of the key-encryption key, turned by a running gateway (ledger-and-vault.md 5.9).

use std::sync::Arc;
use std::time::Duration;

use portcullis_secrets::{Epochs, KeyRef, Pace, Turned};

use crate::directory::Actor;
use crate::gateway::Gateway;

/// How often it is looked whether a version's time has come; what has to wait for replicas waits that long.
const LOOKS: Duration = Duration::from_secs(15 * 60);

/// Takes versions of the key-encryption key through their lives, for ever; does nothing where the operator
/// does it by command. Replicas may all do it: what one did, the others find done.
pub async fn keep_turning(gateway: Arc<Gateway>) {
    let Some(bound) = gateway.settings.final_erasure else { return };
    let mut tick = tokio::time::interval(LOOKS);
    loop {
        tick.tick().await;
        match turn(&gateway, gateway.vault.epochs(bound)).await {
            Ok(turned) => {
                for (key, why) in turned.waits {
                    tracing::warn!(%key, %why, "a version of the key-encryption key has to wait, and what was erased stays readable in old copies meanwhile");
                }
            }
            Err(fault) => tracing::error!(
                %fault,
                "the key-encryption key could not be changed; what was erased stays readable in old copies until it is"
            ),
        }
    }
}

/// One look. A step is in the ledger, by the directory's outbox, as if an operator had done it.
async fn turn(
    gateway: &Gateway,
    epochs: Epochs,
) -> Result<Turned, Box<dyn std::error::Error + Send + Sync>> {
    let replica = &gateway.settings.server.replica;
    // What this replica said before it was restarted may be older than what it wraps with now.
    gateway.vault.report(replica).await?;
    let mut turned = gateway.vault.turn_epoch(epochs, Pace::default()).await?;
    if turned.made.is_some() {
        // The step behind it waits for every replica's word.
        if gateway.vault.report(replica).await.is_ok()
            && let Ok(again) = gateway.vault.turn_epoch(epochs, Pace::default()).await
        {
            turned.moved += again.moved;
            turned.retired.extend(again.retired);
            turned.destroyed.extend(again.destroyed);
            turned.waits = again.waits;
        }
    }
    let noted = |action, key: KeyRef| async move {
        tracing::info!(action, %key, "the key-encryption key changes by itself");
        gateway.directory.note_vault_change(action, &key.to_string(), &Actor::gateway()).await
    };
    if let Some(made) = turned.made.clone() {
        noted("vault.rotate", made).await?;
    }
    for key in turned.retired.clone() {
        noted("vault.retire", key).await?;
    }
    for key in turned.destroyed.clone() {
        noted("vault.destroy_version", key).await?;
    }
    Ok(turned)
}
