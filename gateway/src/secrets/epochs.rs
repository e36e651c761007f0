//! Epochs of the key-encryption key, turned by a running gateway (ledger-and-vault.md 5.9).

use std::sync::Arc;
use std::time::Duration;

use portcullis_audit::crash_point;
use portcullis_secrets::{Epochs, Pace, Turned};

use crate::directory::{Actor, DirectoryError};
use crate::gateway::Gateway;

/// How often it is looked whether a version's time has come; what has to wait for replicas waits that long.
const LOOKS: Duration = Duration::from_secs(15 * 60);

/// Takes versions of the key-encryption key through their lives, until the gateway stops; does nothing where the
/// operator does it by command. Replicas may all do it: what one did, the others find done.
pub async fn keep_turning(gateway: Arc<Gateway>) {
    let Some(bound) = gateway.settings.final_erasure else { return };
    let mut tick = tokio::time::interval(LOOKS);
    loop {
        tick.tick().await;
        if gateway.tasks.is_closed() {
            return;
        }
        // A step and its note belong together: the end of the gateway waits for both.
        let look = look(Arc::clone(&gateway), bound);
        if let Err(fault) = gateway.tasks.spawn(look).await {
            tracing::error!(%fault, "a look at the versions of the key-encryption key ended abnormally");
        }
    }
}

/// Looks once, and says in the log what has to wait or failed.
async fn look(gateway: Arc<Gateway>, bound: Duration) {
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

/// Takes each step whose time has come. A step is in the ledger, by the directory's outbox, as if an operator
/// had done it.
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
    note(gateway, &turned).await?;
    Ok(turned)
}

/// Notes what was done: each step, also when an earlier one's note can't be written.
async fn note(gateway: &Gateway, turned: &Turned) -> Result<(), DirectoryError> {
    let steps = (turned.made.iter().map(|key| ("vault.rotate", key)))
        .chain(turned.retired.iter().map(|key| ("vault.retire", key)))
        .chain(turned.destroyed.iter().map(|key| ("vault.destroy_version", key)));
    let mut written = Ok(());
    for (action, key) in steps {
        crash_point!("vault_epoch_before_note");
        tracing::info!(action, %key, "the key-encryption key changes by itself");
        let (target, by) = (key.to_string(), Actor::gateway());
        if let Err(fault) = gateway.directory.note_vault_change(action, &target, &by).await {
            tracing::error!(action, %key, %fault, "a change of the key-encryption key is not in the ledger");
            written = Err(fault);
        }
    }
    written
}
