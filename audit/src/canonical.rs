//! Restricted canonical JSON: one byte form for each value (ledger-and-vault.md 1.11 and 5.2).
//!
//! Every value is a string, an array or an object. Keys are ASCII lower snake case and strictly
//! ascending, so a duplicate cannot be written down. No white space. Strings escape only what
//! JSON demands, in the shortest form (RFC 8785 section 3.2.2.2). Numbers, booleans and null do
//! not exist here: two common canonicalisers silently changed 9007199254740993.
//! No I/O, no clock.

mod reader;

pub(crate) use reader::Reader;

/// Longest record in bytes: the uint16 length prefix of a C2SP entry bundle.
pub const MAX_RECORD_BYTES: usize = 65_535;

/// How deep arrays and objects may be nested, with room; deeper input is refused before it costs
/// stack.
const MAX_DEPTH: usize = 8;

/// A value of the restricted form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object, members in canonical order.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The member of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(name, _)| name == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string value.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The member of an object, when that is a string.
    #[must_use]
    pub fn text_at(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::text)
    }

    /// Appends the canonical bytes of this value. Members must be in order already.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(out, text),
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    separate(out, index);
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Map(members) => {
                out.push(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    separate(out, index);
                    write_text(out, key);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Why bytes are not the canonical form of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// More than [`MAX_RECORD_BYTES`].
    #[error("{0} bytes, the format allows 65535")]
    TooLong(usize),
    /// Nested deeper than the format needs.
    #[error("nested too deeply at byte {0}")]
    TooDeep(usize),
    /// Neither a string, an array nor an object starts here, or the value is cut off.
    #[error("no string, array or object at byte {0}")]
    Syntax(usize),
    /// A key is a duplicate, out of order or not ASCII lower snake case.
    #[error("a key before byte {0} is repeated, out of order or not ascii lower snake case")]
    Key(usize),
    /// The string has an escape or a byte that the canonical form does not have.
    #[error("a string is not in its shortest form at byte {0}")]
    Text(usize),
    /// Something follows the value.
    #[error("bytes follow the value at byte {0}")]
    Trailing(usize),
}

/// Reads the one value that `bytes` are the canonical form of.
///
/// # Errors
/// [`NotCanonical`] for every other byte string; never panics.
pub fn parse(bytes: &[u8]) -> Result<Value, NotCanonical> {
    let mut reader = Reader::new(bytes)?;
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// True for ASCII lower snake case: a letter, then letters, digits and `_`; at most 64.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    key.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Appends `text` as a canonical JSON string.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = special.split_first() else { break };
        write_escape(out, byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x09 => out.extend_from_slice(b"\\t"),
        0x0a => out.extend_from_slice(b"\\n"),
        0x0c => out.extend_from_slice(b"\\f"),
        0x0d => out.extend_from_slice(b"\\r"),
        other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
    }
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
