//! The one table from refusal or fault to status, outside words and inside words.
//!
//! No other file of the gateway names a status code of a refusal. Every body has the shape of
//! wire-contract.md 0.3: `detail`, `error` (stable code), `message`, `status`, plus `i18n_key` and
//! the ids of the `rules` that refused; never a stack trace, never an internal word.
//!
//! Errors are sorted by *whose fault and what to do next*: the caller's credential, the caller's
//! request, the rules, a limit, the ledger, or the app behind us.

mod changed;
mod from;
#[cfg(test)]
mod tests;
mod told;
mod violation;

pub use changed::Changed;
pub use violation::Violation;

use std::time::Duration;

use http::StatusCode;
use portcullis_policies::StepUp;
use serde_json::{Value, json};

use crate::edge::Overloaded;
use crate::guard::Feedback;
use crate::identify::Unidentified;
use crate::limits::OverLimit;
use crate::oauth::OAuthFault;

/// Why a call was not carried out, or did not end well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    // --- who is asking ---
    /// No credential was presented.
    #[error("no credential was presented")]
    MissingCredential,
    /// The credential is malformed, forged, expired or revoked; the text says which, for the log.
    #[error("the credential was not accepted")]
    InvalidCredential(&'static str),
    /// More than one credential, or one in a place where none may be.
    #[error("exactly one credential is accepted, in a header")]
    AmbiguousCredential,
    /// A hint (`user_id`, `X-Acting-User`, ...) names somebody else than the credential.
    #[error("`{0}` names somebody else than the credential")]
    HintMismatch(&'static str),

    /// A form was not sent by the page of the gateway that this session was shown.
    #[error("this form was not sent by the gateway's own page; open the page again")]
    ForeignForm,

    /// Strangers may not make an account in this tenant.
    #[error("this tenant is not open to registration; ask its administrator for an account")]
    RegistrationClosed,
    /// An error in the words of OAuth, for clients that tell them apart.
    #[error("{0}")]
    OAuth(OAuthFault),
    /// A password was asked for again, and it was not that of the person.
    #[error("{0}")]
    WrongPassword(String),

    /// The password is right, and the account wants a code of its second factor too.
    #[error("send the code of your second factor as `otp`")]
    SecondFactorRequired,
    /// A code of the second factor was asked for, and it was none or an old one.
    #[error("the code is wrong or was used before")]
    WrongCode,

    // --- what is asked ---
    /// The bytes on the wire are not one unambiguous HTTP request.
    #[error("the request is malformed or ambiguous: {0}")]
    MalformedRequest(String),
    /// The body is not the JSON that the door takes; the text gives the place.
    #[error("the body is not acceptable JSON: {0}")]
    MalformedBody(String),
    /// The body is longer than the limit (bytes).
    #[error("the body is longer than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// No such route.
    #[error("there is nothing at this address")]
    NoSuchRoute,
    /// The route exists, the method does not.
    #[error("this address does not take that method")]
    MethodNotAllowed,
    /// No app of that id.
    #[error("there is no app `{0}`")]
    UnknownApp(String),
    /// The app has no such function.
    #[error("the app has no function `{0}`")]
    UnknownFunction(String),
    /// No route of the app's route table fits.
    #[error("no route of the app fits `{0}`")]
    UnknownAppRoute(String),
    /// The tool changed upstream and waits for an operator.
    #[error("the tool `{0}` changed upstream and waits for an operator to accept it")]
    ToolQuarantined(String),
    /// Arguments do not fit the tool's schema.
    #[error("{0}")]
    InvalidArguments(Feedback),
    /// Values that stand for something that the model does not know, by their places.
    #[error("a placeholder is no value: {}", .0.join(", "))]
    PlaceholderValues(Vec<String>),
    /// An id of a shape that models invent.
    #[error("`{value}` is no id that an answer gave; look `{field}` up first")]
    FabricatedId {
        /// The argument.
        field: &'static str,
        /// Its value, shortened.
        value: String,
    },
    /// A write that carries the code of an error of this session.
    #[error("the arguments carry the words of an error instead of what was asked for")]
    ErrorInArguments,

    // --- what the rules say ---
    /// The rules refuse.
    #[error("{}", denied_text(.reasons))]
    Denied {
        /// Ids of the policies that refused; empty when nothing permits.
        rules: Vec<String>,
        /// Their `@reason` texts.
        reasons: Vec<String>,
        /// A policy failed to evaluate, so the call was refused whatever the others said.
        errored: bool,
    },
    /// The rules refuse this sign-in, and would not refuse a stronger or fresher one (RFC 9470).
    #[error("sign in again: {}", denied_text(.reasons))]
    StepUp {
        /// Ids of the policies that refused.
        rules: Vec<String>,
        /// Their `@reason` texts.
        reasons: Vec<String>,
        /// What would be enough.
        needs: StepUp,
    },
    /// No rules are in force.
    #[error("no policy set is in force")]
    NoRules,

    // --- confirmations ---
    /// No confirmation of that id for this caller.
    #[error("there is no such confirmation")]
    ConfirmationUnknown,
    /// It belongs to somebody else, or wants somebody else than the asker.
    #[error("this confirmation is not yours to decide: {0}")]
    ConfirmationForeign(&'static str),
    /// Somebody else has to approve it first, as these roles where any are named.
    #[error("somebody else has to approve this first{}", told::as_roles(.0))]
    ConfirmationUnapproved(Vec<String>),
    /// More than anybody reads waits already.
    #[error("too much waits for this person's word already")]
    TooManyPending,
    /// It was decided before.
    #[error("this confirmation was already {0}")]
    ConfirmationUsed(String),
    /// Too late.
    #[error("this confirmation has expired")]
    ConfirmationExpired,
    /// What was shown is not what would run now.
    #[error("what was shown is no longer what would run: {0}")]
    ConfirmationChanged(Changed),

    // --- people, roles, tenants ---
    /// What is named is not in the directory.
    #[error("there is no {}", .0.strip_prefix("no such ").unwrap_or(.0))]
    NotThere(String),
    /// It stands against what is in the directory.
    #[error("{0}")]
    Conflict(String),
    /// A value that the directory does not take.
    #[error("{0}")]
    InvalidValue(String),
    /// The person asked to confirm every write, and a password is not kept for a later answer.
    #[error(
        "you asked to confirm every write, and a password is not kept for a later answer: leave it out"
    )]
    NotConfirmable,

    // --- secrets ---
    /// The app's manifest declares no secret of that name.
    #[error("the app declares no secret `{0}`")]
    SecretNotDeclared(String),
    /// It has no value.
    #[error("this secret has no value")]
    SecretNotSet,
    /// The value is longer than its declaration allows.
    #[error("the value is longer than the {limit} bytes that this secret may have")]
    SecretTooLarge {
        /// The limit in bytes of UTF-8.
        limit: usize,
    },
    /// The person asked to confirm every write, and a value is not kept for a later answer.
    #[error(
        "you asked to confirm every write: change this secret on the page `/ext/{{app}}/secrets`"
    )]
    ConfirmOnPage,
    /// Two changed it at once.
    #[error("somebody else changed this secret at the same moment; look, and try again")]
    SecretChanged,
    /// The key provider is away, so no value can be opened or sealed.
    #[error("the secret vault is unavailable, so no secret can be read or stored")]
    VaultUnavailable,

    // --- limits ---
    /// Too many requests of this kind from this place.
    #[error("too many requests")]
    TooManyRequests {
        /// When to come back.
        retry_after: Duration,
    },
    /// A limit of the configuration was reached.
    #[error("the limit `{}` of {} is reached; come back in {} s", .0.rule.name(), .0.rate, .0.retry_after.as_secs())]
    OverLimit(OverLimit),
    /// The tenant has as many calls in flight and waiting as it may have.
    #[error("too many calls are in flight")]
    Busy {
        /// When to come back.
        retry_after: Duration,
    },

    // --- our own parts ---
    /// The ledger could not make the record durable in time, so nothing was done.
    #[error("the audit ledger could not record this call, so it was not carried out")]
    AuditUnavailable(String),
    /// The action was carried out, but its outcome could not be made durable.
    #[error("the call was carried out, but its outcome could not be recorded; do not repeat it")]
    OutcomeUnrecorded,
    /// A part of the gateway is not there (directory, key provider).
    #[error("the gateway cannot answer at the moment")]
    Unavailable(String),

    // --- the app behind us ---
    /// The app could not be reached; nothing was sent.
    #[error("the app could not be reached")]
    UpstreamUnreachable,
    /// The app answered with an error of its own.
    #[error("the app failed")]
    UpstreamFailed(String),
    /// The app said no.
    #[error("the app refused the call: {0}")]
    UpstreamRefused(String),
    /// Nobody knows whether the app did it.
    #[error("it is unknown whether the app carried the call out; look before you repeat it")]
    OutcomeUnknown(String),
}

