//! `/v1/internal/extcache/...` and `/v1/internal/skeleton/...`: what an app's code keeps for its user, by call
//! token (wire-contract.md sections 4 and 5.8).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::MethodRouter;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::AtDoor;
use super::read_bytes;
use crate::answer::{Answer, Told, json_response, refusal_response};
use crate::gateway::Gateway;
use crate::knock::{CachedDeed, CachedName, CachedWanted, Knock, Wanted};
use crate::pipeline;
use crate::refusal::Refusal;

/// Longest body of a change (wire-contract.md 0.13).
const MAX_BODY: usize = 65_536;

/// How long a value may be kept, in seconds.
const LIFE: std::ops::RangeInclusive<u64> = 5..=300;

type Named = (String, String, String, String);

#[derive(Deserialize)]
struct SetBody {
    envelope: Box<RawValue>,
    ttl_seconds: u64,
}

#[derive(Deserialize)]
struct Envelope {
    model: String,
    version: u32,
}

/// One cached value: `GET` gives it, `PUT` keeps one, `DELETE` forgets it.
pub fn one() -> MethodRouter<Arc<Gateway>> {
    axum::routing::get(get).put(set).delete(delete)
}

/// `GET /v1/internal/extcache/{app}/{user}/{model}/{key}`
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Path((app, user, model, key)): Path<Named>,
    at: AtDoor,
) -> Response<Body> {
    run(gateway, at.knock, app, user, CachedDeed::Get(CachedName { model, key })).await
}

/// `DELETE /v1/internal/extcache/{app}/{user}/{model}/{key}`
pub async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path((app, user, model, key)): Path<Named>,
    at: AtDoor,
) -> Response<Body> {
    run(gateway, at.knock, app, user, CachedDeed::Delete(CachedName { model, key })).await
}

/// `PUT /v1/internal/extcache/{app}/{user}/{model}/{key}`
pub async fn set(
    State(gateway): State<Arc<Gateway>>,
    Path((app, user, model, key)): Path<Named>,
    at: AtDoor,
) -> Response<Body> {
    let AtDoor { mut knock, body, .. } = at;
    match read_value(&gateway, body, &model).await {
        Ok((value, life)) => {
            let deed = CachedDeed::Set(CachedName { model, key }, value, life);
            run(gateway, knock, app, user, deed).await
        }
        Err(refusal) => {
            knock.wanted = Wanted::Malformed(refusal);
            knock.in_call = true;
            respond(pipeline::run(gateway, knock).await)
        }
    }
}

/// `GET /v1/internal/skeleton/{app}/{user}/{section}`
pub async fn section(
    State(gateway): State<Arc<Gateway>>,
    Path((app, user, section)): Path<(String, String, String)>,
    at: AtDoor,
) -> Response<Body> {
    run(gateway, at.knock, app, user, CachedDeed::Section(section)).await
}

/// The envelope as it was sent, and how long it is to be kept.
async fn read_value(
    gateway: &Gateway,
    body: Body,
    model: &str,
) -> Result<(Bytes, Duration), Refusal> {
    let json = gateway.json(read_bytes(body, MAX_BODY).await?)?;
    let misfit =
        |_| Refusal::MalformedBody("send {\"envelope\": {...}, \"ttl_seconds\": 60}".to_owned());
    let SetBody { envelope, ttl_seconds } = serde_json::from_slice(&json.bytes).map_err(misfit)?;
    let head: Envelope = serde_json::from_str(envelope.get()).map_err(misfit)?;
    if head.model != model || head.version != 1 {
        let words = "the envelope must name the model of the address, and version 1";
        return Err(Refusal::InvalidValue(words.to_owned()));
    }
    if !LIFE.contains(&ttl_seconds) {
        return Err(Refusal::InvalidValue("`ttl_seconds` must be from 5 to 300".to_owned()));
    }
    Ok((Bytes::from(envelope.get().to_owned()), Duration::from_secs(ttl_seconds)))
}

async fn run(
    gateway: Arc<Gateway>,
    knock: Knock,
    app: String,
    user: String,
    deed: CachedDeed,
) -> Response<Body> {
    let wanted = Wanted::Cached(CachedWanted { app, user, deed });
    respond(pipeline::run(gateway, Knock { wanted, in_call: true, ..knock }).await)
}

fn respond(answer: Answer) -> Response<Body> {
    let mut headers = http::HeaderMap::new();
    answer.describe(&mut headers);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = match answer.told {
        Told::Done(value) => json_response(StatusCode::OK, value),
        Told::Refused(refusal) => refusal_response(&refusal),
        _ => refusal_response(&Refusal::Unavailable("answer".to_owned())),
    };
    response.headers_mut().extend(headers);
    response
}
