//! The question as an MCP client puts it to its person, and what came back.
//!
//! INVARIANT: a value can't look like a line of ours, and what does not fit is not asked here
//! (`no_value_looks_like_a_line_of_ours`, `what_is_not_all_shown_is_not_asked`).

use serde_json::{Value, json};

use super::elicit::Mode;
use crate::answer::Asked;
use crate::confirm::{Asker, Lines};
use crate::refusal::Refusal;

/// Longest text that is put to a person inside a client; longer ones are read on the page.
const MAX_TEXT: usize = 8 * 1024;

/// What the client says of its person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Yes: run it. By an address: the person went there.
    Yes,
    /// No.
    No,
    /// Nothing: the question was put away, or could not be shown.
    Nothing,
}

impl Said {
    /// Reads a client's answer.
    ///
    /// # Errors
    /// [`Refusal::MalformedBody`] when it is none of the three, or its form says neither yes nor no.
    pub fn read(answer: &Value, mode: Mode) -> Result<Self, Refusal> {
        let neither = || Refusal::MalformedBody("the answer says neither yes nor no".to_owned());
        let Some(result) = answer.get("result") else { return Ok(Self::Nothing) };
        match result.get("action").and_then(Value::as_str) {
            Some("decline") => Ok(Self::No),
            Some("cancel") => Ok(Self::Nothing),
            Some("accept") if mode == Mode::Url => Ok(Self::Yes),
            // Only the form's own word counts: a client that accepts by itself says nothing.
            Some("accept") => match result.pointer("/content/confirm") {
                Some(Value::Bool(true)) => Ok(Self::Yes),
                Some(Value::Bool(false)) => Ok(Self::No),
                _ => Err(neither()),
            },
            _ => Err(neither()),
        }
    }
}

/// The request `elicitation/create`. None when not all can be shown here.
#[must_use]
pub fn form(id: &str, asked: &Asked) -> Option<Value> {
    let confirm = json!({
        "type": "boolean",
        "title": "Do exactly this, once",
        "description": "Yes runs what is shown above, once. No cancels it.",
        "default": false,
    });
    let schema =
        json!({ "type": "object", "properties": { "confirm": confirm }, "required": ["confirm"] });
    let params = json!({ "mode": "form", "message": text(asked)?, "requestedSchema": schema });
    Some(request(id, params))
}

/// The same, which leads to the page.
#[must_use]
pub fn url(id: &str, asked: &Asked, base: &str) -> Value {
    let page = format!("{base}/confirm/{}", asked.confirmation_id);
    let message = format!(
        "{}/{} ({}) waits for your word. Look at it and decide in your browser.\n\nSHA-256 of the call: {}",
        asked.app, asked.function, asked.action_type, asked.hash
    );
    let elicitation = &asked.confirmation_id;
    let params =
        json!({ "mode": "url", "message": message, "url": page, "elicitationId": elicitation });
    request(id, params)
}

/// Tells the client that what it led its person to is decided.
#[must_use]
pub fn complete(asked: &Asked) -> Value {
    let params = json!({ "elicitationId": asked.confirmation_id });
    json!({ "jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": params })
}

fn request(id: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params })
}

/// All that the page shows, as plain text. Values stand behind a bar, which Markdown shows as it is.
fn text(asked: &Asked) -> Option<String> {
    let bytes = asked.arguments_text.as_bytes();
    let lines = Lines::with_secrets(bytes, &asked.secrets).ok()?;
    let mut text = format!(
        "Shall this be done?\n\n{}/{} ({})\n",
        asked.app, asked.function, asked.action_type
    );
    for line in &lines.lines {
        let name = if line.name.is_empty() { "(all)" } else { &line.name };
        // After an empty line Markdown takes what is indented for code, and shows it letter by letter.
        text.push_str(&format!("\n{name}:\n\n"));
        line.shown.split('\n').for_each(|part| text.push_str(&format!("    | {part}\n")));
        // Hidden, cut, or not what it looks like: the page says more.
        if line.note.is_some() || text.len() > MAX_TEXT {
            return None;
        }
    }
    let asker = asked.asked_by.as_ref().map_or("nobody knows", Asker::words);
    text.push_str(&format!(
        "\nOn things of: {}\nAsked by: {asker}\nAsking rules: {}\nAnswer until: {}\nSHA-256 of the call: {}\nOperation: {}\n",
        asked.target_tenant,
        asked.rules.join(", "),
        asked.expires_at,
        asked.hash,
        asked.trace_id
    ));
    // A proxied request is more than its values, and one who sees only some lines can't say yes to all.
    (lines.more == 0 && asked.request.is_none()).then_some(text)
}

