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
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::knock::{Knock, Wanted};
use crate::refusal::Refusal;
use crate::{confirm, pipeline};

/// `GET /v1/confirmations/active`: the caller's pending confirmations.
pub async fn active(
    State(gateway): State<Arc<Gateway>>,
    Extension(edge): Extension<Edge>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let knock = Knock::new(&parts, &edge, Channel::Http, Wanted::Nothing);
    let look = async |caller: &Caller| confirm::pending(&gateway, caller).await;
    shown(pipeline::look(&gateway, knock, look).await)
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
    let look = async |caller: &Caller| confirm::one(&gateway, caller, &id).await;
    shown(pipeline::look(&gateway, knock, look).await)
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
