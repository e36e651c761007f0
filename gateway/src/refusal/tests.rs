//! Claims about how refusals look from outside.

use super::*;
use crate::guard::taxonomy;

#[test]
fn every_body_has_the_four_fields_of_the_contract_and_an_i18n_key() {
    let body = Refusal::UnknownApp("nope".into()).body();
    assert_eq!(body["status"], 404);
    assert_eq!(body["error"], "UNKNOWN_TOOL");
    assert_eq!(body["detail"], body["message"]);
    assert_eq!(body["i18n_key"], "errors.dispatch.unknown_tool");
}

#[test]
fn what_a_model_got_wrong_is_told_field_by_field() {
    let violation = Violation {
        path: "/items/0".into(),
        message: "\"title\" is a required property".into(),
        keyword: "required".into(),
        missing: Some("title".into()),
    };
    let body = Refusal::InvalidArguments(vec![violation].into()).body();
    assert_eq!(body["error"], "VALIDATION_MISSING_FIELD");
    assert_eq!(body["missing_fields"], json!(["items.0.title"]));
    assert_eq!(body["i18n_params"]["fields"], "items.0.title");
    assert_eq!(body["default_en"], "Something is missing: {fields}.");
    let feedback = body["feedback"].as_str().unwrap_or_default();
    let lines: Vec<&str> = feedback.lines().collect();
    assert_eq!(lines[1], "- 'items.0.title': \"title\" is a required property");
    assert_eq!((lines.len(), lines[2]), (4, ""), "{feedback}");
}

#[test]
fn every_code_of_the_taxonomy_has_the_key_of_the_taxonomy() {
    for refusal in [
        Refusal::UnknownApp(String::new()),
        Refusal::UnknownFunction(String::new()),
        Refusal::InvalidArguments(Vec::new().into()),
        Refusal::PlaceholderValues(Vec::new()),
        Refusal::FabricatedId { field: "message_id", value: String::new() },
        Refusal::UpstreamFailed(String::new()),
        Refusal::OutcomeUnknown(String::new()),
        Refusal::TooManyRequests { retry_after: Duration::ZERO },
        Refusal::Denied { rules: vec![], reasons: vec![], errored: false },
        Refusal::ConfirmationUnknown,
        Refusal::ConfirmationForeign(""),
        Refusal::ConfirmationUnapproved(Vec::new()),
        Refusal::TooManyPending,
        Refusal::ConfirmationUsed(String::new()),
        Refusal::ConfirmationExpired,
        Changed::Tool.into(),
        Changed::Tenant.into(),
        Changed::Target.into(),
        Changed::Bytes.into(),
        Changed::Request.into(),
        Changed::Question.into(),
        Changed::Approval.into(),
        Changed::Record.into(),
    ] {
        let entry = taxonomy::find(refusal.code()).expect("a published code");
        assert_eq!(entry.i18n_key, refusal.i18n_key(), "{refusal:?}");
    }
}

#[test]
fn an_internal_word_never_reaches_the_body() {
    let body = Refusal::Unavailable("sqlx pool timed out".into()).body().to_string();
    assert!(!body.contains("sqlx"), "{body}");
    let body = Refusal::InvalidCredential("bad signature").body().to_string();
    assert!(!body.contains("signature"), "{body}");
}

#[test]
fn a_passing_refusal_says_when_to_come_back() {
    let busy = Refusal::Busy { retry_after: Duration::from_secs(3) };
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(3)));
    assert_eq!(Refusal::MissingCredential.retry_after(), None);
}

#[test]
fn a_value_that_does_not_fit_is_told_by_its_field() {
    let field = |text: &str| Refusal::InvalidValue(text.to_owned()).body()["field"].clone();
    assert_eq!(field("hash: it is not that of what waits; look again"), "hash");
    assert_eq!(field("`ttl_seconds` must be from 5 to 300"), "ttl_seconds");
    assert_eq!(field("the email is not acceptable: it has no @"), "email");
    assert_eq!(field("Something else: is no field"), Value::Null);
    let body = Refusal::InvalidValue("nothing fits".to_owned()).body();
    assert_eq!(body["i18n_params"]["field"], "the request", "no brace is left in a text");
}
