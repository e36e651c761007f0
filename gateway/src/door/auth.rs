//! `/v1/auth/...`: signing in, refreshing, and who one is (wire-contract.md 1.1 and 1.3).
//!
//! A sign-in runs in a task of its own, so that a client that hangs up cannot leave a failed try
//! unrecorded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entry::AtDoor;
use super::read_body;
use crate::answer::{json_response, refusal_response};
use crate::config::Rule;
use crate::directory::DirectoryError;
use crate::gateway::Gateway;
use crate::identify::{
    AccountRefused, Caller, Issued, Profile, RefreshRefused, SignIn, SignInRefused,
};
use crate::knock::Knock;
use crate::record::{self, Trail};
use crate::refusal::Refusal;

/// When to come back when too many passwords are being checked.
const BUSY_RETRY: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct LoginBody {
    email: String,
    password: String,
    #[serde(default = "default_tenant")]
    tenant_id: String,
    #[serde(default)]
    otp: Option<SecretString>,
}

#[derive(Deserialize)]
struct RefreshBody {
    refresh_token: String,
}

/// `TokenResponse`, wire-contract.md 1.3.
#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    refresh_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
}

/// `POST /v1/auth/login`
pub async fn login(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let AtDoor { knock, body, .. } = at;
    let source = knock.request.source;
    let door = Arc::clone(&gateway);
    let issue = async move {
        let body: LoginBody = read(&door, body).await?;
        let attempt = SignIn {
            tenant: body.tenant_id.parse().map_err(|_| SignInRefused::Credentials)?,
            email: body.email,
            password: SecretString::from(body.password),
            otp: body.otp,
            source,
        };
        Ok(door.identity.sign_in(attempt).await?)
    };
    respond(issued(gateway, knock, issue).await)
}

/// `POST /v1/auth/refresh`: spends a refresh token for a new pair.
pub async fn refresh(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let AtDoor { knock, body, .. } = at;
    let door = Arc::clone(&gateway);
    let issue = async move {
        let token = SecretString::from(read::<RefreshBody>(&door, body).await?.refresh_token);
        // Counted before it is spent: who is over the limit keeps the session.
        if let Some(user) = door.identity.session_user(&token).await? {
            door.limits.check(Rule::Refresh, &user).await?;
        }
        Ok(door.identity.refresh(&token).await?)
    };
    respond(issued(gateway, knock, issue).await)
}

/// `GET /v1/auth/me`
pub async fn me(State(gateway): State<Arc<Gateway>>, at: AtDoor) -> Response<Body> {
    let visit = match at.visit(&gateway).await {
        Ok(visit) => visit.within(&gateway, Rule::Me).await,
        Err(refused) => return *refused,
    };
    let visit = match visit {
        Ok(visit) => visit,
        Err(refusal) => return refusal_response(&refusal),
    };
    let profile = profile(&gateway, &visit.caller).await;
    let profile = profile.map_err(|fault| Refusal::Unavailable(fault.to_string()));
    match visit.end(&gateway, profile).await {
        Ok(user) => private_json(&user),
        Err(refusal) => refusal_response(&refusal),
    }
}

/// What a user is told of itself; the platform's service, which is none, is told what its token says.
async fn profile(gateway: &Gateway, caller: &Caller) -> Result<Profile, DirectoryError> {
    if caller.is_platform() {
        let token = gateway.directory.service_token(caller.tenant(), caller.id()).await?;
        return Ok(Profile::of_service(token));
    }
    let user = gateway.directory.user(caller.user_id()).await?;
    Ok(Profile::of(user, &caller.principal().scopes))
}

/// `GET /v1/auth/.well-known/jwks.json`: no credential, no limit, cheap (RFC 7517).
pub async fn jwks(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let mut response = json_response(StatusCode::OK, gateway.identity.jwks().await);
    let cache = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}

