//! Before any door: limits by address, before a credential is looked at or a byte of a body is read.
//!
//! What other services need to verify our tokens and what watches the gateway is never throttled.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use http::{Method, Response};
use portcullis_policies::Channel;

use super::{Edge, pages};
use crate::answer::refusal_response;
use crate::config::Rule;
use crate::gateway::Gateway;
use crate::knock::{Knock, Wanted};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Cheap, without a credential, and asked by machines that must not be turned away.
const FREE: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/v1/auth/.well-known/jwks.json"];

/// Routes that strangers use and that have a limit of their own.
const OWN: [(&str, Rule); 3] = [
    ("/v1/auth/login", Rule::Login),
    ("/signin", Rule::Login),
    ("/v1/auth/register", Rule::Register),
];

/// Lets a request of an address through, or refuses it.
pub async fn by_address(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = route.unwrap_or_default().to_owned();
    let edge = request.extensions().get::<Edge>().copied();
    // Only a request that did not come through the edge has no facts; the doors refuse it.
    let Some(edge) = edge.filter(|_| !FREE.contains(&route.as_str())) else {
        return next.run(request).await;
    };
    let source = edge.client;
    let is_post = request.method() == Method::POST;
    let own = OWN.iter().find(|(path, _)| *path == route && is_post).map(|(_, rule)| *rule);
    let rules: Vec<Rule> = std::iter::once(Rule::Address).chain(own).collect();
    match gateway.limits.address(&rules, source).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(&gateway, request, &edge, &route, refusal).await,
    }
}

/// Records the refusal of somebody whom nothing has proved, and answers in the shape of the route.
async fn refused(
    gateway: &Gateway,
    request: Request,
    edge: &Edge,
    route: &str,
    refusal: Refusal,
) -> Response<Body> {
    let channel = channel_of(route);
    let (parts, _) = request.into_parts();
    let knock = Knock::new(&parts, edge, channel, Wanted::Nothing);
    let refusal = Visit::refused(gateway, &knock, refusal).await;
    match channel {
        Channel::Page => pages::refused(&refusal),
        _ => refusal_response(&refusal),
    }
}

fn channel_of(route: &str) -> Channel {
    match route {
        "/mcp" => Channel::Mcp,
        "/signin" | "/signout" | "/device" | "/v1/oauth/authorize" => Channel::Page,
        page if page.starts_with("/ext/") => Channel::Page,
        proxied if proxied.starts_with("/proxy/") => Channel::Proxy,
        _ => Channel::Http,
    }
}
