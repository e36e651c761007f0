//! Function calls over HTTP: `POST {base}/{function}` with the exact argument bytes as the body.
//!
//! The worker is told the operation id (so that it can refuse a repetition), the tenant and the
//! user in headers of ours; it gets the app's credential and never the caller's. Redirects are not
//! followed: an upstream must not send the gateway, and its credential, elsewhere.

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use portcullis_policies::ActionType;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::time::timeout_at;

use super::Body;
use super::pool::{Pool, full};
use crate::app::HttpUpstream;
use crate::call::ResolvedCall;
use crate::lend::{Borrower, Headers};
use crate::outcome::{Class, Outcome, bounded};

/// Names of the headers that tell a worker about the call.
pub(crate) const OP: &str = "x-portcullis-op";
pub(crate) const TENANT: &str = "x-portcullis-tenant";
pub(crate) const USER: &str = "x-portcullis-user";
/// Carries the token by which the app's own code acts for the caller.
const EXTENSION_TOKEN: &str = "x-portcullis-extension-token";
/// Header: a token by which the called code reaches what it keeps, once.
const CALL_TOKEN: &str = "x-imperal-call-token";

/// How one attempt ended.
enum Attempt {
    Answer(StatusCode, Bytes),
    /// Nothing was sent.
    NotSent(String),
    /// Something was sent and not one byte came back.
    NoAnswer(Class, String),
    /// An answer began and did not end well.
    BadAnswer(Class, String),
}

/// Calls a function; a read is tried once more when not one byte came back.
pub(crate) async fn call(
    pool: &Pool,
    upstream: &HttpUpstream,
    call: &ResolvedCall,
    max_answer: usize,
    borrower: Borrower<'_>,
) -> Outcome {
    let credentials = match credentials(upstream, call, borrower).await {
        Ok(credentials) => credentials,
        Err(nothing_sent) => return nothing_sent,
    };
    let mut retries = u8::from(call.tool().spec.action_type == ActionType::Read);
    loop {
        let request = match request(upstream, call, &credentials) {
            Ok(request) => request,
            Err(why) => return Outcome::failed(Class::BadRequest, why),
        };
        let attempt = timeout_at(call.deadline(), attempt(pool, request, max_answer)).await;
        match attempt {
            Ok(Attempt::NotSent(_) | Attempt::NoAnswer(..)) if retries > 0 => retries -= 1,
            Ok(attempt) => return outcome(attempt),
            // The connection may have been there: what was sent is not known.
            Err(_) => return Outcome::unknown(Class::Timeout, "no answer within the deadline"),
        }
    }
}

/// The credentials for one call, within its deadline.
pub(crate) async fn credentials(
    upstream: &HttpUpstream,
    call: &ResolvedCall,
    borrower: Borrower<'_>,
) -> Result<Headers, Outcome> {
    match timeout_at(call.deadline(), borrower.headers(upstream)).await {
        Ok(borrowed) => Ok(borrowed?.what),
        Err(_) => Err(Outcome::failed(Class::TooLate, "the credential was not lent in time")),
    }
}

fn request(
    upstream: &HttpUpstream,
    call: &ResolvedCall,
    credentials: &Headers,
) -> Result<Request<Body>, String> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(join(&upstream.base, &format!("/{}", call.tool().name().function()))?)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(OP, call.op().to_string())
        .header(TENANT, call.caller().tenant.as_str())
        .header(USER, user(call)?);
    let tokens = [(EXTENSION_TOKEN, call.extension_token()), (CALL_TOKEN, call.call_token())];
    for (name, token) in tokens {
        let Some(token) = token else { continue };
        let mut token = HeaderValue::from_str(token.expose_secret()).map_err(|e| e.to_string())?;
        token.set_sensitive(true);
        request = request.header(name, token);
    }
    for (name, value) in credentials {
        request = request.header(name, value);
    }
    request.body(full(call.args().clone())).map_err(|e| e.to_string())
}

/// The caller's id as a header value.
pub(crate) fn user(call: &ResolvedCall) -> Result<HeaderValue, String> {
    HeaderValue::from_str(&call.caller().subject)
        .map_err(|_| "the caller's id holds characters that a header cannot carry".to_owned())
}

/// `base` with `path_and_query` appended to its path.
pub(crate) fn join(base: &Uri, path_and_query: &str) -> Result<Uri, String> {
    let mut parts = base.clone().into_parts();
    let prefix = base.path().trim_end_matches('/');
    let joined = PathAndQuery::try_from(format!("{prefix}{path_and_query}"));
    parts.path_and_query = Some(joined.map_err(|e| e.to_string())?);
    Uri::from_parts(parts).map_err(|e| e.to_string())
}

async fn attempt(pool: &Pool, request: Request<Body>, max_answer: usize) -> Attempt {
    portcullis_audit::crash_point!("dispatch_before_send");
    let answer = match pool.send(request).await {
        Ok(answer) => answer,
        Err(e) if e.is_connect() => return Attempt::NotSent(causes(&e)),
        Err(e) => return Attempt::NoAnswer(Class::Disconnected, causes(&e)),
    };
    portcullis_audit::crash_point!("dispatch_after_send_before_reply");
    let status = answer.status();
    match read(answer.into_body(), max_answer).await {
        Ok(body) => Attempt::Answer(status, body),
        Err((class, why)) => Attempt::BadAnswer(class, why),
    }
}

async fn read(body: Incoming, max: usize) -> Result<Bytes, (Class, String)> {
    match Limited::new(body, max).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => {
            Err((Class::TooLarge, format!("the answer is larger than {max} bytes")))
        }
        Err(e) => Err((Class::Disconnected, e.to_string())),
    }
}

fn outcome(attempt: Attempt) -> Outcome {
    match attempt {
        Attempt::NotSent(why) => Outcome::failed(Class::Unreachable, why),
        Attempt::NoAnswer(class, why) | Attempt::BadAnswer(class, why) => {
            Outcome::unknown(class, why)
        }
        Attempt::Answer(status, body) => answered(status, body),
    }
}

/// An understood answer: JSON with a status that is the worker's own word.
fn answered(status: StatusCode, body: Bytes) -> Outcome {
    let class = Class::Status(status.as_u16());
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    let message = said(json.as_ref()).unwrap_or_else(|| format!("the worker answered {status}"));
    let value = json.is_some().then(|| body.clone());
    match status {
        // Something between here and the worker gave up: whether the worker ran is not known.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
            Outcome::unknown(class, message)
        }
        s if s.is_client_error() => Outcome::Refused { class, message, value },
        s if s.is_success() => match json {
            Some(json) if json.get("status").and_then(Value::as_str) == Some("error") => {
                Outcome::Failed { class: Class::WorkerError, message, value }
            }
            Some(_) => Outcome::Done { value: body },
            None => Outcome::unknown(Class::Protocol, "the worker's answer is not JSON"),
        },
        // 1xx and 3xx are no answers to a function call; 5xx is the worker's own failure.
        _ => Outcome::Failed { class, message, value },
    }
}

/// The worker's own words, where the answer has them in one of the usual places.
fn said(json: Option<&Value>) -> Option<String> {
    let json = json?;
    let text = ["detail", "message", "error"].into_iter().find_map(|k| json.get(k)?.as_str());
    text.map(bounded)
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    bounded(line)
}
