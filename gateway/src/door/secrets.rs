//! `/v1/secrets/...`: declared secrets of an app, for its code and for its people (wire-contract.md
//! section 2). A value leaves only towards the app's own code, and a value that comes in is never echoed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::MethodRouter;
use http::{HeaderValue, Response, StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;

use super::entry::AtDoor;
use super::{read_bytes, wipe};
use crate::answer::{Answer, Told, json_response, refusal_response};
use crate::gateway::Gateway;
use crate::knock::{Knock, SecretDeed, SecretWanted, Wanted};
use crate::pipeline;
use crate::refusal::Refusal;

/// Longest body of a change: the longest value with every byte escaped, and the braces around it.
const MAX_BODY: usize = 6 * 65_536 + 1_024;

#[derive(Deserialize)]
struct SetBody {
    value: SecretString,
}

/// One secret: `GET` lends, `PUT` stores, `DELETE` forgets.
pub fn one() -> MethodRouter<Arc<Gateway>> {
    axum::routing::get(get).put(set).delete(delete)
}

/// `GET /v1/secrets/{app}`: which secrets the app declares and which have a value.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Path(app): Path<String>,
    at: AtDoor,
) -> Response<Body> {
    run(gateway, at.knock, app, SecretDeed::List).await
}

/// `GET /v1/secrets/{app}/{name}`: the value, for the app's own code.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Path((app, name)): Path<(String, String)>,
    at: AtDoor,
) -> Response<Body> {
    run(gateway, at.knock, app, SecretDeed::Get { name }).await
}

/// `GET /v1/secrets/{app}/{name}/meta`: whether there is a value, and when it was last used.
pub async fn meta(
    State(gateway): State<Arc<Gateway>>,
    Path((app, name)): Path<(String, String)>,
    at: AtDoor,
) -> Response<Body> {
    run(gateway, at.knock, app, SecretDeed::Meta { name }).await
}

/// `DELETE /v1/secrets/{app}/{name}`: forgets the value.
pub async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path((app, name)): Path<(String, String)>,
    at: AtDoor,
) -> Response<Body> {
    run(gateway, at.knock, app, SecretDeed::Delete { name }).await
}

/// `PUT /v1/secrets/{app}/{name}`: stores a value; storing the same again does no harm.
pub async fn set(
    State(gateway): State<Arc<Gateway>>,
    Path((app, name)): Path<(String, String)>,
    at: AtDoor,
) -> Response<Body> {
    let AtDoor { mut knock, body, .. } = at;
    match read_value(body).await {
        Ok(value) => run(gateway, knock, app, SecretDeed::Set { name, value }).await,
        Err(refusal) => {
            knock.wanted = Wanted::Malformed(refusal);
            respond(pipeline::run(gateway, knock).await)
        }
    }
}

/// The library's message would quote the body, so ours says what is wanted instead.
async fn read_value(body: Body) -> Result<SecretString, Refusal> {
    let bytes = read_bytes(body, MAX_BODY).await?;
    let body: Result<SetBody, _> = serde_json::from_slice(&bytes);
    wipe(bytes);
    let wanted = || Refusal::MalformedBody("send {\"value\": \"...\"}, a text".to_owned());
    body.map(|body| body.value).map_err(|_| wanted())
}

async fn run(gateway: Arc<Gateway>, knock: Knock, app: String, deed: SecretDeed) -> Response<Body> {
    let wanted = SecretWanted { app, deed, request: knock.request, form: None };
    let knock = Knock { wanted: Wanted::Secret(wanted), ..knock };
    respond(pipeline::run(gateway, knock).await)
}

fn respond(answer: Answer) -> Response<Body> {
    let mut headers = http::HeaderMap::new();
    answer.describe(&mut headers);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = match answer.told {
        Told::Done(value) => json_response(StatusCode::OK, value),
        Told::Lent(value) => match value.into_body() {
            Some(body) => json_response(StatusCode::OK, body),
            None => refusal_response(&Refusal::VaultUnavailable),
        },
        Told::Refused(refusal) => refusal_response(&refusal),
        Told::Streamed(_) | Told::Cancelled(_) | Told::AskFirst(_) => {
            refusal_response(&Refusal::Unavailable("answer".to_owned()))
        }
    };
    response.headers_mut().extend(headers);
    response
}
