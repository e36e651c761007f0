//! Principals with their scopes expanded, made once per principal version.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, Value};

use super::Rulebook;
use crate::capsule::EntityText;
use crate::engine;
use crate::scope;
use crate::vocabulary::{Principal, PrincipalKind, ToolSpec};

/// Every scope that some tool of the catalogue needs.
pub(crate) struct Universe {
    scopes: BTreeSet<String>,
    /// The same as a value, shared by all who hold `*`.
    all: Value,
}

impl Universe {
    pub(crate) fn of(tools: &[ToolSpec]) -> Self {
        let mut scopes = BTreeSet::from(["*".to_owned()]);
        for tool in tools {
            let need = scope::required(tool);
            scopes.extend(need.all);
            scopes.extend(need.fallback);
        }
        let all = engine::strings(scopes.iter().map(String::as_str));
        Self { scopes, all }
    }

    /// What the grants cover, and the grants themselves.
    fn expand(&self, granted: &[String]) -> Value {
        if granted.iter().any(|g| g == "*") && granted.iter().all(|g| self.scopes.contains(g)) {
            return self.all.clone();
        }
        let wild: Vec<_> = granted.iter().filter(|g| g.ends_with('*')).collect();
        let covered = self.scopes.iter().filter(|n| wild.iter().any(|g| scope::grants(g, n)));
        engine::strings(granted.iter().chain(covered).map(String::as_str))
    }
}

/// A principal with its scopes expanded and its Cedar entity built: once per principal version and rulebook.
///
/// One that an older rulebook prepared is safe with a newer one: it holds only what was granted, and may lack scopes
/// that newer tools need.
#[derive(Clone)]
pub struct PreparedPrincipal {
    principal: Principal,
    pub(crate) uid: Arc<EntityUID>,
    pub(crate) entity: Arc<Entity>,
    /// The entity as it stands in capsules.
    pub(crate) text: Option<Arc<EntityText>>,
}

impl PreparedPrincipal {
    /// The principal as it was given.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl std::fmt::Debug for PreparedPrincipal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PreparedPrincipal").field(&self.principal).finish()
    }
}

impl Rulebook {
    /// Expands the scopes and builds the entity of a principal.
    ///
    /// Wildcards become the concrete scopes that tools of the catalogue need; the grants stay beside them.
    pub fn prepare(&self, principal: &Principal) -> PreparedPrincipal {
        let uid = self.engine.principal_uid(principal.kind, &principal.id);
        let roles: HashSet<_> = principal.roles.iter().map(|r| self.engine.role_uid(r)).collect();
        let attributes = [
            ("tenant", Value::from(principal.tenant.as_str())),
            ("scopes", self.universe.expand(&principal.scopes)),
            ("disabledApps", strings(&principal.disabled_apps)),
            ("confirmWrites", Value::from(principal.confirm_writes)),
            ("confirmTools", strings(&principal.confirm_tools)),
            ("unconfirmedTools", strings(&principal.unconfirmed_tools)),
            ("mfa", Value::from(principal.strength.mfa())),
            ("amr", strings(&principal.strength.amr)),
        ];
        let acr = principal.strength.acr.as_ref().map(|acr| ("acr", Value::from(acr.as_str())));
        let agency = principal.agency.as_ref().map(|id| ("agency", Value::from(id.as_str())));
        let extension =
            principal.extension.as_ref().map(|app| ("extension", Value::from(app.as_str())));
        let unattended = (principal.kind == PrincipalKind::Service)
            .then(|| ("unattended", Value::from(principal.unattended)));
        let person = principal.person.as_ref().map(|id| ("person", Value::from(id.as_str())));
        let more = acr.into_iter().chain(person).chain(agency).chain(extension).chain(unattended);
        let attributes = attributes.into_iter().chain(more);
        let entity = engine::entity(uid.clone(), attributes, roles);
        PreparedPrincipal {
            principal: principal.clone(),
            text: EntityText::of(&entity).map(Arc::new),
            entity: Arc::new(entity),
            uid: Arc::new(uid),
        }
    }
}

fn strings(all: &[String]) -> Value {
    engine::strings(all.iter().map(String::as_str))
}
