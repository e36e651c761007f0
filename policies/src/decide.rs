//! The pure decision, and the only maker of [`Permit`].

use uuid::Uuid;

use crate::rulebook::Rulebook;
use crate::verdict::{Decision, Explanation, Question, Refusal, Verdict};

/// Leave to do one call, once.
///
/// Only [`Rulebook::decide`] makes it. It cannot be copied, made up or stored: whoever holds it was just allowed this call.
#[derive(Debug)]
#[must_use = "a permit that is not spent means that an allowed call was dropped"]
pub struct Permit {
    op: Uuid,
    call_digest: [u8; 32],
}

impl Permit {
    /// The operation.
    pub fn op(&self) -> Uuid {
        self.op
    }

    /// Digest of tool name and argument bytes.
    pub fn call_digest(&self) -> &[u8; 32] {
        &self.call_digest
    }
}

impl Rulebook {
    /// Decides one call. Pure: no I/O, no clock.
    pub fn decide(&self, q: &Question<'_>) -> Decision {
        let _ = Permit { op: q.op, call_digest: q.call_digest };
        let refusal = Refusal { rules: Vec::new(), reasons: Vec::new(), errored: true };
        let explanation = Explanation {
            rules: Vec::new(),
            errors: vec!["the engine is not wired yet".to_owned()],
            shadow: Vec::new(),
            policy_set: *self.digest(),
        };
        Decision { verdict: Verdict::Refusal(refusal), explanation }
    }
}
