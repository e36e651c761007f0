//! Which credential asked for a call, and by which door: a person who confirms is told which of their programs it was.

use serde::{Deserialize, Serialize};

use crate::gateway::Gateway;
use crate::identify::{Caller, Proof};

/// Longest name that is kept; programs give themselves their names.
const MAX_NAME: usize = 100;

/// The credential of a call that waits, as it was when the call was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// `session`, `api_key`, `program`, `extension` or `service`.
    pub kind: String,
    /// Names the credential: the id of the session, key or grant.
    pub id: String,
    /// What the key is called, the program or the app; it was chosen by whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The door: `http`, `mcp`, `proxy`, `cli` or `page`.
    pub channel: String,
}

impl Asker {
    /// The credential of this caller. A name that can't be found is left out: the id is there.
    pub async fn of(gateway: &Gateway, caller: &Caller, channel: &str) -> Self {
        let kind = match caller.proof() {
            _ if caller.strength().device => "program",
            Proof::AccessToken { .. }
            | Proof::ExternalToken { .. }
            | Proof::Password { .. }
            | Proof::RefreshToken { .. }
            | Proof::DeviceCode { .. } => "session",
            Proof::ApiKey => "api_key",
            Proof::Grant { .. } => "program",
            Proof::ExtensionToken { .. } | Proof::CallToken { .. } => "extension",
            Proof::ServiceToken => "service",
        };
        let id = match caller.proof() {
            // A grant outlives its tokens, and can be taken back.
            Proof::Grant { .. } => caller.id(),
            _ => caller.session(),
        };
        let name = name(gateway, caller).await;
        let name = name.map(|name| name.chars().take(MAX_NAME).collect());
        Self { kind: kind.to_owned(), id: id.to_owned(), name, channel: channel.to_owned() }
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.kind.as_str() {
            "session" => "a session of the person",
            "api_key" => "an API key",
            "program" => "a program that the person let in",
            "extension" => "the code of an app",
            "service" => "a service",
            _ => "something else",
        }
    }
}

async fn name(gateway: &Gateway, caller: &Caller) -> Option<String> {
    match caller.proof() {
        Proof::ApiKey => {
            let keys = gateway.directory.api_keys(caller.user_id()).await.ok()?;
            keys.into_iter().find(|key| key.id == caller.id()).map(|key| key.name)
        }
        Proof::Grant { .. } => {
            gateway.directory.oauth_grant(caller.id()).await.ok().map(|grant| grant.client_name)
        }
        _ => caller.extension().map(ToString::to_string),
    }
}