/// Issues a pair of tokens; both the issue and its refusal are recorded before they are answered.
///
/// # Errors
/// Why there are none.
pub async fn issued(
    gateway: Arc<Gateway>,
    knock: Knock,
    issue: impl Future<Output = Result<Issued, Refusal>> + Send + 'static,
) -> Result<Issued, Refusal> {
    to_the_end(async move {
        let mut trail = Trail::begin(Uuid::now_v7(), &knock);
        let issued = async {
            let issued = issue.await?;
            trail.caller(&gateway, &issued.caller);
            record::signed_in(&gateway, &trail).await?;
            Ok(issued)
        };
        match issued.await {
            Ok(issued) => Ok(issued),
            Err(refusal) => Err(record::refusal(&gateway, trail, refusal).await.into_refusal()),
        }
    })
    .await
}

/// Runs something in a task of its own: a client that hangs up cannot leave it half done or unrecorded.
///
/// # Errors
/// Its own, or that it ended abnormally.
pub(super) async fn to_the_end<T: Send + 'static>(
    steps: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(steps).await.unwrap_or_else(|fault| {
        tracing::error!(%fault, "a task about somebody's account ended abnormally");
        Err(Refusal::Unavailable("task".into()))
    })
}

fn respond(issued: Result<Issued, Refusal>) -> Response<Body> {
    match issued {
        Ok(issued) => token_response(&issued),
        Err(refusal) => refusal_response(&refusal),
    }
}

pub(super) async fn read<T: DeserializeOwned>(gateway: &Gateway, body: Body) -> Result<T, Refusal> {
    let json = read_body(gateway, body).await?;
    // The library's message would quote the body, which holds a password.
    let misfit = |_| Refusal::MalformedBody("a member is missing or has another type".to_owned());
    serde_json::from_value(json.value).map_err(misfit)
}

pub(super) fn token_response(issued: &Issued) -> Response<Body> {
    private_json(&TokenResponse {
        access_token: issued.access_token.expose_secret(),
        refresh_token: issued.refresh_token.expose_secret(),
        token_type: "bearer",
        expires_in: issued.expires_in,
    })
}

/// What no cache on the way may keep (RFC 6749 section 5.1).
pub(super) fn private_json(value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = json_response(StatusCode::OK, Bytes::from(body));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn default_tenant() -> String {
    "default".to_owned()
}

impl From<SignInRefused> for Refusal {
    fn from(refused: SignInRefused) -> Self {
        match refused {
            SignInRefused::TooMany { retry_after } => Self::TooManyRequests { retry_after },
            SignInRefused::Busy => Self::Busy { retry_after: BUSY_RETRY },
            SignInRefused::Credentials | SignInRefused::SecondFactorWrong => {
                Self::InvalidCredential(refused.code())
            }
            SignInRefused::SecondFactorMissing => Self::SecondFactorRequired,
            SignInRefused::Unavailable(_) => Self::Unavailable(refused.to_string()),
        }
    }
}

impl From<AccountRefused> for Refusal {
    fn from(refused: AccountRefused) -> Self {
        match refused {
            AccountRefused::SignIn(refused) => refused.into(),
            AccountRefused::WrongPassword | AccountRefused::NoPassword => {
                Self::WrongPassword(refused.to_string())
            }
            AccountRefused::WrongCode => Self::WrongCode,
            AccountRefused::PasswordLength => Self::InvalidValue(refused.to_string()),
            AccountRefused::Directory(fault) => match fault {
                DirectoryError::Conflict { .. } => Self::Conflict(fault.to_string()),
                DirectoryError::Invalid { .. } => Self::InvalidValue(fault.to_string()),
                DirectoryError::NotFound { what } if what.starts_with("second factor") => {
                    Self::NotThere(what.to_owned())
                }
                DirectoryError::NotFound { .. } => Self::RegistrationClosed,
                other => Self::Unavailable(other.to_string()),
            },
        }
    }
}

impl From<RefreshRefused> for Refusal {
    fn from(refused: RefreshRefused) -> Self {
        match refused {
            RefreshRefused::Ended { reused: true } => Self::InvalidCredential("session_reused"),
            RefreshRefused::Ended { reused: false } => Self::InvalidCredential("session_ended"),
            RefreshRefused::Unavailable(why) => why.into(),
        }
    }
}
