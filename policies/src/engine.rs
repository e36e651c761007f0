//! The one door to Cedar's evaluator: typed values in, satisfied and failing policies out.
//!
//! Everything that touches the engine's own value types is here or in `question.rs`, because these move fast.
//! Requests are built from typed values and never from text, so no name can be read as something else.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, Effect, Eid, Entity, EntityType, EntityUID, EntityUIDEntry, Expr, ExtensionFunction,
    Literal, Name, PartialValue, Policy, PolicySet, Request, Value, ValueKind,
};
use cedar_policy_core::authorizer::{AuthorizationError, Authorizer, Decision};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

use crate::capsule::json_of;
use crate::verdict::Confirmation;

/// Cedar's name for the version of the language and engine, as it stands in capsules.
pub(crate) const ENGINE: &str = "cedar-policy 4.14.0";

/// The evaluator and the names that every request needs, parsed once.
pub(crate) struct Engine {
    authorizer: Authorizer,
    user: EntityType,
    service: EntityType,
    role: EntityType,
    app: EntityType,
    target: EntityType,
    action: EntityType,
    ip: &'static ExtensionFunction,
    datetime: &'static ExtensionFunction,
    /// What stands in the context of nearly every call, and so in its capsule.
    unconfirmed: Value,
    unconfirmed_text: Option<String>,
}

/// A time as Cedar's `datetime`, and as it stands in capsules. Cedar reads a time from text, by a regular expression.
pub(crate) struct Moment {
    unix_ms: i64,
    pub(crate) value: Value,
    pub(crate) text: Option<String>,
}

thread_local! {
    /// The newest: under load many calls come within one millisecond.
    static NOW: RefCell<Option<Rc<Moment>>> = const { RefCell::new(None) };
}

/// What one set says about one request. The fields follow Cedar's response, ids sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// Satisfied permits; known only while nothing forbids.
    pub(crate) permits: Vec<String>,
    /// Satisfied forbids.
    pub(crate) forbids: Vec<String>,
    /// Policies that could not be evaluated: id and cause.
    pub(crate) errors: Vec<(String, String)>,
}

impl Ruling {
    /// Allowed: something permits, nothing forbids, and nothing failed.
    ///
    /// A failing policy refuses: Cedar skips it, a `forbid` too, so an answer with an error in it is none.
    pub(crate) fn allows(&self) -> bool {
        self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty()
    }

    /// The ids that decided, as Cedar's response names them.
    pub(crate) fn determining(&self) -> &[String] {
        if self.forbids.is_empty() { &self.permits } else { &self.forbids }
    }
}

impl Engine {
    /// Parses the names.
    ///
    /// # Errors
    /// Never in practice: the names are constants.
    pub(crate) fn new() -> Result<Self, String> {
        let entity_type = |name: &str| {
            EntityType::from_normalized_str(&format!("Portcullis::{name}"))
                .map_err(|e| e.to_string())
        };
        let function = |name: &str| {
            let name = name.parse::<Name>().map_err(|e| e.to_string())?;
            Extensions::all_available().func(&name).map_err(|e| e.to_string())
        };
        let unconfirmed = confirmation_value(Confirmation::none());
        Ok(Self {
            authorizer: Authorizer::new(),
            user: entity_type("User")?,
            service: entity_type("Service")?,
            role: entity_type("Role")?,
            app: entity_type("App")?,
            target: entity_type("Target")?,
            action: entity_type("Action")?,
            ip: function("ip")?,
            datetime: function("datetime")?,
            unconfirmed_text: json_of(&unconfirmed),
            unconfirmed,
        })
    }

    /// `Portcullis::User` or `Portcullis::Service`.
    pub(crate) fn principal_uid(&self, kind: crate::PrincipalKind, id: &str) -> EntityUID {
        let entity_type = match kind {
            crate::PrincipalKind::User => &self.user,
            crate::PrincipalKind::Service => &self.service,
        };
        uid(entity_type, id)
    }

    /// `Portcullis::Role`.
    pub(crate) fn role_uid(&self, name: &str) -> EntityUID {
        uid(&self.role, name)
    }

    /// `Portcullis::App`.
    pub(crate) fn app_uid(&self, name: &str) -> EntityUID {
        uid(&self.app, name)
    }

    /// `Portcullis::Target`.
    pub(crate) fn target_uid(&self, id: &str) -> EntityUID {
        uid(&self.target, id)
    }

    /// `Portcullis::Action`.
    pub(crate) fn action_uid(&self, id: &str) -> EntityUID {
        uid(&self.action, id)
    }

    /// The record `{given, byOther, approvedAs}`.
    pub(crate) fn confirmation(&self, confirmation: &Confirmation) -> Value {
        match confirmation {
            Confirmation { given: false, by_other: false, approved_as }
                if approved_as.is_empty() =>
            {
                self.unconfirmed.clone()
            }
            confirmed => confirmation_value(confirmed),
        }
    }

