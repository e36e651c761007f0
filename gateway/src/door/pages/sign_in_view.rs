//! What the sign-in looks like.

use axum::body::Body;
use http::{Response, StatusCode};
use maud::{Markup, html};

use super::html;
use super::next::Next;
use crate::refusal::Refusal;

/// What the page says above the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing.
    Nothing,
    /// Somebody just signed in and wanted no page in particular.
    SignedIn,
    /// Somebody just signed out.
    SignedOut,
}

impl Said {
    /// What a query asks for; anything unknown is nothing.
    pub(super) fn of_query(query: &str) -> Self {
        match query {
            "said=signed-in" => Self::SignedIn,
            "said=signed-out" => Self::SignedOut,
            _ => Self::Nothing,
        }
    }
}

/// The form.
pub(super) fn form(next: Option<&Next>, said: Said, issuers: &[String]) -> Response<Body> {
    let notice = match said {
        Said::Nothing => html! {},
        Said::SignedIn => html! {
            p.notice.good role="status" {
                "You are signed in. Open the page of an app: /ext/its-id/secrets"
            }
        },
        Said::SignedOut => html! { p.notice.good role="status" { "You are signed out." } },
    };
    page(StatusCode::OK, next, &notice, issuers)
}

/// The form again, with the reason why nobody was signed in. What was typed is not in it.
pub(super) fn refused(
    refusal: &Refusal,
    next: Option<&Next>,
    issuers: &[String],
) -> Response<Body> {
    let words = match refusal {
        Refusal::InvalidCredential("second_factor_wrong") => {
            "The code is wrong or was used before. Wait for the next one.".to_owned()
        }
        Refusal::SecondFactorRequired => {
            "This account has a second factor: type its code, too.".to_owned()
        }
        Refusal::InvalidCredential(_) => "Tenant, email or password is wrong.".to_owned(),
        Refusal::TooManyRequests { retry_after } => {
            let minutes = retry_after.as_secs().div_ceil(60).max(1);
            format!("Too many tries. Wait {minutes} min and try again.")
        }
        other => html::sentence(&other.to_string()),
    };
    let notice = html! { p.notice.bad role="alert" { (words) } };
    html::with_retry(page(refusal.status(), next, &notice, issuers), refusal)
}

fn page(
    status: StatusCode,
    next: Option<&Next>,
    notice: &Markup,
    issuers: &[String],
) -> Response<Body> {
    let content = html! {
        div.narrow {
            h1 { "Sign in" }
            (notice)
            form.card.wide method="post" action="/signin" {
                @if let Some(next) = next { input type="hidden" name="next" value=(next.as_str()); }
                label for="tenant" { "Tenant" }
                input id="tenant" name="tenant" value="default" required autocapitalize="none"
                    autocomplete="organization" spellcheck="false";
                label for="email" { "Email" }
                input id="email" type="email" name="email" required autocomplete="username";
                label for="password" { "Password" }
                input id="password" type="password" name="password" required
                    autocomplete="current-password";
                label for="otp" { "Code, if you have a second factor" }
                input id="otp" name="otp" inputmode="numeric" autocomplete="one-time-code"
                    autocapitalize="none" spellcheck="false";
                button { "Sign in" }
            }
            @for issuer in issuers {
                p { a href=(at_issuer(issuer, next)) { "Sign in with " (issuer) } }
            }
        }
    };
    html::page(status, "Sign in", &html! {}, &content)
}

/// Where a sign-in at a provider begins, for the same page afterwards.
fn at_issuer(issuer: &str, next: Option<&Next>) -> String {
    let next = next.map_or("/signin?said=signed-in", Next::as_str);
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("/v1/auth/login/{issuer}?next={next}")
}
