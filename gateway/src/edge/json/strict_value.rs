//! serde_json's parser with the rules that it leaves to its caller: depth and duplicate keys.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{JsonError, JsonFault};

/// A value, and whether any of its numbers went through `f64`.
pub(super) struct Read {
    pub(super) value: Value,
    pub(super) has_float: bool,
}

/// Reads the whole text as one value at most `max_depth` deep; `floats` are the readings of its
/// `f64` numbers in order, serde_json's own where it is shorter.
pub(super) fn read(bytes: &[u8], max_depth: usize, floats: &[f64]) -> Result<Read, JsonError> {
    let notes = Notes { floats: Cell::new(floats), ..Notes::default() };
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let strict = Strict { notes: &notes, depth_left: max_depth };
    strict
        .deserialize(&mut parser)
        .and_then(|value| parser.end().map(|()| value))
        .map(|value| Read { value, has_float: notes.has_float.get() })
        .map_err(|error| to_json_error(&error, notes.fault.get()))
}

/// What the visitor learns on the way; serde's error type could only carry it as text.
#[derive(Default)]
struct Notes<'a> {
    /// Exact readings that are still to come.
    floats: Cell<&'a [f64]>,
    fault: Cell<Option<JsonFault>>,
    has_float: Cell<bool>,
}

fn to_json_error(error: &serde_json::Error, noted: Option<JsonFault>) -> JsonError {
    let fault = noted.unwrap_or_else(|| {
        if error.is_eof() {
            JsonFault::Truncated
        } else if error.to_string().starts_with("number out of range") {
            JsonFault::InexactNumber
        } else if error.to_string().starts_with("recursion limit") {
            JsonFault::TooDeep
        } else {
            JsonFault::Syntax
        }
    });
    JsonError { fault, line: error.line(), column: error.column() }
}

/// Builds a [`Value`] under the strict rules.
#[derive(Clone, Copy)]
struct Strict<'a> {
    notes: &'a Notes<'a>,
    depth_left: usize,
}

impl<'a> Strict<'a> {
    fn refuse<E: serde::de::Error>(self, fault: JsonFault) -> E {
        self.notes.fault.set(Some(fault));
        E::custom(fault)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Strict<'a>, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Strict { depth_left, ..self }),
            None => Err(self.refuse(JsonFault::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.notes.has_float.set(true);
        let (exact, rest) = self.notes.floats.get().split_first().unwrap_or((&value, &[]));
        self.notes.floats.set(rest);
        let number = serde_json::Number::from_f64(*exact);
        number.map(Value::Number).ok_or_else(|| self.refuse(JsonFault::InexactNumber))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(self.refuse::<A::Error>(JsonFault::DuplicateKey)));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
