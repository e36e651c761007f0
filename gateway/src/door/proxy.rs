//! `/proxy/{app}/...`: a reverse proxy for any HTTP service that was there before.
//!
//! A route of the app's route table is a tool; bodies stream; the path that was decided on is the
//! path that the service sees.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use http::{Response, Uri};
use portcullis_policies::Channel;
use sync_wrapper::SyncWrapper;

use super::Edge;
use crate::answer::{Told, json_response, refusal_response};
use crate::edge::CanonicalPath;
use crate::gateway::Gateway;
use crate::knock::{Knock, RouteWanted, Wanted};
use crate::pipeline;
use crate::refusal::Refusal;

/// Any method on `/proxy/{app}/{*path}`.
pub async fn forward(
    State(gateway): State<Arc<Gateway>>,
    Extension(edge): Extension<Edge>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut knock = Knock::new(&parts, &edge, Channel::Proxy, Wanted::Nothing);
    knock.wanted = match split(&parts.uri) {
        Ok((app, path)) => {
            let request = SyncWrapper::new(http::Request::from_parts(parts, body));
            Wanted::Route(Box::new(RouteWanted { app, path, request }))
        }
        Err(refusal) => Wanted::Malformed(refusal),
    };
    let answer = pipeline::run(gateway, knock).await;
    let mut headers = http::HeaderMap::new();
    answer.describe(&mut headers);
    let mut response = match answer.told {
        Told::Streamed(response) => response,
        Told::Done(value) => json_response(http::StatusCode::OK, value),
        Told::AskFirst(asked) => {
            let body = serde_json::to_vec(&asked).unwrap_or_default();
            json_response(http::StatusCode::ACCEPTED, body.into())
        }
        Told::Cancelled(_) | Told::Lent(_) => refusal_response(&Refusal::NoSuchRoute),
        Told::Refused(refusal) => refusal_response(&refusal),
    };
    response.headers_mut().extend(headers);
    response
}

/// Splits `/proxy/{app}/rest?query` into the app and the canonical `/rest?query`.
fn split(uri: &Uri) -> Result<(String, CanonicalPath), Refusal> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let rest = target.strip_prefix("/proxy/").ok_or(Refusal::NoSuchRoute)?;
    let (app, rest) = rest.split_once('/').ok_or(Refusal::NoSuchRoute)?;
    let path = CanonicalPath::parse(&format!("/{rest}"))
        .map_err(|reason| Refusal::MalformedRequest(reason.words().to_owned()))?;
    Ok((app.to_owned(), path))
}
