//! `POST /add-checkpoint`, and a page that says whose witness this is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::{get, post};
use http::{HeaderValue, Response, StatusCode, header};
use portcullis_audit::witness::{BadRequest, Refusal, SIZE_MEDIA_TYPE};

use super::state::{NotCosigned, Witness};

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/", get(about))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response<Body> {
    // It waits for the disk.
    let work = tokio::task::spawn_blocking(move || decide(&witness, &body));
    work.await.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "failed\n".into()))
}

fn decide(witness: &Witness, body: &[u8]) -> Response<Body> {
    let Ok(body) = std::str::from_utf8(body) else {
        return refused(&NotCosigned::Refused(BadRequest::Checkpoint.into()));
    };
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else {
        tracing::error!("the clock stands before 1970, so nothing is cosigned");
        return text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the clock is wrong\n".into());
    };
    match witness.add_checkpoint(body, now.as_secs()) {
        Ok(lines) => text(StatusCode::OK, TEXT, lines),
        Err(why) => refused(&why),
    }
}

fn refused(why: &NotCosigned) -> Response<Body> {
    match why {
        NotCosigned::Refused(refusal) => {
            if matches!(refusal, Refusal::OtherRoot { .. } | Refusal::Proof(_) | Refusal::Retired) {
                tracing::warn!(%refusal, "a checkpoint was refused");
            } else {
                tracing::debug!(%refusal, "a checkpoint was refused");
            }
            let status = StatusCode::from_u16(refusal.status());
            let kind = if refusal.size().is_some() { SIZE_MEDIA_TYPE } else { TEXT };
            text(status.unwrap_or(StatusCode::BAD_REQUEST), kind, refusal.body())
        }
        NotCosigned::Storage(error) => {
            tracing::error!(%error, "a checkpoint cannot be stored, so it is not cosigned");
            text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{why}\n"))
        }
        NotCosigned::TooManyLogs => {
            tracing::error!("{why}");
            text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n"))
        }
    }
}

async fn about(State(witness): State<Arc<Witness>>) -> Response<Body> {
    let (key, logs) = (witness.key(), witness.logs());
    let page = format!(
        "A witness of transparency logs (c2sp.org/tlog-witness).\n\nkey  {key}\nlogs {logs}\n"
    );
    text(StatusCode::OK, TEXT, page)
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
