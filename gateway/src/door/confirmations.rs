//! Looking at pending confirmations and cancelling them (wire-contract.md 5.4). Confirming is a
//! call like any other and lives in [`super::v1`].

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use bytes::Bytes;
use http::{Response, StatusCode};
use portcullis_policies::Channel;
use serde::Serialize;

use super::Edge;
use crate::answer::{json_response, refusal_response};
use crate::confirm;
use crate::gateway::Gateway;
use crate::knock::{Knock, Wanted};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// `GET /v1/confirmations/active`: the caller's pending confirmations.
pub async fn active(
    State(gateway): State<Arc<Gateway>>,
    Extension(edge): Extension<Edge>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let knock = Knock::new(&parts, &edge, Channel::Http, Wanted::Nothing);
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return refusal_response(&refusal),
    };
    let found = confirm::pending(&gateway, &visit.caller).await;
    shown(visit.end(&gateway, found).await)
}

/// `GET /v1/confirmations/{id}`: one of the caller's own.
pub async fn one(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Extension(edge): Extension<Edge>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let knock = Knock::new(&parts, &edge, Channel::Http, Wanted::Nothing);
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return refusal_response(&refusal),
    };
    let found = confirm::one(&gateway, &visit.caller, &id).await;
    shown(visit.end(&gateway, found).await)
}

fn shown<T: Serialize>(found: Result<T, Refusal>) -> Response<Body> {
    match found {
        Ok(value) => {
            let body = serde_json::to_vec(&value).unwrap_or_default();
            json_response(StatusCode::OK, Bytes::from(body))
        }
        Err(refusal) => refusal_response(&refusal),
    }
}
