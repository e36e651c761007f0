//! A capsule as text, put together from parts of which most were written before the call came.

use std::sync::Arc;

use cedar_policy_core::ast::{Entity, Value};
use cedar_policy_core::entities::json::{CedarValueJson, EntityJson};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::engine::ENGINE;
use crate::question::Frame;
use crate::rulebook::Rulebook;
use crate::verdict::Question;

/// The JSON text of a [`super::Capsule`], cheap to clone. It holds the arguments: seal it.
#[derive(Clone)]
pub struct CapsuleText(Arc<RawValue>);

impl CapsuleText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl Serialize for CapsuleText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl std::fmt::Debug for CapsuleText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The context holds arguments, which may be secrets.
        write!(f, "CapsuleText({} bytes)", self.as_str().len())
    }
}

/// An entity as it stands in a capsule.
pub(crate) struct EntityText {
    /// Its name as a JSON text.
    uid: String,
    /// Cedar's JSON form of it.
    entity: String,
}

impl EntityText {
    /// `None` for what Cedar has no JSON form for; no entity of ours.
    pub(crate) fn of(entity: &Entity) -> Option<Self> {
        let uid = serde_json::to_string(&entity.uid().to_string()).ok()?;
        let entity = serde_json::to_string(&EntityJson::from_entity(entity).ok()?).ok()?;
        Some(Self { uid, entity })
    }
}

/// Cedar's JSON form of a value; `None` for what has none, which no value of ours is.
pub(crate) fn json_of(value: &Value) -> Option<String> {
    serde_json::to_string(&CedarValueJson::from_value(value.clone()).ok()?).ok()
}

impl Rulebook {
    /// The capsule of a question as it stands.
    pub(crate) fn capsule_text(&self, q: &Question<'_>, frame: &Frame<'_>) -> Option<CapsuleText> {
        let principal = q.principal.text.as_deref()?;
        let action = frame.tool.action_text.as_ref()?;
        let target = EntityText::of(&frame.target)?;
        let mut text = String::with_capacity(2048);
        let head = [
            ("{\"version\":1,\"engine\":\"", ENGINE),
            ("\",\"policySet\":\"", &self.digest().to_string()),
            ("\",\"principal\":", &principal.uid),
            (",\"action\":", &action.uid),
            (",\"resource\":", &target.uid),
            (",\"entities\":[", &principal.entity),
            (",", &action.entity),
            (",", &target.entity),
            ("],\"context\":{\"tool\":", frame.tool.facts_text.as_deref()?),
        ];
        let confirmation = self.engine.confirmation(q.confirmation);
        let context = frame.of_the_call().chain([("confirmation", &confirmation)]);
        for (before, part) in head {
            text.extend([before, part]);
        }
        for (name, value) in context {
            text.extend([",\"", name, "\":", &json_of(value)?]);
        }
        text.push_str("}}");
        // Reads the whole text once more: what is sealed is JSON, whatever is wrong above.
        RawValue::from_string(text).ok().map(|raw| CapsuleText(raw.into()))
    }
}
