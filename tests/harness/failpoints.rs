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

/// The value of `FAILPOINTS` that lets `place` be passed `passes` times, and kills at the next.
#[must_use]
pub fn kill_at(place: &str, passes: u32) -> String {
    format!("{place}={passes}*off->return")
}
