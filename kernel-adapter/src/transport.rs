//! The ways to reach a worker.

pub(crate) mod http;
pub(crate) mod mcp;
pub(crate) mod pool;
pub(crate) mod proxy;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming body, as it goes through the proxy.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
