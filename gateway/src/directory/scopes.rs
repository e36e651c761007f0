//! The form of a scope, and what two grants have in common.

use portcullis_policies::scope::grants;

use super::DirectoryError;

/// Longest scope that the directory keeps, in bytes.
const MAX_SCOPE_BYTES: usize = 128;

/// Accepts `*`, or a namespace and at least one more part, joined by `:` or `.` (the form that manifests
/// use, wire-contract 1.2).
pub(crate) fn check_scope(scope: &str) -> Result<(), DirectoryError> {
    let mut parts = scope.split([':', '.']);
    let namespace = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let whole = is_namespace(namespace) && !rest.is_empty() && rest.iter().all(|p| is_part(p));
    if scope == "*" || (whole && scope.len() <= MAX_SCOPE_BYTES) {
        Ok(())
    } else {
        Err(DirectoryError::Invalid {
            what: "scope",
            why: "`*`, or a form like `notes:read` or `notes:*` in lowercase",
        })
    }
}

pub(crate) fn check_scopes(scopes: &[String]) -> Result<(), DirectoryError> {
    scopes.iter().try_for_each(|scope| check_scope(scope))
}

/// What both lists grant: a key can never do more than its owner, nor more than it was made for.
pub(crate) fn common(owner: &[String], key: &[String]) -> Vec<String> {
    let mut both: Vec<String> = Vec::new();
    for ours in owner {
        for theirs in key {
            let narrower = match (grants(ours, theirs), grants(theirs, ours)) {
                (true, _) => theirs,
                (false, true) => ours,
                (false, false) => continue,
            };
            both.push(narrower.clone());
        }
    }
    both.sort_unstable();
    both.dedup();
    both
}

/// Those of `wanted` that `held` does not cover.
pub(crate) fn beyond(held: &[String], wanted: &[String]) -> Vec<String> {
    let covered = |scope: &String| held.iter().any(|ours| grants(ours, scope));
    wanted.iter().filter(|scope| !covered(scope)).cloned().collect()
}

fn is_namespace(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_lowercase()) && !part.contains('*') && is_part(part)
}

fn is_part(part: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-*".contains(c);
    !part.is_empty() && part.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(|&s| s.to_owned()).collect()
    }

    #[test]
    fn a_key_never_grants_more_than_its_owner_has() {
        assert_eq!(common(&list(&["notes:read"]), &list(&["*"])), list(&["notes:read"]));
        assert_eq!(common(&list(&["notes:*"]), &list(&["notes:read"])), list(&["notes:read"]));
        assert_eq!(common(&list(&["notes:read"]), &list(&["mail:read"])), list(&[]));
        assert_eq!(common(&list(&["*"]), &list(&["notes:*"])), list(&["notes:*"]));
    }

    #[test]
    fn nobody_covers_a_wildcard_by_one_of_its_parts() {
        let beyond_of = |held: &[&str], wanted: &[&str]| beyond(&list(held), &list(wanted));
        assert_eq!(beyond_of(&["notes:*"], &["notes:read", "notes:*"]), list(&[]));
        assert_eq!(beyond_of(&["notes:read"], &["notes:*", "*"]), list(&["notes:*", "*"]));
        assert_eq!(beyond_of(&["*"], &["mail:send", "*"]), list(&[]));
    }

    #[test]
    fn scopes_of_another_form_are_refused() {
        for bad in ["", "notes", ":read", "notes:", "Notes:read", "notes:re ad", "*:read", "a::b"] {
            assert!(check_scope(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["*", "notes:read", "notes:*", "cases.*", "a.b:c_d-e"] {
            assert!(check_scope(good).is_ok(), "{good:?} was refused");
        }
    }
}
