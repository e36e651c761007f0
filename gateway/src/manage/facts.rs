//! A request becomes a call: what is asked for, and what the rules see of it.

use portcullis_policies::{PrincipalKind, TenantId, ToolName};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{Change, ManageWanted, Verb};
use crate::directory::{Directory, DirectoryError, beyond};
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::refusal::{Changed, Refusal};

/// The tenant to which the deployment itself belongs: whoever manages tenants is one of its people.
const DEPLOYMENT_TENANT: &str = "default";
/// Longest id of anything that can be named in a path.
const MAX_ID: usize = 128;

/// A call of the apps `directory` and `account`, resolved.
#[derive(Debug)]
pub struct Managed {
    pub(super) verb: Verb,
    pub(super) target: String,
    pub(super) change: Change,
    pub(super) password: Option<SecretString>,
}

impl Managed {
    /// Whether it can wait for a confirmation: a password is not kept for later.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        self.password.is_none()
    }
}

/// What the rules see.
#[derive(Debug)]
pub struct Facts {
    /// The tool of the gateway's own.
    pub tool: (&'static str, &'static str),
    /// The arguments.
    pub args: Value,
    /// Whose things it is about.
    pub target_tenant: TenantId,
}

/// Resolves what a door asked for.
///
/// # Errors
/// What does not fit, and what is not there.
pub async fn resolve(
    gateway: &Gateway,
    caller: &Caller,
    wanted: ManageWanted,
) -> Result<(Managed, Facts), Refusal> {
    let ManageWanted { verb, target, change, password } = wanted;
    let target = target_of(verb, target, caller)?;
    let text = Value::Object(change.clone()).to_string();
    let change = Change::read(verb, change)?;
    let seen = seen(&gateway.directory, caller, verb, &target, &change).await?;
    let held = &caller.principal().scopes;
    let own = target == caller.user_id();
    let own_account = caller.principal().kind == PrincipalKind::User
        && (own || verb.is_shared() || is_own_agency(gateway, caller, verb, &target).await?);
    let args = json!({
        "target": target,
        "self": own,
        "scopes": seen.grants,
        "beyond": beyond(held, &seen.grants),
        "above": !beyond(held, &seen.holds).is_empty(),
        "change": text,
    });
    let tool = (verb.app(own_account), verb.function());
    let managed = Managed { verb, target, change, password };
    Ok((managed, Facts { tool, args, target_tenant: seen.tenant }))
}

/// What was stored for a confirmation, as a door would ask for it again: all facts are asked anew.
///
/// # Errors
/// [`Refusal::ConfirmationChanged`] when it is none of these apps' calls.
pub fn restore(name: &ToolName, args: &Value) -> Result<ManageWanted, Refusal> {
    let changed = || Refusal::from(Changed::Bytes);
    let verb = name.function().parse().map_err(|()| changed())?;
    let text = |key| args.get(key).and_then(Value::as_str).ok_or_else(changed);
    let change: Map<String, Value> =
        serde_json::from_str(text("change")?).map_err(|_| changed())?;
    Ok(ManageWanted { verb, target: text("target")?.to_owned(), change, password: None })
}

/// Whom it reaches and what it gives.
struct Seen {
    tenant: TenantId,
    /// Scopes that somebody would hold through it.
    grants: Vec<String>,
    /// Scopes that what is changed holds now.
    holds: Vec<String>,
}

