//! The published error codes with their i18n keys and English texts (wire-contract.md section 7).
//!
//! Clients translate by the key and fill the placeholders from the refusal's `i18n_params`; who has no translation
//! shows `default_en`. No text is made from an exception.

/// One code of the taxonomy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The stable code.
    pub code: &'static str,
    /// The key of the translated text.
    pub i18n_key: &'static str,
    /// The English text; names in braces stand for parameters.
    pub default_en: &'static str,
}

const fn entry(code: &'static str, i18n_key: &'static str, default_en: &'static str) -> Entry {
    Entry { code, i18n_key, default_en }
}

/// All codes that every client knows; others are ours or an app's own.
pub const TAXONOMY: [Entry; 12] = [
    entry(
        "VALIDATION_MISSING_FIELD",
        "errors.validation.missing_field",
        "Something is missing: {fields}.",
    ),
    entry(
        "VALIDATION_TYPE_ERROR",
        "errors.validation.type_error",
        "The value of {field} does not fit.",
    ),
    entry(
        "FABRICATED_ID_SHAPE",
        "errors.validation.fabricated_id_shape",
        "That id was made up. Look it up first.",
    ),
    entry("UNKNOWN_TOOL", "errors.dispatch.unknown_tool", "There is no tool {app_tool}."),
    entry(
        "UNKNOWN_SUB_FUNCTION",
        "errors.dispatch.unknown_sub_function",
        "There is no function {name}.",
    ),
    entry("PERMISSION_DENIED", "errors.auth.permission_denied", "You may not do this."),
    entry(
        "TENANT_SCOPE_VIOLATION",
        "errors.auth.tenant_scope",
        "This belongs to another organisation.",
    ),
    entry("BACKEND_TIMEOUT", "errors.backend.timeout", "The service did not answer in time."),
    entry("BACKEND_5XX", "errors.backend.5xx", "The service failed."),
    entry("RATE_LIMITED", "errors.rate_limited", "Too many requests. Try again in a moment."),
    entry("INTERNAL", "errors.internal", "Something went wrong on our side."),
    entry("EXT_UNSTRUCTURED_ERROR", "errors.ext.unstructured", "The app failed."),
];

/// Codes of ours that a person or a model has to act on: what became of a question.
pub const CONFIRMATIONS: [Entry; 11] = [
    entry("CONFIRMATION_UNKNOWN", "errors.confirm.unknown", "There is no such question."),
    entry("CONFIRMATION_FOREIGN", "errors.confirm.foreign", "Somebody else has to answer this."),
    entry(
        "CONFIRMATION_UNAPPROVED",
        "errors.confirm.unapproved",
        "Somebody else has to approve this first.",
    ),
    entry(
        "TOO_MANY_PENDING",
        "errors.confirm.too_many",
        "Too much waits for your word already. Answer some of it first.",
    ),
    entry("CONFIRMATION_USED", "errors.confirm.used", "This was answered before."),
    entry("CONFIRMATION_EXPIRED", "errors.confirm.expired", "It was too late. Nothing was done."),
    entry(
        "CONFIRMATION_TOOL_CHANGED",
        "errors.confirm.tool_changed",
        "The tool is not the one that was shown. Nothing was done; ask anew.",
    ),
    entry(
        "CONFIRMATION_TENANT_CHANGED",
        "errors.confirm.tenant_changed",
        "It would work on another tenant now. Nothing was done; ask anew.",
    ),
    entry(
        "CONFIRMATION_TARGET_CHANGED",
        "errors.confirm.target_changed",
        "What it is about is not as it was shown. Nothing was done; ask anew.",
    ),
    entry(
        "CONFIRMATION_BYTES_CHANGED",
        "errors.confirm.bytes_changed",
        "What is stored is not what was shown. Nothing was done.",
    ),
    entry(
        "CONFIRMATION_QUESTION_CHANGED",
        "errors.confirm.question_changed",
        "The stored question is not the one that was asked. Nothing was done.",
    ),
];

/// The entry of a code that every client knows.
#[must_use]
pub fn published(code: &str) -> Option<&'static Entry> {
    TAXONOMY.iter().find(|entry| entry.code == code)
}

/// The entry of a code, ours included.
#[must_use]
pub fn find(code: &str) -> Option<&'static Entry> {
    TAXONOMY.iter().chain(&CONFIRMATIONS).find(|entry| entry.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_keys_are_unique_and_of_the_published_form() {
        let all: Vec<&Entry> = TAXONOMY.iter().chain(&CONFIRMATIONS).collect();
        for (index, entry) in all.iter().enumerate() {
            let form = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
            assert!(entry.code.bytes().all(form) && entry.i18n_key.starts_with("errors."));
            for other in &all[index + 1..] {
                assert!(entry.code != other.code && entry.i18n_key != other.i18n_key, "{entry:?}");
            }
        }
    }
}
