//! End-to-end claims about the gateway: the module is the subject, the test name finishes the sentence.
//!
//! Everything here talks to the real `portcullis` binary, started by the crate's `harness`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends where something is not as it claims, and the soak prints its table"
)]

mod accounts;
mod approvals;
mod asking;
mod call_tokens;
mod canaries;
mod clocks;
mod confirm_bytes;
mod confirm_events;
mod confirm_forgeries;
mod confirm_kills;
mod confirm_outcomes;
mod confirm_page;
mod confirm_races;
mod confirm_requests;
mod confirms;
mod coverage;
mod device;
mod discloses;
mod elicits;
mod erases;
mod federates;
mod forwarded;
mod guards;
mod guesses;
mod leaks;
mod ledger_keys;
mod limits;
mod manages;
mod mcp_oauth;
mod owners;
mod pages;
mod parts;
mod permits;
mod postgres_ledger;
mod providers;
mod proxies;
mod quarantine;
mod readme;
mod real_clients;
mod real_mcp;
mod records;
mod refuses;
mod reloads;
mod replicas;
mod rotates;
mod second_factor;
mod secrets;
mod sessions;
mod signing_keys;
mod spooled;
mod sse;
mod step_up;
mod survives;
mod throttles;
mod tls;
mod upstream_credentials;
mod walker;
mod warm;
mod witnessed;
