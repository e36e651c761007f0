//! The built-in demo app: a notebook in memory, reached over real HTTP like any other app.
//!
//! It answers `POST /{function}` with the `ActionResult` shape of wire-contract.md section 8 and
//! knows nothing of Portcullis: all that protects it stands in front of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// The manifest that describes the app to the gateway (imperal.json, version 3).
pub const MANIFEST: &str = include_str!("imperal.json");

/// The app as an axum router; each call of this function makes an empty notebook of its own.
pub fn router() -> Router {
    Router::new().route("/{function}", post(call)).with_state(Notebook::default())
}

#[derive(Clone, Default)]
struct Notebook(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    last: u64,
    by_id: BTreeMap<u64, Value>,
}

async fn call(
    State(notebook): State<Notebook>,
    Path(function): Path<String>,
    Json(params): Json<Value>,
) -> Json<Value> {
    let mut notes = notebook.0.lock().unwrap_or_else(PoisonError::into_inner);
    Json(match function.as_str() {
        "list_notes" => notes.list(&params),
        "create_note" => notes.create(&params),
        "delete_note" => notes.delete(&params),
        other => failure(&format!("no function {other}")),
    })
}

impl Notes {
    fn list(&self, params: &Value) -> Value {
        let limit = params.get("limit").and_then(Value::as_u64).unwrap_or(20);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let notes: Vec<&Value> = self.by_id.values().rev().take(limit).collect();
        success(&format!("{} notes", notes.len()), json!({ "notes": notes }))
    }

    fn create(&mut self, params: &Value) -> Value {
        self.last += 1;
        let id = format!("note-{}", self.last);
        let note = json!({
            "note_id": id,
            "title": params.get("title").cloned().unwrap_or_default(),
            "text": params.get("text").cloned().unwrap_or_default(),
        });
        self.by_id.insert(self.last, note);
        success(&format!("{id} written"), json!({ "note_id": id }))
    }

    fn delete(&mut self, params: &Value) -> Value {
        let id = params.get("note_id").and_then(Value::as_str).unwrap_or_default();
        let number = id.strip_prefix("note-").and_then(|n| n.parse::<u64>().ok());
        match number.and_then(|n| self.by_id.remove(&n)) {
            Some(_) => success(&format!("{id} deleted"), json!({ "note_id": id })),
            None => failure(&format!("there is no note {id}")),
        }
    }
}

fn success(summary: &str, data: Value) -> Value {
    json!({ "status": "success", "summary": summary, "data": data })
}

fn failure(error: &str) -> Value {
    json!({ "status": "error", "error": error, "retryable": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_note_is_gone() {
        let mut notes = Notes::default();
        notes.create(&json!({ "title": "x" }));
        assert_eq!(notes.delete(&json!({ "note_id": "note-1" }))["status"], "success");
        assert_eq!(notes.delete(&json!({ "note_id": "note-1" }))["status"], "error");
        assert_eq!(notes.list(&json!({}))["data"]["notes"], json!([]));
    }
}
