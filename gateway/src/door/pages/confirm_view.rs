//! What a pending call looks like to the person who is to confirm it.

use axum::body::Body;
use http::{Response, StatusCode};
use maud::{Markup, html};

use super::html;
use super::view::{bar, time};
use crate::answer::Asked;
use crate::confirm::{Asker, Line, Lines, Seen, ShownBody, ShownRequest, ToApprove, spelled};
use crate::directory::{ApprovalVerdict, ConfirmationState};
use crate::refusal::{Changed, Refusal};

/// What the page says about the answer before it: texts from a closed list, because an address is anybody's to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing was answered.
    Nothing,
    /// It was carried out.
    Done,
    /// Another's call was approved or declined.
    Answered,
    /// It was cancelled.
    Cancelled,
    /// The answer was refused with this code.
    Refused(&'static str),
}

const REASONS: &[(&str, &str)] = &[
    ("CONFIRMATION_USED", "This was answered before."),
    ("CONFIRMATION_EXPIRED", "It was too late. Nothing was done."),
    (
        "CONFIRMATION_TOOL_CHANGED",
        "The tool is not the one that you were shown. Nothing was done; ask anew.",
    ),
    (
        "CONFIRMATION_TENANT_CHANGED",
        "It would work on another tenant now. Nothing was done; ask anew.",
    ),
    (
        "CONFIRMATION_TARGET_CHANGED",
        "What it is about is not as you were shown. Nothing was done; ask anew.",
    ),
    (
        "CONFIRMATION_BYTES_CHANGED",
        "What is stored is not what you were shown. Nothing was done; tell your operator.",
    ),
    (
        "CONFIRMATION_QUESTION_CHANGED",
        "The stored question is not the one that was asked. Nothing was done; tell your operator.",
    ),
    ("CONFIRMATION_UNAPPROVED", "Somebody else has to approve this first. It goes on waiting."),
    ("CONFLICT", "You have answered this before, or it waits no more."),
    ("VALIDATION_TYPE_ERROR", "Say as which role you answer, and keep your reason short."),
    ("CONFIRMATION_FOREIGN", "Somebody else has to answer this. Nothing was done."),
    ("PERMISSION_DENIED", "The rules do not allow this any more. Nothing was done."),
    ("TENANT_SCOPE_VIOLATION", "This belongs to another tenant. Nothing was done."),
    (
        "TOOL_QUARANTINED",
        "The tool waits for an operator: it may have changed at its server. Nothing was done.",
    ),
    (
        "AUDIT_UNAVAILABLE",
        "The audit ledger cannot record it. Nothing was done; try again in a moment.",
    ),
    ("BACKEND_UNREACHABLE", "The app could not be reached. Nothing was done."),
    ("BACKEND_5XX", "The app failed. Look there before you try again."),
    ("BACKEND_REFUSED", "The app refused it."),
    ("BACKEND_TIMEOUT", "Nobody knows whether the app did it. Look there before you try again."),
];
const OTHERWISE: &str = "That did not work. Look before you try again.";

impl Said {
    /// What a query asks for; anything unknown is nothing.
    pub(super) fn of_query(query: &str) -> Self {
        match query.split_once('=') {
            Some(("said", "done")) => Self::Done,
            Some(("said", "answered")) => Self::Answered,
            Some(("said", "cancelled")) => Self::Cancelled,
            Some(("refused", code)) => {
                let known = REASONS.iter().find(|(known, _)| *known == code);
                Self::Refused(known.map_or("", |(code, _)| code))
            }
            _ => Self::Nothing,
        }
    }

    /// The query that says it.
    pub(super) fn to_query(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Done => "said=done".to_owned(),
            Self::Answered => "said=answered".to_owned(),
            Self::Cancelled => "said=cancelled".to_owned(),
            Self::Refused(code) => format!("refused={code}"),
        }
    }

    /// A query proves nothing: what it says is told only where the stored state, and what the ledger says of the end,
    /// agree.
    fn notice(self, state: ConfirmationState, outcome: Option<&str>) -> Markup {
        match (self, state) {
            (Self::Done, ConfirmationState::Executed) => match ended(outcome) {
                Ok(text) => html! { p.notice.good role="status" { (text) } },
                Err(text) => html! { p.notice.bad role="alert" { (text) } },
            },
            (Self::Cancelled, ConfirmationState::Cancelled) => {
                html! { p.notice.good role="status" { "Cancelled. Nothing was done." } }
            }
            (Self::Answered, _) => {
                html! { p.notice.good role="status" { "Your answer is kept, as shown below." } }
            }
            (Self::Refused(code), _) if may_be_told(code, state, outcome) => {
                let reason = REASONS.iter().find(|(known, _)| *known == code);
                html! { p.notice.bad role="alert" { (reason.map_or(OTHERWISE, |(_, text)| text)) } }
            }
            _ => html! {},
        }
    }
}

