//! What a consent looks like. Everything that a program says of itself is shown as its own words.

use axum::body::Body;
use http::Response;
use maud::{Markup, html};

use super::html;
use super::view::{bar, time};
use crate::directory::OAuthClient;
use crate::oauth::{OAuthFault, RedirectUri};
use crate::refusal::Refusal;

/// All that the page shows.
pub(super) struct Shown<'a> {
    /// Email of the person who looks.
    pub(super) email: &'a str,
    /// Their tenant.
    pub(super) tenant: &'a str,
    /// The token of the session's forms.
    pub(super) form_token: &'a str,
    /// The program.
    pub(super) client: &'a OAuthClient,
    /// Where the answer goes.
    pub(super) redirect: &'a RedirectUri,
    /// The request in its own spelling.
    pub(super) request: &'a str,
    /// All that a consent would grant.
    pub(super) scopes: &'a [String],
}

/// Who asks, for what, where the answer goes, and the two answers.
pub(super) fn show(shown: &Shown<'_>) -> Response<Body> {
    let content = html! {
        div.narrow {
            h1 { "Give a program access?" }
            p { "A program wants to act as " strong { (shown.email) } " in " (shown.tenant) "." }
            div.card {
                dl {
                    dt { "Calls itself" } dd { q { (shown.client.name) } }
                    dt { "Answer goes to" } dd { strong { (shown.redirect.host()) } (place(shown.redirect)) }
                    dt { "Registered" } dd { (time(shown.client.created_ms / 1_000)) }
                }
                (what(shown.scopes))
                p.notice.warn {
                    "Anybody can choose that name. Approve only if you started this yourself a moment ago, and know "
                    (shown.redirect.host()) "."
                }
                (answers(shown))
            }
            p.soft { "You can take it back at any time. Every call of it is decided and recorded as one of this program." }
        }
    };
    let bar = bar(shown.email);
    html::page_leading_to(&shown.redirect.policy_source(), "Give a program access", &bar, &content)
}

fn place(redirect: &RedirectUri) -> Markup {
    html! { @if redirect.is_on_this_machine() { " (a program on your own machine)" } }
}

fn what(scopes: &[String]) -> Markup {
    html! {
        h2 id="what" { "It could" }
        @if scopes.is_empty() {
            p.notice.bad role="alert" { "You hold nothing of what it asks for, so there is nothing to give." }
        } @else {
            ul aria-labelledby="what" { @for scope in scopes { li { code { (scope) } (meaning(scope)) } } }
        }
    }
}

fn meaning(scope: &str) -> Markup {
    html! {
        @if scope == "*" { " - " strong { "everything that you can do" } }
        @else if let Some(app) = scope.strip_suffix(":*") { " - everything in " (app) }
    }
}

fn answers(shown: &Shown<'_>) -> Markup {
    html! {
        form method="post" action="/v1/oauth/authorize" {
            input type="hidden" name="csrf" value=(shown.form_token);
            input type="hidden" name="request" value=(shown.request);
            input type="hidden" name="scopes" value=(shown.scopes.join(" "));
            div.row {
                @if !shown.scopes.is_empty() { button name="decision" value="approve" { "Approve" } }
                button.danger name="decision" value="deny" { "Deny" }
            }
        }
    }
}

/// What a known program did wrong, and the way back.
pub(super) fn wrong(fault: OAuthFault, host: &str, back: &str) -> Response<Body> {
    let refusal = Refusal::from(fault);
    let content = html! {
        div.card {
            h1 { "The program asked wrongly" }
            p { (html::sentence(&refusal.to_string())) }
            p.soft { "Code: " (refusal.code()) }
            p { a href=(back) rel="noreferrer" { "Back to " (host) } }
        }
    };
    html::page(refusal.status(), "Refused", &html! {}, &content)
}