async fn seen(
    directory: &Directory,
    caller: &Caller,
    verb: Verb,
    target: &str,
    change: &Change,
) -> Result<Seen, Refusal> {
    let mut seen = Seen { tenant: caller.tenant().clone(), grants: Vec::new(), holds: Vec::new() };
    match verb {
        Verb::ReadUser
        | Verb::UpdateUser
        | Verb::RemoveUser
        | Verb::ResetTotp
        | Verb::EffectiveScopes
        | Verb::ReadSettings
        | Verb::UpdateSettings
        | Verb::ListExtensions
        | Verb::DisableExtension
        | Verb::EnableExtension => {
            seen.tenant = directory.present_user(target).await.map_err(not_there)?.tenant;
            seen.holds = directory.effective_scopes(target).await.map_err(not_there)?.scopes;
        }
        Verb::UpdateRole | Verb::DeleteRole => {
            let role = directory.role_by_id(target).await.map_err(not_there)?;
            (seen.tenant, seen.holds) = (role.tenant, role.default_scopes);
        }
        Verb::UpdateScope | Verb::DeleteScope => {
            seen.tenant = directory.scope_name(target).await.map_err(not_there)?.tenant_id;
        }
        Verb::RevokeServiceToken => {
            let token = directory.service_token(&seen.tenant, target).await.map_err(not_there)?;
            seen.holds = token.scopes;
        }
        Verb::ListTenants | Verb::CreateTenant => seen.tenant = deployment(caller)?,
        Verb::ReadTenant | Verb::UpdateTenant if target != caller.tenant().as_str() => {
            seen.tenant = deployment(caller)?;
        }
        _ => {}
    }
    seen.grants = grants(directory, &seen.tenant, change).await?;
    if let Change::NewServiceToken(new) = change
        && let Some(user) = &new.user_id
    {
        seen.tenant = directory.present_user(user).await.map_err(not_there)?.tenant;
        seen.holds = directory.effective_scopes(user).await.map_err(not_there)?.scopes;
    }
    Ok(seen)
}

/// Scopes that somebody would hold through a change, those of a role that is given among them.
async fn grants(
    directory: &Directory,
    tenant: &TenantId,
    change: &Change,
) -> Result<Vec<String>, Refusal> {
    let (role, scopes) = match change {
        Change::NewUser(new) => (Some(&new.role), new.scopes.clone()),
        Change::User(user) => (user.role.as_ref(), user.scopes.clone().unwrap_or_default()),
        Change::NewRole(_, role) | Change::Role(role) => {
            (None, role.default_scopes.clone().unwrap_or_default())
        }
        Change::NewServiceToken(new) => (None, new.scopes.clone()),
        _ => (None, Vec::new()),
    };
    let Some(role) = role else { return Ok(scopes) };
    let role = directory.role(tenant, role).await.map_err(not_there)?;
    Ok([scopes, role.default_scopes].concat())
}

async fn is_own_agency(
    gateway: &Gateway,
    caller: &Caller,
    verb: Verb,
    target: &str,
) -> Result<bool, Refusal> {
    if verb != Verb::ReadAgency {
        return Ok(false);
    }
    let user = gateway.directory.user(caller.user_id()).await.map_err(not_there)?;
    Ok(target == "me" || user.agency_id.as_deref() == Some(target))
}

/// `me` is the caller, and what is one's own names nobody.
fn target_of(verb: Verb, target: String, caller: &Caller) -> Result<String, Refusal> {
    let own = matches!(verb, Verb::ReadNickname | Verb::SetNickname)
        || (target == "me" && verb.is_of_one_person());
    let target = if own { caller.user_id().to_owned() } else { target };
    // wire-contract.md 0.12: ids stand in paths as they are.
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    if target.len() <= MAX_ID && target.bytes().all(fits) {
        Ok(target)
    } else {
        Err(Refusal::NotThere("such thing".to_owned()))
    }
}

fn deployment(caller: &Caller) -> Result<TenantId, Refusal> {
    let unreadable = |_| Refusal::Unavailable("tenant".to_owned());
    match caller.tenant().as_str() {
        DEPLOYMENT_TENANT => Ok(caller.tenant().clone()),
        _ => DEPLOYMENT_TENANT.parse().map_err(unreadable),
    }
}

fn not_there(fault: DirectoryError) -> Refusal {
    match fault {
        DirectoryError::NotFound { what } => Refusal::NotThere(what.to_owned()),
        other => Refusal::Unavailable(other.to_string()),
    }
}