/// Whether a refusal with this code can have led to where the call is now: an address is anybody's to write, and must
/// not say of what was carried out that nothing was done.
fn may_be_told(code: &str, state: ConfirmationState, outcome: Option<&str>) -> bool {
    use ConfirmationState::{Cancelled, Executed, Expired, Pending, Refused, Unknown};
    match code {
        "CONFIRMATION_UNAPPROVED" | "CONFLICT" | "VALIDATION_TYPE_ERROR" => state == Pending,
        "CONFIRMATION_USED" => !matches!(state, Pending | Expired),
        "CONFIRMATION_EXPIRED" => state == Expired,
        "BACKEND_UNREACHABLE" | "BACKEND_5XX" => state == Executed && outcome == Some("failed"),
        "BACKEND_REFUSED" => state == Executed && outcome == Some("refused"),
        "BACKEND_TIMEOUT" => {
            state == Unknown || (state == Executed && matches!(outcome, Some("unknown") | None))
        }
        "AUDIT_UNAVAILABLE" => matches!(state, Pending | Refused | Cancelled),
        "" => matches!(state, Pending | Refused) || (state == Executed && outcome != Some("done")),
        _ => matches!(state, Pending | Refused),
    }
}

/// What became of what was carried out.
fn ended(outcome: Option<&str>) -> Result<&'static str, &'static str> {
    match outcome {
        Some("done") => Ok("Carried out, once, as shown below."),
        Some("failed") => {
            Err("Tried, once, and it failed. Look at the app before you ask for it again.")
        }
        Some("refused") => Err("Tried, once, and the app refused it."),
        _ => Err(
            "Tried, once. Nobody knows whether the app did it: look there before you ask for it again.",
        ),
    }
}

/// What waits, oldest first: the person's own calls, and those of others that they may approve.
pub(super) fn list(email: &str, own: &[Asked], others: &[ToApprove]) -> Response<Body> {
    let content = html! {
        h1 { "Waiting for your word" }
        @if own.is_empty() && others.is_empty() { div.card { p { "Nothing waits for you." } } }
        @for asked in own { (waits(asked, "Look at it and decide")) }
        @if !others.is_empty() { h2 { "Asked by others, for you to approve" } }
        @for other in others { (waits(&other.asked, "Look at it and approve or decline")) }
    };
    html::page(StatusCode::OK, "Waiting for your word", &bar(email), &content)
}

fn waits(asked: &Asked, link: &str) -> Markup {
    html! {
        section.card {
            div.head { h2 { (asked.summary) } (mark(asked)) }
            p.soft { "Until " (time(seconds(&asked.expires_at))) }
            p { a href={ "/confirm/" (asked.confirmation_id) } { (link) } }
        }
    }
}

/// One of them.
///
/// # Errors
/// When the stored bytes are not what they must be.
pub(super) fn card(
    email: &str,
    token: &str,
    seen: &Seen,
    said: Said,
) -> Result<Response<Body>, Refusal> {
    let asked = match seen {
        Seen::Own(asked) => asked,
        Seen::ToApprove(other) => &other.asked,
    };
    // An address is anybody's to write: an answer is told of only where it is kept.
    let answered = asked.approvals.iter().any(|said| said.by == email);
    let said = if said == Said::Answered && !answered { Said::Nothing } else { said };
    let lines = Lines::with_secrets(asked.arguments_text.as_bytes(), &asked.secrets)
        .map_err(|_| Refusal::from(Changed::Bytes))?;
    let request =
        asked.request.as_ref().map(|request| (request, request.header_lines(), request.body()));
    let more = request.as_ref().map_or(0, |(_, headers, body)| match body {
        ShownBody::Values(lines) => headers.more.saturating_add(lines.more),
        ShownBody::Nothing | ShownBody::Unreadable(_) => headers.more,
    });
    let all_is_shown = lines.more == 0 && more == 0;
    let content = html! {
        (said.notice(asked.state, asked.outcome.as_deref()))
        h1 { (heading(asked.state, asked.outcome.as_deref())) }
        section.card aria-labelledby="what" {
            div.head { h2 id="what" { (asked.app) "/" (asked.function) } (mark(asked)) }
            (facts(asked))
            h3 { "With these values" }
            (values(&lines))
            @if let Some((request, headers, body)) = &request { (proxied(request, headers, body)) }
            p.soft { "Hash of the call (SHA-256):" br; code { (asked.hash) } }
            @if let Some(hash) = &asked.request_hash {
                p.soft { "Hash of the request (SHA-256):" br; code { (hash) } }
            }
            (approvals(asked))
            @match seen {
                Seen::Own(asked) => (answers(token, asked, all_is_shown)),
                Seen::ToApprove(other) => (approve(token, other, all_is_shown)),
            }
        }
        p { a href="/confirm" { "All that waits for you" } }
    };
    Ok(html::page(StatusCode::OK, "Confirm", &bar(email), &content))
}

