//! What a call works on, as an entity: an app's things of one tenant, or one of them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy_core::ast::{Entity, EntityUID, Value};

use crate::capsule::EntityText;
use crate::engine::{self, Engine};
use crate::vocabulary::{AppId, TenantId};

/// Tenants of one app whose targets are kept built; those of more are built for each call.
const KEPT: usize = 1024;

/// A target, ready for the engine and for the capsule.
pub(crate) struct Target {
    pub(crate) uid: Arc<EntityUID>,
    pub(crate) entity: Arc<Entity>,
    pub(crate) text: Option<EntityText>,
}

impl Target {
    /// The thing of this id, or the app as a whole.
    pub(crate) fn of(
        engine: &Engine,
        app: &AppId,
        (tenant, id, owner): (&TenantId, Option<&str>, Option<&str>),
    ) -> Self {
        let app = app.as_str();
        let uid = match id {
            // The app holds no `/`, so the id of one target is never that of another.
            Some(id) => engine.target_uid(&format!("{app}/{id}")),
            None => engine.target_uid(app),
        };
        let tenant = [("tenant", Value::from(tenant.as_str()))];
        let owner = owner.map(|owner| ("owner", Value::from(owner)));
        let attributes = tenant.into_iter().chain(owner);
        let entity = engine::entity(uid.clone(), attributes, [engine.app_uid(app)].into());
        Self { uid: Arc::new(uid), text: EntityText::of(&entity), entity: Arc::new(entity) }
    }
}

/// The targets of one app that are the app as a whole, by tenant: most calls name nothing more. Only
/// of tenants that somebody was proved to belong to: names that a call makes up are not kept.
#[derive(Default)]
pub(crate) struct Targets(RwLock<HashMap<TenantId, Arc<Target>>>);

impl Targets {
    pub(crate) fn whole(&self, engine: &Engine, app: &AppId, tenant: &TenantId) -> Arc<Target> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = kept.get(tenant) {
            return Arc::clone(target);
        }
        let is_full = kept.len() >= KEPT;
        drop(kept);
        let target = Arc::new(Target::of(engine, app, (tenant, None, None)));
        if is_full {
            return target;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.insert(tenant.clone(), Arc::clone(&target));
        }
        target
    }
}
