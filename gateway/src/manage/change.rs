//! What the body or the query of a request asks for, read strictly: unknown members are refused, so that a typo
//! cannot silently drop a duty.

use portcullis_policies::AppId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Verb;
use crate::directory::{
    AgencySettings, ConfirmationPolicy, NewScope, RoleFacts, ScopePatch, ServicePurpose,
    TenantFacts, check_settings,
};
use crate::refusal::{Refusal, Violation};

/// What is asked for.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is named after what it changes")]
pub enum Change {
    Nothing,
    Users(UserQuery),
    NewUser(NewUserBody),
    User(UserBody),
    Settings(SettingsBody),
    Extension(ExtensionBody),
    NewRole(String, RoleBody),
    Role(RoleBody),
    Scopes(ScopeQuery),
    NewScope(NewScope),
    Scope(ScopePatch),
    NewAgency(String, AgencySettings),
    Agency(AgencySettings),
    NewServiceToken(NewServiceTokenBody),
    NewTenant(String, TenantBody),
    Tenant(TenantBody),
    NewKey(NewKeyBody),
    Nickname(NicknameBody),
}

/// Which users to list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserQuery {
    pub(super) role: String,
    pub(super) include_inactive: bool,
    pub(super) search: String,
    pub(super) scope: String,
    pub(super) is_active: Option<bool>,
    pub(super) limit: u32,
    pub(super) offset: u32,
}

/// A new user; the password came apart.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    pub(super) email: String,
    #[serde(default = "user_role")]
    pub(super) role: String,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    pub(super) attributes: Option<Map<String, Value>>,
    pub(super) agency_id: Option<String>,
}

/// A change of a user.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserBody {
    pub(super) role: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) attributes: Option<Map<String, Value>>,
    pub(super) is_active: Option<bool>,
    #[serde(deserialize_with = "given")]
    pub(super) agency_id: Option<Option<String>>,
    pub(super) cases_user_id: Option<i64>,
}

/// A change of settings; what is left out stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsBody {
    #[serde(deserialize_with = "given")]
    pub(super) confirmation_enabled: Option<Option<bool>>,
    pub(super) confirmation_actions: Option<Actions>,
    pub(super) confirmation_overrides: Option<std::collections::BTreeMap<String, bool>>,
    #[serde(deserialize_with = "given")]
    pub(super) confirmation_ttl: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    pub(super) kav_max_retries: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    pub(super) routing_context: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub(super) max_tool_rounds: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    pub(super) max_response_tokens: Option<Option<u32>>,
}

/// An app to be switched off or on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionBody {
    pub(super) app_id: AppId,
}

/// Which actions ask: by name, or a list of those that do (wire-contract.md 5.4).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Actions {
    /// `{"write": true}`
    Named(std::collections::BTreeMap<String, bool>),
    /// `["write"]`
    Listed(Vec<String>),
}

/// A role, or a change of one: its name came apart, and stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleBody {
    /// From the query: whether those who hold the role get its new scopes.
    pub(super) cascade: bool,
    pub(super) display_name: Option<String>,
    pub(super) default_scopes: Option<Vec<String>>,
    pub(super) default_attributes: Option<Map<String, Value>>,
    pub(super) default_extensions: Option<Vec<String>>,
    pub(super) confirmation_policy: Option<ConfirmationPolicy>,
    pub(super) max_concurrent_tasks: Option<u32>,
    pub(super) monthly_action_limit: Option<u32>,
    pub(super) context_window: Option<u32>,
}

/// Which named scopes to list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeQuery {
    pub(super) resource: String,
    pub(super) source: String,
}

/// A new agency.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAgencyBody {
    name: String,
    #[serde(default)]
    settings: AgencySettings,
}

/// A new service token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewServiceTokenBody {
    pub(super) app: AppId,
    pub(super) user_id: Option<String>,
    #[serde(default = "user_purpose")]
    pub(super) purpose: ServicePurpose,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    /// Seconds.
    #[serde(default = "an_hour")]
    pub(super) expires_in: u32,
}

/// A tenant, or a change of one; its id came apart. Where its own database is, the gateway does not keep.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantBody {
    pub(super) name: Option<String>,
    pub(super) is_active: Option<bool>,
    #[serde(rename = "db_backend")]
    _db_backend: Option<String>,
    pub(super) isolation: Option<String>,
    pub(super) allowed_auth_methods: Option<String>,
    pub(super) max_connections: Option<u32>,
    pub(super) features: Option<Map<String, Value>>,
    pub(super) parent_tenant_id: Option<String>,
}

/// A new API key of one's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKeyBody {
    pub(super) name: String,
    /// Scopes with blanks or commas between them.
    #[serde(default = "everything")]
    pub(super) scopes: String,
}

