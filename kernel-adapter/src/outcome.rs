//! What became of a dispatched call.
//!
//! The line that matters runs between [`Outcome::Failed`] and [`Outcome::Unknown`]: *failed* is
//! said only when the effect did not happen as far as the worker's own answer or the network can
//! prove; once a request may have reached the worker and no understood answer came back, the
//! outcome is *unknown*. A timeout is never "failed".

use std::fmt;

use bytes::Bytes;

/// The outcome of one dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The worker did it.
    Done {
        /// Its answer, JSON.
        value: Bytes,
    },
    /// It was not done: nothing was sent, or the worker says that it failed.
    Failed {
        /// Why, as a stable code.
        class: Class,
        /// Why, in words for the operator, bounded; may quote the worker.
        message: String,
        /// The worker's answer, JSON, where there is one.
        value: Option<Bytes>,
    },
    /// The worker refused to do it.
    Refused {
        /// Why, as a stable code.
        class: Class,
        /// The worker's reason, bounded.
        message: String,
        /// The worker's answer, JSON, where there is one.
        value: Option<Bytes>,
    },
    /// It may or may not have been done.
    Unknown {
        /// Why it is not known, as a stable code.
        class: Class,
        /// In words for the operator, bounded.
        message: String,
    },
}

/// Why an outcome is not "done". The codes go into the ledger and never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Permit and receipt were for another call; nothing was sent.
    NotTheSameCall,
    /// The tool is quarantined, or changed upstream since the catalogue was made; nothing was sent.
    Quarantined,
    /// The app is not reached in this way; nothing was sent.
    WrongUpstream,
    /// The gateway could not form the request; nothing was sent.
    BadRequest,
    /// No connection; nothing was sent.
    Unreachable,
    /// The deadline had passed before anything was sent.
    TooLate,
    /// No answer within the deadline.
    Timeout,
    /// The connection was lost before the whole answer came.
    Disconnected,
    /// The answer is larger than allowed.
    TooLarge,
    /// The answer is not what the protocol asks for.
    Protocol,
    /// The worker answered with an error status.
    Status(u16),
    /// The worker reports an error of its own.
    WorkerError,
    /// The client went away before the whole answer was delivered.
    ClientGone,
    /// The secret has no value.
    SecretNotSet,
    /// Somebody else changed the secret meanwhile; nothing was stored.
    SecretChanged,
    /// The vault did not open or seal: its key provider is away, or the value was altered.
    Vault,
    /// The gateway's own storage did not answer.
    Storage,
    /// What was named is not in the gateway's directory; nothing was changed.
    NotFound,
    /// It stands against what is in the gateway's directory; nothing was changed.
    Conflict,
    /// A value that the gateway's directory does not take; nothing was changed.
    Invalid,
}

impl Outcome {
    /// `done`, `failed`, `refused` or `unknown`, as the ledger writes it.
    pub fn status(&self) -> &'static str {
        match self {
            Outcome::Done { .. } => "done",
            Outcome::Failed { .. } => "failed",
            Outcome::Refused { .. } => "refused",
            Outcome::Unknown { .. } => "unknown",
        }
    }

    /// The class, unless it is done.
    pub fn class(&self) -> Option<Class> {
        match self {
            Outcome::Done { .. } => None,
            Outcome::Failed { class, .. }
            | Outcome::Refused { class, .. }
            | Outcome::Unknown { class, .. } => Some(*class),
        }
    }

    /// Not done, and why: for the operator, bounded.
    pub fn failed(class: Class, message: impl fmt::Display) -> Outcome {
        Outcome::Failed { class, message: bounded(message), value: None }
    }

    pub(crate) fn unknown(class: Class, message: impl fmt::Display) -> Outcome {
        Outcome::Unknown { class, message: bounded(message) }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Class::NotTheSameCall => "not_the_same_call",
            Class::Quarantined => "tool_quarantined",
            Class::WrongUpstream => "wrong_upstream",
            Class::BadRequest => "bad_request",
            Class::Unreachable => "unreachable",
            Class::TooLate => "too_late",
            Class::Timeout => "timeout",
            Class::Disconnected => "disconnected",
            Class::TooLarge => "too_large",
            Class::Protocol => "protocol",
            Class::Status(code) => return write!(f, "status_{code}"),
            Class::WorkerError => "worker_error",
            Class::ClientGone => "client_gone",
            Class::SecretNotSet => "secret_not_set",
            Class::SecretChanged => "secret_changed",
            Class::Vault => "vault",
            Class::Storage => "storage",
            Class::NotFound => "not_found",
            Class::Conflict => "conflict",
            Class::Invalid => "invalid",
        };
        f.write_str(code)
    }
}

/// At most 500 characters without control characters: it may quote a worker and ends up in logs.
pub(crate) fn bounded(message: impl fmt::Display) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    message.to_string().chars().take(500).map(clean).collect()
}
