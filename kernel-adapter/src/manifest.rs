//! The app manifest `imperal.json`, version 3 (wire contract section 6).
//!
//! Reading is strict and tells everything at once: each [`Finding`] carries the JSON path, the rule
//! that it breaks and what is wrong. Rules named `M..` and `V..` are those of imperal-sdk 6.3.7;
//! rules named `GW-..` are ours, for what that SDK lets pass although the gateway relies on it.
//!
//! Read [`layout`] first: the shape of the file as one table.

mod layout;
mod publish;
mod rules;
mod shape;
mod words;

use serde::Serialize;
use serde_json::{Map, Value};

use self::shape::Findings;
use crate::secret::SecretDeclaration;

/// Largest manifest that is read, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most tools that one manifest may declare.
pub const MAX_TOOLS: usize = 1_000;
/// Most findings that one reading reports; what is beyond is counted, not listed.
pub const MAX_FINDINGS: usize = 200;

/// How severe the publishing rules (`V3`, `V4`, `V14`..`V35`) are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// An operator loads an app that exists: publishing rules are warnings.
    #[default]
    Load,
    /// An author publishes an app: publishing rules have the level of the SDK.
    Publish,
}

/// Whether a finding stops the manifest from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The manifest is refused.
    Error,
    /// The manifest is used; the author should know.
    Warning,
}

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// JSON Pointer (RFC 6901) to the value, `""` for the whole file.
    pub path: String,
    /// Rule id, for instance `M3`, `V25` or `GW-TOOL-UNIQUE`.
    pub rule: &'static str,
    /// Error or warning.
    pub level: Level,
    /// What is wrong and what is expected; at most a few hundred characters of the input.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = if self.path.is_empty() { "(root)" } else { &self.path };
        write!(f, "{} at {at}: {}", self.rule, self.message)
    }
}

/// Why a manifest was refused: every finding, errors and warnings.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", list(.findings))]
pub struct ManifestErrors {
    /// All findings, in the order of the file where that is known, at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

/// A manifest that may be used.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// `app_id`, which satisfies `^[a-z0-9][a-z0-9-]*[a-z0-9]$`.
    pub app_id: String,
    /// `version`, semantic version without build metadata.
    pub version: String,
    /// `name`, or the app id where it is absent.
    pub name: String,
    /// `description`, empty where absent.
    pub description: String,
    /// `required_scopes`: what the app as a whole asks for.
    pub required_scopes: Vec<String>,
    /// `system`: a first-party app.
    pub system: bool,
    /// The tools in the order of the file; names are unique.
    pub tools: Vec<ManifestTool>,
    /// The secrets in the order of the file; names are unique.
    pub secrets: Vec<SecretDeclaration>,
    /// The file as parsed, for parts that other subsystems read (webhooks, panels).
    pub document: Map<String, Value>,
    /// Findings that did not stop the reading.
    pub warnings: Vec<Finding>,
}

/// One tool of a manifest.
#[derive(Debug, Clone)]
pub struct ManifestTool {
    /// Function name, `^[a-zA-Z_][a-zA-Z0-9_]*$`.
    pub name: String,
    /// Description as shown to people and models.
    pub description: String,
    /// `read`, `write` or `destructive` as written; `None` counts as destructive.
    pub action_type: Option<String>,
    /// Scopes that are all needed; empty means the default rule of wire contract 1.2.
    pub scopes: Vec<String>,
    /// JSON Schema of the arguments: `params_schema`, else made from `parameters`, else "no
    /// arguments": a tool that wants arguments has to say which.
    pub input_schema: Value,
    /// `background` or `long_running`: the call may outlive one request.
    pub long_running: bool,
}

impl IntoIterator for ManifestErrors {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.findings.into_iter()
    }
}

impl Manifest {
    /// Reads `imperal.json` for an operator: [`Manifest::read`] with [`Profile::Load`].
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestErrors> {
        Manifest::read(bytes, Profile::Load)
    }

    /// Reads `imperal.json`.
    ///
    /// # Errors
    /// All findings when at least one is an error. Never panics, whatever the bytes
    /// (`never_panics_on_arbitrary_json`).
    pub fn read(bytes: &[u8], profile: Profile) -> Result<Manifest, ManifestErrors> {
        let mut findings = Findings::new();
        let root = parse(bytes, &mut findings);
        if let Some(root) = &root {
            layout::check(root, &mut findings);
            rules::check(root, &mut findings);
            publish::check(root, profile, &mut findings);
        }
        let findings = findings.into_sorted();
        match root {
            Some(root) if findings.iter().all(|f| f.level == Level::Warning) => {
                Ok(assemble(root, findings))
            }
            _ => Err(ManifestErrors { findings }),
        }
    }
}

fn parse(bytes: &[u8], findings: &mut Findings) -> Option<Map<String, Value>> {
    if bytes.len() > MAX_BYTES {
        findings.error("", "GW-SIZE", format!("larger than {MAX_BYTES} bytes"));
        return None;
    }
    // serde_json refuses nesting beyond 128, so depth is bounded too.
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(root)) => Some(root),
        Ok(other) => {
            let kind = shape::kind(&other);
            findings.error("", "M1", format!("must be a JSON object, not {kind}"));
            None
        }
        Err(e) => {
            findings.error("", "M1", format!("not JSON: {e}"));
            None
        }
    }
}

/// Builds the typed form of a root that passed every check; missing optional fields are empty.
fn assemble(root: Map<String, Value>, warnings: Vec<Finding>) -> Manifest {
    let app_id = text(&root, "app_id");
    let name = text(&root, "name");
    Manifest {
        version: text(&root, "version"),
        name: if name.is_empty() { app_id.clone() } else { name },
        description: text(&root, "description"),
        required_scopes: texts(&root, "required_scopes"),
        system: flag(&root, "system"),
        tools: objects(&root, "tools").map(tool).collect(),
        secrets: objects(&root, "secrets").map(SecretDeclaration::of).collect(),
        app_id,
        document: root,
        warnings,
    }
}

fn tool(t: &Map<String, Value>) -> ManifestTool {
    ManifestTool {
        name: text(t, "name"),
        description: text(t, "description"),
        action_type: t.get("action_type").and_then(Value::as_str).map(str::to_owned),
        scopes: texts(t, "scopes"),
        input_schema: input_schema(t),
        long_running: flag(t, "background") || flag(t, "long_running"),
    }
}

fn input_schema(t: &Map<String, Value>) -> Value {
    match t.get("params_schema").and_then(Value::as_object) {
        Some(schema) if !schema.is_empty() => Value::Object(schema.clone()),
        _ => from_parameters(t.get("parameters").and_then(Value::as_object)),
    }
}

/// The older `parameters` map `{name: {type, required}}` as a closed JSON Schema object.
fn from_parameters(parameters: Option<&Map<String, Value>>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, p) in parameters.into_iter().flatten() {
        let kind = p.get("type").and_then(Value::as_str).unwrap_or("string");
        let mut schema = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        if let Some(d) = p.get("description").and_then(Value::as_str) {
            schema.insert("description".to_owned(), Value::from(d));
        }
        properties.insert(name.clone(), Value::Object(schema));
        if p.get("required").and_then(Value::as_bool) == Some(true) {
            required.push(Value::from(name.as_str()));
        }
    }
    serde_json::json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false
    })
}

fn text(o: &Map<String, Value>, key: &str) -> String {
    o.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn flag(o: &Map<String, Value>, key: &str) -> bool {
    o.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn texts(o: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = o.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn objects<'a>(
    o: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    o.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

#[cfg(test)]
mod tests;
