//! JSON Schema for arguments: compiled once, offline, with linear-time patterns; and the digest
//! that tells whether what a tool says about itself has changed.
//!
//! Draft 2020-12 unless the schema names another in `$schema`. A `$ref` to anywhere but the
//! schema itself is refused: validation never opens a file or a connection. Patterns run on the
//! `regex` engine, so a hostile schema cannot make a hostile argument run for minutes; the price is
//! that look-around is refused when the tool is loaded, not when it is called.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use portcullis_policies::ActionType;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Most violations that one check reports.
pub const MAX_VIOLATIONS: usize = 32;

/// Deepest schema that is compiled, in nested objects and lists: compiling recurses.
const MAX_DEPTH: usize = 64;
/// Largest schema that is compiled, in bytes of canonical JSON.
const MAX_BYTES: usize = 512 * 1024;
/// Memory that one compiled pattern may take, in bytes.
const MAX_PATTERN: usize = 1 << 20;

/// One way in which arguments do not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON Pointer (RFC 6901) into the arguments, `""` for the whole.
    pub path: String,
    /// What is wrong, without the offending value: that may be a secret.
    pub message: String,
    /// The JSON Schema keyword that failed, for instance `required`.
    pub keyword: String,
    /// The member that must be there and is not, for `required`.
    pub missing: Option<String>,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Larger or deeper than is compiled.
    #[error("the schema is too large (at most {MAX_BYTES} bytes and {MAX_DEPTH} levels)")]
    TooLarge,
    /// Not a schema of an argument object.
    #[error("the schema of arguments must describe an object (\"type\": \"object\")")]
    NotAnObject,
    /// Not a JSON Schema, a reference outside itself, or a pattern that is not supported.
    #[error("not a usable JSON Schema: {0}")]
    Invalid(String),
}

/// Compiles the schema of a tool's arguments.
///
/// # Errors
/// As [`compile`], and when the schema does not describe an object.
pub fn compile_input(schema: &Value) -> Result<Validator, SchemaError> {
    let object = schema.as_object().ok_or(SchemaError::NotAnObject)?;
    match object.get("type") {
        None => {}
        Some(Value::String(t)) if t == "object" => {}
        Some(_) => return Err(SchemaError::NotAnObject),
    }
    compile(schema)
}

/// Compiles any schema.
///
/// # Errors
/// When it is too large, is not a JSON Schema, points outside itself, or uses a pattern that the
/// linear-time engine does not support.
pub fn compile(schema: &Value) -> Result<Validator, SchemaError> {
    if depth(schema) > MAX_DEPTH || canonical(schema).len() > MAX_BYTES {
        return Err(SchemaError::TooLarge);
    }
    let mut options = jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN));
    if schema.get("$schema").is_none() {
        options = options.with_draft(Draft::Draft202012);
    }
    options.build(schema).map_err(|e| {
        let why: String = e.to_string().chars().take(300).collect();
        SchemaError::Invalid(format!("{why} (at \"{}\")", e.instance_path()))
    })
}

/// Checks arguments; all violations with their paths, at most [`MAX_VIOLATIONS`].
///
/// # Errors
/// The violations, never empty.
pub fn check(validator: &Validator, arguments: &Value) -> Result<(), Vec<Violation>> {
    if validator.is_valid(arguments) {
        return Ok(());
    }
    let found: Vec<Violation> =
        validator.iter_errors(arguments).take(MAX_VIOLATIONS).map(|e| violation(&e)).collect();
    Err(found)
}

fn violation(e: &ValidationError<'_>) -> Violation {
    Violation {
        path: e.instance_path().as_str().chars().take(200).collect(),
        message: e.masked_with("the value").to_string().chars().take(300).collect(),
        keyword: e.kind().keyword().to_owned(),
        missing: match e.kind() {
            ValidationErrorKind::Required { property } => property.as_str().map(str::to_owned),
            _ => None,
        },
    }
}

/// SHA-256 over what a tool says about itself: `"portcullis/tool/v1\n"` and the canonical JSON of
/// `{"actionType", "description", "inputSchema"}`. Equal for any order of keys.
///
/// The claimed action type is part of it: a server that turns a tool "read" by changing a hint
/// would otherwise take it past the confirmation gate unnoticed.
pub fn digest(description: &str, input_schema: &Value, claimed: ActionType) -> [u8; 32] {
    let said = serde_json::json!({
        "actionType": claimed, "description": description, "inputSchema": input_schema
    });
    let mut hash = Sha256::new();
    hash.update(b"portcullis/tool/v1\n");
    hash.update(canonical(&said));
    hash.finalize().into()
}

/// JSON with keys sorted by code point and no white space. Sorted here because another crate in
/// the build may switch `serde_json` to insertion order.
pub fn canonical(v: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_canonical(v, &mut out);
    out
}

fn write_canonical(v: &Value, out: &mut Vec<u8>) {
    match v {
        Value::Object(o) => {
            let mut keys: Vec<&String> = o.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_scalar(key, out);
                out.push(b':');
                write_canonical(o.get(key).unwrap_or(&Value::Null), out);
            }
            out.push(b'}');
        }
        Value::Array(a) => {
            out.push(b'[');
            for (i, item) in a.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        scalar => write_scalar(scalar, out),
    }
}

/// A text, a number, a truth value or null; writing these to memory can't fail.
fn write_scalar(scalar: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, scalar).ok();
}

fn depth(v: &Value) -> usize {
    match v {
        Value::Object(o) => 1 + o.values().map(depth).max().unwrap_or(0),
        Value::Array(a) => 1 + a.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests;
