//! The offline verifier: from a folder to \"whole\", or the first bad record and why.
//!
//! Needs no running gateway, no network, no clock and no key but the public one.

mod check;
mod folder;
mod report;
mod store;

pub use check::{Anchor, Checker, LogReport};
pub use folder::{Trust, verify};
pub use report::{Report, Verdict};
pub use store::verify_ledger;
