//! What does not fit a tool's schema, value by value.

use serde::Serialize;

/// One argument that does not fit the tool's JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON Pointer (RFC 6901) of the offending value; empty for the whole arguments.
    pub path: String,
    /// What is wrong, in words for the caller.
    pub message: String,
    /// The JSON Schema keyword that failed (`required`, `type`, `enum`, ...).
    pub keyword: String,
    /// The member that must be there and is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Violation {
    /// Whether something that must be there is not.
    #[must_use]
    pub fn is_of_a_missing_member(&self) -> bool {
        self.keyword == "required"
    }

    /// The argument in question as models know it: `a.0.b`.
    #[must_use]
    pub fn dotted(&self) -> String {
        let parts =
            self.path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
        parts.chain(self.missing.clone()).collect::<Vec<_>>().join(".")
    }
}
