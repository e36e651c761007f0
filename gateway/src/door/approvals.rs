//! What people say of calls that others ask for: a second pair of eyes (design.md section 5).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::Response;
use serde::Deserialize;

use super::confirmations::shown;
use super::entry::AtDoor;
use super::read_body;
use super::v1::respond;
use crate::confirm;
use crate::directory::ApprovalVerdict;
use crate::gateway::Gateway;
use crate::knock::{ApprovalWanted, Wanted};
use crate::pipeline;
use crate::refusal::Refusal;

/// `GET /v1/confirmations/approvals`: what others ask for and the caller may approve.
pub async fn list(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let request = at.knock.request;
    match at.visit(&gateway).await {
        Ok(visit) => {
            let found = confirm::to_approve(&gateway, &visit.caller, request).await;
            shown(visit.end(&gateway, found).await)
        }
        Err(refused) => *refused,
    }
}

/// What an approver sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalBody {
    /// The hash of what they were shown.
    hash: String,
    /// The role as which they answer.
    #[serde(default, rename = "as")]
    role: Option<String>,
    /// Why.
    #[serde(default)]
    reason: String,
}

/// `POST /v1/confirmations/{id}/approve`: says yes to what somebody else asks for.
pub async fn approve(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    approval(gateway, id, at, ApprovalVerdict::Approved).await
}

/// `POST /v1/confirmations/{id}/decline`: says no, for good.
pub async fn decline(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    approval(gateway, id, at, ApprovalVerdict::Declined).await
}

async fn approval(
    gateway: Arc<Gateway>,
    id: String,
    at: AtDoor,
    verdict: ApprovalVerdict,
) -> Response<Body> {
    let AtDoor { mut knock, body, .. } = at;
    let read = read_body(&gateway, body).await.and_then(|json| {
        serde_json::from_slice::<ApprovalBody>(&json.bytes)
            .map_err(|fault| Refusal::MalformedBody(fault.to_string()))
    });
    knock.wanted = match read {
        Ok(ApprovalBody { hash, role, reason }) => {
            Wanted::Approval(ApprovalWanted { id, verdict, hash, role, reason })
        }
        Err(refusal) => Wanted::Malformed(refusal),
    };
    respond(pipeline::run(gateway, knock).await)
}
