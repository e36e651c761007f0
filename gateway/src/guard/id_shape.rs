//! `msg-budget-1` instead of an id that an answer gave (I-AH-1).

use serde_json::Value;

/// Arguments that name a message or its thread.
const IDS: [&str; 4] = ["message_id", "thread_id", "email_id", "msg_id"];

/// Longest value that is repeated to the caller, in characters.
const SHOWN: usize = 64;

/// The first such argument whose value has the shape of an invented id, with that value.
pub(super) fn find(args: &Value) -> Option<(&'static str, String)> {
    IDS.into_iter().find_map(|field| {
        let value = args.get(field)?.as_str()?;
        is_fabricated(value).then(|| (field, value.chars().take(SHOWN).collect()))
    })
}

/// `^[a-z][a-z0-9]*-[a-z][a-z0-9]*-\d+$`
fn is_fabricated(value: &str) -> bool {
    let mut parts = value.split('-');
    let (Some(first), Some(second), Some(number), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    is_word(first)
        && is_word(second)
        && !number.is_empty()
        && number.bytes().all(|c| c.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    text.bytes().next().is_some_and(|c| c.is_ascii_lowercase())
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_invented_id_is_found_with_its_field() {
        assert_eq!(find(&json!({"message_id": "a-b-1"})), Some(("message_id", "a-b-1".to_owned())));
        assert_eq!(find(&json!({"x": 1, "thread_id": "mail2-inbox-42"})).unwrap().0, "thread_id");
    }

    #[test]
    fn real_ids_other_arguments_and_other_shapes_pass() {
        for id in ["18c2f", "a-b", "a-b-c", "A-b-1", "a-b-1-2", "a--1", "-a-1", "a-b-", "a_b-c-1"] {
            assert_eq!(find(&json!({ "message_id": id })), None, "{id}");
        }
        assert_eq!(find(&json!({"note_id": "a-b-1"})), None);
        assert_eq!(find(&json!({"nested": {"message_id": "a-b-1"}})), None);
        assert_eq!(find(&json!({"message_id": 7})), None);
    }
}
