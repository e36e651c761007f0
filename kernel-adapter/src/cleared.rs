//! Permit and receipt of the same call, joined. Nothing else is here.

use portcullis_audit::IntentReceipt;
use portcullis_policies::Permit;
use uuid::Uuid;

/// Proof that a call was permitted *and* that its intent is durable: what a dispatch costs.
///
/// Private fields, no `Clone`, no `Default`, no serde; [`Cleared::join`] is the only maker and the
/// dispatcher takes it by value. So a dispatch that was not decided and written down, or a second
/// one for the same decision, does not compile.
#[derive(Debug)]
#[must_use = "a cleared call that is not dispatched leaves an open intent in the ledger"]
pub struct Cleared {
    receipt: IntentReceipt,
}

/// A permit and a receipt that are not for the same call. Nothing may be dispatched; this is a
/// fault of the gateway, never of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTheSameCall {
    /// They are for different operations.
    #[error("permit and receipt are for different operations: refuse the call and report a bug")]
    Operation,
    /// They are for the same operation and different tools or arguments.
    #[error("permit and receipt are for different arguments: refuse the call and report a bug")]
    Digest,
}

impl Cleared {
    /// Joins the two proofs, spending both.
    ///
    /// # Errors
    /// When they are not for the same operation and the same bytes to the same tool.
    pub fn join(permit: Permit, receipt: IntentReceipt) -> Result<Cleared, NotTheSameCall> {
        if permit.op() != receipt.op() {
            return Err(NotTheSameCall::Operation);
        }
        if permit.call_digest() != receipt.call_digest() {
            return Err(NotTheSameCall::Digest);
        }
        Ok(Cleared { receipt })
    }

    /// Spends the clearance on a call that the gateway carries out itself, and gives the proof that its
    /// intent is durable, which the use of a secret costs.
    ///
    /// # Errors
    /// When it was made for another operation or other bytes.
    pub fn spend(self, op: Uuid, call_digest: &[u8; 32]) -> Result<IntentReceipt, NotTheSameCall> {
        if self.receipt.op() != op {
            return Err(NotTheSameCall::Operation);
        }
        if self.receipt.call_digest() != call_digest {
            return Err(NotTheSameCall::Digest);
        }
        Ok(self.receipt)
    }

    /// The durable intent of the cleared call.
    pub(crate) fn receipt(&self) -> &IntentReceipt {
        &self.receipt
    }

    /// Whether it was made for this operation and these bytes.
    pub(crate) fn is_for(&self, op: Uuid, call_digest: &[u8; 32]) -> bool {
        self.receipt.op() == op && self.receipt.call_digest() == call_digest
    }
}
