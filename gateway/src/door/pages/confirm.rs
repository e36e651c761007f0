//! `/confirm` and `/confirm/{id}`: a person sees what would run, and says yes or no.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::Response;
use secrecy::ExposeSecret as _;

use super::confirm_view::{self, Said};
use super::entry::AtPage;
use super::form::Form;
use super::{html, not_let_in, recorded};
use crate::answer::Told;
use crate::confirm;
use crate::gateway::Gateway;
use crate::knock::{Knock, Wanted};
use crate::pipeline::{self, Visit};
use crate::refusal::Refusal;

/// Longest body of an answer: a token and a word.
const MAX_BODY: usize = 1_024;

/// `GET /confirm`: what waits for this person.
pub async fn list(State(gateway): State<Arc<Gateway>>, at: AtPage) -> Response<Body> {
    let AtPage { knock, path, .. } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, &path),
    };
    let email = visit.caller.email().to_owned();
    let found = confirm::pending(&gateway, &visit.caller).await;
    match visit.end(&gateway, found).await {
        Ok(list) => confirm_view::list(&email, &list),
        Err(refusal) => html::refused(&refusal, None),
    }
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
    let found = confirm::one(&gateway, &visit.caller, &id).await;
    let shown = visit.end(&gateway, found).await;
    let page = shown.and_then(|asked| confirm_view::card(&email, &token, &asked, said));
    page.unwrap_or_else(|refusal| html::refused(&refusal, None))
}

/// `POST /confirm/{id}`: confirms or cancels, then leads back to the page, which says what became of it.
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
    let word = form.and_then(|(_, mut fields)| fields.take("answer"));
    let wanted = word.and_then(|word| match word.as_ref().map(|word| word.expose_secret()) {
        Some("confirm") => Ok(Wanted::Confirmed { id }),
        Some("cancel") => Ok(Wanted::Cancelled { id }),
        _ => Err(Refusal::MalformedBody("the form answers neither yes nor no".to_owned())),
    });
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(refusal) => return html::refused(&recorded(&gateway, visit, refusal).await, None),
    };
    let answer = pipeline::run(gateway, Knock { wanted, ..knock }).await;
    let said = match &answer.told {
        Told::Cancelled(_) => Said::Cancelled,
        Told::Refused(refusal) => Said::Refused(refusal.code()),
        _ => Said::Done,
    };
    html::see_other(&format!("{path}?{}", said.to_query()))
}