/// How one refusal looks from outside.
struct Face {
    status: StatusCode,
    code: &'static str,
    i18n: &'static str,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.face().status
    }

    /// The stable code, as published.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.face().code
    }

    /// The key of the translated text.
    #[must_use]
    pub fn i18n_key(&self) -> &'static str {
        self.face().i18n
    }

    /// When the caller should come back, for those refusals that pass by themselves.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } | Self::Busy { retry_after } => {
                Some(*retry_after)
            }
            Self::OverLimit(over) => Some(over.retry_after),
            Self::AuditUnavailable(_)
            | Self::Unavailable(_)
            | Self::VaultUnavailable
            | Self::NoRules => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The limit that was reached, when one was.
    #[must_use]
    pub fn over_limit(&self) -> Option<&OverLimit> {
        match self {
            Self::OverLimit(over) => Some(over),
            _ => None,
        }
    }

    /// Ids of the policies that refused.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        match self {
            Self::Denied { rules, .. } | Self::StepUp { rules, .. } => rules,
            _ => &[],
        }
    }

    /// The body: the shape of wire-contract.md 0.3 with our additions.
    #[must_use]
    pub fn body(&self) -> Value {
        let face = self.face();
        let message = self.to_string();
        let mut body = json!({
            "detail": message,
            "error": face.code,
            "message": message,
            "status": face.status.as_u16(),
            "i18n_key": face.i18n,
            "rules": self.rules(),
        });
        if let Some(map) = body.as_object_mut() {
            map.extend(self.members());
        }
        body
    }

    /// THE TABLE. One line a refusal: status, stable code, i18n key.
    #[expect(clippy::too_many_lines, reason = "a table is read in one piece")]
    fn face(&self) -> Face {
        let (status, code, i18n) = match self {
            Self::MissingCredential => (401, "UNAUTHENTICATED", "errors.auth.unauthenticated"),
            Self::InvalidCredential(_) => (401, "INVALID_CREDENTIAL", "errors.auth.invalid"),
            Self::AmbiguousCredential => (400, "AMBIGUOUS_CREDENTIAL", "errors.auth.ambiguous"),
            Self::HintMismatch(_) => (403, "IDENTITY_MISMATCH", "errors.auth.identity_mismatch"),
            Self::ForeignForm => (403, "FOREIGN_FORM", "errors.auth.foreign_form"),
            Self::RegistrationClosed => {
                (403, "REGISTRATION_CLOSED", "errors.auth.registration_closed")
            }
            Self::OAuth(fault) => oauth_face(*fault),
            Self::WrongPassword(_) => (403, "WRONG_PASSWORD", "errors.auth.wrong_password"),
            Self::SecondFactorRequired => {
                (401, "SECOND_FACTOR_REQUIRED", "errors.auth.second_factor_required")
            }
            Self::WrongCode => (403, "WRONG_CODE", "errors.auth.wrong_code"),
            Self::MalformedRequest(_) => (400, "MALFORMED_REQUEST", "errors.request.malformed"),
            Self::MalformedBody(_) => (400, "MALFORMED_BODY", "errors.request.malformed_body"),
            Self::BodyTooLarge { .. } => (413, "BODY_TOO_LARGE", "errors.request.too_large"),
            Self::NoSuchRoute => (404, "NOT_FOUND", "errors.request.not_found"),
            Self::MethodNotAllowed => (405, "METHOD_NOT_ALLOWED", "errors.request.method"),
            Self::UnknownApp(_) => (404, "UNKNOWN_TOOL", "errors.dispatch.unknown_tool"),
            // wire-contract.md 5.1: an unknown function of a known app is a result, not a fault.
            Self::UnknownFunction(_) => {
                (200, "UNKNOWN_SUB_FUNCTION", "errors.dispatch.unknown_sub_function")
            }
            Self::UnknownAppRoute(_) => {
                (404, "UNKNOWN_SUB_FUNCTION", "errors.dispatch.unknown_sub_function")
            }
            Self::ToolQuarantined(_) => (403, "TOOL_QUARANTINED", "errors.dispatch.quarantined"),
            Self::InvalidArguments(feedback) => validation_face(feedback),
            Self::PlaceholderValues(_) => {
                (422, "VALIDATION_MISSING_FIELD", "errors.validation.missing_field")
            }
            Self::FabricatedId { .. } => {
                (422, "FABRICATED_ID_SHAPE", "errors.validation.fabricated_id_shape")
            }
            Self::ErrorInArguments => {
                (422, "ERROR_IN_ARGUMENTS", "errors.validation.error_in_arguments")
            }
            Self::Denied { rules, .. } => denied_face(rules),
            Self::StepUp { .. } => (401, "STEP_UP_REQUIRED", "errors.auth.step_up"),
            Self::NoRules => (503, "POLICIES_UNAVAILABLE", "errors.backend.policies"),
            Self::ConfirmationUnknown => (404, "CONFIRMATION_UNKNOWN", "errors.confirm.unknown"),
            Self::ConfirmationForeign(_) => (403, "CONFIRMATION_FOREIGN", "errors.confirm.foreign"),
            Self::ConfirmationUnapproved(_) => {
                (409, "CONFIRMATION_UNAPPROVED", "errors.confirm.unapproved")
            }
            Self::TooManyPending => (429, "TOO_MANY_PENDING", "errors.confirm.too_many"),
            Self::ConfirmationUsed(_) => (409, "CONFIRMATION_USED", "errors.confirm.used"),
            Self::ConfirmationExpired => (410, "CONFIRMATION_EXPIRED", "errors.confirm.expired"),
            Self::ConfirmationChanged(changed) => changed_face(*changed),
            Self::NotThere(_) => (404, "NOT_FOUND", "errors.request.not_found"),
            Self::Conflict(_) => (409, "CONFLICT", "errors.request.conflict"),
            Self::InvalidValue(_) => (422, "VALIDATION_TYPE_ERROR", "errors.validation.type_error"),
            Self::NotConfirmable => (403, "NOT_CONFIRMABLE", "errors.confirm.not_confirmable"),
            Self::SecretNotDeclared(_) => {
                (403, "SECRET_NOT_DECLARED", "errors.secrets.not_declared")
            }
            Self::SecretNotSet => (404, "SECRET_NOT_SET", "errors.secrets.not_set"),
            Self::SecretTooLarge { .. } => (413, "SECRET_TOO_LARGE", "errors.secrets.too_large"),
            Self::ConfirmOnPage => (403, "CONFIRM_ON_PAGE", "errors.secrets.confirm_on_page"),
            Self::SecretChanged => (409, "SECRET_CHANGED", "errors.secrets.changed"),
            Self::VaultUnavailable => (503, "VAULT_UNAVAILABLE", "errors.secrets.unavailable"),
            Self::TooManyRequests { .. } => (429, "RATE_LIMITED", "errors.rate_limited"),
            Self::OverLimit(_) => (429, "RATE_LIMITED", "errors.rate_limited"),
            Self::Busy { .. } => (503, "BUSY", "errors.busy"),
            Self::AuditUnavailable(_) => (503, "AUDIT_UNAVAILABLE", "errors.backend.audit"),
            Self::OutcomeUnrecorded => (500, "OUTCOME_UNRECORDED", "errors.backend.unrecorded"),
            Self::Unavailable(_) => (503, "UNAVAILABLE", "errors.backend.unavailable"),
            Self::UpstreamUnreachable => (502, "BACKEND_UNREACHABLE", "errors.backend.unreachable"),
            Self::UpstreamFailed(_) => (502, "BACKEND_5XX", "errors.backend.5xx"),
            Self::UpstreamRefused(_) => (422, "BACKEND_REFUSED", "errors.backend.refused"),
            Self::OutcomeUnknown(_) => (504, "BACKEND_TIMEOUT", "errors.backend.timeout"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Face { status, code, i18n }
    }
}

impl Refusal {
    /// Whether the tenant gate was among the rules that refused.
    #[must_use]
    pub fn is_of_the_tenant_gate(&self) -> bool {
        self.rules().iter().any(|rule| rule == TENANT_GATE)
    }
}

type FaceRow = (u16, &'static str, &'static str);

/// The codes of RFC 6749 section 5.2 and RFC 8628 section 3.5.
fn oauth_face(fault: OAuthFault) -> FaceRow {
    match fault {
        OAuthFault::AccessDenied => (400, "access_denied", "errors.oauth.access_denied"),
        OAuthFault::ExpiredToken => (400, "expired_token", "errors.oauth.expired"),
        OAuthFault::InvalidGrant => (400, "invalid_grant", "errors.oauth.invalid_grant"),
        OAuthFault::InvalidClient => (400, "invalid_client", "errors.oauth.invalid_client"),
        OAuthFault::InvalidRedirectUri => (400, "invalid_redirect_uri", "errors.oauth.redirect"),
        OAuthFault::InvalidClientMetadata(_) => {
            (400, "invalid_client_metadata", "errors.oauth.client_metadata")
        }
        OAuthFault::InvalidScope => (400, "invalid_scope", "errors.oauth.invalid_scope"),
        OAuthFault::InsufficientScope => (403, "insufficient_scope", "errors.oauth.insufficient"),
        OAuthFault::InvalidTarget => (400, "invalid_target", "errors.oauth.invalid_target"),
        OAuthFault::UnsupportedResponseType => {
            (400, "unsupported_response_type", "errors.oauth.response_type")
        }
        OAuthFault::UnsupportedGrantType => {
            (400, "unsupported_grant_type", "errors.oauth.grant_type")
        }
        OAuthFault::InvalidRequest(_) => (400, "invalid_request", "errors.oauth.invalid_request"),
    }
}

/// A missing field has a code of its own, because a model that is told so can supply it.
fn validation_face(feedback: &Feedback) -> FaceRow {
    if feedback.is_missing_something() {
        (422, "VALIDATION_MISSING_FIELD", "errors.validation.missing_field")
    } else {
        (422, "VALIDATION_TYPE_ERROR", "errors.validation.type_error")
    }
}

/// The `@id` of the tenant gate in `policies/rules/tenant.cedar`.
const TENANT_GATE: &str = "tenant/other-tenant";

/// What to do next differs: ask anew, or look at the database.
const fn changed_face(changed: Changed) -> FaceRow {
    match changed {
        Changed::Tool => (409, "CONFIRMATION_TOOL_CHANGED", "errors.confirm.tool_changed"),
        Changed::Tenant => (409, "CONFIRMATION_TENANT_CHANGED", "errors.confirm.tenant_changed"),
        Changed::Target => (409, "CONFIRMATION_TARGET_CHANGED", "errors.confirm.target_changed"),
        Changed::Bytes | Changed::Request => {
            (409, "CONFIRMATION_BYTES_CHANGED", "errors.confirm.bytes_changed")
        }
        Changed::Question | Changed::Approval | Changed::Record => {
            (409, "CONFIRMATION_QUESTION_CHANGED", "errors.confirm.question_changed")
        }
    }
}

/// The published name of a refusal by the tenant gate; all others share one code.
fn denied_face(rules: &[String]) -> FaceRow {
    if rules.iter().any(|rule| rule == TENANT_GATE) {
        (403, "TENANT_SCOPE_VIOLATION", "errors.auth.tenant_scope")
    } else {
        (403, "PERMISSION_DENIED", "errors.auth.permission_denied")
    }
}

fn denied_text(reasons: &[String]) -> String {
    if reasons.is_empty() { "no rule permits this call".to_owned() } else { reasons.join("; ") }
}
