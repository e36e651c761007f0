//! What a page says about the change before it: texts from a closed list. The address of a page is
//! anybody's to write, so nothing of it is shown; a name counts only when the page lists it.

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A value was stored.
    Stored(String),
    /// A value was forgotten.
    Forgot(String),
    /// Nothing was done, for this reason.
    Refused(&'static str),
}

/// The form was sent without a value.
pub(super) const EMPTY: &str = "EMPTY";
/// A value was to be forgotten, but the box was not ticked.
pub(super) const NOT_SURE: &str = "NOT_SURE";

const REASONS: &[(&str, &str)] = &[
    (EMPTY, "Nothing was stored: type the value first."),
    (NOT_SURE, "Nothing was forgotten: tick the box first."),
    (
        "CONFIRM_ON_PAGE", // what was typed here was confirmed, so they want another person
        "Nothing was changed: the rules want somebody else to confirm this, which a page cannot do yet.",
    ),
    ("PERMISSION_DENIED", "Nothing was changed: the rules do not let you change this secret."),
    ("TENANT_SCOPE_VIOLATION", "Nothing was changed: this app belongs to another tenant."),
    ("SECRET_NOT_DECLARED", "Nothing was changed: the app declares no secret of that name."),
    ("SECRET_TOO_LARGE", "Nothing was stored: the value is longer than this secret may be."),
    (
        "SECRET_CHANGED",
        "Nothing was stored: somebody else changed it at the same moment. Look, and try again.",
    ),
    (
        "VAULT_UNAVAILABLE",
        "Nothing was stored: the secret vault is unavailable. Try again in a moment.",
    ),
    (
        "AUDIT_UNAVAILABLE",
        "Nothing was changed: the audit ledger cannot record it. Try again in a moment.",
    ),
    ("POLICIES_UNAVAILABLE", "Nothing was changed: no rules are in force. Ask your operator."),
    ("BUSY", "Nothing was changed: too much is going on at once. Try again in a moment."),
    (
        "UNAVAILABLE",
        "It is not certain that this was done: the gateway could not answer. Look at the times below.",
    ),
    (
        "OUTCOME_UNRECORDED",
        "This was carried out, but could not be recorded as it should. Tell your operator.",
    ),
];

/// What is said for a code that has no text of its own.
const OTHERWISE: &str = "That did not work. Look at the times below before you try again.";

impl Notice {
    /// The notice that a query asks for; of names, only `known` ones count.
    pub(super) fn of_query(query: &str, known: impl Fn(&str) -> bool) -> Option<Self> {
        let (key, value) = form_urlencoded::parse(query.as_bytes()).next()?;
        match key.as_ref() {
            "stored" if known(&value) => Some(Self::Stored(value.into_owned())),
            "forgot" if known(&value) => Some(Self::Forgot(value.into_owned())),
            "refused" => Some(Self::Refused(reason(&value))),
            _ => None,
        }
    }
}

fn reason(code: &str) -> &'static str {
    REASONS.iter().find(|(known, _)| *known == code).map_or(OTHERWISE, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_address_is_said() {
        let known = |name: &str| name == "token";
        assert_eq!(Notice::of_query("stored=token", known), Some(Notice::Stored("token".into())));
        assert_eq!(Notice::of_query("forgot=token", known), Some(Notice::Forgot("token".into())));
        for query in ["", "stored=%3Cb%3E", "stored=other", "x=y"] {
            assert_eq!(Notice::of_query(query, known), None, "{query}");
        }
        let made_up = Notice::of_query("refused=Call+0900+now", known);
        assert_eq!(made_up, Some(Notice::Refused(OTHERWISE)));
    }
}
