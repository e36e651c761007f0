//! The HTTP edge against raw sockets: what a strict recording service sees, and what it never sees.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking; the lint's own exception covers `#[test]` functions only"
)]

mod accepted;
mod cases;
mod harness;
mod http2;
mod patience;
mod refused;
mod tls;
