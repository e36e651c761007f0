//! Asking an issuer: no redirects, bounded time and size, and only hosts that the operator named.

use std::time::Duration;

use http::Uri;
use serde::de::DeserializeOwned;

use super::ExternalIssuer;
use crate::identify::IdentityError;

/// From the first packet to the last byte.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest answer.
pub(crate) const MAX_ANSWER: usize = 256 * 1024;

/// Why an issuer gave nothing to go on with; for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("{0} is not at the issuer's own host; name the host in `hosts` if it may be there")]
    OtherHost(String),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it answers with status {0}; redirects are not followed")]
    Status(u16),
    #[error("its answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("its answer is not what the standard says: {0}")]
    Shape(String),
}

/// What may be asked, and how.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    http: reqwest::Client,
    scheme: String,
    authorities: Vec<String>,
}

impl Fetch {
    pub(crate) fn new(issuer: &ExternalIssuer) -> Result<Self, IdentityError> {
        let http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| IdentityError::Generate)?;
        let uri: Option<Uri> = issuer.url.parse().ok();
        let part = |part: Option<String>| part.unwrap_or_default();
        let scheme = part(uri.as_ref().and_then(|uri| uri.scheme_str().map(str::to_owned)));
        let own = part(uri.as_ref().and_then(|uri| uri.authority().map(ToString::to_string)));
        let authorities = issuer.hosts.iter().cloned().chain([own]).collect();
        Ok(Self { http, scheme, authorities })
    }

    /// Whether an address may be asked: by the issuer's own scheme, at its own host or at one that the operator named.
    /// What a discovery document says is not enough: it could name a host inside the operator's own network.
    pub(crate) fn allows(&self, address: &str) -> Result<(), NoAnswer> {
        let uri: Option<Uri> = address.parse().ok();
        let ours = uri.is_some_and(|uri| {
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            uri.scheme_str() == Some(&self.scheme)
                && self.authorities.iter().any(|known| known.eq_ignore_ascii_case(&authority))
        });
        if ours { Ok(()) } else { Err(NoAnswer::OtherHost(address.chars().take(200).collect())) }
    }

    /// Gets a JSON document.
    pub(crate) async fn json<T: DeserializeOwned>(&self, address: &str) -> Result<T, NoAnswer> {
        self.allows(address)?;
        let (status, body) = self.send(self.http.get(address)).await?;
        if status != 200 {
            return Err(NoAnswer::Status(status));
        }
        serde_json::from_slice(&body).map_err(|e| NoAnswer::Shape(e.to_string()))
    }

    /// Sends a request and reads the answer whole.
    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<(u16, Vec<u8>), NoAnswer> {
        let unreachable = |e: reqwest::Error| NoAnswer::Unreachable(e.without_url().to_string());
        let mut answer = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(NoAnswer::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status().as_u16(), body))
    }

    /// The client, for requests that are not plain questions.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }
}
