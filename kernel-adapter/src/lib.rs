//! The lean dispatcher: it reaches the workers, and only for calls that were permitted and
//! written down before.
//!
//! It holds no policy and decides nothing; it never sees a caller's credential, and it never says
//! "failed" of something that may have happened.
//!
//! # Vocabulary
//!
//! - [`App`]: a set of tools behind one upstream. [`Tool`]: one function with an action type and
//!   an argument schema. [`Catalogue`]: all of them, one immutable snapshot.
//! - *upstream* or *worker*: what carries a call out ([`Upstream`]).
//! - [`ResolvedCall`]: tool, exact argument bytes, deadline, and the digest over tool and bytes.
//! - [`Cleared`]: a permit and an intent receipt of the same call, joined.
//! - [`Outcome`]: done, failed, refused by the worker, or unknown.
//! - *quarantine*: the state of a tool that changed upstream since an operator accepted it.
//!
//! # The life of one dispatch
//!
//! 1. Before the call: sources ([`manifest`], MCP `tools/list`, [`catalogue::routes`],
//!    [`catalogue::openapi`]) become drafts; [`CatalogueBuilder`] applies the operator's overrides,
//!    compiles schemas, quarantines what changed, and makes a [`Catalogue`].
//! 2. The gateway resolves a tool and checks the arguments ([`Tool::check`]).
//! 3. It gets a `Permit` from the rules and an `IntentReceipt` from the ledger, both bound to
//!    operation and [`call_digest`].
//! 4. [`Cleared::join`] spends both; a mismatch ends here.
//! 5. [`Dispatcher::call`] or [`Dispatcher::forward`] spends the clearance, holds it against the
//!    call once more, and sends: a POST, an MCP `tools/call`, or the proxied request.
//! 6. What comes back, or does not, becomes an [`Outcome`]; for a proxied stream the
//!    [`StreamEnd`] tells it after the last byte.
//!
//! # Invariants
//!
//! INVARIANT: nothing is dispatched without a permit and a receipt of the very call
//! (`tests/compile_fail/*.rs`, `refuses_a_receipt_of_another_call`,
//! `refuses_to_dispatch_a_clearance_for_another_call`).
//! INVARIANT: once a request may have reached a worker, only an understood answer makes it failed
//! or refused (`a_timeout_is_unknown_and_never_failed`, `a_lost_answer_is_unknown`).
//! INVARIANT: at most one retry, only of a read, only before the first byte of an answer
//! (`a_lost_read_is_tried_once_more`, `a_lost_write_is_never_tried_again`).
//! INVARIANT: an upstream never sees the caller's credentials or a header that only the gateway
//! may write (`the_upstream_never_sees_what_the_caller_says_about_itself`).
//! INVARIANT: a lent credential costs the receipt of the call, and without it nothing is sent
//! (`a_lent_credential_is_asked_for_with_the_receipt_of_the_call`,
//! `nothing_is_sent_when_the_credential_is_not_lent`).
//! INVARIANT: what a proxied upstream is asked for is what was decided over
//! (`refuses_a_request_that_is_not_the_one_decided`).
//! INVARIANT: a tool that changed upstream is not called until it was accepted
//! (`a_changed_tool_is_quarantined_with_the_difference`).
//! INVARIANT: a child process takes its whole group with it
//! (`a_dropped_child_leaves_no_process_in_its_group`).
//!
//! # Failure
//!
//! Errors of files and sources name the place and what to do; a tool that cannot be served is left
//! out and named ([`Problem`]). Nothing here is fatal to the process. Messages of outcomes are
//! bounded and may quote a worker: they are for ledger and operator.
//!
//! Begin reading in `cleared.rs`, then `dispatcher.rs`, then `outcome.rs`.

pub mod app;
pub mod call;
pub mod catalogue;
pub mod cleared;
pub mod dispatcher;
pub mod lend;
pub mod manifest;
pub mod outcome;
pub mod schema;
pub mod secret;
pub mod tool;
mod transport;

pub use app::{App, BadCredential, Credential, HttpUpstream, McpStdio, ProxyUpstream, Upstream};
pub use call::{CallerFacts, MAX_CALL, ResolvedCall, call_digest};
pub use catalogue::routes::{RouteMatch, RouteRefusal};
pub use catalogue::{Built, Catalogue, CatalogueBuilder, Problem};
pub use cleared::{Cleared, NotTheSameCall};
pub use dispatcher::{Dispatcher, DispatcherOptions};
pub use lend::{CredentialValue, Lender, Lent, LentVersion, NoLender, NotLent};
pub use outcome::{Class, Outcome};
pub use secret::{SecretDeclaration, SecretScope, WriteMode};
pub use tool::{ActionSource, Tool, ToolDraft, ToolState};
pub use transport::mcp::{DiscoverError, OnToolsChanged};
pub use transport::proxy::{Exchange, Forwarded, Inbound, StreamEnd, Tally, only_for_upstream};
pub use transport::{Body, BoxError};
