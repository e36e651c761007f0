//! From a question to what the engine takes: request, context and entities, built from typed values.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, Request, Value};
use cedar_policy_core::entities::Entities;

use crate::engine::{self, Engine};
use crate::rulebook::{PreparedPrincipal, Rulebook, ToolFacts};
use crate::verdict::{Confirmation, Question, RequestFacts};
use crate::vocabulary::{TenantId, ToolName};

/// A question in the engine's terms, open only in what was confirmed.
pub(crate) struct Frame<'r> {
    pub(crate) tool: &'r ToolFacts,
    pub(crate) entities: Entities,
    pub(crate) resource: Arc<EntityUID>,
    pub(crate) target: Arc<Entity>,
    principal: Arc<EntityUID>,
    context: BTreeMap<&'static str, Value>,
}

impl<'r> Frame<'r> {
    /// # Errors
    /// Why the question cannot be asked: an unknown tool, an argument that is not what its schema says, a time out of range.
    pub(crate) fn of(rulebook: &'r Rulebook, q: &Question<'_>) -> Result<Self, String> {
        let mut frame = Self::outline(
            rulebook,
            q.principal,
            q.tool,
            (q.target_tenant, q.target_id, q.target_owner),
        )?;
        let age = q.principal.principal().strength.age(q.request.time_ms);
        frame.context.insert("request", request_facts(&rulebook.engine, &q.request, age)?);
        frame.context.insert("input", frame.tool.input.value(q.input)?);
        Ok(frame)
    }

    /// The part of a question that is known before a call comes.
    pub(crate) fn outline(
        rulebook: &'r Rulebook,
        principal: &PreparedPrincipal,
        tool: &ToolName,
        (target_tenant, target_id, target_owner): (&TenantId, Option<&str>, Option<&str>),
    ) -> Result<Self, String> {
        let engine = &rulebook.engine;
        let facts = rulebook.tool(tool).ok_or("the rules know no such tool")?;
        let app = tool.app().as_str();
        let resource = match target_id {
            // The app holds no `/`, so the id of one target is never that of another.
            Some(id) => engine.target_uid(&format!("{app}/{id}")),
            None => engine.target_uid(app),
        };
        let tenant = [("tenant", Value::from(target_tenant.as_str()))];
        let owner = target_owner.map(|owner| ("owner", Value::from(owner)));
        let attributes = tenant.into_iter().chain(owner);
        let target = engine::entity(resource.clone(), attributes, [engine.app_uid(app)].into());
        let target = Arc::new(target);
        let all = [&principal.entity, &facts.action_entity, &target].map(Arc::clone);
        Ok(Self {
            tool: facts,
            entities: engine::entities(all)?,
            principal: Arc::clone(&principal.uid),
            resource: Arc::new(resource),
            target,
            context: BTreeMap::from([("tool", facts.facts.clone())]),
        })
    }

    /// What came with this call alone: the context without what is known of the tool.
    pub(crate) fn of_the_call(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.context.iter().filter(|(name, _)| **name != "tool").map(|(name, value)| (*name, value))
    }

    /// The same question as it would be with this sign-in, so many seconds ago.
    pub(crate) fn signed_in(
        &mut self,
        engine: &Engine,
        q: &Question<'_>,
        stronger: &PreparedPrincipal,
        age: i64,
    ) -> Result<(), String> {
        let all = [&stronger.entity, &self.tool.action_entity, &self.target].map(Arc::clone);
        self.entities = engine::entities(all)?;
        self.context.insert("request", request_facts(engine, &q.request, Some(age))?);
        Ok(())
    }

    /// The request as it would be with this confirmation.
    pub(crate) fn request(&self, engine: &Engine, confirmation: &Confirmation) -> Request {
        let mut context = self.context.clone();
        context.insert("confirmation", engine.confirmation(confirmation));
        engine::request(&self.principal, &self.tool.action, &self.resource, context)
    }
}

/// The record `{time, source, channel, authAge}`; the last is there only when somebody signed in.
fn request_facts(
    engine: &Engine,
    request: &RequestFacts,
    age: Option<i64>,
) -> Result<Value, String> {
    let facts = [
        ("time", engine.datetime_value(request.time_ms)?),
        ("source", engine.ip_value(request.source)?),
        ("channel", Value::from(request.channel.as_str())),
    ];
    let age = age.map(|age| ("authAge", Value::from(age)));
    Ok(Value::record(facts.into_iter().chain(age), None))
}
