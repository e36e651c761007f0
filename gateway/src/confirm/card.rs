//! What a person is shown of the bytes that would run: every value readable, in the order and the spelling that was
//! sent, and nothing that looks like something else.
//!
//! Read from the exact bytes, not from a parsed value: `1e2` stays `1e2`, and 2^53 + 1 keeps its last digit. Texts stand
//! between quotes, and so do names that are no plain words; what a screen would hide or turn around is shown by its
//! number ([`spelled`]). A text that holds JSON is shown value by value like the rest. Secrets are hidden behind their
//! length and the beginning of their SHA-256 ([`masked`]); what is very long is cut and hashed. The hash of the call
//! covers all of it.
//!
//! INVARIANT: two different calls of one tool are never shown alike (`no_two_values_are_shown_alike`).
//! INVARIANT: what is shown is bounded, and so is the work for what is not (`what_is_not_shown_costs_nothing`).

mod masked;
mod spelled;

use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

pub use masked::secrets_of;

/// Lines that are shown; a call with more says how many there are.
const MAX_LINES: usize = 500;
/// Characters of a value that are shown.
const MAX_SHOWN: usize = 2_000;
/// How deep values may be in each other; the door for calls lets in less.
const MAX_DEPTH: usize = 100;
/// Hex digits of a hidden value's SHA-256 that are shown: enough to see that two are the same.
const MASK_DIGITS: usize = 16;

/// One value, as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Where it is: `items[0].title`; empty for the whole.
    pub name: String,
    /// What is shown of it.
    pub shown: String,
    /// Why not all of it is shown, with what there is to compare it by; and what looks like something else in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What only its name hides, for who asks to see it.
    #[serde(skip)]
    pub hidden: Option<String>,
}

/// All values of the arguments, as many as are shown, and how many more there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// In the order in which they were sent.
    pub lines: Vec<Line>,
    /// How many are not shown; then nobody can say yes to what they see.
    pub more: usize,
}

impl Lines {
    /// The values in these bytes, which are JSON.
    ///
    /// # Errors
    /// When they are not.
    pub fn of(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        Self::with_secrets(bytes, &[])
    }

    /// The values in these bytes, of which the tool says which are secrets, by JSON pointers as [`secrets_of`] gives.
    ///
    /// # Errors
    /// When the bytes are no JSON.
    pub fn with_secrets(bytes: &[u8], secrets: &[String]) -> Result<Self, serde_json::Error> {
        let mut secrets = secrets.to_vec();
        secrets.sort();
        let mut walk = Walk { secrets: &secrets, ..Walk::default() };
        walk.value(serde_json::from_slice(bytes)?, Mask::None, 0)?;
        Ok(walk.told)
    }
}

impl Lines {
    /// Texts by their names, such as headers.
    #[must_use]
    pub fn of_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut walk = Walk::default();
        for (name, value) in pairs {
            walk.pair(name, value);
        }
        walk.told
    }

    /// The fields of a form; none when it is one of other than text.
    #[must_use]
    pub fn of_form(text: &str) -> Option<Self> {
        let mut walk = Walk::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return None;
            }
            walk.pair(&name, &value);
        }
        Some(walk.told)
    }

    /// One text.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let mut walk = Walk::default();
        walk.text(text, Mask::None);
        walk.told
    }
}

/// A short text of somebody else's, without quotes: every unseen character by its number.
#[must_use]
pub fn spelled(text: &str) -> String {
    spelled::bare(text)
}

/// Why a value is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mask {
    None,
    ByName,
    BySchema,
}

#[derive(Default)]
struct Walk<'s> {
    told: Lines,
    /// The name of where it is, spelled.
    path: String,
    /// The same as a JSON pointer; kept only where there are any.
    pointer: String,
    secrets: &'s [String],
}