fn heading(state: ConfirmationState, outcome: Option<&str>) -> &'static str {
    match state {
        ConfirmationState::Pending => "Shall this be done?",
        ConfirmationState::Executing => "This is being done",
        ConfirmationState::Executed => match outcome {
            Some("done") => "This was carried out",
            Some("failed") => "This was tried, and failed",
            Some("refused") => "This was tried, and the app refused it",
            _ => "This was tried, and nobody knows whether it was done",
        },
        ConfirmationState::Cancelled => "This was cancelled",
        ConfirmationState::Declined => "This was declined",
        ConfirmationState::Superseded => "The rules changed, and ask anew",
        ConfirmationState::Expired => "Nobody answered in time",
        ConfirmationState::Refused => "This was refused",
        ConfirmationState::Unknown => "Nobody knows whether this was done",
    }
}

fn mark(asked: &Asked) -> Markup {
    html! {
        @match asked.action_type {
            portcullis_policies::ActionType::Destructive => span.mark.bad { "destructive" },
            other => span.mark.warn { (other.as_str()) },
        }
    }
}

fn facts(asked: &Asked) -> Markup {
    html! {
        dl {
            dt { "Asked" } dd { (time(seconds(&asked.created_at))) }
            dt { "Answer until" } dd { (time(seconds(&asked.expires_at))) }
            dt { "Asking rules" } dd { (asked.rules.join(", ")) }
            @if let Some(asker) = &asked.asked_by { dt { "Asked by" } dd { (asked_by(asker)) } }
            dt { "On things of" } dd {
                code { (asked.target_tenant) }
                @if asked.target_tenant != asked.tenant_id { " " b.bad { "another tenant" } }
            }
            dt { "Operation" } dd { code { (asked.trace_id) } }
        }
    }
}

/// The credential that asked; its name was chosen by whoever made it.
fn asked_by(asker: &Asker) -> Markup {
    html! {
        (asker.words()) ", by " (asker.channel) br;
        @if let Some(name) = &asker.name { q { (spelled(name)) } " " }
        code { (spelled(&asker.id)) }
    }
}

fn values(lines: &Lines) -> Markup {
    html! {
        dl.values {
            @for line in &lines.lines { (value(line)) }
        }
        @if lines.more > 0 {
            p.bad { "And " (lines.more) " more values, which this page does not show." }
        }
    }
}

fn value(line: &Line) -> Markup {
    html! {
        dt { @if line.name.is_empty() { "(all)" } @else { (line.name) } }
        dd {
            pre { (line.shown) }
            @if let Some(note) = &line.note { small { (note) } }
            @if let Some(hidden) = &line.hidden { details { summary { "Show it" } pre { (hidden) } } }
        }
    }
}

fn proxied(request: &ShownRequest, headers: &Lines, body: &ShownBody) -> Markup {
    html! {
        h3 { "As this request" }
        dl.values { dt { "Method and target" } dd { pre { (request.method) " " (request.shown_target()) } } }
        @if !headers.lines.is_empty() { h3 { "With these headers" } (values(headers)) }
        h3 { "With this body" }
        @match body {
            ShownBody::Nothing => p { "None." },
            ShownBody::Values(lines) => (values(lines)),
            ShownBody::Unreadable(why) => {
                p.bad role="note" { "This page can't show what is sent: " (why) ". Confirm it only if you know it by its hash." }
            }
        }
        @if request.body_bytes > 0 {
            p.soft {
                (request.body_bytes) " bytes of " (spelled(request.content_type())) ", SHA-256" br;
                code { (request.body_sha256) }
            }
        }
    }
}

/// The form; nobody says yes to what they do not see.
fn answers(token: &str, asked: &Asked, all_is_shown: bool) -> Markup {
    if asked.state != ConfirmationState::Pending {
        return html! {};
    }
    html! {
        @if asked.by_other {
            p.soft { "Confirm this once others have approved it; until then it is refused and goes on waiting." }
        }
        @if !all_is_shown { (not_all_is_shown()) }
        form.answers method="post" action={ "/confirm/" (asked.confirmation_id) } {
            input type="hidden" name="csrf" value=(token);
            @if all_is_shown { button name="answer" value="confirm" { "Confirm: do this once" } }
            button.danger name="answer" value="cancel" { "Cancel" }
        }
    }
}

