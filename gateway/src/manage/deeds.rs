//! What is done once it is permitted and written down.

use std::collections::BTreeMap;

use portcullis_kernel_adapter::{Class, Outcome};
use portcullis_policies::{AppId, TenantId};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::change::{
    Actions, NewServiceTokenBody, NewUserBody, RoleBody, SettingsBody, TenantBody, UserBody,
    UserQuery,
};
use super::{Change, Managed, Verb, shape};
use crate::directory::{
    Actor, Cascade, ConfirmationPolicy, Directory, DirectoryError, GrantEnd, NewApiKey, NewRole,
    NewServiceToken, NewUser, RoleFacts, RolePatch, ServicePurpose, TenantFacts, TenantPatch, User,
    UserFilter, UserPatch, UserSettings, now_ms,
};
use crate::gateway::Gateway;
use crate::identify::{Caller, fresh_api_key, fresh_service_token};

/// The deed in the words of the directory, and what to tell.
struct Deed<'a> {
    gateway: &'a Gateway,
    directory: &'a Directory,
    caller: &'a Caller,
    tenant: TenantId,
    by: Actor,
    target: String,
}

/// Why a deed was not done.
enum Undone {
    Directory(DirectoryError),
    Outcome(Outcome),
}

/// Carries out a cleared call. `tenant` is the one that the rules saw.
pub async fn carry_out(
    gateway: &Gateway,
    caller: &Caller,
    tenant: TenantId,
    managed: Managed,
) -> Outcome {
    let Managed { verb, target, change, password } = managed;
    let by = match caller.extension() {
        Some(app) => Actor::service(app.as_str(), caller.user_id()),
        None => Actor::user(caller.user_id()),
    };
    let directory = &gateway.directory;
    let deed = Deed { gateway, directory, caller, tenant, by, target };
    match deed.carry_out(verb, change, password).await {
        Ok(value) => Outcome::Done { value: value.to_string().into() },
        Err(Undone::Outcome(outcome)) => outcome,
        Err(Undone::Directory(fault)) => refused(&fault),
    }
}

