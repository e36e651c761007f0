//! One request to one witness, with a deadline and a bound for the answer.

use std::time::Duration;

use portcullis_audit::note::{CosignerKey, MAX_NOTE_BYTES};
use portcullis_audit::witness::{AddCheckpoint, Answer, BadAnswer};

use crate::config::WitnessSettings;

/// From the first packet to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// Where a witness is asked, and how its answers are checked.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: CosignerKey,
    pub(super) name: String,
}

/// Why there is no answer to go on with.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// It can't be reached, is too slow, or says that it can't answer now: try later.
    #[error("{0}")]
    Unreachable(String),
    /// It answered, and the answer does not help.
    #[error(transparent)]
    Bad(#[from] BadAnswer),
}

impl Client {
    pub(super) fn new(witness: &WitnessSettings) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let url = format!("{}/add-checkpoint", witness.url);
        Ok(Self { http, url, key: witness.key.clone(), name: witness.name.clone() })
    }

    /// Sends the request and reads what the witness makes of it.
    pub(super) async fn ask(&self, request: &AddCheckpoint) -> Result<Answer, NoAnswer> {
        let (status, kind, body) = self.post(request.to_string()).await?;
        if status >= 500 || status == 429 {
            return Err(NoAnswer::Unreachable(format!("it answers with status {status}")));
        }
        Ok(Answer::read(request, &self.key, status, kind.as_deref(), &body)?)
    }

    async fn post(&self, body: String) -> Result<(u16, Option<String>, String), NoAnswer> {
        let unreachable = |error: reqwest::Error| NoAnswer::Unreachable(why(&error));
        let sent = self.http.post(&self.url).body(body).send().await;
        let mut answer = sent.map_err(unreachable)?;
        let kind = answer.headers().get(http::header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > MAX_NOTE_BYTES {
                return Err(BadAnswer::TooLong.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((status, kind, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// The innermost cause: the outer ones only say that a request failed.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", DEADLINE.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
