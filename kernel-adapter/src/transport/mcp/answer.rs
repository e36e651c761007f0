//! What an MCP server's answer, or the lack of one, means.

use rmcp::ServiceError;
use rmcp::model::{CallToolResult, ErrorCode};

use super::http_client::{is_lost, was_not_begun};
use crate::outcome::{Class, Outcome, bounded};

/// A result of the tool: its own error is a refusal by the worker (MCP "Tools", error handling).
pub(super) fn answered(result: &CallToolResult, max_answer: usize) -> Outcome {
    let value = match serde_json::to_vec(result) {
        Ok(value) if value.len() <= max_answer => bytes::Bytes::from(value),
        Ok(_) => return Outcome::unknown(Class::TooLarge, "the answer is larger than allowed"),
        Err(e) => return Outcome::unknown(Class::Protocol, e),
    };
    if result.is_error != Some(true) {
        return Outcome::Done { value };
    }
    let text = result.content.iter().find_map(|c| c.as_text()).map(|t| t.text.as_str());
    let message = bounded(text.unwrap_or("the tool reports an error"));
    Outcome::Refused { class: Class::WorkerError, message, value: Some(value) }
}

/// Whether it may have been done, by what went wrong.
pub(super) fn failed(e: &ServiceError) -> Outcome {
    match e {
        ServiceError::McpError(said) => {
            let message = bounded(&said.message);
            let refused = [
                ErrorCode::INVALID_PARAMS,
                ErrorCode::METHOD_NOT_FOUND,
                ErrorCode::INVALID_REQUEST,
                ErrorCode::RESOURCE_NOT_FOUND,
            ];
            if refused.contains(&said.code) {
                Outcome::Refused { class: Class::WorkerError, message, value: None }
            } else {
                Outcome::failed(Class::WorkerError, message)
            }
        }
        e if was_not_begun(e) => Outcome::failed(Class::Unreachable, e),
        e if is_lost(e) => Outcome::unknown(Class::Disconnected, e),
        e => Outcome::unknown(Class::Protocol, e),
    }
}