impl Walk<'_> {
    fn value(&mut self, raw: &RawValue, mask: Mask, depth: usize) -> Result<(), serde_json::Error> {
        if depth > MAX_DEPTH {
            return Err(serde_json::Error::custom("nested too deeply"));
        }
        let mask = if self.is_secret_place() { Mask::BySchema } else { mask };
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(text)?;
                if members.0.is_empty() {
                    self.push(|| "{} (nothing)".to_owned(), None);
                }
                self.members(members, mask, depth)
            }
            Some(b'[') => {
                let items: Items<'_> = serde_json::from_str(text)?;
                if items.0.is_empty() {
                    self.push(|| "[] (empty list)".to_owned(), None);
                }
                self.items(items, mask, depth)
            }
            Some(b'"') if self.is_full() => {
                self.told.more = self.told.more.saturating_add(1);
                Ok(())
            }
            Some(b'"') => {
                let value: String = serde_json::from_str(text)?;
                if mask == Mask::None && self.inner_json(&value, depth) {
                    return Ok(());
                }
                self.text(&value, mask);
                Ok(())
            }
            // Numbers, `true`, `false` and `null`, as they were written.
            _ => {
                self.literal(text, mask);
                Ok(())
            }
        }
    }

    fn members(
        &mut self,
        all: Members<'_>,
        mask: Mask,
        depth: usize,
    ) -> Result<(), serde_json::Error> {
        for (member, value) in all.0 {
            let mask = match mask {
                Mask::None if masked::is_secret_name(&member) => Mask::ByName,
                mask => mask,
            };
            let before = (self.path.len(), self.pointer.len());
            self.enter(|path| {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&spelled::name(&member));
            });
            self.step(|| masked::step(&member));
            self.value(value, mask, depth.saturating_add(1))?;
            self.leave(before);
        }
        Ok(())
    }

    fn items(&mut self, all: Items<'_>, mask: Mask, depth: usize) -> Result<(), serde_json::Error> {
        for (index, item) in all.0.into_iter().enumerate() {
            let before = (self.path.len(), self.pointer.len());
            self.enter(|path| path.push_str(&format!("[{index}]")));
            self.step(|| index.to_string());
            self.value(item, mask, depth.saturating_add(1))?;
            self.leave(before);
        }
        Ok(())
    }

    fn pair(&mut self, name: &str, value: &str) {
        let mask = if masked::is_secret_name(name) { Mask::ByName } else { Mask::None };
        let before = (self.path.len(), self.pointer.len());
        self.enter(|path| path.push_str(&spelled::name(name)));
        self.text(value, mask);
        self.leave(before);
    }

    /// Shows a text that holds JSON value by value, so that what it hides is hidden and what it says is read; the hash
    /// stands for its spelling.
    fn inner_json(&mut self, value: &str, depth: usize) -> bool {
        if !value.trim_start().starts_with(['{', '[']) {
            return false;
        }
        let Ok(inner) = serde_json::from_str::<&RawValue>(value) else { return false };
        let (lines, more, before) =
            (self.told.lines.len(), self.told.more, (self.path.len(), self.pointer.len()));
        let shown = || format!("JSON text, {} characters, as follows", value.chars().count());
        self.push(shown, Some(format!("SHA-256 of the text {}", sha256(value))));
        self.enter(|path| path.push_str("(text)"));
        self.step(|| "(text)".to_owned());
        let read = self.value(inner, Mask::None, depth.saturating_add(1));
        self.leave(before);
        if read.is_err() {
            self.told.lines.truncate(lines);
            self.told.more = more;
        }
        read.is_ok()
    }

    fn text(&mut self, value: &str, mask: Mask) {
        if mask != Mask::None {
            return self.hidden(value, mask, spelled::quoted(spelled::head(value, MAX_SHOWN)));
        }
        if self.is_full() {
            return self.push(String::new, None);
        }
        let count = value.chars().count();
        let looks = spelled::looks(value);
        if count <= MAX_SHOWN {
            return self.push(|| spelled::quoted(value), looks);
        }
        let cut = format!("{MAX_SHOWN} of {count} characters; SHA-256 of all {}", sha256(value));
        let note = looks.map_or_else(|| cut.clone(), |looks| format!("{cut}; {looks}"));
        self.push(|| spelled::open_quoted(spelled::head(value, MAX_SHOWN)), Some(note));
    }

    fn literal(&mut self, text: &str, mask: Mask) {
        if mask == Mask::BySchema {
            return self.hidden(text, mask, String::new());
        }
        let count = text.chars().count();
        if count <= MAX_SHOWN {
            return self.push(|| text.to_owned(), None);
        }
        let note = format!("{MAX_SHOWN} of {count} digits; SHA-256 of all {}", sha256(text));
        self.push(|| format!("{}…", spelled::head(text, MAX_SHOWN)), Some(note));
    }

    fn hidden(&mut self, value: &str, mask: Mask, spelled: String) {
        let hash = sha256(value);
        let hash = spelled::head(&hash, MASK_DIGITS);
        let shown = format!("hidden: {} characters, SHA-256 {hash}…", value.chars().count());
        let (why, spelled) = match mask {
            Mask::BySchema => ("the app says that it is a secret", None),
            _ => ("hidden because of its name", Some(spelled)),
        };
        self.push(|| shown, Some(why.to_owned()));
        if let (Some(spelled), Some(line)) = (spelled, self.told.lines.last_mut()) {
            line.hidden = Some(spelled);
        }
    }

    /// Shows one more value; beyond the bound it is only counted, and nothing is made for it.
    fn push(&mut self, shown: impl FnOnce() -> String, note: Option<String>) {
        if self.is_full() {
            self.told.more = self.told.more.saturating_add(1);
            return;
        }
        let name = spelled::path(&self.path);
        let cut = spelled::is_cut(&name)
            .then(|| "the name is cut; ~ is followed by its SHA-256".to_owned());
        let looks = spelled::looks(&name).map(|looks| format!("in the name, {looks}"));
        let notes: Vec<String> = [note, cut, looks].into_iter().flatten().collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        self.told.lines.push(Line { name, shown: shown(), note, hidden: None });
    }

    fn is_full(&self) -> bool {
        self.told.lines.len() >= MAX_LINES
    }

    fn is_secret_place(&self) -> bool {
        self.secrets.binary_search(&self.pointer).is_ok()
    }

    fn enter(&mut self, part: impl FnOnce(&mut String)) {
        if !self.is_full() {
            part(&mut self.path);
        }
    }

    fn step(&mut self, part: impl FnOnce() -> String) {
        if !self.is_full() && !self.secrets.is_empty() {
            self.pointer.push('/');
            self.pointer.push_str(&part());
        }
    }

    fn leave(&mut self, (path, pointer): (usize, usize)) {
        self.path.truncate(path);
        self.pointer.truncate(pointer);
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// The members of an object in the order in which they were sent.
struct Members<'a>(Vec<(String, &'a RawValue)>);
/// The items of an array.
struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(InOrder).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(InOrder).map(Self)
    }
}

#[cfg(test)]
mod tests;
