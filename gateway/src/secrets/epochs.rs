//! Epochs of the key-encryption key, turned by a running gateway (ledger-and-vault.md 5.9).

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use portcullis_audit::crash_point;
use portcullis_secrets::{Epochs, KekVersion, KeyRef, Pace, RotateError, Stepped};

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
        if let Err(fault) = look(&gateway, gateway.vault.epochs(bound)).await {
            tracing::error!(
                %fault,
                "the key-encryption key could not be changed; what was erased stays readable in old copies until it is"
            );
        }
    }
}

/// Takes each step whose time has come. A step is noted in the directory's outbox, as if an operator had done it:
/// by each of the replicas that took it at the same moment, and in the log alone where the directory can't.
async fn look(gateway: &Arc<Gateway>, epochs: Epochs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (vault, replica) = (&gateway.vault, &gateway.settings.server.replica);
    // What this replica said before it was restarted may be older than what it wraps with now.
    vault.report(replica).await?;
    to_its_end(gateway, begin(Arc::clone(gateway), epochs)).await.transpose()?;
    // Broken off anywhere it leaves every key readable: a stop does not wait for it.
    if let Err(fault) = vault.resume_kek_rotation(Pace::default(), &mut |_| ()).await {
        waits(&vault.current_kek().await?, &fault);
    }
    // The steps behind it wait for every replica's word.
    vault.report(replica).await?;
    for version in vault.old_versions().await? {
        to_its_end(gateway, step(Arc::clone(gateway), version, epochs)).await;
    }
    Ok(())
}

/// Runs a step and its note, which belong together: the end of the gateway waits for both, as long as it waits
/// for calls. Nothing once it has begun to end.
async fn to_its_end<T: Send + 'static>(
    gateway: &Gateway,
    step: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    // Taken before the question: an end that begins now waits for what is spawned behind it.
    let token = gateway.tasks.token();
    if gateway.tasks.is_closed() {
        return None;
    }
    let step = gateway.tasks.spawn(step);
    drop(token);
    match step.await {
        Ok(done) => Some(done),
        Err(fault) => {
            tracing::error!(%fault, "a step of the key-encryption key ended abnormally");
            None
        }
    }
}

async fn begin(gateway: Arc<Gateway>, epochs: Epochs) -> Result<(), RotateError> {
    if let Some(made) = gateway.vault.begin_epoch(epochs).await? {
        note(&gateway, "vault.rotate", &made).await;
    }
    Ok(())
}

async fn step(gateway: Arc<Gateway>, version: KekVersion, epochs: Epochs) {
    match gateway.vault.step_version(&version, epochs).await {
        Ok(Stepped::NotYet) => {}
        Ok(Stepped::Retired) => note(&gateway, "vault.retire", &version.key).await,
        Ok(Stepped::Destroyed) => note(&gateway, "vault.destroy_version", &version.key).await,
        Err(fault) => waits(&version.key, &fault),
    }
}

async fn note(gateway: &Gateway, action: &'static str, key: &KeyRef) {
    crash_point!("vault_epoch_before_note");
    tracing::info!(action, %key, "the key-encryption key changes by itself");
    let (target, by) = (key.to_string(), Actor::gateway());
    if let Err(fault) = gateway.directory.note_vault_change(action, &target, &by).await {
        tracing::error!(action, %key, %fault, "a change of the key-encryption key is not in the ledger");
    }
}

fn waits(key: &KeyRef, why: &RotateError) {
    tracing::warn!(%key, %why, "a version of the key-encryption key has to wait, and what was erased stays readable in old copies meanwhile");
}
