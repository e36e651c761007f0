//! A capsule as text, put together from parts of which most were written before the call came.

use std::sync::Arc;

use cedar_policy_core::ast::{Entity, Value, ValueKind};
use cedar_policy_core::entities::json::{CedarValueJson, EntityJson};
use serde::de::IgnoredAny;

use crate::engine::ENGINE;
use crate::question::{Frame, OfTheCall};
use crate::rulebook::Rulebook;
use crate::verdict::Question;

/// The JSON text of a [`super::Capsule`]. It holds the arguments: seal it.
#[derive(Clone)]
pub struct CapsuleText(Arc<str>);

impl CapsuleText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
    /// The capsule of a question as it stands; none of an outline.
    ///
    /// INVARIANT: it is JSON and says what [`Rulebook::capsule`] says (`capsule_text_says_what_the_capsule_says`).
    pub(crate) fn capsule_text(&self, q: &Question<'_>, frame: &Frame<'_>) -> Option<CapsuleText> {
        let principal = q.principal.text.as_deref()?;
        let action = frame.tool.action_text.as_ref()?;
        let target = frame.target.text.as_ref()?;
        let call = frame.of_the_call()?;
        let parts = [
            ("{\"version\":1,\"engine\":\"", ENGINE),
            ("\",\"policySet\":\"", &self.digest().to_string()),
            ("\",\"principal\":", &principal.uid),
            (",\"action\":", &action.uid),
            (",\"resource\":", &target.uid),
            (",\"entities\":[", &principal.entity),
            (",", &action.entity),
            (",", &target.entity),
            ("],\"context\":{\"tool\":", frame.tool.facts_text.as_deref()?),
            (",\"input\":", &json_of(&call.input)?),
            (",\"confirmation\":", &*self.engine.confirmation_text(q.confirmation)?),
            (",\"request\":", &request_text(call)?),
            ("}}", ""),
        ];
        let length = parts.iter().map(|(before, part)| before.len() + part.len()).sum();
        let mut text = String::with_capacity(length);
        for (before, part) in parts {
            text.extend([before, part]);
        }
        debug_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok(), "no JSON");
        Some(CapsuleText(text.into()))
    }
}

/// Cedar's JSON form of the record that says when, from where and by which door.
fn request_text(call: &OfTheCall) -> Option<String> {
    let ValueKind::Record(facts) = call.request.value_kind() else { return None };
    let mut text = String::with_capacity(256);
    for (name, value) in facts.iter() {
        // None of these names needs to be escaped.
        text.extend([if text.is_empty() { "{\"" } else { ",\"" }, name, "\":"]);
        match name.as_str() {
            "time" => text.push_str(call.moment.text.as_deref()?),
            _ => text.push_str(&json_of(value)?),
        }
    }
    text.push('}');
    Some(text)
}
