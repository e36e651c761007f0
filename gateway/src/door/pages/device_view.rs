//! What the sign-in of a program looks like to the person who is asked.

use axum::body::Body;
use http::{Response, StatusCode};
use maud::{Markup, html};

use super::html;
use super::view::{bar, time};
use crate::directory::PendingDevice;
use crate::oauth::UserCode;
use crate::refusal::Refusal;

/// What the page says above the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing.
    Nothing,
    /// It was approved just now.
    Approved,
    /// It was denied just now.
    Denied,
}

impl Said {
    /// What a query asks for; anything unknown is nothing.
    pub(super) fn of_query(query: &str) -> Self {
        match query {
            "said=approved" => Self::Approved,
            "said=denied" => Self::Denied,
            _ => Self::Nothing,
        }
    }
}

/// All that the page of one sign-in shows.
pub(super) struct Shown<'a> {
    /// Email of the person who looks.
    pub(super) email: &'a str,
    /// Their tenant.
    pub(super) tenant: &'a str,
    /// The token of the session's forms.
    pub(super) form_token: &'a str,
    /// The code that was typed.
    pub(super) code: &'a UserCode,
    /// What is known about who asks.
    pub(super) device: &'a PendingDevice,
}

/// The form for a code, or what became of the last one.
pub(super) fn ask(email: &str, said: Said) -> Response<Body> {
    let content = match said {
        Said::Approved => html! {
            h1 { "Signed in" }
            p.notice.good role="status" { "Approved. Go back to your terminal; you can close this page." }
        },
        Said::Denied => html! {
            h1 { "Not signed in" }
            p.notice.good role="status" { "Denied. Nobody was signed in." }
        },
        Said::Nothing => form(&html! {}),
    };
    html::page(
        StatusCode::OK,
        "Sign in a program",
        &bar(email),
        &html! { div.narrow { (content) } },
    )
}

/// The form again, and why the last code led nowhere.
pub(super) fn refused(email: &str, refusal: &Refusal) -> Response<Body> {
    let words = match refusal {
        Refusal::TooManyRequests { retry_after } => {
            let minutes = retry_after.as_secs().div_ceil(60).max(1);
            format!("Too many wrong codes. Wait {minutes} min and try again.")
        }
        other => html::sentence(&other.to_string()),
    };
    let content = form(&html! { p.notice.bad role="alert" { (words) } });
    let content = html! { div.narrow { (content) } };
    let page = html::page(refusal.status(), "Sign in a program", &bar(email), &content);
    html::with_retry(page, refusal)
}

fn form(notice: &Markup) -> Markup {
    html! {
        h1 { "Sign in a program" }
        p.soft { "A program on a terminal shows you a code of eight letters." }
        (notice)
        form.card.wide method="get" action="/device" {
            label for="user_code" { "Code" }
            input id="user_code" name="user_code" required autocomplete="off" autocapitalize="characters"
                spellcheck="false" placeholder="BCDF-GHJK";
            button { "Continue" }
        }
    }
}

/// What is known about who asks, a warning, and the two answers.
pub(super) fn show(shown: &Shown<'_>) -> Response<Body> {
    let content = html! {
        div.narrow {
            h1 { "Sign in a program?" }
            p { "A program asks for your access as " strong { (shown.email) } " in " (shown.tenant) ". "
                "It can then do all that you can do, until you sign it out." }
            div.card {
                dl {
                    dt { "Code" } dd { strong { (shown.code.to_string()) } }
                    dt { "Calls itself" } dd { (program(shown.device)) }
                    dt { "Asks from" } dd { (shown.device.source) }
                    dt { "Asked" } dd { (time(shown.device.created_ms / 1_000)) }
                }
                p.notice.warn {
                    "Approve only if you started this yourself a moment ago and your terminal shows this code. "
                    "If somebody sent you a link or a code, deny: they would get your access."
                }
                form method="post" action="/device" {
                    input type="hidden" name="csrf" value=(shown.form_token);
                    input type="hidden" name="user_code" value=(shown.code.to_string());
                    div.row {
                        button name="decision" value="approve" { "Approve" }
                        button.danger name="decision" value="deny" { "Deny" }
                    }
                }
            }
        }
    };
    html::page(StatusCode::OK, "Sign in a program", &bar(shown.email), &content)
}

/// What a program says of itself is nobody's word but its own.
fn program(device: &PendingDevice) -> &str {
    if device.program.is_empty() { "nothing" } else { &device.program }
}
