//! What a caller is told at the end of a call, before a door gives it its own shape.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use portcullis_audit::Counted;
use portcullis_policies::ActionType;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::confirm::{Asker, ShownRequest};
use crate::directory::{ApprovalVerdict, ConfirmationState};
use crate::limits::OverLimit;
use crate::refusal::Refusal;
use crate::secrets::LentValue;

/// Header: the operation id under which the ledger tells the whole story.
pub const OP: HeaderName = HeaderName::from_static("x-portcullis-op");
/// Header: `permit`, `ask_first` or `refuse`.
pub const DECISION: HeaderName = HeaderName::from_static("x-portcullis-decision");
/// Header: of a request, that the caller wants a signed promise of the record of its call; of an answer,
/// that promise as base64, for `portcullis-verify --promise`.
pub const PROMISE: HeaderName = HeaderName::from_static("x-portcullis-promise");
/// Header: which record of the caller's session the record of its call is, since where in which log that is
/// counted: by these numbers a caller sees that a record of its own was left out (`portcullis-verify --kept`).
pub const SESSION_SEQ: HeaderName = HeaderName::from_static("x-portcullis-session-seq");
/// Header: ids of the deciding rules, comma-separated.
pub const RULES: HeaderName = HeaderName::from_static("x-portcullis-rules");

/// Headers: which limit was reached, and what is left of it (draft-ietf-httpapi-ratelimit-headers).
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The end of one call.
#[derive(Debug)]
pub struct Answer {
    /// The operation id.
    pub op: Uuid,
    /// Ids of the rules that decided; empty when it did not come to a decision.
    pub rules: Vec<String>,
    /// A signed promise that the record of this call is durable, for a caller who asked for one.
    pub promise: Option<String>,
    /// The number of that record in the caller's session.
    pub counted: Option<Counted>,
    /// What to tell.
    pub told: Told,
}

/// What to tell the caller.
#[derive(Debug)]
pub enum Told {
    /// Carried out: the app's answer as JSON.
    Done(Bytes),
    /// Carried out by a proxied service: its answer, streaming.
    Streamed(Response<Body>),
    /// The value of a secret, for its app alone.
    Lent(LentValue),
    /// Nothing was done yet; somebody must confirm.
    AskFirst(Box<Asked>),
    /// The pending confirmation of this id was cancelled.
    Cancelled(String),
    /// Nothing was done, or it did not end well.
    Refused(Refusal),
}

/// A confirmation as its caller sees it (design.md section 5, wire-contract.md 5.4).
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// `confirmation_required` while it waits, else `decided`.
    pub status: &'static str,
    /// Names the pending call; the only thing that a client presents to confirm it.
    pub confirmation_id: String,
    /// The page where its person reads and decides it; none when the gateway does not know its own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Where it is: `pending`, `executing`, `executed`, `cancelled`, `declined`, `expired`, `refused`, `superseded` or `unknown`.
    pub state: ConfirmationState,
    /// How it ended, once it was carried out and the ledger says: `done`, `failed`, `refused` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Who asked.
    pub user_id: String,
    /// The asker's tenant.
    pub tenant_id: String,
    /// On whose things it would work.
    pub target_tenant: String,
    /// The credential that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Asker>,
    /// What would run, in one line.
    pub summary: String,
    /// The app.
    pub app: String,
    /// The function.
    pub function: String,
    /// The action type: `write` or `destructive`.
    pub action_type: ActionType,
    /// The arguments as they would run.
    pub arguments: Value,
    /// The exact argument bytes, which are what runs.
    pub arguments_text: String,
    /// For a proxied call: what would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<ShownRequest>,
    /// SHA-256 (hex) over all of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<String>,
    /// JSON pointers into the arguments: what the tool's schema says is a secret, which no screen shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// SHA-256 (hex) over tool name and exact argument bytes.
    pub hash: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub expires_at: String,
    /// Ids of the rules that ask.
    pub rules: Vec<String>,
    /// True when somebody other than the asker must approve it first.
    pub by_other: bool,
    /// Roles as each of which another person has to approve; empty when any other person is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approver_roles: Vec<String>,
    /// What others said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Said>,
    /// Operation of the call that asked.
    pub trace_id: Uuid,
}

/// What somebody said of a call that somebody else asks for.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// The approver's e-mail; the id when they are not there any more.
    pub by: String,
    /// `approved` or `declined`.
    pub verdict: ApprovalVerdict,
    /// The role as which; empty for none.
    #[serde(rename = "as")]
    pub role: String,
    /// Why.
    pub reason: String,
    /// RFC 3339, UTC.
    pub at: String,
}

impl Answer {
    /// A refusal under an operation id.
    #[must_use]
    pub fn refused(op: Uuid, refusal: Refusal) -> Self {
        let rules = refusal.rules().to_vec();
        Self { op, rules, promise: None, counted: None, told: Told::Refused(refusal) }
    }

    /// The promise as its header carries it.
    #[must_use]
    pub fn promise_header(&self) -> Option<String> {
        self.promise.as_ref().map(|note| BASE64.encode(note))
    }

    /// The refusal in it; what is no refusal can't come from where this is asked.
    #[must_use]
    pub fn into_refusal(self) -> Refusal {
        match self.told {
            Told::Refused(refusal) => refusal,
            _ => Refusal::Unavailable("answer".into()),
        }
    }

    /// The word for logs, headers and tables.
    #[must_use]
    pub fn decision(&self) -> &'static str {
        match &self.told {
            Told::Done(_) | Told::Streamed(_) | Told::Lent(_) => "permit",
            Told::AskFirst(_) => "ask_first",
            Told::Cancelled(_) => "cancel",
            Told::Refused(_) => "refuse",
        }
    }

    /// Puts operation, decision and rules into headers, so that every door shows them alike.
    pub fn describe(&self, headers: &mut HeaderMap) {
        if let Ok(op) = HeaderValue::from_str(&self.op.to_string()) {
            headers.insert(OP, op);
        }
        headers.insert(DECISION, HeaderValue::from_static(self.decision()));
        if let Ok(rules) = HeaderValue::from_str(&self.rules.join(",")) {
            headers.insert(RULES, rules);
        }
        if let Some(Ok(promise)) = self.promise_header().map(HeaderValue::try_from) {
            headers.insert(PROMISE, promise);
        }
        let counted = self.counted.as_ref().map(ToString::to_string);
        if let Some(Ok(counted)) = counted.map(HeaderValue::try_from) {
            headers.insert(SESSION_SEQ, counted);
        }
    }
}

/// A JSON response.
#[must_use]
pub fn json_response(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A refusal as a response, with `Retry-After` and `WWW-Authenticate` where they belong.
#[must_use]
pub fn refusal_response(refusal: &Refusal) -> Response<Body> {
    let mut response = json_response(refusal.status(), Bytes::from(refusal.body().to_string()));
    if let Some(wait) = refusal.retry_after() {
        let seconds = HeaderValue::from(wait.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    if let Some((policy, left)) = refusal.over_limit().map(OverLimit::headers) {
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    if refusal.status() == StatusCode::UNAUTHORIZED {
        let scheme =
            refusal.challenge().map(|more| HeaderValue::try_from(format!("Bearer {more}")));
        let scheme = scheme.and_then(Result::ok).unwrap_or(HeaderValue::from_static("Bearer"));
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}
