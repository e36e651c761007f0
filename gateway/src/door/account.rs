//! `/v1/auth/register`, `/v1/auth/logout` and `/v1/auth/me/change-password` (wire-contract.md 1.3).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::Response;
use portcullis_policies::TenantId;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::auth::{default_tenant, issued, private_json, read, to_the_end, token_response};
use super::entry::AtDoor;
use crate::answer::refusal_response;
use crate::gateway::Gateway;
use crate::identify::{PasswordChange, Registration, SignOut};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

#[derive(Deserialize)]
struct RegisterBody {
    email: String,
    password: SecretString,
    #[serde(default = "default_tenant")]
    tenant_id: String,
}

#[derive(Deserialize)]
struct LogoutBody {
    refresh_token: SecretString,
}

#[derive(Deserialize)]
struct PasswordBody {
    current_password: SecretString,
    new_password: SecretString,
}

/// `POST /v1/auth/register`: only in tenants that the operator opened to strangers.
pub async fn register(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let AtDoor { knock, body, .. } = at;
    let door = Arc::clone(&gateway);
    let issue = async move {
        let body: RegisterBody = read(&door, body).await?;
        let tenant = open_tenant(&door, &body.tenant_id)?;
        let (email, password) = (body.email, body.password);
        Ok(door.identity.register(Registration { tenant, email, password }).await?)
    };
    match issued(gateway, knock, issue).await {
        Ok(issued) => {
            let mut response = token_response(&issued);
            *response.status_mut() = http::StatusCode::CREATED;
            response
        }
        Err(refusal) => refusal_response(&refusal),
    }
}

/// `POST /v1/auth/logout`: ends the session of a refresh token. One that is unknown has no session, so that is
/// a success too.
pub async fn logout(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let ended = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let ended = async {
            let body: LogoutBody = read(&gateway, body).await?;
            match gateway.identity.sign_out(&body.refresh_token).await? {
                SignOut::Ended(caller) => {
                    Visit::of(&gateway, &knock, caller).signed_out(&gateway).await
                }
                SignOut::NoSession => Ok(()),
            }
        };
        match ended.await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(Visit::refused(&gateway, &knock, refusal).await),
        }
    });
    respond(ended.await, "signed out")
}

/// `POST /v1/auth/me/change-password`: for the person, who says the password of now again. Every session ends.
pub async fn change_password(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let changed = to_the_end(async move {
        let AtDoor { knock, body, .. } = at;
        let visit = Visit::begin(&gateway, &knock).await?;
        let changed = async {
            let body: PasswordBody = read(&gateway, body).await?;
            let change = PasswordChange {
                current: body.current_password,
                new: body.new_password,
                source: knock.request.source,
            };
            Ok(gateway.identity.change_password(&visit.caller, change).await?)
        };
        let changed = changed.await;
        visit.end(&gateway, changed).await
    });
    respond(changed.await, "the password was changed; sign in again")
}

fn respond(done: Result<(), Refusal>, message: &str) -> Response<Body> {
    match done {
        Ok(()) => private_json(&json!({ "message": message })),
        Err(refusal) => refusal_response(&refusal),
    }
}

fn open_tenant(gateway: &Gateway, tenant: &str) -> Result<TenantId, Refusal> {
    let open = gateway.settings.identity.registration.iter().find(|open| open.as_str() == tenant);
    open.cloned().ok_or(Refusal::RegistrationClosed)
}
