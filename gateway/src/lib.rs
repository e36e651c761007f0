//! The gateway: every call is decided, written down, and only then carried out; there is no other
//! way to an app.
//!
//! # What it never does
//! It holds no rule: who may do what stands in Cedar files, and code asks in the words of the deed.
//! It believes nothing that a client says about who it is.
//!
//! # Vocabulary
//! - **Knock** ([`knock`]): one request at a door, before anything about it is believed.
//! - **Caller** ([`identify`]): who asks, proved.
//! - **Tool call** ([`resolve`]): a known tool, arguments that fit, the exact bytes.
//! - **Verdict**: permit, ask first, or refusal; made by `portcullis-policies` only.
//! - **Receipt**: the intent is durable; made by `portcullis-audit` only.
//! - **Cleared**: permit and receipt of the same call; made by `portcullis-kernel-adapter` only.
//! - **Witness** ([`witness`], [`witnessing`]): cosigns from outside that the ledger only grows; both sides.
//! - **Limit** ([`limits`]): how often something may be done; over it a call is refused before any decision.
//! - **In force** ([`in_force`]): the catalogue and the rules made for it, one snapshot a call.
//!
//! # The life of one call
//! 1. The [`edge`] lets one unambiguous HTTP request through; a [`door`] turns it into a knock.
//! 2. [`pipeline`]: identify, resolve, decide, (confirm), record intent, dispatch, record outcome.
//! 3. The door gives the answer its shape; [`refusal`] alone knows status codes.
//!
//! # Invariants
//! Each names the end-to-end test that holds it, in the crate `tests`.
//! - INVARIANT: no upstream effect without a durable intent (`survives::kill_at_every_step`).
//! - INVARIANT: no route goes around (`coverage::every_route_without_credentials`).
//! - INVARIANT: the steps outlive the connection (`survives::a_client_that_hangs_up`).
//! - INVARIANT: a refusal is recorded before it is answered (`records::every_refusal_before_it_is_answered`).
//! - INVARIANT: the client never decides who it is (`refuses::hints_that_name_somebody_else`).
//!
//! # Failure
//! Callers see a stable code and what to do next; the log has the cause. A ledger that can't record
//! refuses calls; nothing else is fatal while serving.
//!
//! Begin reading at [`pipeline::run`].

pub mod admin;
pub mod answer;
pub mod apps;
pub mod cached;
pub mod command;
pub mod config;
pub mod confirm;
pub mod demo;
pub mod deployment_keys;
pub mod directory;
pub mod dispatch;
pub mod door;
pub mod edge;
pub mod forms;
pub mod gateway;
pub mod guard;
pub mod harden;
pub mod identify;
pub mod in_force;
pub mod knock;
pub mod ledgers;
pub mod limits;
pub mod manage;
pub mod oauth;
pub mod open;
pub mod pipeline;
pub mod pseudonym;
pub mod record;
pub mod refresh;
pub mod refusal;
pub mod replicas;
pub mod resolve;
pub mod rules;
pub mod secrets;
pub mod serve;
pub mod watch;
pub mod witness;
pub mod witnessing;
