//! The offline verifier: from a folder to \"whole\", or the first bad record and why.
//!
//! Needs no running gateway, no network, no clock and no key but the public one.

mod bodies;
mod check;
mod counts;
mod folder;
mod head;
mod kept;
mod keys;
mod log_report;
mod proofs;
mod records;
mod report;
mod store;
mod trust;

pub use bodies::{Brought, DisclosedReport};
pub use check::{Checker, Examined};
pub use counts::{Kept, KeptReport, Other};
pub use folder::{Effort, verify, verify_with};
pub use kept::KeptFile;
pub use log_report::{Anchor, LogReport, Voucher};
pub use report::{Report, Verdict};
pub use store::verify_ledger;
pub use trust::Trust;
