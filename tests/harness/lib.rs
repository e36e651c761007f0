//! Starts the real `portcullis` with real files, people and upstreams, and lets a test talk to it.
//!
//! Nothing here decides whether something is right: a harness that cannot do its part panics with what
//! was missing, everything else is handed to the test.
//!
//! # Vocabulary
//! - **Deployment**: one `portcullis serve` with a folder of its own. It can be stopped in order, killed,
//!   and started again on the same folder.
//! - **Person**: somebody of [`people::PEOPLE`], made in the directory by the real command when first
//!   named, and signed in through `POST /v1/auth/login`.
//! - **Upstream**: a server that writes down every request that reaches it, before it answers.
//!
//! # Where to begin
//! ```no_run
//! # async fn example() {
//! let upstream = harness::Upstream::start();
//! let gate = harness::Deployment::builder().notes(&upstream).start().await;
//! let answer = gate.call("ana", "notes", "list_notes", harness::json!({})).await;
//! assert_eq!(answer.status, 200);
//! assert_eq!(upstream.of_op(&answer.op()).len(), 1);
//! # }
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that cannot do its part ends the test with what was missing"
)]

mod answer;
mod binaries;
mod builder;
mod deployment;
pub mod failpoints;
mod http;
mod ledger;
pub mod people;
mod process;
mod redis;
mod upstream;
mod witness;

pub use answer::Answer;
pub use binaries::binary;
pub use builder::{BANK, Builder, MANIFEST};
pub use deployment::Deployment;
pub use ledger::{Verified, text};
pub use people::{Person, person};
pub use redis::RedisServer;
pub use serde_json::{Value, json};
pub use upstream::{Seen, Upstream};
pub use witness::Witness;
