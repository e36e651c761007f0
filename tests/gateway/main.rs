//! End-to-end claims about the gateway: the module is the subject, the test name finishes the sentence.
//!
//! Everything here talks to the real `portcullis` binary, started by the crate's `harness`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it claims"
)]

mod permits;