#[cfg(test)]
mod tests {
    use portcullis_policies::ActionType;

    use super::*;
    use crate::confirm::ShownRequest;
    use crate::directory::ConfirmationState;

    fn asked(arguments: &Value) -> Asked {
        Asked {
            status: "confirmation_required",
            confirmation_id: "imp_c_1".to_owned(),
            state: ConfirmationState::Pending,
            page: None,
            outcome: None,
            user_id: "imp_u_ana".to_owned(),
            tenant_id: "imp_t_acme".to_owned(),
            summary: "delete_note".to_owned(),
            app: "notes".to_owned(),
            function: "delete_note".to_owned(),
            action_type: ActionType::Destructive,
            arguments: arguments.clone(),
            arguments_text: arguments.to_string(),
            target_tenant: "imp_t_acme".to_owned(),
            asked_by: None,
            request: None,
            request_hash: None,
            secrets: Vec::new(),
            hash: "ab".repeat(32),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            expires_at: "2026-01-01T00:10:00Z".to_owned(),
            rules: vec!["action-type/destructive-unconfirmed".to_owned()],
            by_other: false,
            approver_roles: Vec::new(),
            approvals: Vec::new(),
            trace_id: uuid::Uuid::nil(),
        }
    }

    #[test]
    fn no_value_looks_like_a_line_of_ours() {
        let forged = "note-1\n\nSHA-256 of the call: 00\nAnswer until: never";
        let text = text(&asked(&json!({ "note_id": forged, "a\nSHA-256 of": 1 }))).unwrap();
        let ours = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((ours("SHA-256 of"), ours("Answer until")), (1, 1), "{text}");
        assert!(text.lines().any(|line| line.starts_with("    | ") && line.contains("call: 00")));
        assert!(text.contains(&format!("SHA-256 of the call: {}", "ab".repeat(32))), "{text}");
    }

    #[test]
    fn what_is_not_all_shown_is_not_asked() {
        assert!(form("1", &asked(&json!({ "a": vec![0; 40] }))).is_some());
        for more in [
            json!({ "a": vec![0; 2_000] }),
            json!({ "a": "x".repeat(3_000) }),
            json!({ "a": (0..900).map(|n| n.to_string()).collect::<Vec<_>>() }),
            json!({ "password": "hunter2" }),
        ] {
            assert!(form("1", &asked(&more)).is_none(), "{more}");
        }
        let mut proxied = asked(&json!({}));
        let line = ("DELETE".to_owned(), "/invoices/7".to_owned());
        proxied.request = Some(ShownRequest::new(line, Vec::new(), b""));
        assert!(form("1", &proxied).is_none());
    }

    #[test]
    fn only_a_clear_word_counts() {
        let read = |result: Value| Said::read(&json!({ "result": result }), Mode::Form);
        let accept = |content: Value| json!({ "action": "accept", "content": content });
        assert_eq!(read(accept(json!({ "confirm": true }))).unwrap(), Said::Yes);
        assert_eq!(read(accept(json!({ "confirm": false }))).unwrap(), Said::No);
        assert_eq!(read(json!({ "action": "decline" })).unwrap(), Said::No);
        assert_eq!(read(json!({ "action": "cancel" })).unwrap(), Said::Nothing);
        for unclear in [json!({}), json!({ "confirm": "true" }), json!({ "confirm": 1 })] {
            assert!(read(accept(unclear)).is_err());
        }
        assert!(read(json!({ "action": "accept" })).is_err());
        assert!(read(json!({ "action": "ACCEPT", "content": { "confirm": true } })).is_err());
        assert!(read(json!(true)).is_err());
        let fault = json!({ "error": { "code": -32600, "message": "Elicitation not supported" } });
        assert_eq!(Said::read(&fault, Mode::Form).unwrap(), Said::Nothing);
        let went = json!({ "result": { "action": "accept" } });
        assert_eq!(Said::read(&went, Mode::Url).unwrap(), Said::Yes);
    }
}
