//! `/.well-known/...`: what the gateway says of itself to a program that knows nothing but an address (RFC 9728,
//! RFC 8414). Public, and the same for everybody.
//!
//! No scopes are listed: which there are says which apps there are. A program that asks for none is offered those of
//! the tools that its person may call.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{AUTHORIZE, REGISTER, REVOKE, TOKEN};
use crate::answer::{json_response, refusal_response};
use crate::door::device::Said;
use crate::gateway::Gateway;
use crate::oauth::MCP;
use crate::refusal::Refusal;

/// Where the MCP door is described.
pub const OF_MCP: &str = "/.well-known/oauth-protected-resource/mcp";

/// `GET /.well-known/oauth-protected-resource`
pub async fn gateway(State(_): State<Arc<Gateway>>, said: Said) -> Response<Body> {
    respond(said.base.map(|base| resource(&base, "")))
}

/// `GET /.well-known/oauth-protected-resource/mcp`
pub async fn mcp(State(_): State<Arc<Gateway>>, said: Said) -> Response<Body> {
    respond(said.base.map(|base| resource(&base, MCP)))
}

/// `GET /.well-known/oauth-authorization-server`
pub async fn server(State(_): State<Arc<Gateway>>, said: Said) -> Response<Body> {
    respond(said.base.map(|base| {
        let at = |path: &str| format!("{base}{path}");
        json!({
            "issuer": base,
            "authorization_endpoint": at(AUTHORIZE),
            "token_endpoint": at(TOKEN),
            "registration_endpoint": at(REGISTER),
            "revocation_endpoint": at(REVOKE),
            "jwks_uri": at("/v1/auth/.well-known/jwks.json"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": true,
            "client_id_metadata_document_supported": false,
        })
    }))
}

fn resource(base: &str, path: &str) -> Value {
    json!({
        "resource": format!("{base}{path}"),
        "authorization_servers": [base],
        "bearer_methods_supported": ["header"],
        "resource_name": "Portcullis",
    })
}

/// A gateway that nobody told its address describes nothing.
fn respond(described: Option<Value>) -> Response<Body> {
    let Some(described) = described else {
        tracing::warn!(
            "`server.public_url` is not set, so MCP clients cannot find out where to sign in"
        );
        return refusal_response(&Refusal::NoSuchRoute);
    };
    let mut response = json_response(StatusCode::OK, Bytes::from(described.to_string()));
    let cache = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}
