//! The strict door for JSON: one text, one meaning, and the exact bytes kept.
//!
//! Two parsers that disagree about one text let a caller show one value to the rules and another
//! to the upstream. So what parsers are known to disagree about is refused: duplicate keys
//! (compared after unescaping), numbers that do not survive a round trip, `NaN` and its like,
//! byte-order marks, lone surrogates, invalid UTF-8, and anything after the value.
//!
//! Numbers: an integer must fit `i64` or `u64`; a number with a fraction or exponent must have
//! the same decimal value after a round trip through `f64` (`0.1` does, `0.1000000000000000055`
//! does not). Nothing is rounded silently; who needs more digits sends a string.
//!
//! INVARIANT: what is accepted means the same to serde_json: `accepts_only_what_serde_json_reads_alike`.
//! INVARIANT: no number changes its value: `no_number_changes_its_value`.

mod number;
mod strict_value;

use bytes::Bytes;
use serde_json::Value;

/// Bounds of the JSON door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Longest text, in bytes.
    pub max_bytes: usize,
    /// Deepest nesting of arrays and objects; a bare scalar has depth 0; at most 127.
    pub max_depth: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        JsonLimits { max_bytes: 1024 * 1024, max_depth: 64 }
    }
}

/// A JSON text with one meaning: the value, and the bytes that it was read from.
///
/// Hash, store and send `bytes`; decide on `value`.
#[derive(Debug, Clone, PartialEq)]
pub struct StrictJson {
    /// What the text means.
    pub value: Value,
    /// The text, untouched.
    pub bytes: Bytes,
}

impl StrictJson {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// [`JsonError`] with the place of the first offence; nothing of the text is in it.
    pub fn parse(bytes: Bytes, limits: JsonLimits) -> Result<StrictJson, JsonError> {
        if bytes.len() > limits.max_bytes {
            return Err(JsonError { fault: JsonFault::TooLarge, line: 0, column: 0 });
        }
        let mut read = strict_value::read(&bytes, limits.max_depth, &[])?;
        if read.has_float {
            // serde_json rounds some fractions by one unit in the last place unless its feature
            // `float_roundtrip` is on; so the rare text with fractions is read again with ours.
            let exact = number::exact_floats(&bytes)?;
            read = strict_value::read(&bytes, limits.max_depth, &exact)?;
        }
        Ok(StrictJson { value: read.value, bytes })
    }
}

/// Why a JSON text was refused, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at line {line} column {column}")]
pub struct JsonError {
    /// What is wrong.
    pub fault: JsonFault,
    /// Line of the offence, from 1; 0 when the text was not read.
    pub line: usize,
    /// Column of the offence in bytes, from 1; 0 when it is the line as a whole.
    pub column: usize,
}

impl JsonError {
    /// Whether the text was too large (413) rather than malformed (400).
    pub fn is_too_large(&self) -> bool {
        self.fault == JsonFault::TooLarge
    }
}

