//! Proofs: what holds for every request that can be asked, shown by a solver and never by trying.
//!
//! Two things are proved for every kind of action that the rules can tell apart, for the platform's rules alone and for
//! each tenant's rules on top of them:
//!
//! 1. No rule can fail. (A rule that fails refuses the call; a cap written as a product fails exactly when it matters.)
//! 2. Every invariant holds: adding it to the rules as a `forbid` would change nothing.
//!
//! The solver never sits on the request path. What it found is a [`ProofReceipt`], so that a host without a solver can load
//! what was proved elsewhere.

mod finding;
mod queries;
mod solver;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rulebook::{RuleError, RuleErrors, RuleSources, Rulebook};

pub use finding::Counterexample;
pub use solver::Solver;

/// What was proved, of what, by what: by digests, so that it can travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofReceipt {
    /// Digest of the policy set, lowercase hex.
    pub policy_set: String,
    /// Digest of the schema, lowercase hex.
    pub schema: String,
    /// Digest of the invariants, lowercase hex.
    pub invariants: String,
    /// The solver and its version.
    pub solver: String,
}

impl ProofReceipt {
    /// True when the receipt is of exactly this set, catalogue and invariants.
    pub fn covers(&self, rulebook: &Rulebook) -> bool {
        self.policy_set == rulebook.digest().to_string()
            && self.schema == rulebook.schema_digest()
            && self.invariants == rulebook.invariants_digest()
    }
}

/// What the solver found.
#[derive(Debug)]
pub struct ProofReport {
    /// How many questions were put to the solver or settled before it.
    pub queries: usize,
    /// What does not hold; empty when everything does.
    pub findings: Vec<Finding>,
    receipt: ProofReceipt,
}

/// Something that does not hold, with a request that shows it.
#[derive(Debug)]
pub struct Finding {
    /// Where and what; its kind is `CanError` or `BrokenInvariant`.
    pub error: RuleError,
    /// A request and entities that show it.
    pub counterexample: Counterexample,
}

impl ProofReport {
    /// The receipt, when everything holds.
    pub fn receipt(&self) -> Option<&ProofReceipt> {
        self.findings.is_empty().then_some(&self.receipt)
    }

    /// What does not hold as rule errors.
    ///
    /// # Errors
    /// When something does not hold.
    pub fn holds(&self) -> Result<&ProofReceipt, RuleErrors> {
        RuleErrors::none_in(self.findings.iter().map(|f| f.error.clone()).collect())?;
        Ok(&self.receipt)
    }

    /// `{holds, queries, receipt, findings: [{error, counterexample}]}`; `receipt` is null unless everything holds.
    pub fn to_json(&self) -> serde_json::Value {
        let finding = |f: &Finding| serde_json::json!({"error": f.error.to_json(), "counterexample": f.counterexample.to_json()});
        serde_json::json!({
            "holds": self.findings.is_empty(),
            "queries": self.queries,
            "receipt": self.receipt(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

/// Why there is no answer. It is never taken for a proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The solver cannot be started, or broke off.
    #[error("the solver failed: {0}; install cvc5 (Debian package `cvc5`) or set CVC5 to its path")]
    Solver(String),
    /// The solver found no answer in time.
    #[error(
        "the solver found no answer within {limit:?} for `{rule}` on action `{action}`; simplify the rule or raise the limit"
    )]
    Undecided {
        /// The rule, or `invariants`.
        rule: String,
        /// The action on which it was asked.
        action: String,
        /// The limit of one question.
        limit: Duration,
    },
    /// The sources are not those of the rulebook.
    #[error("the rule files changed since the rulebook was loaded; load them again and prove that")]
    OtherSources,
    /// The rules or the schema cannot be put to the solver.
    #[error("the rules cannot be put to the solver: {0}; report this as a defect")]
    Encoding(String),
}

/// Proves every invariant, and that no rule can fail.
///
/// `sources` must be those from which `rulebook` was loaded. It runs the solver as a child process, kills it when it is dropped,
/// and needs a tokio runtime with I/O and time.
///
/// # Errors
/// When the solver cannot answer. What does not hold is no error but a finding.
pub async fn prove(
    rulebook: &Rulebook,
    sources: &RuleSources,
    solver: &Solver,
) -> Result<ProofReport, ProveError> {
    if !rulebook.is_from(sources) {
        return Err(ProveError::OtherSources);
    }
    let (queries, findings) = queries::run(rulebook, solver).await?;
    let receipt = ProofReceipt {
        policy_set: rulebook.digest().to_string(),
        schema: rulebook.schema_digest(),
        invariants: rulebook.invariants_digest(),
        solver: solver.version.clone(),
    };
    Ok(ProofReport { queries, findings, receipt })
}
