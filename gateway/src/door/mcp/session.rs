//! `Mcp-Session-Id`: what a client said of itself when it began, kept by the client and not by us.
//!
//! The id says by which kinds of elicitation the client can ask its person, and is signed for the one who began. So any
//! replica reads it, none keeps it, and nobody else's requests can use it. A client that can't ask gets none.
//!
//! INVARIANT: an id is worth something to the user alone who began with it
//! (`an_id_is_its_users_and_says_what_was_signed`, `elicits::nobody_elses_answer`).

use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::forms::FormTokens;
use crate::identify::Caller;

/// The header.
pub const HEADER: &str = "mcp-session-id";

/// By what a client can ask its person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// By a form inside the client.
    pub form: bool,
    /// By an address that it opens in a browser.
    pub url: bool,
}

/// A session of an MCP client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Tells it from every other.
    pub nonce: String,
    /// By what its client can ask.
    pub modes: Modes,
}

impl Modes {
    /// What the parameters of `initialize` declare; a capability without a member means forms (MCP 2025-11-25).
    #[must_use]
    pub fn declared(initialize: &Value) -> Option<Self> {
        let declared = initialize.pointer("/params/capabilities/elicitation")?.as_object()?;
        let url = declared.contains_key("url");
        let form = declared.contains_key("form") || !url;
        Some(Self { form, url })
    }

    const fn word(self) -> &'static str {
        match (self.form, self.url) {
            (true, true) => "fu",
            (true, false) => "f",
            (false, true) => "u",
            (false, false) => "-",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        match word {
            "fu" => Some(Self { form: true, url: true }),
            "f" => Some(Self { form: true, url: false }),
            "u" => Some(Self { form: false, url: true }),
            _ => None,
        }
    }
}

impl Session {
    /// A new one for this caller, and its id.
    #[must_use]
    pub fn begin(tokens: &FormTokens, caller: &Caller, modes: Modes) -> Option<HeaderValue> {
        Self::sign(tokens, caller.user_id(), modes)
    }

    fn sign(tokens: &FormTokens, user: &str, modes: Modes) -> Option<HeaderValue> {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let session = Self { nonce, modes };
        let tag = tokens.of_mcp_session(&session.said(user));
        HeaderValue::try_from(format!("{}.{}.{tag}", modes.word(), session.nonce)).ok()
    }

    /// The session that a request of this caller names; one that is not the caller's is none.
    #[must_use]
    pub fn of(tokens: &FormTokens, caller: &Caller, headers: &HeaderMap) -> Option<Self> {
        Self::verify(tokens, caller.user_id(), headers.get(HEADER)?.to_str().ok()?)
    }

    fn verify(tokens: &FormTokens, user: &str, id: &str) -> Option<Self> {
        let mut parts = id.splitn(3, '.');
        let (word, nonce, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let session = Self { nonce: nonce.to_owned(), modes: Modes::of_word(word)? };
        tokens.check_mcp_session(&session.said(user), tag).then_some(session)
    }

    fn said(&self, user: &str) -> String {
        format!("{}\n{}\n{user}", self.modes.word(), self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_is_its_users_and_says_what_was_signed() {
        let tokens = FormTokens::new(&[7; 32]);
        let modes = Modes { form: false, url: true };
        let id = Session::sign(&tokens, "imp_u_ana", modes).unwrap();
        let id = id.to_str().unwrap();
        let session = Session::verify(&tokens, "imp_u_ana", id).unwrap();
        assert_eq!(session.modes, modes);
        assert_eq!(Session::verify(&tokens, "imp_u_amy", id), None);
        let more = id.replacen("u.", "fu.", 1);
        assert_eq!(Session::verify(&tokens, "imp_u_ana", &more), None);
        let other = Session::sign(&tokens, "imp_u_ana", modes).unwrap();
        assert_ne!(other.to_str().unwrap(), id);
        for bad in ["", "u", "u.n", "u.n.t", "..", &format!("{id}0")] {
            assert_eq!(Session::verify(&tokens, "imp_u_ana", bad), None, "{bad}");
        }
    }

    #[test]
    fn a_capability_without_a_member_means_forms() {
        let declared = |elicitation: Value| {
            let params = json!({ "capabilities": { "elicitation": elicitation } });
            Modes::declared(&json!({ "params": params }))
        };
        assert_eq!(declared(json!({})), Some(Modes { form: true, url: false }));
        assert_eq!(declared(json!({ "url": {} })), Some(Modes { form: false, url: true }));
        assert_eq!(
            declared(json!({ "form": {}, "url": {} })),
            Some(Modes { form: true, url: true })
        );
        assert_eq!(declared(json!(true)), None);
        assert_eq!(Modes::declared(&json!({ "params": { "capabilities": {} } })), None);
    }
}
