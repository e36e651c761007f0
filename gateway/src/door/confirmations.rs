//! Looking at pending confirmations (wire-contract.md 5.4). Confirming and cancelling are calls like
//! any other and live in [`super::v1`].

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use super::entry::AtDoor;
use crate::answer::{json_response, refusal_response};
use crate::confirm;
use crate::gateway::Gateway;
use crate::refusal::Refusal;

/// `GET /v1/confirmations/active`: the caller's pending confirmations.
pub async fn active(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    match at.visit(&gateway).await {
        Ok(visit) => {
            let found = confirm::pending(&gateway, &visit.caller).await;
            shown(visit.end(&gateway, found).await)
        }
        Err(refused) => *refused,
    }
}

/// `GET /v1/confirmations/{id}`: one of the caller's own, or one that the caller may approve.
pub async fn one(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    let request = at.knock.request;
    match at.visit(&gateway).await {
        Ok(visit) => {
            let found = confirm::one(&gateway, &visit.caller, &id, request).await;
            shown(visit.end(&gateway, found).await)
        }
        Err(refused) => *refused,
    }
}

pub(super) fn shown<T: Serialize>(found: Result<T, Refusal>) -> Response<Body> {
    match found {
        Ok(value) => {
            let body = serde_json::to_vec(&value).unwrap_or_default();
            json_response(StatusCode::OK, Bytes::from(body))
        }
        Err(refusal) => refusal_response(&refusal),
    }
}
