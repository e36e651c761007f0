//! What is not as it was when a question was asked: each has a code of its own, so that a client knows whether asking
//! anew helps (the tool, the tenant) or somebody should look at the database (the bytes, the question).

use super::Refusal;

/// What a pending call was bound to and is no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Changed {
    /// The tool has another schema, description or action type: the manifest was published anew.
    #[error("the tool")]
    Tool,
    /// It would work on another tenant.
    #[error("the tenant")]
    Tenant,
    /// What a change of people, roles or tenants is about is not as it was shown: what somebody holds, for one.
    #[error("what it is about")]
    Target,
    /// The stored argument bytes do not open, or are not those of the shown hash.
    #[error("the stored bytes")]
    Bytes,
    /// The stored request of a proxied call is not the shown one.
    #[error("the stored request")]
    Request,
    /// The stored question (its tool, rules, expiry, ...) is not the one that was sealed.
    #[error("the stored question")]
    Question,
    /// An answer of an approver is not the one that was sealed.
    #[error("a stored approval")]
    Approval,
    /// The ledger has no record that it was asked.
    #[error("the record of the question")]
    Record,
}

impl From<Changed> for Refusal {
    fn from(changed: Changed) -> Self {
        Self::ConfirmationChanged(changed)
    }
}
