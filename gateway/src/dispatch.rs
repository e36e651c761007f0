//! The only file that calls the dispatcher: a cleared call goes to its app.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use portcullis_kernel_adapter::{
    App, CallerFacts, Class, Cleared, Inbound, NotTheSameCall, Outcome, ResolvedCall, StreamEnd,
    Upstream,
};
use portcullis_policies::{AppId, TenantId};
use tokio::time::Instant;

use crate::cached::{MAX_SECTION, Place, SECTION_LIFE};
use crate::confirm;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::manage::{self, Managed};
use crate::record::Trail;
use crate::refusal::Refusal;
use crate::resolve::{Own, OwnCached, ToolCall, section_name};
use crate::secrets::{self, LentValue, UpstreamLender};

/// What a dispatch gave.
pub enum Dispatched {
    /// It has ended.
    Ended(Outcome),
    /// A secret was opened for its app.
    Lent(LentValue),
    /// A proxied service began to answer; the end of its body is still to come.
    Streaming {
        /// The answer.
        response: Response<Body>,
        /// Resolves when the body has ended.
        end: StreamEnd,
        /// What the head alone says.
        head: Outcome,
    },
}

/// Sends a cleared call to its app, within the app's deadline.
pub async fn dispatch(
    gateway: &Gateway,
    cleared: Cleared,
    caller: &Caller,
    trail: &mut Trail,
    mut call: ToolCall,
) -> Dispatched {
    if let Some(own) = call.take_own() {
        let digest = *call.digest();
        return match own {
            Own::Secrets(own) => {
                secrets::carry_out(gateway, cleared, &digest, caller, trail, own).await
            }
            Own::Cached(own) => cached_call(gateway, cleared, &digest, trail, own).await,
            Own::Approval(own) => Dispatched::Ended(match cleared.spend(trail.op(), &digest) {
                Ok(_receipt) => confirm::carry_out(gateway, caller, *own).await,
                Err(fault) => Outcome::failed(Class::NotTheSameCall, fault),
            }),
            Own::Managed(managed) => {
                let tenant = call.target_tenant().clone();
                managed_call(gateway, cleared, &digest, caller, trail, (*managed, tenant)).await
            }
        };
    }
    let forward = call.take_forward();
    let resolved = match resolved(gateway, caller, trail, &call).await {
        Ok(resolved) => resolved,
        Err(nothing_sent) => return Dispatched::Ended(nothing_sent),
    };
    let lender = UpstreamLender::new(gateway.upstreams(), trail);
    let (app, function) = (call.app().id.clone(), call.tool().name().function().to_owned());
    let dispatched = match forward {
        None => {
            let outcome = gateway.dispatcher.call(cleared, resolved, &lender).await;
            keep_section(gateway, caller, (&app, &function), &outcome).await;
            Dispatched::Ended(outcome)
        }
        Some(request) => {
            let inbound = inbound(gateway, &request, trail);
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            let dispatcher = &gateway.dispatcher;
            match dispatcher.forward(cleared, resolved, request, inbound, &lender).await {
                Ok(forwarded) => streaming(forwarded.response.map(Body::new), forwarded.end),
                Err(outcome) => Dispatched::Ended(outcome),
            }
        }
    };
    lender.into_used().into_iter().for_each(|used| trail.used(used));
    dispatched
}

/// The permit and the receipt are spent before anything is changed.
async fn managed_call(
    gateway: &Gateway,
    cleared: Cleared,
    digest: &[u8; 32],
    caller: &Caller,
    trail: &Trail,
    (managed, tenant): (Managed, TenantId),
) -> Dispatched {
    Dispatched::Ended(match cleared.spend(trail.op(), digest) {
        Ok(_receipt) => manage::carry_out(gateway, caller, tenant, managed).await,
        Err(fault) => Outcome::failed(Class::NotTheSameCall, fault),
    })
}

/// The permit and the receipt are spent before anything that an app keeps is given or changed.
async fn cached_call(
    gateway: &Gateway,
    cleared: Cleared,
    digest: &[u8; 32],
    trail: &Trail,
    own: OwnCached,
) -> Dispatched {
    if let Err(fault) = cleared.spend(trail.op(), digest) {
        return Dispatched::Ended(Outcome::failed(Class::NotTheSameCall, fault));
    }
    let done = |value: &'static [u8]| Outcome::Done { value: Bytes::from_static(value) };
    Dispatched::Ended(match own {
        OwnCached::Get(place) => match gateway.cached.get(&place).await {
            Some(value) => Outcome::Done { value },
            None => Outcome::Refused {
                class: Class::NotFound,
                message: "nothing kept under this name".to_owned(),
                value: None,
            },
        },
        OwnCached::Set(place, value, life) => {
            gateway.cached.set(place, value, life).await;
            done(b"{\"status\":\"stored\"}")
        }
        OwnCached::Delete(place) => match gateway.cached.delete(&place).await {
            Ok(()) => done(b"{\"status\":\"deleted\"}"),
            Err(away) => Outcome::failed(Class::Storage, away),
        },
    })
}

