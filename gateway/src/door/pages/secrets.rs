//! `/ext/{app}/secrets`: a person keeps the secrets of an app. Values come in and never go out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::Response;
use secrecy::{ExposeSecret as _, SecretString};

use super::entry::AtPage;
use super::form::Form;
use super::notice::{self, Notice};
use super::view::{Row, Shown};
use super::{html, not_let_in, recorded};
use crate::answer::{Answer, Told};
use crate::gateway::Gateway;
use crate::knock::{Knock, SecretDeed, SecretWanted, Wanted};
use crate::pipeline::{self, Visit};
use crate::refusal::Refusal;
use crate::resolve;

/// Longest body of a change: the longest value with every byte escaped, and the other fields.
const MAX_BODY: usize = 3 * 65_536 + 1_024;

/// `GET /ext/{app}/secrets`: which secrets the app declares, and forms for those that one may change.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    Path(app): Path<String>,
    at: AtPage,
) -> Response<Body> {
    let AtPage { knock, path, .. } = at;
    let caller = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit.caller,
        Err(refusal) => return not_let_in(&refusal, &path),
    };
    let (query, request) = (knock.query.clone().unwrap_or_default(), knock.request);
    let wanted = SecretWanted { app: app.clone(), deed: SecretDeed::List, request, form: None };
    let knock = Knock { wanted: Wanted::Secret(wanted), ..knock };
    let Answer { op, told, .. } = pipeline::run(Arc::clone(&gateway), knock).await;
    let page = rows(told).and_then(|rows| {
        let in_force = gateway.in_force()?;
        let (name, changeable) = resolve::changeable(&gateway, &in_force, &caller, &app, request)?;
        Ok(Shown {
            app: &name,
            path: &path,
            email: caller.email(),
            form_token: &gateway.forms.of(caller.session()),
            notice: Notice::of_query(&query, |name| rows.iter().any(|row| row.name == name)),
            rows: &rows,
            changeable: &changeable,
            now: jiff::Timestamp::now().as_second(),
        }
        .page())
    });
    page.unwrap_or_else(|refusal| html::refused(&refusal, Some(op)))
}

fn rows(told: Told) -> Result<Vec<Row>, Refusal> {
    match told {
        Told::Done(list) => {
            serde_json::from_slice(&list).map_err(|_| Refusal::Unavailable("list".to_owned()))
        }
        // To a person, an app that is not there is an address that is not there.
        Told::Refused(Refusal::SecretNotDeclared(_)) => Err(Refusal::NoSuchRoute),
        Told::Refused(refusal) => Err(refusal),
        _ => Err(Refusal::Unavailable("answer".to_owned())),
    }
}

/// `POST /ext/{app}/secrets/{name}`: stores or forgets a value, then leads back to the page.
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Path((app, name)): Path<(String, String)>,
    at: AtPage,
) -> Response<Body> {
    let AtPage { knock, path, own_origin, is_form, body } = at;
    let page = path.rsplit_once('/').map_or("/signin", |(page, _)| page).to_owned();
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return not_let_in(&refusal, &page),
    };
    let sent = (own_origin, is_form, body);
    let (form, mut fields) = match Form::signed(&gateway, &visit.caller, sent, MAX_BODY).await {
        Ok(read) => read,
        Err(refusal) => return html::refused(&recorded(&gateway, visit, refusal).await, None),
    };
    let (word, deed) = match asked(&mut fields, &name) {
        Ok(SecretDeed::Delete { name }) => ("forgot", SecretDeed::Delete { name }),
        Ok(deed) => ("stored", deed),
        Err((code, refusal)) => {
            let unrecorded = match recorded(&gateway, visit, refusal).await {
                Refusal::MalformedBody(_) => None,
                other => Some(other.code()),
            };
            return back(&page, "refused", unrecorded.unwrap_or(code));
        }
    };
    let wanted = SecretWanted { app, deed, request: knock.request, form: Some(form) };
    let knock = Knock { wanted: Wanted::Secret(wanted), ..knock };
    match pipeline::run(gateway, knock).await.told {
        Told::Done(_) => back(&page, word, &name),
        Told::Refused(refusal) => back(&page, "refused", refusal.code()),
        _ => back(&page, "refused", "UNAVAILABLE"),
    }
}

/// What the form asks for, or the code that the page shows and the refusal that is recorded.
fn asked(fields: &mut Form, name: &str) -> Result<SecretDeed, (&'static str, Refusal)> {
    let malformed = |why: &str| Refusal::MalformedBody(why.to_owned());
    let mut take = |field| fields.take(field).map_err(|refusal| (refusal.code(), refusal));
    let (action, value, sure) = (take("action")?, take("value")?, take("sure")?);
    let says = |field: &Option<SecretString>, word: &str| {
        field.as_ref().is_some_and(|text| text.expose_secret() == word)
    };
    let name = name.to_owned();
    if says(&action, "store") {
        return match value.filter(|value| !value.expose_secret().is_empty()) {
            Some(value) => Ok(SecretDeed::Set { name, value }),
            None => Err((notice::EMPTY, malformed("the form has no value"))),
        };
    }
    if !says(&action, "forget") {
        return Err(("MALFORMED_BODY", malformed("the form asks for nothing that there is")));
    }
    if says(&sure, "yes") {
        Ok(SecretDeed::Delete { name })
    } else {
        Err((notice::NOT_SURE, malformed("the box was not ticked")))
    }
}

fn back(page: &str, word: &str, what: &str) -> Response<Body> {
    let what: String = form_urlencoded::byte_serialize(what.as_bytes()).collect();
    html::see_other(&format!("{page}?{word}={what}"))
}
