//! A counterexample in words and as a ready case.

use std::fmt;

use cedar_policy_symcc::Env;
use serde_json::{Value as Json, json};

use super::ProveError;

/// A request and entities that show that something does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// A file name for the case, without a folder.
    pub file_name: String,
    case: Json,
}

impl Counterexample {
    /// Reads what the solver found. `subject` names what does not hold.
    pub(super) fn of(subject: &str, found: &Env) -> Result<Self, ProveError> {
        let unreadable = |e: &dyn fmt::Display| ProveError::Encoding(e.to_string());
        let request = &found.request;
        let uid = |uid: Option<&cedar_policy::EntityUid>| uid.map(ToString::to_string);
        let context = request.context().map(cedar_policy::Context::to_json_value).transpose();
        let entities = found.entities.to_json_value().map_err(|e| unreadable(&e))?;
        let case = json!({
            "name": format!("counterexample: {subject}"),
            "request": {
                "principal": uid(request.principal()),
                "action": uid(request.action()),
                "resource": uid(request.resource()),
                "context": context.map_err(|e| unreadable(&e))?,
            },
            "entities": entities,
            "decision": "deny",
            "reason": [],
            "num_errors": 0,
        });
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = subject.chars().map(word).collect();
        Ok(Self { file_name: format!("counterexample-{name}.json"), case })
    }

    /// A case file as it goes into `policies/cases/`: it fails until the rules are mended, and keeps them so.
    pub fn case_file(&self) -> String {
        let file = Json::Array(vec![self.case.clone()]);
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    /// `{fileName, case}`.
    pub fn to_json(&self) -> Json {
        json!({"fileName": self.file_name, "case": self.case})
    }

    fn part(&self, name: &str) -> String {
        let part = self.case.get("request").and_then(|r| r.get(name));
        part.map(|p| p.as_str().map_or_else(|| p.to_string(), str::to_owned)).unwrap_or_default()
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in ["principal", "action", "resource", "context"] {
            writeln!(f, "{name:<10} {}", self.part(name))?;
        }
        let entities = self.case.get("entities").and_then(Json::as_array);
        for entity in entities.into_iter().flatten() {
            let attributes = entity.get("attrs").map(Json::to_string).unwrap_or_default();
            // Actions carry nothing that a person could read off.
            if attributes == "{}" {
                continue;
            }
            writeln!(
                f,
                "{:<10} {} {attributes}",
                "entity",
                entity.get("uid").unwrap_or(&Json::Null)
            )?;
        }
        Ok(())
    }
}
