//! The code of an error in the arguments of a write (I-WRITE-ARG-NO-BLEED).
//!
//! Narrower than the SDK's own check, which finds the code INTERNAL in "our internal wiki": a code counts as a word of
//! its own in its own letters, or by its i18n key, and one that is also an English word only when it is the whole value.

use serde_json::Value;

use super::taxonomy;

/// Whether any string, at any depth, holds one of these codes.
pub(super) fn holds_any(value: &Value, codes: &[&'static str]) -> bool {
    match value {
        Value::String(text) => codes.iter().any(|code| holds(text, code)),
        Value::Array(items) => items.iter().any(|item| holds_any(item, codes)),
        Value::Object(members) => members.values().any(|member| holds_any(member, codes)),
        _ => false,
    }
}

fn holds(text: &str, code: &str) -> bool {
    let named = taxonomy::find(code).is_some_and(|entry| has_word(text, entry.i18n_key));
    let is_a_word_of_english = !code.contains('_');
    named || if is_a_word_of_english { text.trim() == code } else { has_word(text, code) }
}

/// Whether `word` stands in `text` with no letter, digit, `_` or `.letter` that goes on before or after it.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).unwrap_or_default();
        let goes_on = match after.strip_prefix('.') {
            Some(rest) => rest.chars().next().is_some_and(char::is_alphanumeric),
            None => after.chars().next().is_some_and(is_of_word),
        };
        !goes_on && !before.is_some_and(|c| is_of_word(c) || c == '.')
    })
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FAILED: [&str; 3] = ["BACKEND_TIMEOUT", "INTERNAL", "VALIDATION_MISSING_FIELD"];

    #[test]
    fn an_error_that_was_written_down_is_found() {
        for text in [
            "BACKEND_TIMEOUT",
            "Error: VALIDATION_MISSING_FIELD.",
            "{\"error_code\":\"BACKEND_TIMEOUT\"}",
            " INTERNAL ",
            "see errors.internal",
            "(errors.backend.timeout)",
        ] {
            assert!(holds_any(&json!({"deep": [{"body": text}]}), &FAILED), "{text}");
        }
    }

    #[test]
    fn ordinary_prose_passes() {
        for text in [
            "our internal wiki",
            "INTERNAL USE ONLY",
            "The backend had a timeout",
            "backend_timeout",
            "MY_BACKEND_TIMEOUT_MS",
            "errors.internal.wiki",
            "my.errors.internal",
        ] {
            assert!(!holds_any(&json!({ "body": text }), &FAILED), "{text}");
        }
    }

    #[test]
    fn only_what_failed_counts() {
        assert!(!holds_any(&json!({"body": "RATE_LIMITED"}), &FAILED));
    }
}
