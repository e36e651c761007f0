//! What an answer of the service means for whoever must act.

use super::error;
use crate::provider::{ProviderError, ProviderFault};
use serde_json::Value;

/// Sorts an answer other than success. The service says in English what was wrong with a request, and
/// has one status for most of it; the words are those of Vault 1.x and OpenBao 2.x.
pub(super) fn of_answer(status: u16, json: &Value) -> ProviderError {
    let errors = json.get("errors").and_then(Value::as_array);
    let words: Vec<&str> = errors.into_iter().flatten().filter_map(Value::as_str).collect();
    let words = words.join("; ");
    let said = |part: &str| words.contains(part);
    let fault = match status {
        403 => ProviderFault::Denied,
        404 => ProviderFault::KeyGone,
        429 => ProviderFault::Throttled,
        502..=504 | 473 => ProviderFault::Unreachable,
        400 if said("disallowed by policy") || said("not found") || said("no longer available") => {
            ProviderFault::KeyGone
        }
        400 if said("message authentication failed")
            || said("invalid ciphertext")
            || said("could not decode")
            || said("unable to decrypt") =>
        {
            ProviderFault::Altered
        }
        _ => ProviderFault::Other,
    };
    let words: String = words.chars().take(200).collect();
    error(fault, format!("status {status}: {words}"))
}

/// Sorts a request that got no answer. The address is left out: it may carry a name and a password.
pub(super) fn of_transport(why: &reqwest::Error) -> ProviderError {
    let fault = if why.is_timeout() { ProviderFault::Timeout } else { ProviderFault::Unreachable };
    let cause = std::error::Error::source(why).map(ToString::to_string);
    error(fault, cause.unwrap_or_else(|| "no answer".to_owned()))
}