    /// The same as it stands in capsules.
    pub(crate) fn confirmation_text(&self, confirmation: &Confirmation) -> Option<Cow<'_, str>> {
        if confirmation == Confirmation::none() {
            return self.unconfirmed_text.as_deref().map(Cow::Borrowed);
        }
        json_of(&confirmation_value(confirmation)).map(Cow::Owned)
    }

    /// An address as Cedar's `ipaddr`.
    pub(crate) fn ip_value(&self, address: IpAddr) -> Result<Value, String> {
        extension_value(self.ip, address.to_string())
    }

    /// Unix milliseconds as Cedar's `datetime`; years 0 to 9999.
    pub(crate) fn moment(&self, unix_ms: i64) -> Result<Rc<Moment>, String> {
        let newest = NOW.with_borrow(Clone::clone);
        if let Some(same) = newest.filter(|moment| moment.unix_ms == unix_ms) {
            return Ok(same);
        }
        let value = extension_value(self.datetime, iso_utc(unix_ms)?)?;
        let moment = Rc::new(Moment { unix_ms, text: json_of(&value), value });
        NOW.set(Some(Rc::clone(&moment)));
        Ok(moment)
    }

    /// Asks one set.
    pub(crate) fn ask(&self, set: &PolicySet, request: Request, entities: &Entities) -> Ruling {
        let response = self.authorizer.is_authorized(request, set, entities);
        let errors = response.diagnostics.errors.iter().map(|e| {
            let AuthorizationError::PolicyEvaluationError { id, error } = e;
            (id.as_ref().to_owned(), error.to_string())
        });
        let mut ruling = Ruling { errors: errors.collect(), ..Ruling::default() };
        ruling.errors.sort();
        let ids = match response.decision {
            Decision::Allow => &mut ruling.permits,
            Decision::Deny => &mut ruling.forbids,
        };
        ids.extend(response.diagnostics.reason.iter().map(|id| id.as_ref().to_owned()));
        ids.sort();
        ruling
    }

    /// Asks several groups of rules as if they were one set: the answer depends only on which rules are satisfied.
    ///
    /// INVARIANT: the ruling is [`Engine::ask`]'s on one set of the same rules, diagnostics included
    /// (`sliced_and_whole_decisions_are_equal`, `ready_rules_rule_as_the_authorizer_does`).
    pub(crate) fn ask_all<'s>(
        &self,
        groups: impl IntoIterator<Item = &'s ReadyRules>,
        request: Request,
        entities: &Entities,
    ) -> Ruling {
        let evaluator = Evaluator::new(request, entities, Extensions::all_available());
        let mut ruling = Ruling::default();
        for rule in groups.into_iter().flat_map(|group| &group.0) {
            match (rule.satisfied(&evaluator), rule.policy.effect()) {
                (Ok(false), _) => {}
                (Ok(true), Effect::Permit) => ruling.permits.push(rule.id()),
                (Ok(true), Effect::Forbid) => ruling.forbids.push(rule.id()),
                (Err(why), _) => ruling.errors.push((rule.id(), why)),
            }
        }
        if !ruling.forbids.is_empty() {
            ruling.permits.clear();
        }
        ruling.permits.sort();
        ruling.forbids.sort();
        ruling.errors.sort();
        ruling
    }
}

/// Rules ready to be asked. Cedar's authorizer makes the condition of every policy anew, out of scope, `when` and
/// `unless`, each time that it is asked; here that is done once.
#[derive(Default)]
pub(crate) struct ReadyRules(Vec<ReadyRule>);

struct ReadyRule {
    policy: Policy,
    condition: Expr,
}

impl ReadyRules {
    /// Adds a policy; its id must be new.
    pub(crate) fn add(&mut self, policy: Policy) {
        self.0.push(ReadyRule { condition: policy.condition(), policy });
    }
}

impl FromIterator<Policy> for ReadyRules {
    fn from_iter<T: IntoIterator<Item = Policy>>(policies: T) -> Self {
        let mut rules = Self::default();
        policies.into_iter().for_each(|policy| rules.add(policy));
        rules
    }
}

