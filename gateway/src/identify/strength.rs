//! How strong a sign-in was, in the words that rules and other verifiers know.

use portcullis_policies::{ACR_MFA, ACR_PASSWORD, Strength};

use super::{AccessClaims, now_seconds};

/// A password, a moment ago.
pub(super) fn by_password() -> Strength {
    Strength {
        amr: vec!["pwd".to_owned()],
        acr: Some(ACR_PASSWORD.to_owned()),
        auth_time: Some(now_seconds()),
        device: false,
    }
}

/// A password and a code of a second factor, a moment ago.
pub(super) fn by_password_and_code() -> Strength {
    Strength {
        amr: ["pwd", "otp", "mfa"].map(str::to_owned).into(),
        acr: Some(ACR_MFA.to_owned()),
        auth_time: Some(now_seconds()),
        device: false,
    }
}

impl AccessClaims {
    /// How the session that this token belongs to was signed in.
    #[must_use]
    pub fn strength(&self) -> Strength {
        let Self { amr, acr, auth_time, device, .. } = self;
        Strength { amr: amr.clone(), acr: acr.clone(), auth_time: *auth_time, device: *device }
    }

    pub(super) fn with_strength(self, strength: &Strength) -> Self {
        let Strength { amr, acr, auth_time, device } = strength.clone();
        Self { amr, acr, auth_time, device, ..self }
    }
}
