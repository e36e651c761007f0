//! The type of a tool's arguments as rules see it, and JSON values of that type.

use std::fmt::Write as _;

use cedar_policy_core::ast::Value;
use serde_json::Value as Json;

/// A Cedar type that a JSON argument can have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum InputType {
    /// `Bool`
    Bool,
    /// `Long`: 64 bits, and arithmetic on it can overflow
    Long,
    /// `String`, whatever format the schema names
    Text,
    /// `Set`: order and repetition are lost
    Set(Box<InputType>),
    /// A record of the attributes that Cedar can type
    Record(Vec<InputAttribute>),
}

/// One attribute of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InputAttribute {
    pub(crate) name: String,
    pub(crate) ty: InputType,
    /// False makes it `name?: T`; JSON `null` then counts as absent.
    pub(crate) required: bool,
}

impl InputType {
    /// The record without attributes.
    pub(crate) fn empty() -> Self {
        Self::Record(Vec::new())
    }

    /// The type in Cedar's schema language.
    pub(crate) fn to_cedar(&self) -> String {
        match self {
            Self::Bool => "Bool".to_owned(),
            Self::Long => "Long".to_owned(),
            Self::Text => "String".to_owned(),
            Self::Set(element) => format!("Set<{}>", element.to_cedar()),
            Self::Record(attributes) => {
                let mut text = String::from("{ ");
                for a in attributes {
                    let mark = if a.required { "" } else { "?" };
                    // The name is a Cedar identifier (the generator took it), so the quotes cannot be left.
                    let _ = write!(text, "\"{}\"{mark}: {}, ", a.name, a.ty.to_cedar());
                }
                text.push('}');
                text
            }
        }
    }

    /// The JSON value as a Cedar value of this type.
    ///
    /// What the type does not mention is left out: rules cannot see it, and load has reported it by name.
    ///
    /// # Errors
    /// The JSON path and what is wrong there, without the value, which may be a secret.
    pub(crate) fn value(&self, json: &Json) -> Result<Value, String> {
        self.value_at(json, "$")
    }

    /// The smallest JSON value of this type: zeros, empty texts, and no optional argument.
    pub(crate) fn smallest(&self) -> Json {
        match self {
            Self::Bool => Json::Bool(false),
            Self::Long => Json::from(0),
            Self::Text => Json::from(""),
            Self::Set(_) => Json::Array(Vec::new()),
            Self::Record(attributes) => {
                let required = attributes.iter().filter(|a| a.required);
                Json::Object(required.map(|a| (a.name.clone(), a.ty.smallest())).collect())
            }
        }
    }

    fn value_at(&self, json: &Json, path: &str) -> Result<Value, String> {
        match (self, json) {
            (Self::Bool, Json::Bool(b)) => Ok(Value::from(*b)),
            (Self::Long, Json::Number(n)) => long(n)
                .map(Value::from)
                .ok_or_else(|| format!("argument {path} is not a whole number of 64 bits")),
            (Self::Text, Json::String(s)) => Ok(Value::from(s.as_str())),
            (Self::Set(element), Json::Array(items)) => {
                let place = format!("{path}[]");
                let values = items.iter().map(|i| element.value_at(i, &place));
                Ok(Value::set(values.collect::<Result<Vec<_>, _>>()?, None))
            }
            (Self::Record(attributes), Json::Object(_)) => record(attributes, json, path),
            _ => Err(format!("argument {path} is not of the type that its schema says")),
        }
    }
}

fn record(attributes: &[InputAttribute], json: &Json, path: &str) -> Result<Value, String> {
    let mut pairs = Vec::with_capacity(attributes.len());
    for a in attributes {
        match json.get(&a.name) {
            Some(Json::Null) | None if !a.required => {}
            None => return Err(format!("argument {path}.{} is missing", a.name)),
            Some(value) => {
                let value = a.ty.value_at(value, &format!("{path}.{}", a.name))?;
                pairs.push((a.name.as_str(), value));
            }
        }
    }
    Ok(Value::record(pairs, None))
}

/// JSON Schema counts `1.0` as an integer, so it is one here too, as far as the number is exact.
fn long(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < EXACT)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, checked above")]
        Some(float as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn typed(attributes: &[(&str, InputType, bool)]) -> InputType {
        let attribute = |(name, ty, required): &(&str, InputType, bool)| InputAttribute {
            name: (*name).to_owned(),
            ty: ty.clone(),
            required: *required,
        };
        InputType::Record(attributes.iter().map(attribute).collect())
    }

    #[test]
    fn integer_beyond_64_bits_is_an_error_and_never_wraps() {
        let ty = typed(&[("n", InputType::Long, true)]);
        assert!(ty.value(&json!({"n": i64::MAX})).is_ok());
        assert!(ty.value(&json!({"n": 1.0})).is_ok());
        for bad in
            [json!(u64::MAX), json!(1e300), json!(1.5), json!(9.3e18), json!("1"), json!(null)]
        {
            assert!(ty.value(&json!({"n": bad})).is_err(), "{bad}");
        }
    }

    #[test]
    fn null_counts_as_absent_only_where_the_argument_is_optional() {
        assert!(typed(&[("s", InputType::Text, false)]).value(&json!({"s": null})).is_ok());
        assert!(typed(&[("s", InputType::Text, true)]).value(&json!({"s": null})).is_err());
    }

    #[test]
    fn error_names_the_path_and_keeps_the_value_to_itself() {
        let ty = typed(&[("a", typed(&[("pin", InputType::Long, true)]), true)]);
        let error = ty.value(&json!({"a": {"pin": "hunter2"}})).unwrap_err();
        assert!(error.contains("$.a.pin") && !error.contains("hunter2"), "{error}");
    }
}
