//! MCP over streamable HTTP: the SDK's client with credentials that are lent call by call, and with
//! two things that it does not notice.
//!
//! - A server that was started anew refuses the session of before. Some do it with 404, the
//!   official TypeScript SDK with 400 and a JSON-RPC error that names no request; such an error
//!   would never reach the caller, who would wait for the whole deadline.
//! - Whether a request failed before a byte of it was sent, so that the outcome is known.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::ServiceError;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use sse_stream::Sse;

use super::DiscoverError;
use super::loan::OnLoan;
use crate::app::HttpUpstream;

/// How the transport to an upstream is set up.
pub(super) fn config(how: &HttpUpstream, max_answer: usize) -> StreamableHttpClientTransportConfig {
    let mut config = StreamableHttpClientTransportConfig::with_uri(how.base.to_string());
    config.max_sse_event_size = max_answer;
    // A session that the server forgot is made anew by us, where its tools are listed again.
    config.reinit_on_expired_session = false;
    config.max_concurrent_requests = 256;
    config
}

/// Whether the connection is of no use any more: the next call needs a new one.
pub(super) fn is_lost(e: &ServiceError) -> bool {
    matches!(e, ServiceError::TransportSend(_) | ServiceError::TransportClosed)
}

/// Whether it is certain that the server did not begin with the call: it could not be connected to,
/// or it refused the session.
pub(super) fn was_not_begun(e: &ServiceError) -> bool {
    let ServiceError::TransportSend(sending) = e else { return false };
    match sending.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::SessionExpired) => true,
        Some(StreamableHttpError::Client(e)) => e.is_connect(),
        _ => false,
    }
}

type Fault = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// The client of one session.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: reqwest::Client,
    /// Where the headers of the calls of now are, when they are lent.
    on_loan: Option<OnLoan>,
}

impl HttpClient {
    /// A client that goes where the operator said and nowhere else.
    pub(super) fn new(on_loan: Option<OnLoan>) -> Result<HttpClient, DiscoverError> {
        let built = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // A pooled connection whose last answer was not read to its end stalls the next call.
            .pool_max_idle_per_host(0)
            .build();
        let client = built.map_err(|e| DiscoverError::Connect(e.to_string()))?;
        Ok(HttpClient { client, on_loan })
    }

    /// Adds what is on loan; false when that is nothing, and something belongs there.
    fn add_loan(&self, headers: &mut Headers) -> bool {
        let Some(on_loan) = &self.on_loan else { return true };
        let now = on_loan.now();
        headers.extend(now.iter().flat_map(|lent| lent.iter().cloned()));
        now.is_some()
    }

    /// Adds what is on loan, now or to the next call: a stream of events has time.
    async fn await_loan(&self, headers: &mut Headers) {
        if let Some(on_loan) = &self.on_loan {
            let lent = on_loan.next().await;
            headers.extend(lent.iter().flat_map(|lent| lent.iter().cloned()));
        }
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        mut headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Fault> {
        let in_session = session.is_some();
        let request = is_request(&message);
        if !self.add_loan(&mut headers) {
            return unlent(request);
        }
        let answer = self.client.post_message(uri, message, session, auth, headers).await?;
        if request && in_session { refused_session(answer) } else { Ok(answer) }
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        mut headers: Headers,
        max: usize,
    ) -> Result<StreamableHttpPostResponse, Fault> {
        let in_session = session.is_some();
        let request = is_request(&message);
        if !self.add_loan(&mut headers) {
            return unlent(request);
        }
        let sent = self
            .client
            .post_message_with_max_sse_event_size(uri, message, session, auth, headers, max)
            .await?;
        if request && in_session { refused_session(sent) } else { Ok(sent) }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        auth: Option<String>,
        mut headers: Headers,
    ) -> Result<(), Fault> {
        if !self.add_loan(&mut headers) {
            // The server ends the session when its time is over.
            return Ok(());
        }
        self.client.delete_session(uri, session, auth, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        auth: Option<String>,
        mut headers: Headers,
    ) -> Result<Events, Fault> {
        self.await_loan(&mut headers).await;
        self.client.get_stream(uri, session, last_event, auth, headers).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        auth: Option<String>,
        mut headers: Headers,
        max: usize,
    ) -> Result<Events, Fault> {
        self.await_loan(&mut headers).await;
        self.client
            .get_stream_with_max_sse_event_size(uri, session, last_event, auth, headers, max)
            .await
    }
}

/// What nobody has a credential for is not sent: a request fails, an answer or a word is forgotten.
fn unlent(request: bool) -> Result<StreamableHttpPostResponse, Fault> {
    if request {
        Err(StreamableHttpError::TransportChannelClosed)
    } else {
        Ok(StreamableHttpPostResponse::Accepted)
    }
}

fn is_request(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Request(_))
}

/// An error that names no request answers none: the server did not get as far as reading it.
fn refused_session(
    answer: StreamableHttpPostResponse,
) -> Result<StreamableHttpPostResponse, Fault> {
    match &answer {
        StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(e), _) if e.id.is_none() => {
            Err(StreamableHttpError::SessionExpired)
        }
        _ => Ok(answer),
    }
}
