//! The proof that an intent is durable. Only the ledger makes one.

use uuid::Uuid;

use crate::entry::RecordRef;
use crate::session_seq::{Counted, SessionSeq};

/// Proof that the intent of one call was committed and fsynced.
///
/// It has private fields, no `Clone`, no `Default` and no serde, and is spent by value: whoever
/// holds one holds the only one for that intent.
#[derive(Debug)]
#[must_use = "an intent whose receipt is dropped stays open until recovery closes it as unknown"]
pub struct IntentReceipt {
    op: Uuid,
    call_digest: [u8; 32],
    record: Appended,
}

impl IntentReceipt {
    /// INVARIANT: called by the ledger only, after the commit returned
    /// (`an_intent_is_on_disk_before_its_receipt_exists`).
    pub(crate) const fn mint(op: Uuid, call_digest: [u8; 32], record: Appended) -> Self {
        Self { op, call_digest, record }
    }

    /// Where the intent is.
    #[must_use]
    pub const fn record(&self) -> &Appended {
        &self.record
    }

    /// Operation id of the call.
    #[must_use]
    pub const fn op(&self) -> Uuid {
        self.op
    }

    /// Digest of the call that the intent was written for.
    #[must_use]
    pub const fn call_digest(&self) -> &[u8; 32] {
        &self.call_digest
    }

    /// Origin of the log that holds the intent.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.record.log
    }

    /// Place of the intent in its log.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.record.seq
    }

    /// The same place, as the outcome wants it.
    #[must_use]
    pub const fn reference(&self) -> RecordRef {
        RecordRef(self.record.seq)
    }
}

/// Where a durable record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Origin of the log.
    pub log: String,
    /// Place in it.
    pub seq: u64,
    /// `SHA-256(0x00 || record bytes)`.
    pub leaf: [u8; 32],
    /// Its number in its session, when it has one.
    pub session: Option<SessionSeq>,
}

impl Appended {
    /// What the caller is told of its number.
    #[must_use]
    pub fn counted(&self) -> Option<Counted> {
        self.session.map(|at| Counted { log: self.log.clone(), at })
    }
}
