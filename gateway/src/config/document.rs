//! The file as text, as JSON, and where in the text every value stands.
//!
//! Serde stops at the first mistake and its errors carry one place at most. So the text becomes plain JSON
//! once, with a map from JSON pointers (RFC 6901) to byte ranges, and all checks run over that.

use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in the document, as a JSON pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct At(String);

/// Where a value and its key stand in the text, in bytes.
#[derive(Debug, Clone)]
struct Place {
    key: Option<Range<usize>>,
    value: Range<usize>,
}

/// A parsed file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) json: Value,
    places: HashMap<At, Place>,
}

/// Text that is not TOML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) span: Range<usize>,
}

impl At {
    /// From what `jsonschema` reports.
    pub(super) fn pointer(pointer: &str) -> Self {
        Self(pointer.to_owned())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        Self(format!("{}/{}", self.0, key.replace('~', "~0").replace('/', "~1")))
    }

    pub(super) fn item(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    /// The place that holds this one; none for the whole document.
    pub(super) fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The last key.
    pub(super) fn last(&self) -> Option<String> {
        self.0.rsplit_once('/').map(|(_, last)| unescape(last))
    }

    pub(super) fn as_pointer(&self) -> &str {
        &self.0
    }

    /// Whether this place is `other` or inside it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// As people write it: `apps.notes.mcp`.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.0.split('/').skip(1).map(unescape).collect();
        f.write_str(&keys.join("."))
    }
}

impl Document {
    /// Reads as much as can be read, and everything that is not TOML.
    pub(super) fn parse(text: &str) -> (Self, Vec<SyntaxError>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut places = HashMap::new();
        let root = Place { key: None, value: table.span() };
        let at = At::default();
        let json = table_to_json(&at, table.get_ref(), &mut places);
        places.insert(at, root);
        let errors = errors
            .into_iter()
            .map(|error| SyntaxError {
                message: error.message().replace('\n', ", "),
                span: error.span().unwrap_or(0..0),
            })
            .collect();
        (Self { json, places }, errors)
    }

    /// The value that stands at a place.
    pub(super) fn get(&self, at: &At) -> Option<&Value> {
        self.json.pointer(at.as_pointer())
    }

    /// Where the value stands; for a value that is absent, where its nearest parent stands.
    pub(super) fn value_span(&self, at: &At) -> Range<usize> {
        self.nearest(at).map_or(0..0, |place| place.value.clone())
    }

    /// Where the key stands; the value where there is no key of its own.
    pub(super) fn key_span(&self, at: &At) -> Range<usize> {
        let own = self.places.get(at).and_then(|place| place.key.clone());
        own.unwrap_or_else(|| self.value_span(at))
    }

    /// Text values that look like a secret, so that no message shows them.
    pub(super) fn secret_spans(&self) -> Vec<Range<usize>> {
        let secret = |at: &At| self.get(at).is_some_and(Value::is_string) && holds_a_secret(at);
        self.places
            .iter()
            .filter(|(at, _)| secret(at))
            .map(|(_, place)| place.value.clone())
            .collect()
    }

    fn nearest(&self, at: &At) -> Option<&Place> {
        let mut at = at.clone();
        loop {
            if let Some(place) = self.places.get(&at) {
                return Some(place);
            }
            at = at.parent()?;
        }
    }
}

/// Whether a name promises a secret.
pub(super) fn looks_secret(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["token", "secret", "passw", "apikey", "api_key", "credential", "auth", "private", "_key"];
    let name = name.to_ascii_lowercase().replace('-', "_");
    name == "key" || WORDS.iter().any(|word| name.contains(word))
}

/// A text under a secret-looking name, a header of an upstream, a `value` where a reference belongs, or
/// a `vault` that may hold the value in place of its name.
fn holds_a_secret(at: &At) -> bool {
    let Some(name) = at.last() else { return false };
    let parent = at.parent().and_then(|parent| parent.last()).unwrap_or_default();
    parent == "headers" || matches!(name.as_str(), "value" | "vault") || looks_secret(&name)
}

fn table_to_json(at: &At, table: &DeTable<'_>, places: &mut HashMap<At, Place>) -> Value {
    let mut object = Map::new();
    for (key, value) in table {
        let at = at.key(key.get_ref());
        let json = value_to_json(&at, value, Some(key.span()), places);
        object.insert(key.get_ref().clone().into_owned(), json);
    }
    Value::Object(object)
}

fn value_to_json(
    at: &At,
    value: &Spanned<DeValue<'_>>,
    key: Option<Range<usize>>,
    places: &mut HashMap<At, Place>,
) -> Value {
    places.insert(at.clone(), Place { key, value: value.span() });
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => integer(number.as_str(), number.radix()),
        DeValue::Float(number) => float(number.as_str()),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| value_to_json(&at.item(index), item, None, places))
            .collect(),
        DeValue::Table(table) => table_to_json(at, table, places),
    }
}

/// A number too large for 64 bits becomes a float, which no key takes; so it is reported, not cut.
fn integer(digits: &str, radix: u32) -> Value {
    match i64::from_str_radix(digits, radix) {
        Ok(number) => number.into(),
        Err(_) => float(digits),
    }
}

/// `nan` and `inf` have no JSON form; null is refused wherever it turns up.
fn float(digits: &str) -> Value {
    digits.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_point_at_keys_and_values() {
        let text = "[server]\nlisten = \"x\"\n[[a.b]]\nc = [1, 2]\n";
        let (document, errors) = Document::parse(text);
        assert!(errors.is_empty(), "{errors:?}");
        let at = At::default().key("server").key("listen");
        assert_eq!(text.get(document.key_span(&at)), Some("listen"));
        assert_eq!(text.get(document.value_span(&at)), Some("\"x\""));
        let second = At::default().key("a").key("b").item(0).key("c").item(1);
        assert_eq!(text.get(document.value_span(&second)), Some("2"));
        assert_eq!(second.to_string(), "a.b.0.c.1");
    }

    #[test]
    fn an_absent_value_stands_where_its_table_stands() {
        let text = "[server]\nlisten = \"x\"\n";
        let (document, _) = Document::parse(text);
        let absent = At::default().key("server").key("tls").key("cert");
        assert_eq!(text.get(document.value_span(&absent)), Some("[server]"));
    }

    #[test]
    fn keys_with_slashes_and_tildes_keep_their_place() {
        let text = "[\"a/b\".\"c~d\"]\ne = 1\n";
        let (document, _) = Document::parse(text);
        let at = At::default().key("a/b").key("c~d").key("e");
        assert_eq!(document.get(&at), Some(&Value::from(1)));
        assert_eq!(text.get(document.key_span(&at)), Some("e"));
        assert_eq!(at.to_string(), "a/b.c~d.e");
    }

    #[test]
    fn several_syntax_errors_are_all_found() {
        let (_, errors) = Document::parse("a = \nb = 1\nb = 2\nc = 'x\n");
        assert!(errors.len() >= 3, "{errors:?}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[\\[\\]a-c=\"'.{}, \n0-9#-]{0,80}|\\PC{0,60}") {
            let (document, errors) = Document::parse(&text);
            let _ = (document.secret_spans(), errors.len());
        }
    }
}
