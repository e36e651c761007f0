//! What a refusal tells beyond the four members that every body has: for translations, for models, and for clients that
//! can sign in again.

use serde_json::{Map, Value, json};

use super::Refusal;
use crate::guard::taxonomy;

impl Refusal {
    /// What `WWW-Authenticate` says beyond its scheme, for a refusal that names the credential that is needed.
    #[must_use]
    pub fn challenge(&self) -> Option<String> {
        let Self::StepUp { needs, .. } = self else { return None };
        let mut challenge = "error=\"insufficient_user_authentication\"".to_owned();
        // What a rule has in quotes may hold what ends a header's text; the body tells it all the same.
        let plain =
            |acr: &&String| acr.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if let Some(acr) = needs.acr.as_ref().filter(plain) {
            challenge.push_str(&format!(", acr_values=\"{acr}\""));
        }
        if let Some(age) = needs.max_age {
            challenge.push_str(&format!(", max_age=\"{age}\""));
        }
        Some(challenge)
    }

    /// What a body says beyond that: the parameters of the translated text, its English one, and what a model needs
    /// to do better.
    pub(super) fn members(&self) -> Map<String, Value> {
        let mut members = match self {
            Self::InvalidArguments(feedback) => feedback.members(),
            Self::FabricatedId { field, value } => members([
                ("field", json!(field)),
                ("value", json!(value)),
                (
                    "hint",
                    json!("call the tool that lists or finds it, and use the id that it gives"),
                ),
            ]),
            Self::StepUp { needs, .. } => {
                members([("acr_values", json!(needs.acr)), ("max_age", json!(needs.max_age))])
            }
            Self::InvalidValue(text) => {
                field_of(text).map(|field| members([("field", json!(field))])).unwrap_or_default()
            }
            Self::ConfirmationUnapproved(roles) => members([("approver_roles", json!(roles))]),
            // RFC 6749 section 5.2.
            Self::OAuth(fault) => members([("error_description", json!(fault.to_string()))]),
            _ => Map::new(),
        };
        if let Some(entry) = taxonomy::find(self.code()) {
            members.insert("default_en".into(), json!(entry.default_en));
            members.insert("i18n_params".into(), self.i18n_params());
        }
        members
    }

    /// What fills the placeholders of the translated text.
    fn i18n_params(&self) -> Value {
        match self {
            Self::InvalidArguments(feedback) => {
                let fields = feedback.fields();
                json!({ "fields": fields.join(", "), "field": fields.first() })
            }
            Self::PlaceholderValues(paths) => json!({ "fields": paths.join(", ") }),
            Self::InvalidValue(text) => json!({ "field": field_of(text).unwrap_or("the request") }),
            Self::UnknownApp(app) => json!({ "app_tool": app }),
            Self::UnknownFunction(name) | Self::UnknownAppRoute(name) => json!({ "name": name }),
            _ => json!({}),
        }
    }
}

fn members<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The field that the text of a refusal begins with: `hash: ...`, `` `ttl_seconds` must ... `` or `the email is ...`.
fn field_of(text: &str) -> Option<&str> {
    let quoted = text.strip_prefix('`').and_then(|rest| rest.split_once('`'));
    let named = text.strip_prefix("the ").and_then(|rest| rest.split_once(" is not acceptable"));
    let (field, _) = quoted.or(named).or_else(|| text.split_once(": "))?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_. ".contains(c);
    (!field.is_empty() && field.len() <= 64 && field.chars().all(plain)).then_some(field)
}

/// The roles that are still missing, in words.
pub(super) fn as_roles(roles: &[String]) -> String {
    match roles {
        [] => String::new(),
        [role] => format!(": one of {role}"),
        roles => format!(": one each of {}", roles.join(", ")),
    }
}
