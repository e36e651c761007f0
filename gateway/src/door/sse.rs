//! Server-sent events: a body whose events come one by one, with a sign of life between them.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, header};
use serde_json::Value;
use tokio::sync::mpsc;

/// Longest silence; proxies and clients take a longer one for a broken connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Events that wait for a client who reads slowly; more hold up only who sends them.
const WAITING: usize = 8;

/// The end of a stream that events are put into.
#[derive(Debug, Clone)]
pub struct Events(mpsc::Sender<Bytes>);

/// The client is gone.
#[derive(Debug)]
pub struct Gone;

impl Events {
    /// Sends one event. `id` is what a client that comes again says it has seen.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn send(&self, name: &str, id: Option<&str>, data: &Value) -> Result<(), Gone> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        // JSON holds no line break, and the names and ids are ours.
        let text = format!("event: {name}\n{id}data: {data}\n\n");
        self.0.send(Bytes::from(text)).await.map_err(|_| Gone)
    }

    /// Resolves when the client is gone.
    pub async fn gone(&self) {
        self.0.closed().await;
    }
}

/// A response that ends when its [`Events`] are dropped.
#[must_use]
pub fn response() -> (Events, Response<Body>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = match tokio::time::timeout(SIGN_OF_LIFE, receiver.recv()).await {
            Ok(event) => event?,
            Err(_) => Bytes::from_static(b":\n\n"),
        };
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What a proxy in front collects comes too late.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (Events(sender), response)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_come_in_their_order_with_signs_of_life_between_them() {
        let (events, response) = response();
        let sent = tokio::spawn(async move {
            events.send("message", None, &json!({ "a": "line\nbreak" })).await.unwrap();
            tokio::time::sleep(2 * SIGN_OF_LIFE + Duration::from_secs(1)).await;
            events.send("asked", Some("7"), &json!(1)).await.unwrap();
        });
        let text = response.into_body().collect().await.unwrap().to_bytes();
        sent.await.unwrap();
        let wanted = "event: message\ndata: {\"a\":\"line\\nbreak\"}\n\n:\n\n:\n\nevent: asked\nid: 7\ndata: 1\n\n";
        assert_eq!(String::from_utf8_lossy(&text), wanted);
    }

    #[tokio::test]
    async fn who_sends_learns_that_the_client_is_gone() {
        let (events, response) = response();
        drop(response);
        events.gone().await;
        assert!(events.send("message", None, &json!({})).await.is_err());
    }
}