/// What one wants to be called; `null` for nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NicknameBody {
    pub(super) nickname: Option<String>,
}

impl Change {
    /// Reads what a verb takes.
    ///
    /// # Errors
    /// [`Refusal::InvalidArguments`] with the library's words; no password is among them.
    pub fn read(verb: Verb, mut body: Map<String, Value>) -> Result<Self, Refusal> {
        Ok(match verb {
            Verb::ListUsers => Self::Users(typed(body)?),
            Verb::CreateUser => Self::NewUser(typed(body)?),
            Verb::UpdateUser => Self::User(typed(body)?),
            Verb::UpdateSettings => Self::Settings(typed(body)?),
            Verb::DisableExtension | Verb::EnableExtension => Self::Extension(typed(body)?),
            Verb::CreateRole => Self::NewRole(named(&mut body, "name")?, typed(body)?),
            Verb::UpdateRole => Self::Role(typed(body)?),
            Verb::ListScopes => Self::Scopes(typed(body)?),
            Verb::CreateScope => Self::NewScope(typed(body)?),
            Verb::UpdateScope => Self::Scope(typed(body)?),
            Verb::CreateAgency => {
                let new: NewAgencyBody = typed(body)?;
                Self::NewAgency(new.name, agency_settings(new.settings)?)
            }
            Verb::UpdateAgency => Self::Agency(agency_settings(body)?),
            Verb::CreateServiceToken => Self::NewServiceToken(typed(body)?),
            Verb::CreateTenant => Self::NewTenant(named(&mut body, "tenant_id")?, typed(body)?),
            Verb::UpdateTenant => Self::Tenant(typed(body)?),
            Verb::CreateKey => Self::NewKey(typed(body)?),
            Verb::SetNickname => Self::Nickname(typed(body)?),
            _ if body.is_empty() => Self::Nothing,
            _ => return Err(misfit("this takes neither a body nor a query")),
        })
    }
}

impl RoleBody {
    /// The facts from now on.
    pub(super) fn facts(&self, before: RoleFacts) -> RoleFacts {
        let (attributes, extensions) = (&self.default_attributes, &self.default_extensions);
        RoleFacts {
            default_attributes: attributes.clone().unwrap_or(before.default_attributes),
            default_extensions: extensions.clone().unwrap_or(before.default_extensions),
            max_concurrent_tasks: self.max_concurrent_tasks.unwrap_or(before.max_concurrent_tasks),
            monthly_action_limit: self.monthly_action_limit.unwrap_or(before.monthly_action_limit),
            context_window: self.context_window.unwrap_or(before.context_window),
        }
    }
}

impl TenantBody {
    /// The facts from now on.
    pub(super) fn facts(&self, before: TenantFacts) -> TenantFacts {
        let methods = self.allowed_auth_methods.clone();
        TenantFacts {
            isolation: self.isolation.clone().unwrap_or(before.isolation),
            allowed_auth_methods: methods.unwrap_or(before.allowed_auth_methods),
            max_connections: self.max_connections.unwrap_or(before.max_connections),
            features: self.features.clone().unwrap_or(before.features),
            parent_tenant_id: self.parent_tenant_id.clone().or(before.parent_tenant_id),
        }
    }
}

/// A member that must be there and is a text; the rest is read without it.
fn named(body: &mut Map<String, Value>, member: &str) -> Result<String, Refusal> {
    match body.remove(member) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(misfit(&format!("`{member}` is a text"))),
        None => Err(misfit(&format!("missing field `{member}`"))),
    }
}

/// Settings of an agency are looked at before anything keeps them: what is asked for is kept sealed beside its
/// record, and no credential belongs there.
fn agency_settings(settings: AgencySettings) -> Result<AgencySettings, Refusal> {
    check_settings(&settings).map_err(|fault| Refusal::InvalidValue(fault.to_string()))?;
    Ok(settings)
}

fn typed<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(body)).map_err(|fault| misfit(&fault.to_string()))
}

pub(super) fn misfit(message: &str) -> Refusal {
    // The words of serde, which gives no other form of them.
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let keyword = if missing.is_some() { "required" } else { "type" };
    let violation = Violation {
        path: String::new(),
        message: message.to_owned(),
        keyword: keyword.to_owned(),
        missing: missing.map(str::to_owned),
    };
    Refusal::InvalidArguments(vec![violation].into())
}

/// A member that is there, `null` or not, is different from one that is left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

fn user_role() -> String {
    "user".to_owned()
}

fn user_purpose() -> ServicePurpose {
    ServicePurpose::User
}

fn an_hour() -> u32 {
    3_600
}

fn everything() -> String {
    "*".to_owned()
}
