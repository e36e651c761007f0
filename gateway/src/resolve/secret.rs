//! What is asked about an app's secrets becomes a call of the gateway's own app `secrets`: the rules see
//! whose secret it is and what its declaration says, and never a value.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_kernel_adapter::{App, SecretDeclaration, SecretScope, call_digest};
use portcullis_policies::{AppId, Confirmation, TenantId, Verdict};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ToolCall, shown, target_tenant};
use crate::directory::{SecretOwner, SecretPlace};
use crate::edge::StrictJson;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::in_force::InForce;
use crate::knock::{SecretDeed, SecretWanted};
use crate::refusal::Refusal;

/// What the gateway carries out itself, resolved.
#[derive(Debug)]
pub struct OwnCall {
    /// The app whose secrets they are.
    pub app: Arc<App>,
    /// What to do.
    pub deed: SecretDeed,
    /// The named secret, or all that the caller may know of.
    pub secrets: Vec<OwnSecret>,
}

/// One declared secret and where this caller's value of it is.
#[derive(Debug, Clone)]
pub struct OwnSecret {
    /// What the manifest says.
    pub declared: SecretDeclaration,
    /// Where the value is kept.
    pub place: SecretPlace,
}

impl OwnCall {
    /// The secret as records name it, `app/name`; none when the call is about all of them.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        self.deed.name().map(|name| format!("{}/{name}", self.app.id))
    }
}

/// Resolves what is asked about secrets. The value of a secret is no argument: rules, capsule and
/// commitments never hold it.
///
/// # Errors
/// An app that is not there declares nothing, so both are [`Refusal::SecretNotDeclared`]: a 404 would
/// be read as "it has no value". [`Refusal::SecretTooLarge`] for a value over its declaration.
pub(super) fn call(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    wanted: SecretWanted,
) -> Result<ToolCall, Refusal> {
    let SecretWanted { app, deed, request } = wanted;
    let asked = deed.name().unwrap_or("*");
    let undeclared = || Refusal::SecretNotDeclared(shown(&format!("{app}/{asked}")));
    let id: AppId = app.parse().map_err(|_| undeclared())?;
    let app = Arc::clone(in_force.catalogue.app(&id).ok_or_else(undeclared)?);
    let tenant = target_tenant(&app, None, None, caller)?;
    let Some(name) = deed.name() else {
        let known = |secret: &OwnSecret| may_know(gateway, in_force, caller, &app, request, secret);
        let secrets =
            app.secrets.iter().map(|declared| own_secret(&app, declared, &tenant, caller));
        let secrets = secrets.filter(known).collect();
        let own = OwnCall { app: Arc::clone(&app), deed, secrets };
        return own_call(gateway, own, json!({ "app": app.id }), tenant);
    };
    let declared = app.secret(name).ok_or_else(undeclared)?;
    let mut args = facts(&app, declared);
    if let SecretDeed::Set { value, .. } = &deed {
        let bytes = value.expose_secret().len();
        if bytes > declared.max_bytes {
            return Err(Refusal::SecretTooLarge { limit: declared.max_bytes });
        }
        args["bytes"] = json!(bytes);
    }
    let secrets = vec![own_secret(&app, declared, &tenant, caller)];
    own_call(gateway, OwnCall { app, deed, secrets }, args, tenant)
}

/// Whether the caller may be told that a secret has a value; the rule of the single question decides.
fn may_know(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    app: &Arc<App>,
    request: portcullis_policies::RequestFacts,
    secret: &OwnSecret,
) -> bool {
    let deed = SecretDeed::Meta { name: secret.declared.name.clone() };
    let own = OwnCall { app: Arc::clone(app), deed, secrets: Vec::new() };
    let tenant = caller.tenant().clone();
    let Ok(call) = own_call(gateway, own, facts(app, &secret.declared), tenant) else {
        return false;
    };
    let principal = in_force.prepare(caller);
    let question = call.question(Uuid::nil(), &principal, request, Confirmation::default());
    matches!(in_force.rulebook.decide(&question).verdict, Verdict::Permit(_))
}

/// What the rules see of one secret.
fn facts(app: &App, declared: &SecretDeclaration) -> Value {
    json!({
        "app": app.id,
        "name": declared.name,
        "scope": declared.scope.as_str(),
        "writeMode": declared.write_mode.as_str(),
    })
}

fn own_secret(
    app: &App,
    declared: &SecretDeclaration,
    tenant: &TenantId,
    caller: &Caller,
) -> OwnSecret {
    let owner = match declared.scope {
        SecretScope::User => SecretOwner::User(caller.user_id().to_owned()),
        SecretScope::App => SecretOwner::App,
    };
    let place = SecretPlace {
        tenant: tenant.to_string(),
        owner,
        app: app.id.to_string(),
        name: declared.name.clone(),
    };
    OwnSecret { declared: declared.clone(), place }
}

fn own_call(
    gateway: &Gateway,
    own: OwnCall,
    args: Value,
    target_tenant: TenantId,
) -> Result<ToolCall, Refusal> {
    let tool = gateway.own.tool(own.deed.function());
    let tool = tool.ok_or_else(|| Refusal::Unavailable("own tools".to_owned()))?;
    super::check_arguments(tool, &args)?;
    let bytes = Bytes::from(args.to_string());
    let digest = call_digest(tool.name(), &bytes);
    Ok(ToolCall {
        app: Arc::clone(gateway.own.app()),
        tool: Arc::clone(tool),
        args: StrictJson { value: args, bytes },
        digest,
        target_tenant,
        own: Some(own),
        forward: None,
    })
}
