//! Faults of other parts as refusals.

use super::*;

impl From<OAuthFault> for Refusal {
    fn from(fault: OAuthFault) -> Self {
        Self::OAuth(fault)
    }
}

impl From<Unidentified> for Refusal {
    fn from(fault: Unidentified) -> Self {
        match fault {
            Unidentified::Missing => Self::MissingCredential,
            Unidentified::Ambiguous { .. } | Unidentified::InQuery => Self::AmbiguousCredential,
            Unidentified::HintDiffers { hint } => Self::HintMismatch(hint),
            Unidentified::Unavailable(fault) => Self::Unavailable(fault.to_string()),
            Unidentified::NoReplayGuard => Self::Unavailable("replay guard".into()),
            other => Self::InvalidCredential(other.code()),
        }
    }
}

impl From<Overloaded> for Refusal {
    fn from(overloaded: Overloaded) -> Self {
        Self::Busy { retry_after: Duration::from_secs(overloaded.retry_after) }
    }
}

impl From<portcullis_policies::Refusal> for Refusal {
    fn from(refusal: portcullis_policies::Refusal) -> Self {
        let portcullis_policies::Refusal { rules, reasons, errored, step_up } = refusal;
        match step_up {
            Some(needs) => Self::StepUp { rules, reasons, needs },
            None => Self::Denied { rules, reasons, errored },
        }
    }
}
