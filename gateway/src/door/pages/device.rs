//! `/device`: a person approves or denies the sign-in of a program that waits (RFC 8628 section 3.3).
//!
//! Whoever approves hands their own access to whoever asked, so the page says what is known about that one and
//! warns: a code that came by message is somebody else's sign-in (RFC 8628 section 5.4).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::Response;
use secrecy::ExposeSecret as _;

use super::entry::AtPage;
use super::form::Form;
use super::{device_view, html, not_let_in, recorded, sign_in_again, signed_in_lately};
use crate::directory::{DirectoryError, PendingDevice};
use crate::door::device::PAGE;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::knock::Knock;
use crate::oauth::UserCode;
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Longest body of a decision.
const MAX_BODY: usize = 2 * 1024;

/// `GET /device`: asks for the code, or shows the sign-in of the code in the query.
pub async fn show(State(gateway): State<Arc<Gateway>>, at: AtPage) -> Response<Body> {
    let AtPage { knock, .. } = at;
    let query = knock.query.as_deref().unwrap_or_default();
    let (code, said) = asked(query);
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, &here(code.as_ref())),
    };
    let email = visit.caller.email().to_owned();
    let Some(code) = code else { return device_view::ask(&email, said) };
    if !signed_in_lately(&visit.caller) {
        return sign_in_again(&gateway, visit, &here(Some(&code))).await;
    }
    let found = match code {
        Ok(ref code) => look_up(&gateway, &visit.caller, &knock, code).await,
        Err(()) => Err(no_such_code()),
    };
    let token = gateway.forms.of(visit.caller.session());
    let tenant = visit.caller.tenant().to_string();
    match (visit.end(&gateway, found).await, code) {
        (Ok(device), Ok(code)) => device_view::show(&device_view::Shown {
            email: &email,
            tenant: &tenant,
            form_token: &token,
            code: &code,
            device: &device,
        }),
        (Err(refusal), _) => device_view::refused(&email, &refusal),
        (Ok(_), Err(())) => device_view::refused(&email, &no_such_code()),
    }
}

/// `POST /device`: the decision.
pub async fn decide(State(gateway): State<Arc<Gateway>>, at: AtPage) -> Response<Body> {
    let AtPage { knock, own_origin, is_form, body, .. } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, PAGE),
    };
    let email = visit.caller.email().to_owned();
    let decided = async {
        let (_, mut fields) =
            Form::signed(&gateway, &visit.caller, (own_origin, is_form, body), MAX_BODY).await?;
        let (code, approve) = decision(&mut fields)?;
        if approve && !signed_in_lately(&visit.caller) {
            return Ok(Decided::TooOld(code));
        }
        look_up(&gateway, &visit.caller, &knock, &code).await?;
        let mac = gateway.forms.digest_of_code(&code.letters());
        let user = visit.caller.user_id();
        let strength = visit.caller.strength();
        let decided = gateway.directory.decide_device(mac, user, strength, approve).await;
        decided.map_err(not_waiting)?;
        Ok(if approve { Decided::Approved } else { Decided::Denied })
    };
    match decided.await {
        Ok(Decided::Approved) => html::see_other("/device?said=approved"),
        Ok(Decided::TooOld(code)) => sign_in_again(&gateway, visit, &here(Some(&Ok(code)))).await,
        Ok(Decided::Denied) => html::see_other("/device?said=denied"),
        Err(refusal) => device_view::refused(&email, &recorded(&gateway, visit, refusal).await),
    }
}

/// What came of a decision.
enum Decided {
    Approved,
    Denied,
    /// The sign-in is too old to approve anything.
    TooOld(UserCode),
}

/// The code in a query and what the page says; a code that is none is told apart from no code.
fn asked(query: &str) -> (Option<Result<UserCode, ()>>, device_view::Said) {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let code = pairs.find(|(name, text)| name == "user_code" && !text.is_empty());
    (code.map(|(_, text)| text.parse()), device_view::Said::of_query(query))
}

/// Where to come back to after signing in: nothing that was typed but a code goes into it.
fn here(code: Option<&Result<UserCode, ()>>) -> String {
    match code {
        Some(Ok(code)) => format!("{PAGE}?user_code={code}"),
        _ => PAGE.to_owned(),
    }
}

/// The sign-in that waits under a code; tries are bounded by address and by person.
async fn look_up(
    gateway: &Gateway,
    caller: &Caller,
    knock: &Knock,
    code: &UserCode,
) -> Result<PendingDevice, Refusal> {
    let (source, user) = (knock.request.source, caller.user_id());
    let typed = gateway.identity.user_code_typed(source, user).await;
    typed.map_err(|retry_after| Refusal::TooManyRequests { retry_after })?;
    let mac = gateway.forms.digest_of_code(&code.letters());
    let found = gateway.directory.pending_device(mac).await.map_err(not_waiting)?;
    gateway.identity.user_code_was_right(source, user).await;
    Ok(found)
}

fn decision(fields: &mut Form) -> Result<(UserCode, bool), Refusal> {
    let malformed = |why: &str| Refusal::MalformedBody(why.to_owned());
    let (code, decision) = (fields.take("user_code")?, fields.take("decision")?);
    let code = code.and_then(|code| code.expose_secret().parse().ok()).ok_or_else(no_such_code)?;
    match decision.as_ref().map(|word| word.expose_secret()) {
        Some("approve") => Ok((code, true)),
        Some("deny") => Ok((code, false)),
        _ => Err(malformed("the form decides nothing")),
    }
}

fn no_such_code() -> Refusal {
    Refusal::NotThere("sign-in that waits under this code; it may have expired".to_owned())
}

fn not_waiting(fault: DirectoryError) -> Refusal {
    match fault {
        DirectoryError::NotFound { .. } => no_such_code(),
        other => Refusal::Unavailable(other.to_string()),
    }
}
