//! The gateway's own pages, for people with a browser: signing in, what waits for their word, the secrets of an app,
//! and what programs may do in a person's name.
//!
//! They are plain HTML that works without a script. What a page changes runs the same seven steps as a
//! call of the API, by [`Channel::Page`](portcullis_policies::Channel::Page).
//!
//! Vocabulary: the *session* is the access token in a cookie; a *form token* ties a form to its session;
//! *next* is the page to which a person wanted to go before signing in.
//!
//! What keeps other sites out, each enough by itself in today's browsers:
//! 1. the cookie is `SameSite=Strict`, and nothing but these pages reads it (`entry.rs`);
//! 2. what the browser says about the sender (`Sec-Fetch-Site`, `Origin`) must be this origin (`origin.rs`);
//! 3. the form token ([`crate::forms`]) must be the one of this session.
//!
//! INVARIANT: the cookie opens pages only (`pages::the_cookie_opens_pages_only`).
//! INVARIANT: what is shown is what runs (`confirm_page::a_person_confirms_in_a_real_browser`).
//! INVARIANT: an old session gives programs nothing (`mcp_oauth::fresh::an_old_session_gives_programs_nothing`).
//! INVARIANT: no value that was typed comes back (`pages::browser::a_person_keeps_secrets_in_a_real_browser`).
//!
//! Begin reading at [`secrets::show`].

pub mod confirm;
mod confirm_view;
pub mod consent;
mod consent_view;
pub mod device;
mod device_view;
pub mod entry;
pub(super) mod external;
pub(super) mod form;
mod html;
mod next;
mod notice;
mod origin;
pub mod secrets;
pub mod session;
mod sign_in_view;
mod view;

use axum::body::Body;
use http::Response;
use portcullis_policies::StepUp;

use crate::gateway::Gateway;
use crate::identify::{Caller, now_seconds};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// Records a refusal; gives it, or that it could not be recorded.
async fn recorded(gateway: &Gateway, visit: Visit, refusal: Refusal) -> Refusal {
    let ended: Result<(), Refusal> = visit.end(gateway, Err(refusal)).await;
    ended.err().unwrap_or(Refusal::ForeignForm)
}

/// Who has no session signs in first and comes back.
fn not_let_in(refusal: &Refusal, page: &str) -> Response<Body> {
    match refusal {
        Refusal::MissingCredential | Refusal::InvalidCredential(_) => {
            html::see_other(&next::Next::sign_in(page))
        }
        other => html::refused(other, None),
    }
}

/// How many seconds ago a person signed in, at most, who gives a program something: a session may be refreshed for
/// weeks by whoever stole it, and what it approved would outlive it.
pub(super) const APPROVES_FOR: i64 = 3_600;

/// Whether the caller signed in lately enough to give a program something.
fn signed_in_lately(caller: &Caller) -> bool {
    let signed_in = caller.strength().auth_time;
    signed_in.is_some_and(|at| now_seconds().saturating_sub(at) <= APPROVES_FOR)
}

/// Leads somebody whose sign-in is too old to the sign-in, and back to a page. It is on record.
async fn sign_in_again(gateway: &Gateway, visit: Visit, page: &str) -> Response<Body> {
    let needs = StepUp { acr: None, max_age: Some(APPROVES_FOR) };
    let reasons = vec!["who gives a program something signed in within the hour".to_owned()];
    let refusal = Refusal::StepUp { rules: Vec::new(), reasons, needs };
    match recorded(gateway, visit, refusal).await {
        Refusal::StepUp { .. } => html::see_other(&next::Next::sign_in(page)),
        unrecorded => html::refused(&unrecorded, None),
    }
}

/// A refusal as a page, for a request that no page has read.
#[must_use]
pub fn refused(refusal: &Refusal) -> Response<Body> {
    html::refused(refusal, None)
}