/// Keeps the section that `skeleton_refresh_<section>` gave, for whom it was called.
async fn keep_section(gateway: &Gateway, caller: &Caller, call: (&AppId, &str), outcome: &Outcome) {
    let (app, function) = call;
    let Some(section) = function.strip_prefix("skeleton_refresh_") else { return };
    let Outcome::Done { value } = outcome else { return };
    // An `ActionResult` holds it as its `data`; anything else is the section itself.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(value) else { return };
    let data = value.get("data").unwrap_or(&value);
    let kept = serde_json::json!({ "data": data }).to_string();
    if kept.len() <= MAX_SECTION {
        let tenant = caller.tenant().as_str();
        let name = section_name(section);
        let place = Place::new(tenant, app.as_str(), caller.user_id(), &name);
        gateway.cached.set(place, Bytes::from(kept), SECTION_LIFE).await;
    }
}

/// What the worker is told; with a token for the app's own code where it has use for one.
async fn resolved(
    gateway: &Gateway,
    caller: &Caller,
    trail: &Trail,
    call: &ToolCall,
) -> Result<ResolvedCall, Outcome> {
    let facts =
        CallerFacts { subject: caller.user_id().to_owned(), tenant: call.target_tenant().clone() };
    let (app, tool, bytes) = (call.app().clone(), call.tool().clone(), call.bytes().clone());
    let until = Instant::now() + patience(gateway, call);
    let mut resolved = ResolvedCall::new(trail.op(), app, tool, bytes, facts, until);
    if matches!(call.app().upstream, Upstream::Http(_)) {
        let (app, function) = (&call.app().id, call.tool().name().function());
        let token = gateway.identity.call_token(app, caller.user_id(), function);
        resolved = token.into_iter().fold(resolved, ResolvedCall::with_call_token);
    }
    if !hands_token(call.app()) {
        return Ok(resolved);
    }
    match gateway.identity.handed_token(caller.user_id(), &call.app().id).await {
        Ok(token) => Ok(resolved.with_extension_token(token)),
        Err(fault) => {
            tracing::error!(%fault, "no token could be made for the app's code");
            Err(Outcome::failed(Class::Storage, fault))
        }
    }
}

/// Whether the app's code has use for a token: it has secrets, and only its own worker hears it.
fn hands_token(app: &App) -> bool {
    matches!(app.upstream, Upstream::Http(_)) && !app.secrets.is_empty()
}

/// Permit and receipt of different calls: a bug of ours, and nothing was dispatched.
pub fn not_the_same_call(fault: NotTheSameCall) -> Refusal {
    tracing::error!(%fault, "permit and receipt do not fit");
    Refusal::Unavailable("clearance".to_owned())
}

fn streaming(response: Response<Body>, end: StreamEnd) -> Dispatched {
    let status = response.status();
    let class = Class::Status(status.as_u16());
    let message = format!("the service answered {status}");
    // As the end of the body would tell, were it waited for.
    let head = match status.as_u16() {
        408 | 502 | 504 => Outcome::Unknown { class, message },
        400..=499 => Outcome::Refused { class, message, value: None },
        500..=599 => Outcome::Failed { class, message, value: None },
        _ => Outcome::Done { value: bytes::Bytes::new() },
    };
    Dispatched::Streaming { response, end, head }
}

/// How long the app may take: what the operator allows it, within the gateway's own limit.
fn patience(gateway: &Gateway, call: &ToolCall) -> Duration {
    let limit = gateway.settings.server.limits.request_timeout;
    let app = gateway.settings.apps.get(&call.app().id);
    app.map_or(limit, |app| app.timeout.min(limit))
}

fn inbound(gateway: &Gateway, request: &http::Request<Body>, trail: &Trail) -> Inbound {
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().host()).unwrap_or_default().to_owned();
    let scheme = if gateway.settings.server.tls.is_some() { "https" } else { "http" };
    Inbound { source: trail.source(), scheme, host }
}
