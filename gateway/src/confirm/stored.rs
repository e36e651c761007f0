//! What is kept of a question until it is answered: sealed when it is asked, opened and held against the row and the
//! tools of then when it is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use portcullis_kernel_adapter::call_digest;
use portcullis_policies::OWN_APPS;
use portcullis_secrets::{Context, Purpose, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Asker, unavailable};
use crate::directory::{self, NewConfirmation};
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::in_force::InForce;
use crate::manage;
use crate::refusal::{Changed, Refusal};
use crate::resolve::{self, ToolCall};

/// What is sealed: the argument bytes, and for a proxied call the request around them; and the facts of the question,
/// so that nobody who can write to the database makes it wait longer, ask for less or name another tool.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(default)]
    pub(super) facts: Value,
    pub(super) args: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) forward: Option<resolve::StoredRequest>,
    /// Hash of that request, as it was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request_hash: Option<String>,
    /// With which credential it was asked, and by which door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asker: Option<Asker>,
}

/// The stored bytes, resolved again: same tool, same schema, same digest as was shown.
pub(super) async fn stored_call(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    (pending, stored): (&directory::Confirmation, Stored),
) -> Result<ToolCall, Refusal> {
    let asked = &pending.asked;
    let bytes = Bytes::from(BASE64.decode(&stored.args).map_err(unavailable)?);
    if call_digest(&asked.tool, &bytes) != asked.args_digest {
        return Err(Refusal::from(Changed::Bytes));
    }
    let args = gateway.json(bytes)?;
    let mut call = if OWN_APPS.contains(&asked.tool.app().as_str()) {
        resolve::managed(gateway, caller, manage::restore(&asked.tool, &args.value)?).await?
    } else {
        let hint = Some(asked.target_tenant.as_str());
        let call = resolve::function_call(in_force, caller, hint, &asked.tool, args);
        call.map_err(tool_changed)?
    };
    // Another action type, schema or description: the person was shown another tool.
    let tool = call.tool();
    if (tool.schema_digest, tool.spec.action_type) != (asked.tool_digest, asked.action_type) {
        return Err(Refusal::from(Changed::Tool));
    }
    // What is asked about people is made anew from what they hold now.
    if *call.digest() != asked.args_digest {
        return Err(Refusal::from(Changed::Target));
    }
    // Another app's tenant, or another one of the asker's: the person was shown other things.
    if *call.target_tenant() != asked.target_tenant {
        return Err(Refusal::from(Changed::Tenant));
    }
    if let Some(forward) = stored.forward {
        call.restore_forward(forward)?;
    }
    Ok(call)
}

/// It was there and its arguments fitted when it was asked: what does not hold now is the tool's change.
fn tool_changed(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::UnknownApp(_) | Refusal::UnknownFunction(_) | Refusal::InvalidArguments(_) => {
            Refusal::from(Changed::Tool)
        }
        other => other,
    }
}

pub(super) async fn open(
    gateway: &Gateway,
    pending: &directory::Confirmation,
) -> Result<Stored, Refusal> {
    let asked = &pending.asked;
    let app = asked.tool.app().as_str();
    let context = context(asked.tenant.as_str(), &asked.user_id, app, &pending.id)?;
    let lease = gateway.vault.open(&context, &asked.sealed_args).await.map_err(|fault| {
        tracing::error!(id = %pending.id, %fault, "a stored confirmation does not open");
        Refusal::from(Changed::Bytes)
    })?;
    let stored: Stored = lease.with(|plain| serde_json::from_slice(plain)).map_err(unavailable)?;
    if stored.facts != facts(asked) {
        return Err(Refusal::from(Changed::Question));
    }
    let request_hash = stored.forward.as_ref().map(|forward| forward.shown().hash());
    if stored.request_hash != request_hash {
        return Err(Refusal::from(Changed::Request));
    }
    Ok(stored)
}

pub(super) async fn seal(
    gateway: &Gateway,
    id: &str,
    asked: &NewConfirmation,
    stored: &Stored,
) -> Result<Vec<u8>, Refusal> {
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(stored).map_err(unavailable)?);
    let app = asked.tool.app().as_str();
    let context = context(asked.tenant.as_str(), &asked.user_id, app, id)?;
    gateway.vault.seal(&context, &plain).await.map_err(unavailable)
}

/// All that must be as it was asked; tenant, asker, app and id are bound by the seal itself.
pub(super) fn facts(asked: &NewConfirmation) -> Value {
    let mut facts = json!({
        "op": asked.op,
        "tool": asked.tool.to_string(),
        "tool_digest": hex::encode(asked.tool_digest),
        "action_type": asked.action_type,
        "target_tenant": asked.target_tenant.to_string(),
        "target_id": asked.target_id,
        "policy_digest": asked.policy_digest,
        "created_ms": asked.created_ms,
        "wants": asked.wants,
        "rules": asked.rules,
        "args_digest": hex::encode(asked.args_digest),
        "expires_ms": asked.expires_ms,
    });
    if let (false, Some(facts)) = (asked.approver_roles.is_empty(), facts.as_object_mut()) {
        facts.insert("approver_roles".to_owned(), json!(asked.approver_roles));
    }
    facts
}

pub(super) fn context(tenant: &str, user: &str, app: &str, id: &str) -> Result<Context, Refusal> {
    let scope = Scope::new(tenant, user, app).map_err(unavailable)?;
    Context::new(scope, id, Purpose::Confirmation).map_err(unavailable)
}
