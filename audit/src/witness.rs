//! The witness protocol (c2sp.org/tlog-witness v1.0.0): who watches that a log only ever grows.
//!
//! Both sides, as pure values; sockets, clock and storage are the caller's.
//!
//! # The witness
//!
//! 1. [`AddCheckpoint::parse`] reads the body of a request.
//! 2. [`decide()`] compares it with the stored [`TreeHead`] of that origin: a [`Refusal`], or what
//!    is [`Pending`].
//! 3. The caller replaces the stored head, [`Pending::expected`] by [`Pending::next`], in one
//!    atomic and durable step, and says with [`Pending::persisted`] what is stored now.
//! 4. Only that gives a [`Persisted`], and only that gives the cosignature.
//!
//! INVARIANT: a cosignature exists only for a head that was stored before
//! (`of_two_requests_at_once_the_late_one_is_not_cosigned`).
//!
//! INVARIANT: after a head by a newer key none by an older one is cosigned
//! (`a_key_that_was_replaced_signs_nothing_that_is_cosigned_any_more`).
//!
//! # The log
//!
//! [`AddCheckpoint::new`] makes a request, [`Answer::read`] reads what the witness answered.

mod answer;
mod decide;
mod request;

pub use answer::{Answer, BadAnswer};
pub use decide::{Pending, Persisted, Refusal, TreeHead, decide, signer};
pub use request::{AddCheckpoint, BadRequest, MAX_REQUEST_BYTES, MAX_REQUEST_HASHES};

/// Media type of the answer that says the size of the last cosigned checkpoint.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

#[cfg(test)]
#[path = "witness/witness_tests.rs"]
mod tests;
