//! Reads the canonical form piece by piece, without a tree: a record is read by its own rules as it
//! stands, and text that has no escape is borrowed from it.

use std::borrow::Cow;

use super::{MAX_DEPTH, MAX_RECORD_BYTES, NotCanonical, Value, is_key, write_escape};

/// A place in canonical bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// At the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, NotCanonical> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(NotCanonical::TooLong(bytes.len()));
        }
        // Once for all: what stands between two ASCII bytes is then text too.
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|bad| NotCanonical::Text(bad.valid_up_to()))?;
        if let Some(at) = first_control(bytes) {
            return Err(NotCanonical::Text(at));
        }
        Ok(Self { text, at: 0, depth: 0 })
    }

    /// Nothing follows.
    pub(crate) fn end(&self) -> Result<(), NotCanonical> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(NotCanonical::Trailing(self.at)),
        }
    }

    /// Whether a string comes next.
    pub(crate) fn is_text(&self) -> bool {
        self.peek() == Some(b'"')
    }

    /// Whether an array comes next.
    pub(crate) fn is_list(&self) -> bool {
        self.peek() == Some(b'[')
    }

    /// Whether an object comes next.
    pub(crate) fn is_map(&self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Any value, as a tree.
    pub(super) fn value(&mut self) -> Result<Value, NotCanonical> {
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.text()?.into_owned())),
            Some(b'[') => {
                let mut items = Vec::new();
                self.list(|reader| reader.value().map(|item| items.push(item)))?;
                Ok(Value::List(items))
            }
            Some(b'{') => {
                let mut members = Vec::new();
                self.map(|key, reader| {
                    let value = reader.value();
                    value.map(|value| members.push((key.to_owned(), value)))
                })?;
                Ok(Value::Map(members))
            }
            _ => Err(NotCanonical::Syntax(self.at)),
        }
    }

    /// An array: `item` is called at each of its items and must read it.
    pub(crate) fn list<E: From<NotCanonical>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[')?;
        if !self.take(b']') {
            loop {
                item(self)?;
                if self.take(b']') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// An object: `member` is called with each key at its value and must read that.
    pub(crate) fn map<E: From<NotCanonical>>(
        &mut self,
        mut member: impl FnMut(&'a str, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        let mut last = "";
        if !self.take(b'}') {
            loop {
                let key = self.key()?;
                if key <= last {
                    return Err(NotCanonical::Key(self.at).into());
                }
                last = key;
                self.expect(b':')?;
                member(key, self)?;
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A string.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, NotCanonical> {
        self.expect(b'"')?;
        let plain = self.plain()?;
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut out = plain.to_owned();
        while !self.take(b'"') {
            out.push(char::from(self.escape()?));
            out.push_str(self.plain()?);
        }
        Ok(Cow::Owned(out))
    }

    /// A key has no escape, since it has only letters, digits and `_`.
    fn key(&mut self) -> Result<&'a str, NotCanonical> {
        self.expect(b'"')?;
        let key = self.plain()?;
        if self.take(b'"') && is_key(key) { Ok(key) } else { Err(NotCanonical::Key(self.at)) }
    }

    /// What stands for itself, up to a quote or an escape.
    fn plain(&mut self) -> Result<&'a str, NotCanonical> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(plain) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) else {
            return Err(NotCanonical::Syntax(self.text.len()));
        };
        self.at += plain;
        Ok(rest.get(..plain).unwrap_or_default())
    }

    /// Accepts an escape only when it is what [`write_escape`] would have written.
    fn escape(&mut self) -> Result<u8, NotCanonical> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let byte = match (rest.first(), rest.get(1)) {
            (Some(b'\\'), Some(b'"')) => b'"',
            (Some(b'\\'), Some(b'\\')) => b'\\',
            (Some(b'\\'), Some(b'b')) => 0x08,
            (Some(b'\\'), Some(b't')) => 0x09,
            (Some(b'\\'), Some(b'n')) => 0x0a,
            (Some(b'\\'), Some(b'f')) => 0x0c,
            (Some(b'\\'), Some(b'r')) => 0x0d,
            (Some(b'\\'), Some(b'u')) => control(rest).ok_or(NotCanonical::Text(self.at))?,
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

    fn open(&mut self, bracket: u8) -> Result<(), NotCanonical> {
        if self.depth > MAX_DEPTH {
            return Err(NotCanonical::TooDeep(self.at));
        }
        self.depth += 1;
        self.expect(bracket)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<(), NotCanonical> {
        if self.take(wanted) { Ok(()) } else { Err(NotCanonical::Syntax(self.at)) }
    }
}

/// Control characters stand nowhere in the canonical form, neither in strings nor between them.
fn first_control(bytes: &[u8]) -> Option<usize> {
    // Without a branch for each byte; only a refusal costs the second look.
    let any = bytes.iter().fold(false, |any, byte| any | (*byte < 0x20));
    any.then(|| bytes.iter().position(|byte| *byte < 0x20)).flatten()
}

/// The control character behind `\u00xx`; every other code point stands for itself in this form.
fn control(escape: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(escape.get(2..6)?).ok()?;
    u8::from_str_radix(digits, 16).ok().filter(|&byte| byte < 0x20)
}