impl ReadyRule {
    fn satisfied(&self, evaluator: &Evaluator<'_>) -> Result<bool, String> {
        match evaluator.interpret(&self.condition, self.policy.env()) {
            Ok(Value { value: ValueKind::Lit(Literal::Bool(satisfied)), .. }) => Ok(satisfied),
            // A condition is a conjunction, which is a Boolean or an error; anything else refuses.
            Ok(_) => Err("the condition is no Boolean".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn id(&self) -> String {
        self.policy.id().as_ref().to_owned()
    }
}

fn confirmation_value(confirmation: &Confirmation) -> Value {
    let facts = [
        ("given", Value::from(confirmation.given)),
        ("byOther", confirmation.by_other.into()),
        ("approvedAs", strings(confirmation.approved_as.iter().map(String::as_str))),
    ];
    Value::record(facts, None)
}

/// An entity whose attributes are values already and whose parents are all its ancestors.
pub(crate) fn entity(
    uid: EntityUID,
    attributes: impl IntoIterator<Item = (&'static str, Value)>,
    parents: HashSet<EntityUID>,
) -> Entity {
    let attributes = attributes.into_iter().map(|(k, v)| (k.into(), PartialValue::Value(v)));
    Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), parents, [])
}

/// Entities whose parents are all their ancestors, so that nothing needs to be closed.
pub(crate) fn entities(all: impl IntoIterator<Item = Arc<Entity>>) -> Result<Entities, String> {
    Entities::new()
        .add_entities(
            all,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .map_err(|e| e.to_string())
}

/// A request whose parts are all known; it is not checked against a schema, because it was built after one.
pub(crate) fn request(
    principal: &Arc<EntityUID>,
    action: &Arc<EntityUID>,
    resource: &Arc<EntityUID>,
    context: impl IntoIterator<Item = (&'static str, Value)>,
) -> Request {
    let known = |euid: &Arc<EntityUID>| EntityUIDEntry::Known { euid: Arc::clone(euid), loc: None };
    let context = context.into_iter().map(|(k, v)| (k.into(), v)).collect();
    Request::new_unchecked(
        known(principal),
        known(action),
        known(resource),
        Some(Context::Value(Arc::new(context))),
    )
}

/// What the evaluator would make of this call, without an expression and an evaluator for each.
fn extension_value(function: &ExtensionFunction, text: String) -> Result<Value, String> {
    match function.call(&[Value::from(text)]).map_err(|e| e.to_string())? {
        PartialValue::Value(value) => Ok(value),
        PartialValue::Residual(unknown) => Err(format!("`{unknown}` is not known")),
    }
}

/// A set of strings.
pub(crate) fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    Value::set_of_lits(texts.into_iter().map(Literal::from), None)
}

fn uid(entity_type: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(entity_type.clone(), Eid::new(id), None)
}

/// `1970-01-01T00:00:00.000Z`, by the civil calendar (Howard Hinnant's days-from-civil, reversed).
fn iso_utc(unix_ms: i64) -> Result<String, String> {
    const DAY_MS: i64 = 86_400_000;
    let (days, ms) = (unix_ms.div_euclid(DAY_MS), unix_ms.rem_euclid(DAY_MS));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return Err(format!("the time {unix_ms} ms is outside the years 0 to 9999"));
    }
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

#[cfg(test)]
mod tests {
    use cedar_policy_core::parser::parse_policyset;

    use super::*;

    #[test]
    fn unix_time_becomes_the_utc_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_254_668_123, "2026-11-21T09:51:08.123Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso_utc(ms).unwrap(), text);
        }
        assert!(iso_utc(i64::MAX).is_err() && iso_utc(i64::MIN).is_err());
    }

    #[test]
    fn ready_rules_rule_as_the_authorizer_does() {
        let engine = Engine::new().unwrap();
        let [one, other] =
            ["a", "b"].map(|id| Arc::new(engine.principal_uid(crate::PrincipalKind::User, id)));
        let ask = |text: &str| {
            let set = parse_policyset(text).unwrap();
            let of_the_call = || [("n", Value::from(1))];
            let request = || request(&one, &one, &other, of_the_call());
            let rules: Vec<Policy> = set.policies().cloned().collect();
            let halves = rules.split_at(rules.len() / 2);
            let ready: [ReadyRules; 2] =
                [halves.0, halves.1].map(|half| half.iter().cloned().collect());
            let ruling = engine.ask_all(&ready, request(), &Entities::new());
            assert_eq!(ruling, engine.ask(&set, request(), &Entities::new()), "{text}");
            ruling
        };
        let (permit, forbid) =
            ("permit(principal, action, resource)", "forbid(principal, action, resource)");
        let (yes, no) = ("when { context.n == 1 };", "unless { context.n == 1 };");
        let fails = "when { context.n + 9223372036854775807 > 0 };";
        let missing = "when { context.absent };";
        let elsewhere = "permit(principal == Portcullis::User::\"c\", action, resource);";
        for first in [yes, no, fails, missing] {
            for second in [yes, no, fails, missing] {
                for third in [yes, no, fails, missing] {
                    ask(&format!(
                        "{permit} {first} {forbid} {second} {permit} {third} {elsewhere}"
                    ));
                }
            }
        }
        assert!(ask(&format!("{permit} {yes} {forbid} {no}")).allows());
        assert!(!ask("").allows());
    }

    #[test]
    fn an_error_is_never_an_allow() {
        let ruling = Ruling {
            permits: vec!["p".to_owned()],
            forbids: vec![],
            errors: vec![("f".to_owned(), "overflow".to_owned())],
        };
        assert!(!ruling.allows());
    }

    #[test]
    fn nothing_permits_is_never_an_allow() {
        assert!(!Ruling::default().allows());
    }
}
