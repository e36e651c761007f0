//! The show: the main job on real calls through the real HTTP door, one line a call.

use serde_json::{Value, json};

use super::client::{Client, ClientError, Reply};
use super::people::People;

/// What a call of the show must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Decided, written down, carried out.
    Allowed,
    /// Asked first: a confirmation is pending.
    AsksFirst,
    /// Refused with this stable code.
    Refused(&'static str),
}

/// One line of the show.
#[derive(Debug)]
pub struct Line {
    /// Which call, in words.
    pub title: &'static str,
    /// What it must come to.
    pub expected: Expected,
    /// What it came to: `allowed`, `confirmation_required` or the stable code.
    pub verdict: String,
    /// Ids of the deciding rules.
    pub rules: String,
    /// From the caller's side, in microseconds.
    pub micros: u128,
    /// The door's answer.
    pub body: Value,
}

impl Line {
    /// Whether the expected verdict came.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        match self.expected {
            Expected::Allowed => self.verdict == "allowed",
            Expected::AsksFirst => self.verdict == "confirmation_required",
            Expected::Refused(code) => self.verdict == code,
        }
    }

    fn of(title: &'static str, expected: Expected, reply: Reply) -> Self {
        Self {
            title,
            expected,
            verdict: verdict_of(&reply),
            rules: reply.rules,
            micros: reply.took.as_micros(),
            body: reply.body,
        }
    }
}

/// Runs every call of the show, in order.
///
/// # Errors
/// When the gateway can't be reached; a wrong verdict is not an error but a line that says so.
pub(super) async fn run(client: &Client, people: &People) -> Result<Vec<Line>, ClientError> {
    let ana = people.ana.token.as_str();
    let call = |function: &str, params: Value| json!({ "function": function, "params": params });
    let plan: [(&'static str, &str, Value, Expected); 4] = [
        ("ana reads", ana, call("list_notes", json!({ "limit": 5 })), Expected::Allowed),
        (
            "ana writes",
            ana,
            call("create_note", json!({ "title": "Milk", "text": "two litres" })),
            Expected::Allowed,
        ),
        (
            "ben writes without the scope",
            &people.ben.token,
            call("create_note", json!({ "title": "Eggs" })),
            Expected::Refused("PERMISSION_DENIED"),
        ),
        (
            "gil reads another tenant's notes",
            &people.gil.token,
            call("list_notes", json!({})),
            Expected::Refused("TENANT_SCOPE_VIOLATION"),
        ),
    ];
    let mut lines = Vec::new();
    for (title, token, body, expected) in plan {
        let reply = client.post(CALL, Some(token), &named(body, people, token)).await?;
        lines.push(Line::of(title, expected, reply));
    }
    lines.extend(destroy_after_confirmation(client, people, &lines).await?);
    lines.extend(mistakes(client, people).await?);
    Ok(lines)
}

const CALL: &str = "/v1/extensions/notes/call";

/// A destructive call is asked about first; confirming runs the stored bytes.
async fn destroy_after_confirmation(
    client: &Client,
    people: &People,
    before: &[Line],
) -> Result<Vec<Line>, ClientError> {
    let ana = people.ana.token.as_str();
    let written = before.iter().find_map(|line| line.body.pointer("/data/note_id"));
    let params = json!({ "note_id": written.cloned().unwrap_or_default() });
    let body = named(json!({ "function": "delete_note", "params": params }), people, ana);
    let asked = client.post(CALL, Some(ana), &body).await?;
    let id = asked.body.get("confirmation_id").and_then(Value::as_str).unwrap_or("none");
    let confirm = format!("/v1/confirmations/{id}/confirm");
    let asked = Line::of("ana deletes", Expected::AsksFirst, asked);
    let done = client.post(&confirm, Some(ana), &json!({})).await?;
    Ok(vec![asked, Line::of("ana confirms what she saw", Expected::Allowed, done)])
}

async fn mistakes(client: &Client, people: &People) -> Result<Vec<Line>, ClientError> {
    let ana = people.ana.token.as_str();
    let plan: [(&'static str, Value, &'static str); 2] = [
        (
            "arguments that do not fit",
            json!({ "function": "create_note", "params": { "text": 7 } }),
            "VALIDATION_MISSING_FIELD",
        ),
        (
            "a tool that is not there",
            json!({ "function": "make_coffee", "params": {} }),
            "UNKNOWN_SUB_FUNCTION",
        ),
    ];
    let mut lines = Vec::new();
    for (title, body, code) in plan {
        let reply = client.post(CALL, Some(ana), &named(body, people, ana)).await?;
        lines.push(Line::of(title, Expected::Refused(code), reply));
    }
    Ok(lines)
}

/// The caller's own id: the contract wants it in the body, and the door checks that it is true.
fn named(mut body: Value, people: &People, token: &str) -> Value {
    if let (Some(map), Some(person)) = (body.as_object_mut(), people.by_token(token)) {
        map.insert("user_id".into(), json!(person.user_id));
    }
    body
}

fn verdict_of(reply: &Reply) -> String {
    let text = |key: &str| reply.body.get(key).and_then(Value::as_str);
    match (text("error"), text("error_code"), text("status")) {
        (_, Some(code), _) => code.to_owned(),
        (_, None, Some("confirmation_required")) => "confirmation_required".to_owned(),
        (_, None, Some("success")) => "allowed".to_owned(),
        (Some(code), None, _) => code.to_owned(),
        _ => format!("HTTP {}", reply.status.as_u16()),
    }
}
