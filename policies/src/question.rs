//! From a question to what the engine takes: request, context and entities, built from typed values.

use std::rc::Rc;
use std::sync::Arc;

use cedar_policy_core::ast::{EntityUID, Request, Value};
use cedar_policy_core::entities::Entities;

use crate::engine::{self, Engine, Moment};
use crate::rulebook::{PreparedPrincipal, Rulebook, Target, ToolFacts};
use crate::verdict::{Confirmation, Question, RequestFacts};
use crate::vocabulary::{TenantId, ToolName};

/// A question in the engine's terms, open only in what was confirmed.
pub(crate) struct Frame<'r> {
    pub(crate) tool: &'r ToolFacts,
    pub(crate) entities: Entities,
    pub(crate) target: Arc<Target>,
    principal: Arc<EntityUID>,
    call: Option<OfTheCall>,
}

/// What came with a call alone.
pub(crate) struct OfTheCall {
    pub(crate) input: Value,
    /// The record `{time, source, channel, authAge}`.
    pub(crate) request: Value,
    pub(crate) moment: Rc<Moment>,
}

impl OfTheCall {
    fn of(
        engine: &Engine,
        input: Value,
        request: &RequestFacts,
        age: Option<i64>,
    ) -> Result<Self, String> {
        let moment = engine.moment(request.time_ms)?;
        Ok(Self { input, request: request_facts(engine, request, &moment, age)?, moment })
    }
}

impl<'r> Frame<'r> {
    /// # Errors
    /// Why the question cannot be asked: an unknown tool, an argument that is not what its schema says, a time out of range.
    pub(crate) fn of(rulebook: &'r Rulebook, q: &Question<'_>) -> Result<Self, String> {
        let target = (q.target_tenant, q.target_id, q.target_owner);
        let frame = Self::outline(rulebook, q.principal, q.tool, target)?;
        let age = q.principal.principal().strength.age(q.request.time_ms);
        let input = frame.tool.input.value(q.input)?;
        let call = OfTheCall::of(&rulebook.engine, input, &q.request, age)?;
        Ok(Self { call: Some(call), ..frame })
    }

    /// The part of a question that is known before a call comes.
    pub(crate) fn outline(
        rulebook: &'r Rulebook,
        principal: &PreparedPrincipal,
        tool: &ToolName,
        target: (&TenantId, Option<&str>, Option<&str>),
    ) -> Result<Self, String> {
        let engine = &rulebook.engine;
        let facts = rulebook.tool(tool).ok_or("the rules know no such tool")?;
        let target = match target {
            (tenant, None, None) if *tenant == principal.principal().tenant => {
                facts.targets.whole(engine, tool.app(), tenant)
            }
            one => Arc::new(Target::of(engine, tool.app(), one)),
        };
        let all = [&principal.entity, &facts.action_entity, &target.entity].map(Arc::clone);
        let entities = engine::entities(all)?;
        let principal = Arc::clone(&principal.uid);
        Ok(Self { tool: facts, entities, principal, target, call: None })
    }

    /// What came with this call alone; nothing of an outline.
    pub(crate) fn of_the_call(&self) -> Option<&OfTheCall> {
        self.call.as_ref()
    }

    /// The same question as it would be with this sign-in, so many seconds ago.
    pub(crate) fn signed_in(
        &mut self,
        engine: &Engine,
        q: &Question<'_>,
        stronger: &PreparedPrincipal,
        age: i64,
    ) -> Result<(), String> {
        let all = [&stronger.entity, &self.tool.action_entity, &self.target.entity];
        let entities = engine::entities(all.map(Arc::clone))?;
        let call = self.call.as_ref().ok_or("an outline has no sign-in")?;
        let call = OfTheCall::of(engine, call.input.clone(), &q.request, Some(age))?;
        (self.entities, self.call) = (entities, Some(call));
        Ok(())
    }

    /// The request as it would be with this confirmation.
    pub(crate) fn request(&self, engine: &Engine, confirmation: &Confirmation) -> Request {
        let of_the_call = self.call.iter();
        let of_the_call = of_the_call
            .flat_map(|call| [("input", call.input.clone()), ("request", call.request.clone())]);
        let context = [
            ("confirmation", engine.confirmation(confirmation)),
            ("tool", self.tool.facts.clone()),
        ];
        let context = context.into_iter().chain(of_the_call);
        engine::request(&self.principal, &self.tool.action, &self.target.uid, context)
    }
}

/// The record `{time, source, channel, authAge}`; the last is there only when somebody signed in.
fn request_facts(
    engine: &Engine,
    request: &RequestFacts,
    moment: &Moment,
    age: Option<i64>,
) -> Result<Value, String> {
    let facts = [
        ("time", moment.value.clone()),
        ("source", engine.ip_value(request.source)?),
        ("channel", Value::from(request.channel.as_str())),
    ];
    let age = age.map(|age| ("authAge", Value::from(age)));
    Ok(Value::record(facts.into_iter().chain(age), None))
}
