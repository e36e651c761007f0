//! The places at which a gateway can be made to kill itself.

/// Every crash point on the way of one call, in its order.
pub const PLACES: [&str; 9] = [
    "before_intent",
    "ledger_before_write",
    "ledger_after_write_before_commit",
    "ledger_after_commit_before_reply",
    "after_intent_before_dispatch",
    "dispatch_before_send",
    "dispatch_after_send_before_reply",
    "after_dispatch_before_outcome",
    "after_outcome_before_reply",
];

/// Every crash point at a change of state of a confirmation, in its order; the last one is when it is cancelled.
pub const CONFIRMATION: [&str; 11] = [
    "confirm_after_question",
    "confirm_before_claim",
    "confirm_after_claim",
    "before_intent",
    "after_intent_before_dispatch",
    "dispatch_before_send",
    "dispatch_after_send_before_reply",
    "after_dispatch_before_outcome",
    "after_outcome_before_reply",
    "confirm_after_settle",
    "confirm_after_cancel",
];

/// Every crash point on the way of a rotation of the key-encryption key, in its order.
pub const ROTATION: [&str; 4] = [
    "vault_rotate_made",
    "vault_rewrap_unwrapped",
    "vault_rewrap_before_replace",
    "vault_rewrap_after_replace",
];

/// Every crash point on the way of a rotation of scope keys, in its order.
pub const SCOPE_ROTATION: [&str; 2] = ["vault_scope_pending", "vault_scope_promoted"];

/// The value of `FAILPOINTS` that lets `place` be passed `passes` times, and kills at the next.
#[must_use]
pub fn kill_at(place: &str, passes: u32) -> String {
    format!("{place}={passes}*off->return")
}
