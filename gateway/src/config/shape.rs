//! Does the file have the right shape: known keys, right types, possible values? One pass over the JSON
//! Schema finds every such mistake; what is broken is then cut out, so that the rest can still be checked.

use super::document::{At, Document};
use super::mistakes::{Kind, Mistake};
use super::written::Written;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;
use std::ops::Range;
use std::sync::LazyLock;

/// What the pass over the schema found.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) mistakes: Vec<Mistake>,
    /// Places that were cut out: what is missing there was already reported.
    pub(super) broken: Vec<At>,
    /// Secrets that were written down where a reference belongs.
    pub(super) secrets: Vec<Range<usize>>,
}

/// The JSON Schema of the configuration file, for editors.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(without_null));
    let mut schema = settings.into_generator().into_root_schema_for::<Written>();
    schema.insert("title".to_owned(), "Portcullis configuration".into());
    schema.to_value()
}

/// Checks the shape of a document and gives what can still be read of it.
///
/// # Errors
/// Only when schema and types disagree, which the tests rule out; the message says where.
pub(super) fn check(document: &Document) -> Result<(Shape, Written), (Shape, serde_json::Error)> {
    let mut shape = Shape::default();
    let mut json = document.json.clone();
    if let Some(validator) = VALIDATOR.as_ref() {
        for error in validator.iter_errors(&document.json) {
            note(&mut shape, document, &error);
        }
    }
    for at in &shape.broken {
        cut_out(&mut json, at);
    }
    match serde_json::from_value(json) {
        Ok(written) => Ok((shape, written)),
        Err(error) => Err((shape, error)),
    }
}

/// The schema is a constant of the binary; that it compiles is held by a test.
static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
static VALIDATOR: LazyLock<Option<Validator>> =
    LazyLock::new(|| jsonschema::validator_for(&SCHEMA).ok());

fn note(shape: &mut Shape, document: &Document, error: &ValidationError<'_>) {
    let at = At::pointer(error.instance_path().as_str());
    let wanted = At::pointer(error.schema_path().as_str()).parent().unwrap_or_default();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                shape.mistakes.push(unknown_key(document, &at.key(key), &wanted));
                shape.broken.push(at.key(key));
            }
            return;
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            shape.mistakes.push(Mistake {
                kind: Kind::Missing,
                message: format!("`{at}` has no `{key}`"),
                help: help(&wanted.key("properties").key(key)),
                span: Some(document.value_span(&at)),
            });
        }
        _ if is_secret(&wanted) && document.get(&at).is_some_and(Value::is_string) => {
            shape.secrets.push(document.value_span(&at));
            shape.mistakes.push(wrong(
                Kind::Secret,
                document,
                &at,
                format!("`{at}` must not hold the secret itself"),
                &wanted,
            ));
        }
        // The type was reported, too.
        ValidationErrorKind::Enum { .. } if !document.get(&at).is_some_and(Value::is_string) => {}
        kind => {
            let message = describe(kind, &at, document);
            shape.mistakes.push(wrong(Kind::Value, document, &at, message, &wanted));
        }
    }
    shape.broken.push(at);
}

fn unknown_key(document: &Document, at: &At, wanted: &At) -> Mistake {
    let key = at.last().unwrap_or_default();
    let known = SCHEMA.pointer(wanted.key("properties").as_pointer()).and_then(Value::as_object);
    let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let help = match nearest(&key, &known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", list(&known)),
    };
    let message = match at.parent().map(|table| table.to_string()) {
        Some(table) if !table.is_empty() => format!("unknown key `{key}` in `{table}`"),
        _ => format!("unknown key `{key}`"),
    };
    Mistake { kind: Kind::UnknownKey, message, help, span: Some(document.key_span(at)) }
}

fn wrong(kind: Kind, document: &Document, at: &At, message: String, wanted: &At) -> Mistake {
    Mistake { kind, message, help: help(wanted), span: Some(document.value_span(at)) }
}

/// Never shows the value: it may be a secret that stands in the wrong place.
fn describe(kind: &ValidationErrorKind, at: &At, document: &Document) -> String {
    let is = document.get(at).map_or("nothing", type_name);
    match kind {
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                jsonschema::error::TypeKind::Single(one) => toml_word(&one.to_string()).to_owned(),
                jsonschema::error::TypeKind::Multiple(_) => "a string or a table".to_owned(),
            };
            format!("`{at}` must be {wanted}, and is {is}")
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> =
                options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("`{at}` must be one of {}", list(&options))
        }
        ValidationErrorKind::Pattern { .. } => format!("`{at}` is not written as it must be"),
        ValidationErrorKind::Minimum { limit } => format!("`{at}` must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("`{at}` must be at most {limit}"),
        ValidationErrorKind::MinItems { limit } => {
            format!("`{at}` must have at least {limit} entries")
        }
        ValidationErrorKind::MinProperties { .. } => format!("`{at}` is empty"),
        ValidationErrorKind::MaxProperties { .. } => format!("`{at}` says too much"),
        _ => format!("`{at}` is not possible here"),
    }
}

/// What the schema says to do about a place, or what the place is for.
fn help(wanted: &At) -> String {
    let subschema = SCHEMA.pointer(wanted.as_pointer());
    let text = |key: &str| {
        subschema.and_then(|schema| schema.get(key)).and_then(Value::as_str).map(str::to_owned)
    };
    text("x-help").or_else(|| text("description")).unwrap_or_default()
}

fn is_secret(wanted: &At) -> bool {
    SCHEMA.pointer(wanted.key("x-secret").as_pointer()).is_some()
}

/// The known name that was most likely meant.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(key, name), *name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "not a number",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

fn toml_word(json_type: &str) -> &'static str {
    match json_type {
        "string" => "a string",
        "integer" | "number" => "an integer",
        "boolean" => "`true` or `false`",
        "array" => "an array",
        "object" => "a table",
        _ => "something else",
    }
}

/// Removes a place. An entry of a list takes the whole list with it: the places of its neighbours must
/// not move.
fn cut_out(json: &mut Value, at: &At) {
    let (Some(parent), Some(key)) = (at.parent(), at.last()) else {
        *json = Value::Object(serde_json::Map::new());
        return;
    };
    match json.pointer_mut(parent.as_pointer()) {
        Some(Value::Object(table)) => {
            table.remove(&key);
        }
        Some(Value::Array(_)) => cut_out(json, &parent),
        _ => {}
    }
}

/// TOML has no null, so the `null` that an optional key brings into the schema is noise.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    for keyword in ["type", "enum"] {
        let Some(Value::Array(options)) = object.get_mut(keyword) else { continue };
        options.retain(|option| !option.is_null() && option != "null");
        if let ("type", [only]) = (keyword, options.as_slice()) {
            let only = only.clone();
            object.insert(keyword.to_owned(), only);
        }
    }
}
