//! What is asked about an app's secrets becomes a call of the gateway's own app `secrets`: the rules see
//! whose secret it is and what its declaration says, and never a value.

use std::sync::Arc;

use portcullis_kernel_adapter::{App, SecretDeclaration, SecretScope};
use portcullis_policies::{
    AppId, Channel, Confirmation, RequestFacts, SECRETS_APP, TenantId, Verdict,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Own, ToolCall, shown, target_tenant};
use crate::confirm;
use crate::directory::{SecretOwner, SecretPlace};
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
    let SecretWanted { app, deed, request, .. } = wanted;
    let asked = deed.name().unwrap_or("*");
    let undeclared = || Refusal::SecretNotDeclared(shown(&format!("{app}/{asked}")));
    let id: AppId = app.parse().map_err(|_| undeclared())?;
    let app = Arc::clone(in_force.catalogue.app(&id).ok_or_else(undeclared)?);
    let tenant = target_tenant(&app, None, None, caller)?;
    let Some(name) = deed.name() else {
        // Whoever may ask whether one secret has a value may see it listed.
        let known = |secret: &OwnSecret| {
            let deed = SecretDeed::Meta { name: secret.declared.name.clone() };
            let asked = (deed, request, Confirmation::none());
            would_permit(gateway, in_force, caller, &app, &secret.declared, asked)
        };
        let secrets =
            app.secrets.iter().map(|declared| own_secret(&app, declared, &tenant, caller));
        let secrets = secrets.filter(known).collect();
        let own = OwnCall { app: Arc::clone(&app), deed, secrets };
        return own_call(gateway, own, json!({ "app": app.id }), tenant);
    };
    let declared = app.secret(name).ok_or_else(undeclared)?;
    if bytes_of(&deed).is_some_and(|bytes| bytes > declared.max_bytes) {
        return Err(Refusal::SecretTooLarge { limit: declared.max_bytes });
    }
    let args = facts(&app, declared, &deed);
    let secrets = vec![own_secret(&app, declared, &tenant, caller)];
    own_call(gateway, OwnCall { app, deed, secrets }, args, tenant)
}

/// What counts as confirmed when a change comes in. A form of the gateway's own page is the confirmation of
/// a person who wants to be asked: what was typed into it is what is stored.
///
/// INVARIANT: only a form that this very session was shown confirms, and only at a page
/// (`pages::the_api_cannot_claim_that_a_form_was_filled_in`).
pub(super) fn confirmed(wanted: &SecretWanted, caller: &Caller) -> Confirmation {
    let changes = matches!(wanted.deed, SecretDeed::Set { .. } | SecretDeed::Delete { .. });
    let ours = wanted.form.as_ref().is_some_and(|form| form.is_of(caller.session()));
    let person = confirm::is_a_person(caller);
    let given = changes && ours && person && wanted.request.channel == Channel::Page;
    Confirmation { given, ..Confirmation::default() }
}

/// What the rules would let somebody do with a secret on a page.
#[derive(Debug, Clone)]
pub struct Changeable {
    /// The secret's name.
    pub name: String,
    /// Whether a value may be stored.
    pub store: bool,
    /// Whether the value may be forgotten.
    pub forget: bool,
}

/// The name of an app, and what the rules would let the caller do with each secret that it declares. A
/// page shows forms by this; the deed itself is decided anew.
///
/// # Errors
/// [`Refusal::NoSuchRoute`] for an app that is not there.
pub fn changeable(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    app: &str,
    request: RequestFacts,
) -> Result<(String, Vec<Changeable>), Refusal> {
    let id: AppId = app.parse().map_err(|_| Refusal::NoSuchRoute)?;
    let app = in_force.catalogue.app(&id).ok_or(Refusal::NoSuchRoute)?;
    let given = Confirmation::own();
    let may = |deed, declared: &SecretDeclaration| {
        would_permit(gateway, in_force, caller, app, declared, (deed, request, &given))
    };
    let of = |declared: &SecretDeclaration| {
        let name = declared.name.clone();
        let value = SecretString::default();
        Changeable {
            store: may(SecretDeed::Set { name: name.clone(), value }, declared),
            forget: may(SecretDeed::Delete { name: name.clone() }, declared),
            name,
        }
    };
    Ok((app.name.clone(), app.secrets.iter().map(of).collect()))
}

/// Whether the rules would permit a deed; nothing is done and nothing recorded.
fn would_permit(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    app: &Arc<App>,
    declared: &SecretDeclaration,
    (deed, request, confirmation): (SecretDeed, RequestFacts, &Confirmation),
) -> bool {
    let args = facts(app, declared, &deed);
    let own = OwnCall { app: Arc::clone(app), deed, secrets: Vec::new() };
    let Ok(tenant) = target_tenant(app, None, None, caller) else { return false };
    let Ok(call) = own_call(gateway, own, args, tenant) else { return false };
    let principal = in_force.prepare(caller);
    let question = call.question(Uuid::nil(), &principal, request, confirmation);
    matches!(in_force.rulebook.decide(&question).verdict, Verdict::Permit(_))
}

/// What the rules see of one secret, and of a value that comes in.
fn facts(app: &App, declared: &SecretDeclaration, deed: &SecretDeed) -> Value {
    let mut facts = json!({
        "app": app.id,
        "name": declared.name,
        "scope": declared.scope.as_str(),
        "writeMode": declared.write_mode.as_str(),
    });
    if let (Some(bytes), Some(facts)) = (bytes_of(deed), facts.as_object_mut()) {
        facts.insert("bytes".to_owned(), json!(bytes));
    }
    facts
}

/// Length of the value that comes in.
fn bytes_of(deed: &SecretDeed) -> Option<usize> {
    match deed {
        SecretDeed::Set { value, .. } => Some(value.expose_secret().len()),
        _ => None,
    }
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
    let tool = (SECRETS_APP, own.deed.function());
    super::own_call(gateway, tool, Own::Secrets(own), args, target_tenant)
}