impl Deed<'_> {
    async fn carry_out(
        &self,
        verb: Verb,
        change: Change,
        password: Option<SecretString>,
    ) -> Result<Value, Undone> {
        let (directory, tenant, target) = (self.directory, &self.tenant, self.target.as_str());
        Ok(match (verb, change) {
            (_, Change::Users(query)) => self.list_users(query).await?,
            (_, Change::NewUser(new)) => self.create_user(new, password).await?,
            (_, Change::User(body)) => self.update_user(body).await?,
            (_, Change::Settings(body)) => self.update_settings(body).await?,
            (verb, Change::Extension(body)) => self.switch_app(verb, &body.app_id).await?,
            (_, Change::NewRole(name, body)) => self.create_role(name, body).await?,
            (_, Change::Role(body)) => self.update_role(body).await?,
            (_, Change::Scopes(query)) => {
                json!(directory.scope_names(tenant, &query.resource, &query.source).await?)
            }
            (_, Change::NewScope(new)) => {
                json!(directory.create_scope(tenant, new, &self.by).await?)
            }
            (_, Change::Scope(patch)) => {
                json!(directory.update_scope(target, patch, &self.by).await?)
            }
            (_, Change::NewAgency(name, settings)) => {
                json!(directory.create_agency(tenant, &name, settings, &self.by).await?)
            }
            (_, Change::Agency(settings)) => {
                json!(directory.set_agency_settings(tenant, target, settings, &self.by).await?)
            }
            (_, Change::NewServiceToken(new)) => self.create_service_token(new).await?,
            (_, Change::NewTenant(id, body)) => self.create_tenant(&id, body).await?,
            (_, Change::Tenant(body)) => self.update_tenant(body).await?,
            (_, Change::NewKey(new)) => self.create_key(&new.name, &new.scopes).await?,
            (_, Change::Nickname(body)) => {
                let nickname = body.nickname.as_deref();
                directory.set_nickname(target, nickname, &self.by).await?;
                json!({ "nickname": nickname })
            }
            (verb, Change::Nothing) => self.plain(verb).await?,
        })
    }

    /// The apps of the catalogue, and which of them are switched off for the person.
    async fn list_extensions(&self) -> Result<Value, Undone> {
        let off = self.directory.disabled_apps(&self.target).await?;
        let catalogue = self.gateway.rules.current().map(|now| now.catalogue.clone());
        let apps = catalogue.iter().flat_map(|catalogue| catalogue.apps());
        // An app that belongs to another tenant is none of this person's.
        let own = apps.filter(|app| app.tenant.as_ref().is_none_or(|of| *of == self.tenant));
        Ok(Value::from_iter(own.map(|app| {
            let id = app.id.as_str();
            json!({ "app_id": id, "name": app.name, "enabled": !off.contains(&app.id) })
        })))
    }

    async fn switch_app(&self, verb: Verb, app: &AppId) -> Result<Value, Undone> {
        let on = verb == Verb::EnableExtension;
        self.directory.switch_app(&self.target, app, on, &self.by).await?;
        Ok(json!({ "app_id": app, "enabled": on }))
    }

    /// Verbs that take nothing but a target.
    async fn plain(&self, verb: Verb) -> Result<Value, Undone> {
        let (directory, tenant, target) = (self.directory, &self.tenant, self.target.as_str());
        Ok(match verb {
            Verb::ReadUser => shape::user(&directory.user(target).await?),
            Verb::RemoveUser => {
                directory.remove_user(target, &self.by).await?;
                json!({ "id": target, "removed": true })
            }
            Verb::ResetTotp => {
                directory.remove_totp(target, &self.by).await?;
                json!({ "id": target, "reset": true })
            }
            Verb::EffectiveScopes => json!(directory.effective_scopes(target).await?),
            Verb::ReadSettings => shape::settings(&directory.settings(target).await?),
            Verb::ListExtensions => self.list_extensions().await?,
            Verb::ListRoles => {
                Value::from_iter(directory.roles(tenant).await?.iter().map(shape::role))
            }
            Verb::DeleteRole => {
                directory.delete_role(target, &self.by).await?;
                json!({ "id": target, "deleted": true })
            }
            Verb::DeleteScope => {
                directory.delete_scope(target, &self.by).await?;
                json!({ "id": target, "deleted": true })
            }
            Verb::ListAgencies => json!(directory.agencies(tenant).await?),
            Verb::ReadAgency => self.read_agency().await?,
            Verb::ListServiceTokens => json!(directory.service_tokens(tenant).await?),
            Verb::RevokeServiceToken => {
                directory.revoke_service_token(tenant, target, &self.by).await?;
                json!({ "id": target, "revoked": true })
            }
            Verb::ListTenants => {
                Value::from_iter(directory.tenants().await?.iter().map(shape::tenant))
            }
            Verb::ReadTenant => shape::tenant(&directory.tenant(&self.named_tenant()?).await?),
            Verb::ListKeys => {
                let keys = directory.api_keys(self.caller.user_id()).await?;
                Value::from_iter(keys.iter().map(shape::key))
            }
            Verb::RevokeKey => self.revoke_key().await?,
            Verb::ListGrants => {
                let grants = directory.oauth_grants(self.caller.user_id()).await?;
                Value::from_iter(grants.iter().map(shape::grant))
            }
            Verb::RevokeGrant => self.revoke_grant().await?,
            Verb::ReadNickname => json!({ "nickname": directory.user(target).await?.nickname }),
            // The reader of changes gives none of them nothing to change.
            _ => return Err(Undone::Outcome(Outcome::failed(Class::BadRequest, "no change"))),
        })
    }

    /// One page of users; a scope that is asked for is looked for within the page.
    async fn list_users(&self, query: UserQuery) -> Result<Value, Undone> {
        let filter = UserFilter {
            tenant: Some(self.tenant.clone()),
            search: query.search,
            role: query.role,
            include_inactive: query.include_inactive && query.is_active != Some(true),
            only_inactive: query.is_active == Some(false),
            limit: query.limit,
            offset: query.offset,
            ..UserFilter::default()
        };
        let mut shown = Vec::new();
        for user in &self.directory.users(&filter).await? {
            if query.scope.is_empty() || self.holds(user, &query.scope).await? {
                shown.push(shape::user(user));
            }
        }
        Ok(json!({ "users": shown, "count": shown.len(), "offset": query.offset }))
    }

    async fn holds(&self, user: &User, scope: &str) -> Result<bool, Undone> {
        let held = self.directory.effective_scopes(&user.id).await?.scopes;
        Ok(held.iter().any(|held| portcullis_policies::scope::grants(held, scope)))
    }

    async fn create_user(
        &self,
        new: NewUserBody,
        password: Option<SecretString>,
    ) -> Result<Value, Undone> {
        let password_hash = match password {
            Some(password) => Some(self.hashed(password).await?),
            None => None,
        };
        let made = NewUser {
            tenant: self.tenant.clone(),
            email: new.email,
            role: new.role,
            scopes: new.scopes,
            password_hash,
            attributes: new.attributes,
            agency_id: new.agency_id,
        };
        Ok(shape::user(&self.directory.create_user(made, &self.by).await?))
    }

    async fn hashed(&self, password: SecretString) -> Result<String, Undone> {
        let hash = self.gateway.identity.passwords().hash(password).await;
        hash.map_err(|fault| {
            let message = fault.to_string();
            Undone::Outcome(Outcome::Refused { class: Class::Invalid, message, value: None })
        })
    }

    async fn update_user(&self, body: UserBody) -> Result<Value, Undone> {
        let patch = UserPatch {
            role: body.role,
            scopes: body.scopes,
            attributes: body.attributes,
            active: body.is_active,
            agency_id: body.agency_id,
            cases_user_id: body.cases_user_id,
        };
        Ok(shape::user(&self.directory.update_user(&self.target, patch, &self.by).await?))
    }

    async fn update_settings(&self, body: SettingsBody) -> Result<Value, Undone> {
        let mut settings = self.directory.settings(&self.target).await?;
        merge(&mut settings, body);
        self.directory.set_settings(&self.target, &settings, &self.by).await?;
        Ok(shape::settings(&settings))
    }

    async fn create_role(&self, name: String, body: RoleBody) -> Result<Value, Undone> {
        let facts = body.facts(RoleFacts::default());
        let role = NewRole {
            tenant: self.tenant.clone(),
            display_name: body.display_name.unwrap_or_else(|| name.clone()),
            name,
            default_scopes: body.default_scopes.unwrap_or_default(),
            confirmation_policy: body.confirmation_policy.unwrap_or(ConfirmationPolicy::DefaultOff),
            facts,
        };
        Ok(shape::role(&self.directory.create_role(role, &self.by).await?))
    }

    async fn update_role(&self, body: RoleBody) -> Result<Value, Undone> {
        let before = self.directory.role_by_id(&self.target).await?;
        let cascade = if body.cascade { Cascade::Holders } else { Cascade::NewHolders };
        let patch = RolePatch {
            facts: Some(body.facts(before.facts)),
            display_name: body.display_name,
            default_scopes: body.default_scopes,
            confirmation_policy: body.confirmation_policy,
        };
        let role = self.directory.update_role(&self.target, patch, cascade, &self.by).await?;
        Ok(shape::role(&role))
    }

    async fn read_agency(&self) -> Result<Value, Undone> {
        if self.target != "me" {
            return Ok(json!(self.directory.agency(&self.tenant, &self.target).await?));
        }
        let user = self.directory.user(self.caller.user_id()).await?;
        let Some(agency) = user.agency_id else {
            return Err(DirectoryError::NotFound { what: "agency" }.into());
        };
        Ok(json!(self.directory.agency(&self.tenant, &agency).await?))
    }

    async fn create_service_token(&self, new: NewServiceTokenBody) -> Result<Value, Undone> {
        let text = fresh_service_token().map_err(no_randomness)?;
        let user_id = match new.purpose {
            ServicePurpose::User => new.user_id.or_else(|| Some(self.caller.user_id().to_owned())),
            _ => new.user_id,
        };
        let kept = NewServiceToken {
            sha256: text.sha256(),
            app: new.app,
            tenant: self.tenant.clone(),
            user_id,
            purpose: new.purpose,
            scopes: new.scopes,
            expires_ms: now_ms().saturating_add(i64::from(new.expires_in) * 1_000),
        };
        let kept = self.directory.create_service_token(kept, &self.by).await?;
        Ok(shape::with_text(json!(kept), "token", text.expose()))
    }

    async fn create_tenant(&self, id: &str, body: TenantBody) -> Result<Value, Undone> {
        let (id, facts) = (parsed(id)?, body.facts(TenantFacts::default()));
        let name = body.name.unwrap_or_else(|| id.to_string());
        Ok(shape::tenant(&self.directory.create_tenant_with(&id, &name, facts, &self.by).await?))
    }

    async fn update_tenant(&self, body: TenantBody) -> Result<Value, Undone> {
        let id = self.named_tenant()?;
        if body.is_active == Some(false) && id == *self.caller.tenant() {
            let why = "it is your own; nobody could switch it on again";
            return Err(DirectoryError::Conflict { what: "tenant", why }.into());
        }
        let before = self.directory.tenant(&id).await?;
        let facts = Some(body.facts(before.facts));
        let patch = TenantPatch { name: body.name, active: body.is_active, facts };
        Ok(shape::tenant(&self.directory.update_tenant(&id, patch, &self.by).await?))
    }

    async fn create_key(&self, name: &str, scopes: &str) -> Result<Value, Undone> {
        let text = fresh_api_key().map_err(no_randomness)?;
        let scopes = scopes.split([' ', ',']).filter(|scope| !scope.is_empty());
        let new = NewApiKey {
            user_id: self.caller.user_id().to_owned(),
            name: name.to_owned(),
            key_prefix: text.prefix(),
            sha256: text.sha256(),
            scopes: scopes.map(str::to_owned).collect(),
        };
        let kept = self.directory.create_api_key(new, &self.by).await?;
        Ok(shape::with_text(shape::key(&kept), "key", text.expose()))
    }

    /// A key of somebody else is as little there as one that never was.
    async fn revoke_key(&self) -> Result<Value, Undone> {
        let own = self.directory.api_keys(self.caller.user_id()).await?;
        if !own.iter().any(|key| key.id == self.target) {
            return Err(DirectoryError::NotFound { what: "key" }.into());
        }
        self.directory.revoke_api_key(&self.target, &self.by).await?;
        Ok(json!({ "id": self.target, "revoked": true }))
    }

    /// A grant of somebody else is as little there as one that never was.
    async fn revoke_grant(&self) -> Result<Value, Undone> {
        let own = self.directory.oauth_grants(self.caller.user_id()).await?;
        let is_own = own.iter().any(|grant| grant.id == self.target);
        let (id, why) = (self.target.as_str(), GrantEnd::ByPerson);
        if !is_own || !self.directory.end_grant(id, why, &self.by).await? {
            return Err(DirectoryError::NotFound { what: "grant" }.into());
        }
        Ok(json!({ "id": id, "revoked": true }))
    }

    fn named_tenant(&self) -> Result<TenantId, Undone> {
        parsed(&self.target)
    }
}

