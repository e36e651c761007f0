//! What a model is told about arguments that do not fit, so that it can correct itself (wire-contract.md section 7).

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::refusal::Violation;

/// Tries that a model may make after the first one (S3, 4.1.0).
const RETRIES: u32 = 2;

/// Which try of the same call by the same session this was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// How many more may make sense; 0 tells to ask the person instead.
    pub left: u32,
}

impl Attempt {
    /// The `number`th attempt.
    #[must_use]
    pub fn of(number: u32) -> Self {
        Self { number, left: (RETRIES + 1).saturating_sub(number) }
    }

    /// The word for the log: `no_retry`, `exhausted`.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        if self.left == 0 { "exhausted" } else { "no_retry" }
    }
}

/// Every argument that does not fit, and how often this was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// What does not fit.
    pub violations: Vec<Violation>,
    /// Counted at the end of the call; none where nobody counts.
    pub attempt: Option<Attempt>,
}

impl From<Vec<Violation>> for Feedback {
    fn from(violations: Vec<Violation>) -> Self {
        Self { violations, attempt: None }
    }
}

impl Feedback {
    /// Whether something that must be there is not.
    #[must_use]
    pub fn is_missing_something(&self) -> bool {
        self.violations.iter().any(Violation::is_of_a_missing_member)
    }

    /// Dotted names of the arguments in question.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        self.violations.iter().map(Violation::dotted).collect()
    }

    /// One header line, one line an error, a blank line, one closing line: the shape that models are used to.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = "The arguments do not fit; nothing was carried out:\n".to_owned();
        for violation in &self.violations {
            text.push_str(&format!("- '{}': {}\n", violation.dotted(), violation.message));
        }
        text.push('\n');
        text.push_str(match self.attempt {
            Some(Attempt { left: 0, .. }) => {
                "Do not retry: ask the person for what is missing or wrong."
            }
            _ => "Correct these arguments and call again.",
        });
        text
    }

    /// The members of a refusal's body that are about the arguments.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        let missing: Vec<String> = self
            .violations
            .iter()
            .filter(|violation| violation.is_of_a_missing_member())
            .map(Violation::dotted)
            .collect();
        let mut members = Map::new();
        members.insert("violations".into(), json!(self.violations));
        members.insert("missing_fields".into(), json!(missing));
        members.insert("feedback".into(), json!(self.text()));
        if let Some(attempt) = self.attempt {
            members.insert("attempt".into(), json!(attempt.number));
            members.insert("attempts_left".into(), json!(attempt.left));
        }
        members
    }
}

impl fmt::Display for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments do not fit the tool's schema: ")?;
        for (index, violation) in self.violations.iter().enumerate() {
            let place = if violation.path.is_empty() { "/" } else { &violation.path };
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{place}: {}", violation.message)?;
        }
        Ok(())
    }
}
