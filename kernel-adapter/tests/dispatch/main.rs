//! The dispatcher against real upstreams: permits from a real rulebook, receipts from a real
//! ledger, answers from real servers and child processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking; its modules see each other and nobody sees them"
)]

mod cleared;
mod http;
mod lent;
mod mcp;
mod proxy;
mod proxy_headers;
mod support;
