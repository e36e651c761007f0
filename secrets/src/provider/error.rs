//! Why a provider gave no answer, sorted by what the reader can do about it.

use std::fmt;

/// A question that a provider did not answer. Clones share nothing secret: no key and no plaintext is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError {
    provider: &'static str,
    fault: ProviderFault,
    detail: String,
}

/// What kind of failure it was; each has its own remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderFault {
    /// Nobody answers: stopped, unplugged, or the network is down.
    Unreachable,
    /// No answer within the deadline. The provider may have done the work all the same.
    Timeout,
    /// The provider asks for fewer questions.
    Throttled,
    /// The credential for the provider ran out.
    CredentialExpired,
    /// The provider knows us and says no.
    Denied,
    /// The key or this version of it is not there, or is disabled.
    KeyGone,
    /// There is a key of that name, and it is another key.
    WrongKey,
    /// The wrapped bytes, or what they are bound to, are not those of the wrapping.
    Altered,
    /// Anything else, in the provider's own words.
    Other,
}

impl ProviderError {
    /// A failure of the provider called `provider`. `detail` is shown to operators: never a secret.
    #[must_use]
    pub fn new(provider: &'static str, fault: ProviderFault, detail: impl Into<String>) -> Self {
        Self { provider, fault, detail: detail.into() }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn fault(&self) -> ProviderFault {
        self.fault
    }
}

impl ProviderFault {
    /// Whether asking again later may help without anybody doing anything.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Throttled)
    }

    fn what(self) -> &'static str {
        match self {
            Self::Unreachable => "does not answer",
            Self::Timeout => "did not answer in time",
            Self::Throttled => "answers too many questions",
            Self::CredentialExpired => "no longer accepts our credential",
            Self::Denied => "refuses",
            Self::KeyGone => "does not have the key",
            Self::WrongKey => "has another key under this name",
            Self::Altered => "says that the wrapped key was altered",
            Self::Other => "failed",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Unreachable => "start it, or mend the way to it",
            Self::Timeout => "look at its load and at the network",
            Self::Throttled => "raise its limit, or wait",
            Self::CredentialExpired => "give a new token, PIN or role",
            Self::Denied => "allow this gateway to encrypt and decrypt with the key",
            Self::KeyGone => "restore or enable the key version",
            Self::WrongKey => "put the right key back",
            Self::Altered => "restore the row of the scope key from a backup",
            Self::Other => "see the provider's own log",
        }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, remedy) = (self.fault.what(), self.fault.remedy());
        write!(f, "key provider `{}` {what} ({}): {remedy}", self.provider, self.detail)
    }
}

impl std::error::Error for ProviderError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_differently_and_says_what_to_do() {
        use ProviderFault::*;
        let faults = [
            Unreachable,
            Timeout,
            Throttled,
            CredentialExpired,
            Denied,
            KeyGone,
            WrongKey,
            Altered,
            Other,
        ];
        let shown: std::collections::BTreeSet<String> = faults
            .into_iter()
            .map(|fault| ProviderError::new("p", fault, "why").to_string())
            .collect();
        assert_eq!(shown.len(), faults.len());
        assert!(faults.iter().all(|fault| !fault.remedy().is_empty()));
    }
}
