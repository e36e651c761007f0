//! Who may do what: the Cedar rules, and the pure decision over them.

mod capsule;
mod decide;
mod derive;
mod engine;
mod explain;
mod prove;
mod question;
mod rulebook;
mod schema;
pub mod scope;
mod verdict;
mod vocabulary;

pub use capsule::{Capsule, RecordedSet, ReplayError, ReplayedVerdict};
pub use decide::Permit;
pub use explain::{Account, Part, RuleAccount};
pub use prove::{Counterexample, Finding, ProofReceipt, ProofReport, ProveError, Solver, prove};
pub use rulebook::{
    PreparedPrincipal, RuleError, RuleErrorKind, RuleErrors, RuleFile, RuleSources, Rulebook,
    UntypableArgument,
};
pub use verdict::{
    AskFirst, Confirmation, Decision, Explanation, PolicySetDigest, Question, Refusal,
    RequestFacts, ShadowFlip, Verdict, VerdictKind, Wants,
};
pub use vocabulary::{
    ActionType, AppId, Channel, InvalidName, Principal, PrincipalKind, TenantId, ToolName, ToolSpec,
};
