//! `<RECIPIENT>` instead of a recipient (I-PARAMS-NO-PLACEHOLDER-VALUES).

use serde_json::Value;

/// Paths that are named; more are counted in nobody's favour.
const NAMED: usize = 5;

/// Where strings are placeholders, as `a.b[0]`, at most five.
pub(super) fn paths(args: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(args, &mut String::new(), &mut found);
    found
}

fn walk(value: &Value, path: &mut String, found: &mut Vec<String>) {
    if found.len() == NAMED {
        return;
    }
    let here = path.len();
    match value {
        Value::String(text) if is_placeholder(text) => found.push(path.clone()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(item, path, found);
                path.truncate(here);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                if here > 0 {
                    path.push('.');
                }
                // A caller's text: printable and short.
                path.extend(name.chars().filter(|c| !c.is_control()).take(64));
                walk(member, path, found);
                path.truncate(here);
            }
        }
        _ => {}
    }
}

/// `^<[A-Z][A-Z0-9_]*>$` after trimming.
fn is_placeholder(text: &str) -> bool {
    let inner = text.trim().strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let Some(name) = inner else { return false };
    let rest = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    name.bytes().next().is_some_and(|c| c.is_ascii_uppercase()) && name.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_placeholder_is_found_at_any_depth_and_named_by_its_path() {
        let args = json!({"to": "<RECIPIENT>", "parts": [{"body": " <BODY_2> "}, "<X>"], "n": 1});
        assert_eq!(paths(&args), ["to", "parts[0].body", "parts[1]"]);
        assert_eq!(paths(&json!("<WHOLE>")), [""]);
    }

    #[test]
    fn text_that_only_looks_like_one_passes() {
        for text in
            ["<b>", "<A", "A>", "<>", "<1A>", "x <NAME>", "<NAME> y", "<Name>", "<A-B>", "<A B>"]
        {
            assert!(paths(&json!({ "t": text })).is_empty(), "{text}");
        }
    }

    #[test]
    fn at_most_five_are_named() {
        let many: Vec<&str> = vec!["<X>"; 50];
        assert_eq!(paths(&json!({ "many": many })).len(), NAMED);
    }
}
