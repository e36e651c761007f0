//! Restricted canonical JSON: one byte form for each value (ledger-and-vault.md 1.11 and 5.2).
//!
//! Every value is a string, an array or an object. Keys are ASCII lower snake case and strictly
//! ascending, so a duplicate cannot be written down. No white space. Strings escape only what
//! JSON demands, in the shortest form (RFC 8785 section 3.2.2.2). Numbers, booleans and null do
//! not exist here: two common canonicalisers silently changed 9007199254740993.
//! No I/O, no clock.

/// Longest record in bytes: the uint16 length prefix of a C2SP entry bundle.
pub const MAX_RECORD_BYTES: usize = 65_535;

/// Deepest nesting that a record uses, with room; deeper input is refused before it costs stack.
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
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(NotCanonical::TooLong(bytes.len()));
    }
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(NotCanonical::Trailing(reader.at)),
    }
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

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<(), NotCanonical> {
        if self.take(wanted) { Ok(()) } else { Err(NotCanonical::Syntax(self.at)) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, NotCanonical> {
        if depth > MAX_DEPTH {
            return Err(NotCanonical::TooDeep(self.at));
        }
        match self.peek() {
            Some(b'"') => self.text().map(Value::Text),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.map(depth),
            _ => Err(NotCanonical::Syntax(self.at)),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, NotCanonical> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            self.expect(b',')?;
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, NotCanonical> {
        self.expect(b'{')?;
        let mut members: Vec<(String, Value)> = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Map(members));
        }
        loop {
            let key = self.text()?;
            if !is_key(&key) || members.last().is_some_and(|(last, _)| *last >= key) {
                return Err(NotCanonical::Key(self.at));
            }
            self.expect(b':')?;
            members.push((key, self.value(depth + 1)?));
            if self.take(b'}') {
                return Ok(Value::Map(members));
            }
            self.expect(b',')?;
        }
    }

    fn text(&mut self) -> Result<String, NotCanonical> {
        self.expect(b'"')?;
        let mut out = Vec::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(plain) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') else {
                return Err(NotCanonical::Syntax(self.bytes.len()));
            };
            out.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(NotCanonical::Text(self.at)),
            }
        }
        self.at += 1;
        String::from_utf8(out).map_err(|_| NotCanonical::Text(self.at))
    }

    /// Accepts an escape only when it is what [`write_escape`] would have written.
    fn escape(&mut self) -> Result<u8, NotCanonical> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let byte = match rest.get(1) {
            Some(b'"') => b'"',
            Some(b'\\') => b'\\',
            Some(b'b') => 0x08,
            Some(b't') => 0x09,
            Some(b'n') => 0x0a,
            Some(b'f') => 0x0c,
            Some(b'r') => 0x0d,
            Some(b'u') => control(rest).ok_or(NotCanonical::Text(self.at))?,
            _ => return Err(NotCanonical::Text(self.at)),
        };
        let mut shortest = Vec::with_capacity(6);
        write_escape(&mut shortest, byte);
        if !rest.starts_with(&shortest) {
            return Err(NotCanonical::Text(self.at));
        }
        self.at += shortest.len();
        Ok(byte)
    }
}

/// The control character behind `\u00xx`; every other code point stands for itself in this form.
fn control(escape: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(escape.get(2..6)?).ok()?;
    u8::from_str_radix(digits, 16).ok().filter(|&byte| byte < 0x20)
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
