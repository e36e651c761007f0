//! How a claimed confirmation ends: by the call that claimed it, or, where that died, by whoever looks later.

use std::time::Duration;

use jiff::Timestamp;
use portcullis_audit::crash_point;

use crate::answer::Told;
use crate::directory::ConfirmationState;
use crate::gateway::Gateway;
use crate::record::Trail;
use crate::refusal::Refusal;

/// Where a claimed confirmation goes: `executed` when it was dispatched, `superseded` when the rules ask anew, and
/// `refused` otherwise. A limit ends nothing: the person may say yes once more when it has passed.
#[must_use]
pub fn end_of(trail: &Trail, told: &Result<Told, Refusal>) -> ConfirmationState {
    match told {
        _ if trail.was_intended() => ConfirmationState::Executed,
        Ok(Told::AskFirst(_)) => ConfirmationState::Superseded,
        Err(Refusal::OverLimit(_)) => ConfirmationState::Pending,
        // Claimed twice, because somebody set it back: the ledger says that the other one runs it.
        Err(Refusal::ConfirmationUsed(_)) => ConfirmationState::Executed,
        _ => ConfirmationState::Refused,
    }
}

/// Ends the confirmation that a call claimed, if it did.
pub async fn settle(gateway: &Gateway, trail: &Trail, end: ConfirmationState) {
    let Some(id) = trail.claimed_confirmation() else { return };
    if let Err(fault) = gateway.directory.settle_confirmation(id, end).await {
        // It stays `executing`, which nobody can claim again: it can't run twice.
        tracing::error!(%id, %fault, "a confirmation could not be settled");
    }
    crash_point!("confirm_after_settle");
}

/// Longer than any call takes that somebody still waits for.
const ABANDONED: Duration = Duration::from_secs(60);

/// Closes as unknown what a process claimed that has died since: it is never run again. The ledger has closed its
/// intent, if there was one, when the log was opened again.
pub async fn close_abandoned(gateway: &Gateway) {
    let longest = gateway.settings.server.limits.request_timeout.saturating_add(ABANDONED);
    let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp::now().as_millisecond().saturating_sub(longest);
    match gateway.directory.abandon_confirmations(before).await {
        Ok(0) => {}
        Ok(count) => tracing::warn!(count, "confirmations of a dead process are closed as unknown"),
        Err(fault) => tracing::warn!(%fault, "confirmations of a dead process could not be closed"),
    }
}