/// What is wrong with a JSON text; the caller's fault in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// Longer than [`JsonLimits::max_bytes`].
    #[error("the text is too large")]
    TooLarge,
    /// Deeper than [`JsonLimits::max_depth`].
    #[error("nested too deeply")]
    TooDeep,
    /// One object has a key twice, escapes resolved.
    #[error("duplicate key")]
    DuplicateKey,
    /// A number that would change its value; send it as a string.
    #[error("a number that cannot be kept exactly")]
    InexactNumber,
    /// Ends before the value does.
    #[error("the text ends too early")]
    Truncated,
    /// Not JSON (RFC 8259).
    #[error("not valid JSON")]
    Syntax,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: impl AsRef<[u8]>) -> Result<StrictJson, JsonError> {
        StrictJson::parse(Bytes::copy_from_slice(text.as_ref()), JsonLimits::default())
    }

    fn fault(text: impl AsRef<[u8]>) -> JsonFault {
        parse(text).expect_err("must be refused").fault
    }

    #[test]
    fn refuses_what_parsers_disagree_about() {
        for (text, expected) in [
            (r#"{"a":1,"a":2}"#, JsonFault::DuplicateKey),
            (r#"{"a":1,"\u0061":2}"#, JsonFault::DuplicateKey),
            (r#"{"x":[{"b":{},"b":[]}]}"#, JsonFault::DuplicateKey),
            (r#"{"":1,"":1}"#, JsonFault::DuplicateKey),
            ("18446744073709551616", JsonFault::InexactNumber),
            ("-9223372036854775809", JsonFault::InexactNumber),
            ("[0.1000000000000000055]", JsonFault::InexactNumber),
            ("[9007199254740993.0]", JsonFault::InexactNumber),
            ("1e-400", JsonFault::InexactNumber),
            ("1e400", JsonFault::InexactNumber),
            ("NaN", JsonFault::Syntax),
            ("[Infinity]", JsonFault::Syntax),
            ("-Infinity", JsonFault::Syntax),
            ("\u{feff}{}", JsonFault::Syntax),
            ("{} {}", JsonFault::Syntax),
            ("{}x", JsonFault::Syntax),
            ("[1,]", JsonFault::Syntax),
            ("{'a':1}", JsonFault::Syntax),
            ("{a:1}", JsonFault::Syntax),
            ("[01]", JsonFault::Syntax),
            ("[+1]", JsonFault::Syntax),
            ("[1.]", JsonFault::Syntax),
            ("[0x1]", JsonFault::Syntax),
            ("// c\n1", JsonFault::Syntax),
            ("\"\t\"", JsonFault::Syntax),
            (r#""\ud800""#, JsonFault::Syntax),
            ("", JsonFault::Truncated),
            ("{\"a\":", JsonFault::Truncated),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
        assert_eq!(fault(b"\"\xff\""), JsonFault::Syntax);
    }

    #[test]
    fn keeps_the_exact_bytes_and_every_representable_number() {
        let text = " { \"b\" : [ 1.50, -0, 18446744073709551615, -9223372036854775808, 1E2 ] , \
                    \"a\\u0041\" : null } ";
        let read = parse(text).expect("valid");
        assert_eq!(&read.bytes[..], text.as_bytes());
        assert_eq!(read.value, serde_json::from_str::<Value>(text).expect("valid"));
    }

    #[test]
    fn refuses_one_level_beyond_the_depth_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(64)).is_ok());
        assert_eq!(fault(nested(65)), JsonFault::TooDeep);
        assert_eq!(fault("[".repeat(100_000)), JsonFault::TooDeep);
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(parse(objects(64)).is_ok());
        assert_eq!(fault(objects(65)), JsonFault::TooDeep);
    }

    #[test]
    fn refuses_a_text_beyond_the_size_limit() {
        let limits = JsonLimits { max_bytes: 4, max_depth: 64 };
        assert!(StrictJson::parse(Bytes::from_static(b"1234"), limits).is_ok());
        let error = StrictJson::parse(Bytes::from_static(b"12345"), limits).expect_err("5 bytes");
        assert!(error.is_too_large());
    }

    #[test]
    fn names_the_place_of_the_offence() {
        let place = |text: &str| parse(text).map_err(|e| (e.line, e.column)).expect_err("refused");
        assert_eq!(place("{\"a\":1,\n \"a\":2}").0, 2);
        assert_eq!(place("[1,\n  0.1000000000000000055]"), (2, 3));
        assert_eq!(place("[1,\n  x]"), (2, 3));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 48, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    /// serde_json without `float_roundtrip` may be one unit off in the last place of a fraction.
    fn without_last_place(value: Value) -> Value {
        match value {
            Value::Number(n) if n.is_f64() => Value::from(n.as_f64().map(|f| format!("{f:.12e}"))),
            Value::Array(list) => list.into_iter().map(without_last_place).collect(),
            Value::Object(map) => {
                Value::Object(map.into_iter().map(|(k, v)| (k, without_last_place(v))).collect())
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn accepts_whatever_serde_json_writes(value in any_value()) {
            let text = value.to_string();
            let read = parse(&text);
            prop_assert_eq!(read.map(|r| r.value), Ok(value));
        }

        #[test]
        fn accepts_only_what_serde_json_reads_alike(
            text in "[\\[\\]{}:, \"ab\\\\u0-9.eE+-]{0,40}"
        ) {
            if let Ok(read) = parse(&text) {
                let lenient = serde_json::from_str::<Value>(&text).expect("accepted, so valid");
                prop_assert_eq!(without_last_place(read.value), without_last_place(lenient));
            }
        }

        #[test]
        fn no_number_changes_its_value(
            text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?"
        ) {
            if let Ok(read) = parse(&text) {
                let written = read.value.to_string();
                prop_assert_eq!(number::Decimal::read(&text), number::Decimal::read(&written));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(bytes);
        }
    }
}
