//! Reads server-sent events as they come.

use std::time::Duration;

use harness::{Value, text};

/// Longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that may be a stream.
pub(crate) struct Sse {
    response: reqwest::Response,
    read: String,
}

impl Sse {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200, "{response:?}");
        Self { response, read: String::new() }
    }

    /// Whether it is one; else it has one message, which is the whole answer.
    pub(crate) fn is_stream(&self) -> bool {
        self.response.headers()["content-type"] == "text/event-stream"
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        self.event().await.expect("a message, and not the end").1
    }

    /// The next event with this name.
    pub(crate) async fn named(&mut self, wanted: &str) -> Value {
        loop {
            let (name, data) = self.event().await.unwrap_or_else(|| panic!("no {wanted} came"));
            if name == wanted {
                return data;
            }
        }
    }

    /// The next event about this confirmation that has one of these names.
    pub(crate) async fn of(&mut self, id: &str, wanted: &[&str]) -> (String, Value) {
        loop {
            let (name, data) = self.event().await.unwrap_or_else(|| panic!("no {wanted:?} came"));
            if text(&data, "/confirmation_id") == id && wanted.contains(&name.as_str()) {
                return (name, data);
            }
        }
    }

    /// The next event, or none at the end; signs of life are none.
    pub(crate) async fn event(&mut self) -> Option<(String, Value)> {
        if !self.is_stream() {
            let mut whole = Vec::new();
            while let Some(chunk) = self.response.chunk().await.unwrap() {
                whole.extend_from_slice(&chunk);
            }
            return Some((String::new(), serde_json::from_slice(&whole).ok()?));
        }
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let member = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let data = member("data: ").map(|data| serde_json::from_str(data).unwrap());
                let name = member("event: ").unwrap_or_default().to_owned();
                self.read = rest.to_owned();
                match data {
                    Some(data) => return Some((name, data)),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk());
            // A connection that breaks off is an end, too.
            let chunk = chunk.await.expect("an event in time").ok().flatten()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
