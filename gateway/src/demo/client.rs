//! A small HTTP client for the show: it knocks at the real door like any other caller.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// What went wrong between the show and the door.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request could not be built or sent, or the answer not read.
    #[error("the demo could not reach its own gateway: {0}")]
    Http(String),
    /// The answer is not JSON.
    #[error("the gateway answered something that is not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// One answer of the door.
#[derive(Debug)]
pub(super) struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The ids of the deciding rules, from the header `x-portcullis-rules`.
    pub rules: String,
    /// The body.
    pub body: Value,
    /// From the first byte sent to the last byte read.
    pub took: Duration,
}

/// Calls one gateway.
pub(super) struct Client {
    base: String,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// A client of the gateway at `base`, for example `http://127.0.0.1:8080`.
    #[must_use]
    pub(super) fn new(base: &str) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        Self { base: base.to_owned(), pool }
    }

    /// Posts JSON, with a bearer token when there is one.
    ///
    /// # Errors
    /// When the gateway can't be reached or answers something other than JSON.
    pub(super) async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<Reply, ClientError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::from(body.to_string())).map_err(http_fault)?;
        let started = Instant::now();
        let response = self.pool.request(request).await.map_err(http_fault)?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(http_fault)?.to_bytes();
        let rules = parts.headers.get("x-portcullis-rules").and_then(|v| v.to_str().ok());
        Ok(Reply {
            status: parts.status,
            rules: rules.unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&bytes)?,
            took: started.elapsed(),
        })
    }
}

fn http_fault(fault: impl std::fmt::Display) -> ClientError {
    ClientError::Http(fault.to_string())
}