fn not_all_is_shown() -> Markup {
    html! {
        p.warn { "This can't be confirmed here, because not all of it is shown. Ask for it with fewer values at a time, or let a program that has read all of them confirm it by the API." }
    }
}

/// Who has to approve, and what was said so far.
fn approvals(asked: &Asked) -> Markup {
    if !asked.by_other {
        return html! {};
    }
    html! {
        h3 { "Approvals" }
        p {
            @match asked.approver_roles.as_slice() {
                [] => "Another person has to approve this.",
                [role] => { "Another person has to approve this as " b { (role) } "." },
                roles => { "Different people have to approve this, one each as " b { (roles.join(", ")) } "." },
            }
        }
        @if asked.approvals.is_empty() { p.soft { "Nobody has answered yet." } }
        dl {
            @for said in &asked.approvals {
                dt { (said.by) }
                dd {
                    @match said.verdict {
                        ApprovalVerdict::Approved => "approved",
                        ApprovalVerdict::Declined => "declined",
                    }
                    @if !said.role.is_empty() { " as " (said.role) }
                    @if !said.reason.is_empty() { ": " q { (said.reason) } }
                }
            }
        }
    }
}

/// The form of somebody who may approve.
fn approve(token: &str, other: &ToApprove, all_is_shown: bool) -> Markup {
    if other.asked.state != ConfirmationState::Pending {
        return html! {};
    }
    html! {
        @if !all_is_shown { (not_all_is_shown()) }
        form.answers method="post" action={ "/confirm/" (other.asked.confirmation_id) } {
            input type="hidden" name="csrf" value=(token);
            input type="hidden" name="hash" value=(other.asked.hash);
            @match other.approve_as.as_slice() {
                [] => {}
                [role] => { input type="hidden" name="as" value=(role); p { "You answer as " b { (role) } "." } }
                roles => {
                    label for="as" { "You answer as" }
                    select id="as" name="as" { @for role in roles { option value=(role) { (role) } } }
                }
            }
            label for="reason" { "Why" }
            input id="reason" name="reason" maxlength="500" autocomplete="off";
            @if all_is_shown { button name="answer" value="approve" { "Approve: they may do this once" } }
            button.danger name="answer" value="decline" { "Decline, for good" }
        }
    }
}

fn seconds(rfc3339: &str) -> i64 {
    rfc3339.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_address_is_said_and_nothing_that_did_not_happen() {
        use ConfirmationState::{
            Cancelled, Executed, Executing, Expired, Pending, Refused, Unknown,
        };
        let shown = |query: &str, state, outcome| {
            Said::of_query(query).notice(state, outcome).into_string()
        };
        let done = Some("done");
        assert!(shown("said=done", Executed, done).contains("Carried out"));
        assert_eq!(shown("said=done", Pending, None), "");
        assert_eq!(shown("said=cancelled", Executed, done), "");
        assert_eq!(shown("said=%3Cb%3E", Executed, done), "");
        for outcome in [Some("failed"), Some("refused"), Some("unknown"), None] {
            let told = shown("said=done", Executed, outcome);
            assert!(told.contains("Tried, once") && !told.contains("Carried out"), "{told}");
        }
        let made_up = shown("refused=Call+0900", Pending, None);
        assert!(made_up.contains(OTHERWISE) && !made_up.contains("0900"), "{made_up}");
        let outcomes = [done, Some("failed"), Some("refused"), Some("unknown"), None];
        for (code, text) in REASONS {
            let query = Said::Refused(code).to_query();
            let told = |state, outcome| shown(&query, state, outcome).contains(text);
            let states = [Pending, Executing, Executed, Cancelled, Expired, Refused, Unknown];
            let cases =
                states.into_iter().flat_map(|state| outcomes.map(|outcome| (state, outcome)));
            assert!(cases.clone().any(|(state, outcome)| told(state, outcome)), "{code}");
            for (state, outcome) in cases {
                let was_done = state == Executed && outcome == done;
                assert!(
                    !was_done || *code == "CONFIRMATION_USED" || !told(state, outcome),
                    "{code} is told of what was done"
                );
                let may_run = matches!(state, Executing | Executed | Unknown);
                let tried = outcome == Some("failed") && *code == "BACKEND_UNREACHABLE";
                assert!(
                    !(may_run && text.contains("Nothing was done"))
                        || tried
                        || !told(state, outcome),
                    "{code} says of {state} {outcome:?} that nothing was done"
                );
            }
        }
    }
}
