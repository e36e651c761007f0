//! One answer of the gateway, read whole.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// Status, headers and body of one answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Self { status, headers, bytes, body })
    }

    /// A header as text, empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The operation id, under which the ledger has the whole story; empty when there is none.
    #[must_use]
    pub fn op(&self) -> String {
        self.header("x-portcullis-op").to_owned()
    }

    /// Ids of the deciding rules.
    #[must_use]
    pub fn rules(&self) -> Vec<&str> {
        self.header("x-portcullis-rules").split(',').filter(|rule| !rule.is_empty()).collect()
    }

    /// The stable code of a refusal, in either of its two shapes; empty when it is none.
    #[must_use]
    pub fn code(&self) -> &str {
        let named = self.body["error_code"].as_str().or_else(|| self.body["error"].as_str());
        named.unwrap_or_default()
    }

    /// The id of the confirmation that the answer asks for.
    ///
    /// Panics when it asks for none.
    #[must_use]
    pub fn confirmation(&self) -> String {
        let id = self.body["confirmation_id"].as_str();
        id.unwrap_or_else(|| panic!("no confirmation was asked for: {self:?}")).to_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
