//! Which values are secrets: those of which the tool's schema says so, and those whose name says so.
//!
//! A name says it by whole words: `access_token` does, `recipient_token_account`, `max_tokens` and `secretary_email`
//! do not. What is in a value with such a name is hidden too.

use serde_json::Value;

/// Words that make a name one of a secret, wherever they stand in it.
const STRONG: [&str; 24] = [
    "password",
    "passwords",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "otp",
    "totp",
    "cvv",
    "cvc",
    "authorization",
    "mnemonic",
    "apikey",
    "privatekey",
    "accesskey",
    "secretkey",
    "accesstoken",
    "authtoken",
    "refreshtoken",
    "clientsecret",
];
/// Words that do when they stand at the end: what comes after is what the value is.
const AT_THE_END: [&str; 7] = ["token", "tokens", "pin", "jwt", "bearer", "cookie", "pass"];
/// Two words that do.
const PAIRS: [(&str, &str); 12] = [
    ("api", "key"),
    ("access", "key"),
    ("private", "key"),
    ("secret", "key"),
    ("signing", "key"),
    ("encryption", "key"),
    ("master", "key"),
    ("pin", "code"),
    ("security", "code"),
    ("recovery", "code"),
    ("recovery", "codes"),
    ("seed", "phrase"),
];
/// A name that ends in one of these is one of something *about* a secret.
const ABOUT: [&str; 21] = [
    "id", "ids", "name", "type", "kind", "url", "uri", "endpoint", "hint", "policy", "count",
    "length", "limit", "expiry", "account", "email", "address", "label", "at", "status", "state",
];
/// Steps through a schema and a value together; what is beyond is told by names alone.
const MAX_STEPS: usize = 20_000;
/// Bytes of all places together; where they are more, because names are long, the whole value is one secret.
const MAX_PLACES: usize = 256 << 10;
/// How deep schemas may refer to schemas at one value.
const MAX_DEPTH: usize = 100;

/// Whether a member of this name is a secret.
pub(super) fn is_secret_name(member: &str) -> bool {
    let words = words(member);
    let Some(last) = words.last() else { return false };
    if ABOUT.contains(&last.as_str()) {
        return false;
    }
    AT_THE_END.contains(&last.as_str())
        || words.iter().any(|word| STRONG.contains(&word.as_str()))
        || words.windows(2).any(|pair| match pair {
            [one, two] => PAIRS.contains(&(one.as_str(), two.as_str())),
            _ => false,
        })
}

/// The words of a name, in small letters: split where it has other signs than letters, and where small letters become
/// capital ones; numbers at a word's end belong to no word.
fn words(member: &str) -> Vec<String> {
    let member = super::spelled::head(member, 200);
    let mut words = vec![String::new()];
    let mut chars = member.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let next_is_small = chars.peek().is_some_and(|next| next.is_lowercase());
        let begins = c.is_uppercase() && (!before.is_uppercase() || next_is_small);
        if !c.is_alphabetic() || begins {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphabetic(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The places (JSON pointers) in a value of which the schema says that they hold secrets: `writeOnly`, or the format
/// `password`.
pub fn secrets_of(schema: &Value, value: &Value) -> Vec<String> {
    let mut walk = Walk { root: schema, found: Vec::new(), bytes: 0, steps: MAX_STEPS };
    walk.at(schema, value, &mut String::new(), MAX_DEPTH);
    if walk.bytes > MAX_PLACES {
        return vec![String::new()];
    }
    walk.found.sort();
    walk.found.dedup();
    walk.found
}

struct Walk<'s> {
    root: &'s Value,
    found: Vec<String>,
    bytes: usize,
    steps: usize,
}

impl<'s> Walk<'s> {
    fn at(&mut self, schema: &'s Value, value: &Value, pointer: &mut String, depth: usize) {
        let (Some(steps), Some(depth)) = (self.steps.checked_sub(1), depth.checked_sub(1)) else {
            return;
        };
        self.steps = steps;
        let is = |key, wanted: &Value| schema.get(key) == Some(wanted);
        if is("writeOnly", &Value::Bool(true)) || is("format", &Value::from("password")) {
            self.bytes = self.bytes.saturating_add(pointer.len()).saturating_add(1);
            if self.bytes > MAX_PLACES {
                self.steps = 0;
            } else {
                self.found.push(pointer.clone());
            }
            return;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str)
            && let Some(target) = target.strip_prefix('#').and_then(|at| self.root.pointer(at))
        {
            self.at(target, value, pointer, depth);
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for one in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                self.at(one, value, pointer, depth);
            }
        }
        for key in ["if", "then", "else"] {
            if let Some(one) = schema.get(key) {
                self.at(one, value, pointer, depth);
            }
        }
        self.inside(schema, value, pointer, depth);
    }

    fn inside(&mut self, schema: &'s Value, value: &Value, pointer: &mut String, depth: usize) {
        let length = pointer.len();
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    pointer.push('/');
                    pointer.push_str(&step(name));
                    for schema in of_member(schema, name) {
                        self.at(schema, member, pointer, depth);
                    }
                    pointer.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    pointer.push_str(&format!("/{index}"));
                    if let Some(schema) = of_item(schema, index) {
                        self.at(schema, item, pointer, depth);
                    }
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }
}

/// One step of a JSON pointer (RFC 6901).
pub(super) fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn of_member<'s>(schema: &'s Value, name: &str) -> Vec<&'s Value> {
    if let Some(own) = schema.get("properties").and_then(|all| all.get(name)) {
        return vec![own];
    }
    // Which pattern fits is not looked at: hidden too often is better than shown once.
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let patterns = patterns.into_iter().flat_map(|all| all.values());
    patterns.chain(schema.get("additionalProperties")).collect()
}