fn merge(settings: &mut UserSettings, body: SettingsBody) {
    let facts = &mut settings.facts;
    replace(&mut settings.confirmation_enabled, body.confirmation_enabled);
    replace(&mut settings.confirmation_ttl_s, body.confirmation_ttl);
    replace(&mut facts.kav_max_retries, body.kav_max_retries);
    replace(&mut facts.routing_context, body.routing_context);
    replace(&mut facts.max_tool_rounds, body.max_tool_rounds);
    replace(&mut facts.max_response_tokens, body.max_response_tokens);
    replace(&mut facts.confirmation_overrides, body.confirmation_overrides);
    let actions = body.confirmation_actions.map(|actions| match actions {
        Actions::Named(named) => named,
        Actions::Listed(listed) => ["write", "destructive", "all"]
            .into_iter()
            .map(|action| (action.to_owned(), listed.iter().any(|one| one == action)))
            .chain(listed.iter().map(|one| (one.clone(), true)))
            .collect::<BTreeMap<_, _>>(),
    });
    replace(&mut settings.confirmation_actions, actions);
}

fn replace<T>(place: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *place = new;
    }
}

fn parsed(id: &str) -> Result<TenantId, Undone> {
    let why = "`default` or `imp_t_` and letters, digits or `_`";
    id.parse().map_err(|_| DirectoryError::Invalid { what: "tenant id", why }.into())
}

fn no_randomness(fault: crate::identify::IdentityError) -> Undone {
    Undone::Outcome(Outcome::failed(Class::Storage, fault))
}

/// The directory's own words name no secret and are meant for whoever asked.
fn refused(fault: &DirectoryError) -> Outcome {
    let class = match fault {
        DirectoryError::NotFound { .. } => Class::NotFound,
        DirectoryError::Conflict { .. } | DirectoryError::Inactive { .. } => Class::Conflict,
        DirectoryError::Invalid { .. } => Class::Invalid,
        _ => {
            tracing::error!(%fault, "the directory did not do what was asked");
            return Outcome::failed(Class::Storage, fault);
        }
    };
    Outcome::Refused { class, message: fault.to_string(), value: None }
}

impl From<DirectoryError> for Undone {
    fn from(fault: DirectoryError) -> Self {
        Self::Directory(fault)
    }
}
