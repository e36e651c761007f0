//! Nothing is permitted that the rules do not permit, and every answer says which rules gave it.
//!
//! This crate holds the Cedar rules, the schema made from the catalogue, their proofs and cases, and the pure decision over
//! them. It never reads a clock, opens a socket or writes a log while it decides; it never repeats a rule in code; and no
//! Cedar type leaks out of it.
//!
//! # Vocabulary
//!
//! - **rule**: one Cedar policy, known by its `@id`, with a `@reason` that a refused caller reads.
//! - **layer**: the platform's rules, or one tenant's own; the latter bind only calls on that tenant's things.
//! - **rulebook**: a whole set that was checked together; immutable, swapped whole, named by its digest.
//! - **question**: one call to be decided. **Verdict**: permit, ask first, or refusal.
//! - **slice**: the rules that can apply to one action.
//! - **capsule**: everything that is needed to run a decision again.
//!
//! # The life of one question
//!
//! 1. [`Rulebook::load`] reads the rules, makes the schema from the tools, checks every rule strictly, and indexes them by action.
//! 2. [`Rulebook::prepare`] expands a principal's scopes and builds its entity, once per version of the principal.
//! 3. [`Rulebook::decide`] types the arguments, joins principal, tool and target, and asks the slices of that action.
//! 4. Denied? It asks again as if it were confirmed, then as if others had approved it: so *ask first* is derived, not annotated.
//! 5. Any error on the way is a refusal. What is allowed is a [`Permit`]: one value, for this call, spent by value.
//! 6. Rules in shadow are asked beside it, and what they would have changed is recorded.
//! 7. [`Rulebook::capsule`] keeps the question; [`RecordedSet::replay`] asks the whole recorded set again, years later.
//!
//! # Invariants
//!
//! - INVARIANT: only `decide.rs` makes a [`Permit`], and nobody copies or stores one: `permit_cannot_be_made_copied_or_stored_outside`.
//! - INVARIANT: an evaluation error refuses: `refuses_when_a_forbid_rule_errors`.
//! - INVARIANT: a slice decides as the whole set does, diagnostics included: `sliced_and_whole_decisions_are_equal`.
//! - INVARIANT: requests are built as the schema says, so they are not checked again on a call: `requests_are_what_the_schema_says`.
//! - INVARIANT: what `tools/list` hides is never allowed: `hidden_tools_are_never_allowed`.
//! - INVARIANT: a tenant's permit undoes no gate, and its rules bind nobody else: `tenant_permit_cannot_undo_a_platform_gate`,
//!   `tenant_rule_binds_only_its_own_tenant`.
//! - INVARIANT: no permit across tenants, nothing destructive without a confirmation: proved, `embedded_rules_hold_and_the_receipt_covers_exactly_them`.
//! - INVARIANT: what is asked of approvers is enough, and no more: `what_is_asked_for_is_enough_and_no_more`.
//! - INVARIANT: nobody approves what they ask for: proved, `embedded_rules_hold_and_the_receipt_covers_exactly_them`.
//! - INVARIANT: an argument that rules cannot see is reported by name: `what_cedar_cannot_type_is_reported_by_its_path`.
//!
//! # Failure
//!
//! A set with a mistake does not load: [`RuleErrors`] has all of them, with file, line, caret and remedy, and the caller
//! keeps the set that it has. A question that cannot be asked (unknown tool, an argument that is not what its schema says)
//! and a rule that cannot be evaluated are refusals with `errored`. Nothing here is fatal and nothing here logs.
//!
//! # Where to begin reading
//!
//! `rules/*.cedar`, then `verdict.rs`, `decide.rs`, `derive.rs`, `question.rs`, `rulebook.rs`.

mod approvals;
mod capsule;
mod cases;
mod decide;
mod derive;
mod engine;
mod explain;
mod own;
mod prove;
mod question;
mod rulebook;
mod schema;
pub mod scope;
mod step_up;
mod table;
mod verdict;
mod vocabulary;

pub use capsule::{Capsule, CapsuleText, RecordedSet, ReplayError, ReplayedVerdict};
pub use cases::{CaseCall, CaseFile, CaseReport, CaseResult, EXAMPLE_TOOLS, run_cases};
pub use decide::Permit;
pub use explain::{Account, Part, RuleAccount};
pub use own::{
    ACCOUNT_APP, CACHE_APP, CONFIRMATIONS_APP, DIRECTORY_APP, OWN_APPS, SECRETS_APP, own_tools,
};
pub use prove::{Counterexample, Finding, ProofReceipt, ProofReport, ProveError, Solver, prove};
pub use rulebook::{
    PreparedPrincipal, RuleError, RuleErrorKind, RuleErrors, RuleFile, RuleSources, Rulebook,
    UntypableArgument,
};
pub use step_up::{ACR_MFA, ACR_PASSWORD};
pub use table::{Column, decision_table};
pub use verdict::{
    AskFirst, Confirmation, Decision, Explanation, PolicySetDigest, Question, Refusal,
    RequestFacts, ShadowFlip, StepUp, Verdict, VerdictKind, Wants,
};
pub use vocabulary::{
    ActionType, AppId, Channel, InvalidName, Principal, PrincipalKind, Strength, TenantId,
    ToolName, ToolSpec,
};
