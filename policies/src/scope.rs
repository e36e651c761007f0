//! Scopes: one matcher over both separators, and what a tool needs (wire-contract 1.2).

use crate::vocabulary::ToolSpec;

/// What a tool needs: all of `all`, or, when the manifest declares none, any of `fallback`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeNeed {
    /// Declared by the manifest; every one is needed. Empty when nothing is declared.
    pub all: Vec<String>,
    /// One of these is enough; used only when `all` is empty.
    pub fallback: Vec<String>,
}

/// Says whether a scope as granted covers a needed one.
///
/// `*` covers everything, a scope covers itself, and `P.*` or `P:*` covers `P` and whatever begins with `P.` or `P:`.
/// Case matters. A `*` anywhere else is an ordinary character.
pub fn grants(granted: &str, needed: &str) -> bool {
    if granted == "*" || granted == needed {
        return true;
    }
    let prefix = granted.strip_suffix(".*").or_else(|| granted.strip_suffix(":*"));
    match prefix.filter(|p| !p.is_empty()).and_then(|p| needed.strip_prefix(p)) {
        Some(rest) => rest.is_empty() || rest.starts_with(['.', ':']),
        None => false,
    }
}

/// What the tool needs: its declared scopes, else `{app}:{action_type}` with the fallbacks
/// `{app}:*`, `extensions:{action_type}` and `*`.
pub fn required(spec: &ToolSpec) -> ScopeNeed {
    if !spec.scopes.is_empty() {
        return ScopeNeed { all: spec.scopes.clone(), fallback: Vec::new() };
    }
    let (app, action) = (spec.name.app(), spec.action_type);
    let fallback = vec![
        format!("{app}:{action}"),
        format!("{app}:*"),
        format!("extensions:{action}"),
        "*".to_owned(),
    ];
    ScopeNeed { all: Vec::new(), fallback }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wildcard_covers_its_namespace_over_both_separators() {
        for (granted, needed) in [
            ("*", "x"),
            ("mail:send", "mail:send"),
            ("mail:*", "mail:send"),
            ("mail:*", "mail.send"),
            ("mail.*", "mail:send"),
            ("mail:*", "mail"),
            ("mail:a.*", "mail:a:b"),
        ] {
            assert!(grants(granted, needed), "{granted} should cover {needed}");
        }
    }

    #[test]
    fn wildcard_does_not_cover_a_namespace_that_only_begins_alike() {
        for (granted, needed) in [
            ("mail:*", "mailbox:send"),
            ("mail:send", "mail:sendall"),
            ("mail:send", "mail"),
            ("Mail:*", "mail:send"),
            (":*", "mail"),
            (".*", ".x"),
            ("", "mail"),
            ("mail*", "mail:send"),
            ("mail:*:x", "mail:send:x"),
            ("mail:read", "*"),
        ] {
            assert!(!grants(granted, needed), "{granted} should not cover {needed}");
        }
    }

    fn spec(scopes: &[&str]) -> ToolSpec {
        ToolSpec {
            name: "notes/list".parse().unwrap(),
            description: String::new(),
            action_type: crate::ActionType::Read,
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            input_schema: json!({"type": "object"}),
        }
    }

    #[test]
    fn declared_scopes_leave_no_fallback() {
        let need = required(&spec(&["notes:secret"]));
        assert_eq!((need.all, need.fallback), (vec!["notes:secret".to_owned()], vec![]));
    }

    #[test]
    fn undeclared_scopes_fall_back_to_app_and_action_type() {
        let need = required(&spec(&[]));
        assert!(need.all.is_empty());
        assert_eq!(need.fallback, ["notes:read", "notes:*", "extensions:read", "*"]);
    }
}