fn of_item(schema: &Value, index: usize) -> Option<&Value> {
    schema.get("prefixItems").and_then(|all| all.get(index)).or_else(|| schema.get("items"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_read_by_whole_words() {
        for secret in [
            "password",
            "newPassword",
            "PASSWORD",
            "password2",
            "pwd",
            "otp",
            "pin",
            "card_pin",
            "cvv",
            "privateKey",
            "private_key",
            "access_key",
            "AWSSecretAccessKey",
            "api-key",
            "X-Api-Key",
            "APIKey",
            "apikey",
            "access_token",
            "accessToken",
            "tokens",
            "client_secret",
            "Authorization",
            "pin_code",
            "db.password",
        ] {
            assert!(is_secret_name(secret), "{secret}");
        }
        for plain in [
            "recipient_token_account",
            "secretary_email",
            "token_type",
            "shipping",
            "pinned",
            "spin",
            "author",
            "passenger",
            "compass",
            "key",
            "to",
            "amount",
            "secret_id",
            "password_hint",
            "",
            "日本",
        ] {
            assert!(!is_secret_name(plain), "{plain}");
        }
    }

    #[test]
    fn a_schema_says_which_values_are_secrets() {
        let schema = json!({
            "type": "object",
            "properties": {
                "note": { "type": "string" },
                "answer": { "type": "string", "writeOnly": true },
                "login": { "$ref": "#/$defs/login" },
                "list": { "items": { "anyOf": [{ "format": "password" }, {}] } },
            },
            "$defs": { "login": { "properties": { "a/b": { "format": "password" }, "again": { "$ref": "#/$defs/login" } } } },
        });
        let value = json!({
            "note": "n", "answer": "a", "list": ["x", "y"],
            "login": { "a/b": "c", "user": "u", "again": { "a/b": "d" } },
        });
        assert_eq!(
            secrets_of(&schema, &value),
            ["/answer", "/list/0", "/list/1", "/login/again/a~1b", "/login/a~1b"]
        );
    }

    /// Each place has the name in it: listed, these would be 5 GB.
    #[test]
    fn long_names_of_many_secrets_make_one_secret_of_the_whole() {
        let schema = json!({ "additionalProperties": { "items": { "writeOnly": true } } });
        let value = json!({ "n".repeat(500_000): vec![0; 10_000], "to": "eve" });
        assert_eq!(secrets_of(&schema, &value), [""]);
        let lines = crate::confirm::Lines::with_secrets(br#"{"to":"eve"}"#, &[String::new()]);
        assert!(lines.unwrap().lines.iter().all(|line| line.shown.starts_with("hidden")));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let round = json!({ "$ref": "#" });
        assert!(secrets_of(&round, &json!({ "a": 1 })).is_empty());
        let many = json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }, { "$ref": "#" }] });
        assert!(secrets_of(&many, &json!([[[1]]])).is_empty());
    }
}
