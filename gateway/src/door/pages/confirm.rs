//! `/confirm` and `/confirm/{id}`: a person sees what would run, and says yes or no.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::Response;
use portcullis_policies::RequestFacts;
use secrecy::ExposeSecret as _;

use super::confirm_view::{self, Said};
use super::entry::AtPage;
use super::form::Form;
use super::{html, not_let_in, recorded};
use crate::answer::{Asked, Told};
use crate::confirm::{self, ToApprove};
use crate::directory::ApprovalVerdict;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::knock::{ApprovalWanted, Knock, Wanted};
use crate::pipeline::{self, Visit};
use crate::refusal::Refusal;

/// Longest body of an answer: a token, a word and a reason.
const MAX_BODY: usize = 8_192;

/// `GET /confirm`: what waits for this person.
pub async fn list(State(gateway): State<Arc<Gateway>>, at: AtPage) -> Response<Body> {
    let AtPage { knock, path, .. } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, &path),
    };
    let email = visit.caller.email().to_owned();
    let found = waiting(&gateway, &visit.caller, knock.request).await;
    match visit.end(&gateway, found).await {
        Ok((own, others)) => confirm_view::list(&email, &own, &others),
        Err(refusal) => html::refused(&refusal, None),
    }
}

async fn waiting(
    gateway: &Gateway,
    caller: &Caller,
    request: RequestFacts,
) -> Result<(Vec<Asked>, Vec<ToApprove>), Refusal> {
    let own = confirm::pending(gateway, caller).await?;
    Ok((own, confirm::to_approve(gateway, caller, request).await?))
}

/// `GET /confirm/{id}`: one of them, every argument readable.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    at: AtPage,
) -> Response<Body> {
    let AtPage { knock, path, .. } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, &path),
    };
    let said = Said::of_query(knock.query.as_deref().unwrap_or_default());
    let email = visit.caller.email().to_owned();
    let token = gateway.forms.of(visit.caller.session());
    let found = confirm::one(&gateway, &visit.caller, &id, knock.request).await;
    let shown = visit.end(&gateway, found).await;
    let page = shown.and_then(|seen| confirm_view::card(&email, &token, &seen, said));
    page.unwrap_or_else(|refusal| html::refused(&refusal, None))
}

/// `POST /confirm/{id}`: confirms or cancels what is one's own, approves or declines what is another's; then leads back to
/// the page, which says what became of it.
pub async fn answer(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    at: AtPage,
) -> Response<Body> {
    let AtPage { knock, path, own_origin, is_form, body } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, &path),
    };
    let sent = (own_origin, is_form, body);
    let form = Form::signed(&gateway, &visit.caller, sent, MAX_BODY).await;
    let wanted = form.and_then(|(_, fields)| wanted(id, fields));
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(refusal) => return html::refused(&recorded(&gateway, visit, refusal).await, None),
    };
    let answers_another = matches!(wanted, Wanted::Approval(_));
    let answer = pipeline::run(gateway, Knock { wanted, ..knock }).await;
    let said = match &answer.told {
        Told::Cancelled(_) => Said::Cancelled,
        Told::Refused(refusal) => Said::Refused(refusal.code()),
        _ if answers_another => Said::Answered,
        _ => Said::Done,
    };
    html::see_other(&format!("{path}?{}", said.to_query()))
}

/// What a form asks for.
fn wanted(id: String, mut fields: Form) -> Result<Wanted, Refusal> {
    let mut field = |name: &str| -> Result<String, Refusal> {
        Ok(fields.take(name)?.map(|text| text.expose_secret().to_owned()).unwrap_or_default())
    };
    let verdict = match field("answer")?.as_str() {
        "confirm" => return Ok(Wanted::Confirmed { id }),
        "cancel" => return Ok(Wanted::Cancelled { id }),
        "approve" => ApprovalVerdict::Approved,
        "decline" => ApprovalVerdict::Declined,
        _ => {
            let text = "the form answers neither yes nor no";
            return Err(Refusal::MalformedBody(text.to_owned()));
        }
    };
    let role = Some(field("as")?).filter(|role| !role.is_empty());
    let (hash, reason) = (field("hash")?, field("reason")?);
    Ok(Wanted::Approval(ApprovalWanted { id, verdict, hash, role, reason }))
}
