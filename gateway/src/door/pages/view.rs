//! What the page of an app's secrets looks like. It is given everything but the values.

use axum::body::Body;
use http::{Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use super::html;
use super::notice::Notice;
use crate::resolve::Changeable;

/// A secret as the list tells it; times are Unix seconds.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: String,
    description: String,
    is_set: bool,
    required: bool,
    scope: String,
    max_bytes: usize,
    set_at: Option<i64>,
    last_accessed_at: Option<i64>,
    last_accessed_by: Option<String>,
    rotation_due_at: Option<i64>,
}

/// All that the page shows.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// The app's name.
    pub(super) app: &'a str,
    /// The page's path.
    pub(super) path: &'a str,
    /// Email of the person who looks.
    pub(super) email: &'a str,
    /// The token of the session's forms.
    pub(super) form_token: &'a str,
    /// What happened just before.
    pub(super) notice: Option<Notice>,
    /// The secrets.
    pub(super) rows: &'a [Row],
    /// Which of them this person may change, by name.
    pub(super) changeable: &'a [Changeable],
    /// Unix seconds, now.
    pub(super) now: i64,
}

impl Shown<'_> {
    /// The whole page.
    pub(super) fn page(&self) -> Response<Body> {
        html::page(StatusCode::OK, "Secrets", &bar(self.email), &content(self))
    }
}

/// Who is signed in, and the way out.
pub(super) fn bar(email: &str) -> Markup {
    html! {
        form method="post" action="/signout" { span { (email) } button.quiet { "Sign out" } }
    }
}

fn content(shown: &Shown<'_>) -> Markup {
    html! {
        h1 { "Secrets of " (shown.app) }
        p.soft { "A value goes to this app only. It is never shown again to anybody." }
        @if let Some(notice) = &shown.notice { (said(notice)) }
        @if shown.rows.is_empty() {
            div.card { p { "This app has no secrets for you." } }
        }
        @for row in shown.rows { (card(shown, row)) }
    }
}

fn said(notice: &Notice) -> Markup {
    match notice {
        Notice::Stored(name) => html! { p.notice.good role="status" { "Stored: " (name) } },
        Notice::Forgot(name) => html! { p.notice.good role="status" { "Forgotten: " (name) } },
        Notice::Refused(reason) => html! { p.notice.bad role="alert" { (reason) } },
    }
}

fn card(shown: &Shown<'_>, row: &Row) -> Markup {
    let may = shown.changeable.iter().find(|may| may.name == row.name);
    html! {
        section.card id=(row.name) {
            div.head { h2 { (row.name) } (marks(row, shown.now)) }
            p { (row.description) }
            (times(row, shown.now))
            @if may.is_some_and(|may| may.store) { (store(shown, row)) }
            @else { p.soft { "You cannot change this one here." } }
            @if row.set_at.is_some() && may.is_some_and(|may| may.forget) { (forget(shown, row)) }
        }
    }
}

fn marks(row: &Row, now: i64) -> Markup {
    html! {
        @if row.is_set { span.mark.good { "set" } }
        @else if row.required { span.mark.bad { "required, not set" } }
        @else { span.mark.soft { "not set" } }
        @if row.rotation_due_at.is_some_and(|due| due <= now) {
            span.mark.bad { "rotation overdue" }
        }
        @if row.scope == "app" { span.mark.warn { "shared by all users" } }
    }
}

fn times(row: &Row, now: i64) -> Markup {
    html! {
        dl {
            @if let Some(set) = row.set_at { dt { "Set" } dd { (time(set)) } }
            @else if row.is_set { dt { "Set" } dd { "by the operator, in the gateway's environment" } }
            @if let Some(used) = row.last_accessed_at {
                dt { "Last used" }
                dd { (time(used)) @if let Some(by) = &row.last_accessed_by { " by " (by) } }
            } @else if row.is_set { dt { "Last used" } dd { "never" } }
            @if let Some(due) = row.rotation_due_at {
                dt { "Replace by" }
                dd { (time(due)) @if due <= now { " " strong.bad { "(overdue)" } } }
            }
        }
    }
}

fn store(shown: &Shown<'_>, row: &Row) -> Markup {
    let id = format!("value-{}", row.name);
    let (label, button) =
        if row.set_at.is_some() { ("New value", "Replace") } else { ("Value", "Store") };
    html! {
        form method="post" action={ (shown.path) "/" (row.name) } autocomplete="off" {
            input type="hidden" name="csrf" value=(shown.form_token);
            input type="hidden" name="action" value="store";
            label for=(id) { (label) }
            div.row {
                // No `maxlength`: a browser would cut what is pasted without a word, and nobody can see it.
                input id=(id) type="password" name="value" autocomplete="off" required;
                button { (button) }
            }
            small { "One line of at most " (row.max_bytes) " bytes." }
        }
    }
}

fn forget(shown: &Shown<'_>, row: &Row) -> Markup {
    html! {
        details {
            summary { "Forget this value" }
            form method="post" action={ (shown.path) "/" (row.name) } {
                input type="hidden" name="csrf" value=(shown.form_token);
                input type="hidden" name="action" value="forget";
                label.sure {
                    input type="checkbox" name="sure" value="yes" required;
                    "The app can't use it any more after this."
                }
                button.danger { "Forget" }
            }
        }
    }
}

/// A time in words, UTC.
pub(super) fn time(seconds: i64) -> Markup {
    let Ok(at) = Timestamp::from_second(seconds) else { return html! { "unknown" } };
    let shown = at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M UTC").to_string();
    html! { time datetime=(at) { (shown) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(more: &serde_json::Value) -> Row {
        let mut row = serde_json::json!({
            "name": "token", "description": "<b>Key</b>", "is_set": true, "required": true,
            "scope": "user", "max_bytes": 64, "set_at": 0, "last_accessed_at": 86_400,
            "last_accessed_by": "notes", "rotation_due_at": 172_800,
        });
        for (key, value) in more.as_object().unwrap() {
            row[key] = value.clone();
        }
        serde_json::from_value(row).unwrap()
    }

    fn page(row: Row, now: i64, may: bool) -> String {
        let changeable = [Changeable { name: "token".into(), store: may, forget: may }];
        content(&Shown {
            app: "Notes & more",
            path: "/ext/notes/secrets",
            email: "ana@acme.example",
            form_token: "00ff",
            notice: None,
            rows: &[row],
            changeable: &changeable,
            now,
        })
        .into_string()
    }

    #[test]
    fn says_when_set_used_by_what_and_due_and_escapes_every_text() {
        let text = page(row(&serde_json::json!({})), 100, true);
        for wanted in [
            "Secrets of Notes &amp; more",
            "&lt;b&gt;Key&lt;/b&gt;",
            "1 Jan 1970, 00:00 UTC",
            "2 Jan 1970, 00:00 UTC</time> by notes",
            "3 Jan 1970, 00:00 UTC",
            "action=\"/ext/notes/secrets/token\"",
            ">Replace<",
            ">Forget<",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(!text.contains("overdue"));
        assert!(page(row(&serde_json::json!({})), 172_800, true).contains("overdue"));
    }

    #[test]
    fn marks_what_is_missing_and_offers_only_what_the_rules_allow() {
        let unset = serde_json::json!({
            "is_set": false, "set_at": null, "last_accessed_at": null, "rotation_due_at": null,
        });
        let text = page(row(&unset), 0, true);
        assert!(text.contains("required, not set") && text.contains(">Store<"), "{text}");
        assert!(!text.contains("Last used") && !text.contains(">Forget<"), "{text}");
        assert!(!page(row(&serde_json::json!({})), 0, false).contains("<form"));
    }
}
