//! A tiny closed-world checker: a static table of [`Shape`]s against a JSON value, collecting
//! every mismatch with its path instead of stopping at the first.

use serde_json::{Map, Value};

use super::{Finding, Level, MAX_FINDINGS};

/// What a value must look like.
pub(super) enum Shape {
    Any,
    Bool,
    Text,
    NonBlank,
    TextUpTo(usize),
    Int {
        min: i64,
        max: i64,
    },
    OneOf(&'static [&'static str]),
    Version(&'static [i64]),
    /// A text that satisfies the predicate; the second part says what is expected.
    Word(fn(&str) -> bool, &'static str),
    List(&'static Shape),
    NonEmptyList(&'static Shape),
    Map(&'static Shape),
    Object(&'static Layout),
}

/// The keys of an object.
pub(super) struct Layout {
    pub(super) required: &'static [(&'static str, Shape)],
    pub(super) optional: &'static [(&'static str, Shape)],
    /// Whether other keys are tolerated.
    pub(super) open: bool,
}

/// Collects findings, bounded in number.
pub(super) struct Findings {
    found: Vec<Finding>,
    dropped: usize,
}

impl Findings {
    pub(super) fn new() -> Self {
        Findings { found: Vec::new(), dropped: 0 }
    }

    pub(super) fn error(&mut self, path: &str, rule: &'static str, message: String) {
        self.push(path, rule, Level::Error, message);
    }

    pub(super) fn push(&mut self, path: &str, rule: &'static str, level: Level, message: String) {
        if self.found.len() < MAX_FINDINGS {
            self.found.push(Finding { path: path.to_owned(), rule, level, message });
        } else {
            self.dropped += 1;
        }
    }

    /// Errors before warnings; a last line says how many were left out. When any were left out
    /// an error is among them for sure, so a flood of warnings cannot hide one.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        self.found.sort_by_key(|f| f.level == Level::Warning);
        if self.dropped > 0 {
            let message = format!("{} more findings are not listed", self.dropped);
            self.found.insert(
                0,
                Finding { path: String::new(), rule: "GW-TOO-MANY", level: Level::Error, message },
            );
        }
        self.found
    }
}

/// Checks `value` at `path`; `nested` is the rule for a bad value here (`M4`, or `M5` inside
/// tools, signals and schedules).
pub(super) fn check(v: &Value, shape: &Shape, path: &str, rule: &'static str, out: &mut Findings) {
    let wrong = match (shape, v) {
        (Shape::Object(layout), Value::Object(o)) => return object(o, layout, path, rule, out),
        (Shape::List(item), Value::Array(a)) => return list(a, item, path, rule, out),
        (Shape::NonEmptyList(item), Value::Array(a)) if !a.is_empty() => {
            return list(a, item, path, rule, out);
        }
        (Shape::Map(item), Value::Object(o)) => {
            for (key, v) in o {
                check(v, item, &join(path, key), rule, out);
            }
            return;
        }
        (scalar, v) => scalar_mismatch(scalar, v),
    };
    if let Some(expected) = wrong {
        out.error(path, rule, format!("must be {expected}, not {}", excerpt(v)));
    }
}

/// Checks an object: unknown keys (`M3`), missing keys (`M2`), then each value.
pub(super) fn object(
    o: &Map<String, Value>,
    layout: &Layout,
    path: &str,
    rule: &'static str,
    out: &mut Findings,
) {
    for (key, shape) in layout.required {
        match o.get(*key) {
            Some(v) => check(v, shape, &join(path, key), rule, out),
            None => out.error(path, "M2", format!("the required field \"{key}\" is missing")),
        }
    }
    for (key, shape) in layout.optional {
        // A null is how the SDK writes "absent".
        if let Some(v) = o.get(*key).filter(|v| !v.is_null()) {
            check(v, shape, &join(path, key), rule, out);
        }
    }
    let known =
        |key: &str| layout.required.iter().chain(layout.optional).any(|(known, _)| *known == key);
    if !layout.open {
        for key in o.keys().filter(|k| !known(k)) {
            out.error(
                &join(path, key),
                "M3",
                "unknown field; remove it or correct its name".into(),
            );
        }
    }
}

fn list(a: &[Value], item: &Shape, path: &str, rule: &'static str, out: &mut Findings) {
    for (i, v) in a.iter().enumerate() {
        check(v, item, &format!("{path}/{i}"), rule, out);
    }
}

/// `None` when the scalar fits, else what was expected.
fn scalar_mismatch(shape: &Shape, v: &Value) -> Option<String> {
    let (fits, expected) = match shape {
        Shape::Any => (true, String::new()),
        Shape::Bool => (v.is_boolean(), "true or false".into()),
        Shape::Text => (v.is_string(), "a text".into()),
        Shape::NonBlank => {
            (v.as_str().is_some_and(|s| !s.trim().is_empty()), "a text that is not blank".into())
        }
        Shape::TextUpTo(max) => (
            v.as_str().is_some_and(|s| s.chars().count() <= *max),
            format!("a text of at most {max} characters"),
        ),
        Shape::Int { min, max } => (
            v.as_i64().is_some_and(|n| (*min..=*max).contains(&n)),
            format!("a whole number from {min} to {max}"),
        ),
        Shape::OneOf(words) => {
            (v.as_str().is_some_and(|s| words.contains(&s)), format!("one of {}", words.join(", ")))
        }
        Shape::Version(known) => {
            (v.as_i64().is_some_and(|n| known.contains(&n)), format!("one of {known:?}"))
        }
        Shape::Word(fits, expected) => (v.as_str().is_some_and(fits), (*expected).to_owned()),
        Shape::List(_) => (false, "a list".into()),
        Shape::NonEmptyList(_) => (false, "a list with at least one entry".into()),
        Shape::Map(_) | Shape::Object(_) => (false, "an object".into()),
    };
    (!fits).then_some(expected)
}

/// JSON Pointer of a member (RFC 6901 escaping), the key cut so that paths stay readable.
pub(super) fn join(path: &str, key: &str) -> String {
    let key: String = key.chars().take(80).collect();
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The JSON type of a value in words.
pub(super) fn kind(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn excerpt(v: &Value) -> String {
    match v {
        Value::String(s) => format!("{:?}", s.chars().take(60).collect::<String>()),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        other => kind(other).to_owned(),
    }
}
