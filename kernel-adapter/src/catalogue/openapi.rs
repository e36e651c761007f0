//! OpenAPI 3 files (JSON) to routes: paths, methods and parameters.
//!
//! Bodies are not read from the file: they stream through and no rule sees them. A query that the
//! file declares nothing of lets nothing through.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::routes::{Param, ParamKind, RouteSpec};

/// Why an OpenAPI file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    /// Not JSON; YAML has to be converted first.
    #[error("not JSON: {0} (convert YAML to JSON first)")]
    NotJson(String),
    /// No `openapi: 3.x`, or no `paths`.
    #[error("not an OpenAPI 3 file: it needs \"openapi\": \"3...\" and an object \"paths\"")]
    NotOpenApi3,
}

/// The routes that a file describes, ready for [`super::routes::RouteTable::new`].
///
/// `operationId` becomes the function name where it can be one and is unique; else the name is made
/// from method and path. Methods other than GET, POST, PUT, PATCH and DELETE are left out.
///
/// # Errors
/// When the file is no OpenAPI 3 JSON.
pub fn routes(file: &[u8]) -> Result<Vec<RouteSpec>, OpenApiError> {
    let root: Value =
        serde_json::from_slice(file).map_err(|e| OpenApiError::NotJson(e.to_string()))?;
    let version = root.get("openapi").and_then(Value::as_str).unwrap_or_default();
    let paths = root.get("paths").and_then(Value::as_object);
    let Some(paths) = paths.filter(|_| version.starts_with("3.")) else {
        return Err(OpenApiError::NotOpenApi3);
    };
    let mut found = Vec::new();
    for (path, item) in paths {
        for method in ["get", "post", "put", "patch", "delete"] {
            if let Some(operation) = item.get(method).and_then(Value::as_object) {
                found.push(route(&root, path, method, item, operation));
            }
        }
    }
    drop_unusable_names(&mut found);
    Ok(found)
}

fn route(
    root: &Value,
    path: &str,
    method: &str,
    item: &Value,
    operation: &Map<String, Value>,
) -> RouteSpec {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    RouteSpec {
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        name: text("operationId").map(str::to_owned),
        description: text("summary").or(text("description")).unwrap_or_default().to_owned(),
        action_type: None,
        scopes: Vec::new(),
        path_params: params(root, item, operation, "path"),
        query: Some(params(root, item, operation, "query")),
    }
}

/// Parameters of the operation, then those of the path that it does not restate (OpenAPI 3.1,
/// "Path Item Object").
fn params(root: &Value, item: &Value, operation: &Map<String, Value>, place: &str) -> Vec<Param> {
    let own = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let shared = item.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let mut found: Vec<Param> = Vec::new();
    for p in own.chain(shared).map(|p| resolve(root, p)) {
        let name = p.get("name").and_then(Value::as_str).unwrap_or_default();
        let here = p.get("in").and_then(Value::as_str) == Some(place);
        if here && !found.iter().any(|f| f.name == name) {
            found.push(Param {
                name: name.to_owned(),
                kind: kind(resolve(root, p.get("schema").unwrap_or(&Value::Null)), place),
                required: p.get("required").and_then(Value::as_bool).unwrap_or(false),
            });
        }
    }
    found
}

/// Follows one local reference (`#/components/...`); others stay as they are and say nothing.
fn resolve<'a>(root: &'a Value, v: &'a Value) -> &'a Value {
    let target = v.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|t| root.pointer(t)).unwrap_or(v)
}

fn kind(schema: &Value, place: &str) -> ParamKind {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => ParamKind::Integer,
        Some("boolean") => ParamKind::Boolean,
        Some("array") if place == "query" => ParamKind::List,
        _ => ParamKind::String,
    }
}

/// An `operationId` that is no function name or appears twice gives way to the derived name.
fn drop_unusable_names(routes: &mut [RouteSpec]) {
    let fits = |n: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        (1..=128).contains(&n.len()) && n.chars().all(word)
    };
    let mut seen = HashSet::new();
    for r in routes {
        if r.name.as_ref().is_some_and(|n| !fits(n) || !seen.insert(n.clone())) {
            r.name = None;
        }
    }
}
