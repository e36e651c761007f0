//! What a person is shown of the bytes that would run: every value readable, in the order and the spelling that was
//! sent, and nothing that looks like something else.
//!
//! Read from the exact bytes, not from a parsed value: `1e2` stays `1e2`, and 2^53 + 1 keeps its last digit. A text
//! shows the characters that a screen would hide or turn around by their numbers. What looks like a secret is hidden
//! and what is very long is cut; the hash of the call covers both whole.
//!
//! INVARIANT: no two different byte strings of one call have the same hash and none is shown as another
//! (`what_hides_or_turns_text_is_shown_by_its_number`, `numbers_keep_their_spelling`).

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Lines that are shown; a call with more says how many there are.
const MAX_LINES: usize = 500;
/// Characters of a value that are shown.
const MAX_SHOWN: usize = 2_000;
/// Parts of names whose values are hidden.
const SECRET_WORDS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "credential",
    "private_key",
    "authorization",
    "pin_code",
];

/// One value, as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Where it is: `items[0].title`; empty for the whole.
    pub name: String,
    /// What is shown of it.
    pub shown: String,
    /// Why not all of it is shown, with what there is to compare it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All values of the arguments, as many as are shown, and how many more there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// In the order in which they were sent.
    pub lines: Vec<Line>,
    /// How many are not shown.
    pub more: usize,
}

impl Lines {
    /// The values in these bytes, which are JSON.
    ///
    /// # Errors
    /// When they are not.
    pub fn of(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut lines = Self::default();
        lines.add(String::new(), serde_json::from_slice(bytes)?)?;
        Ok(lines)
    }

    fn add(&mut self, name: String, raw: &RawValue) -> Result<(), serde_json::Error> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(text)?;
                if members.0.is_empty() {
                    self.push(name, "{} (nothing)".to_owned(), None);
                    return Ok(());
                }
                for (member, value) in members.0 {
                    let member = visible(&member);
                    let name = if name.is_empty() { member } else { format!("{name}.{member}") };
                    self.add(name, value)?;
                }
            }
            Some(b'[') => {
                let items: Items<'_> = serde_json::from_str(text)?;
                if items.0.is_empty() {
                    self.push(name, "[] (empty list)".to_owned(), None);
                    return Ok(());
                }
                for (index, item) in items.0.into_iter().enumerate() {
                    self.add(format!("{name}[{index}]"), item)?;
                }
            }
            Some(b'"') => {
                let value: String = serde_json::from_str(text)?;
                let (shown, note) = shown(&name, &value);
                self.push(name, shown, note);
            }
            // Numbers, `true`, `false` and `null`, as they were written.
            _ => {
                let (shown, note) = shown(&name, text);
                self.push(name, shown, note);
            }
        }
        Ok(())
    }

    fn push(&mut self, name: String, shown: String, note: Option<String>) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(Line { name, shown, note });
        } else {
            self.more += 1;
        }
    }
}

fn shown(name: &str, value: &str) -> (String, Option<String>) {
    let count = value.chars().count();
    if is_secret(name) {
        // No hash of its own: a short secret could be guessed by it.
        return ("hidden".to_owned(), Some(format!("{count} characters; part of the hash below")));
    }
    if count <= MAX_SHOWN {
        return (visible(value), None);
    }
    let cut: String = value.chars().take(MAX_SHOWN).collect();
    let hash = hex::encode(Sha256::digest(value.as_bytes()));
    (visible(&cut), Some(format!("{MAX_SHOWN} of {count} characters; SHA-256 of all {hash}")))
}

/// Whether the last name of the path says that its value is a secret.
fn is_secret(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| last.contains(word))
}

/// The text with every character by its number that a screen hides, or by which it shows others elsewhere.
fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_hidden(c) {
            shown.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            shown.push(c);
        }
        shown
    })
}

/// Controls but line breaks and tabs, and what Unicode calls format characters: direction, joiners, tags, fillers.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
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
mod tests {
    use super::*;

    fn lines(json: &str) -> Vec<(String, String)> {
        let lines = Lines::of(json.as_bytes()).unwrap();
        lines.lines.into_iter().map(|line| (line.name, line.shown)).collect()
    }

    fn pairs(json: &str) -> Vec<String> {
        lines(json).into_iter().map(|(name, shown)| format!("{name}={shown}")).collect()
    }

    #[test]
    fn values_stand_in_the_order_in_which_they_were_sent() {
        assert_eq!(
            pairs(r#"{"z": 1, "a": {"y": [true, null], "b": "x"}, "e": {}, "l": []}"#),
            ["z=1", "a.y[0]=true", "a.y[1]=null", "a.b=x", "e={} (nothing)", "l=[] (empty list)"]
        );
        assert_eq!(pairs("[1]"), ["[0]=1"]);
        assert_eq!(pairs("{}"), ["={} (nothing)"]);
    }

    #[test]
    fn numbers_keep_their_spelling() {
        assert_eq!(
            pairs(r#"{"a":1e2,"b":100,"c":9007199254740993,"d":1.10,"e":-0}"#),
            ["a=1e2", "b=100", "c=9007199254740993", "d=1.10", "e=-0"]
        );
    }

    #[test]
    fn what_hides_or_turns_text_is_shown_by_its_number() {
        assert_eq!(
            pairs("{\"to\":\"a\\u202eb\",\"b\":\"x\\u0000\\u200b\",\"c\":\"two\\nlines\"}"),
            ["to=a\\u{202e}b", "b=x\\u{0}\\u{200b}", "c=two\nlines"]
        );
        assert_eq!(pairs("{\"a\\u2066b\":1}"), ["a\\u{2066}b=1"]);
        assert_eq!(
            pairs("{\"t\":\"\\udb40\\udc41\"}"),
            ["t=\\u{e0041}"],
            "tags spell unseen words"
        );
        assert_eq!(pairs(r#"{"n":"né 日本 🙂"}"#), ["n=né 日本 🙂"]);
    }

    #[test]
    fn what_looks_like_a_secret_is_hidden_and_what_is_long_is_cut() {
        let json = r#"{"password":"hunter2","auth":{"X-Api-Key":"k"},"tokens":["t"],"note":"n"}"#;
        let shown = pairs(json);
        assert_eq!(
            shown,
            ["password=hidden", "auth.X-Api-Key=hidden", "tokens[0]=hidden", "note=n"]
        );
        let long = format!("{{\"text\":\"{}\"}}", "é".repeat(MAX_SHOWN + 1));
        let line = Lines::of(long.as_bytes()).unwrap().lines.remove(0);
        assert_eq!(line.shown.chars().count(), MAX_SHOWN);
        let hash = hex::encode(Sha256::digest("é".repeat(MAX_SHOWN + 1)));
        assert!(line.note.unwrap().ends_with(&hash));
    }

    #[test]
    fn a_great_many_values_are_counted_and_not_all_shown() {
        let json = serde_json::json!({ "a": vec![0; MAX_LINES + 7] }).to_string();
        let lines = Lines::of(json.as_bytes()).unwrap();
        assert_eq!((lines.lines.len(), lines.more), (MAX_LINES, 7));
    }
}
