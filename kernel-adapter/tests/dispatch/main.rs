//! The dispatcher against real upstreams: permits from a real rulebook, receipts from a real
//! ledger, answers from real servers and child processes.

mod cleared;
mod http;
mod mcp;
mod proxy;
mod proxy_headers;
mod support;
