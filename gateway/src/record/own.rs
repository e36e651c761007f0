//! Records of what the gateway does of its own accord and needs a secret for: intent and outcome, as for a
//! call, in the deployment's log.

use portcullis_audit::{Intent, IntentReceipt, Ledger, Unavailable};
use portcullis_kernel_adapter::Outcome;
use portcullis_policies::ActionType;

use super::{Trail, outcome_record};

/// Makes the intent of a deed of the gateway durable.
///
/// # Errors
/// What the ledger said; then nothing may be done.
pub async fn own_intent(
    ledger: &Ledger,
    trail: &mut Trail,
    call_digest: [u8; 32],
) -> Result<IntentReceipt, Unavailable> {
    let (tenant, op, fields) = (trail.log(), trail.op(), trail.fields());
    let receipt = ledger.intent(Intent { tenant, op, call_digest, fields, body: None }).await?;
    trail.intended(receipt.record(), ActionType::Read);
    Ok(receipt)
}

/// Queues the outcome of such a deed; nobody waits for it.
pub fn own_outcome(ledger: &Ledger, trail: &Trail, outcome: &Outcome) {
    if let Err(fault) = ledger.outcome_queued(outcome_record(trail, outcome, None)) {
        tracing::error!(op = %trail.op(), %fault, "an outcome could not be recorded");
    }
}
