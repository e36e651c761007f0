//! What an answer of KMS means for whoever must act.

use super::error;
use crate::provider::{ProviderError, ProviderFault};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

/// Sorts whatever the SDK reports. The words of KMS are shown, and they hold no plaintext.
pub(super) fn sorted<E: ProvideErrorMetadata>(why: SdkError<E>) -> ProviderError {
    let fault = match &why {
        SdkError::TimeoutError(_) => ProviderFault::Timeout,
        SdkError::DispatchFailure(lost) if lost.is_timeout() => ProviderFault::Timeout,
        SdkError::DispatchFailure(lost) if lost.is_io() => ProviderFault::Unreachable,
        // No credentials: the references gave none.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            ProviderFault::CredentialExpired
        }
        _ => of_code(why.code().unwrap_or_default()),
    };
    let said = why.message().unwrap_or("no further word");
    let code = why.code().unwrap_or("no answer");
    error(fault, format!("{code}: {}", said.chars().take(200).collect::<String>()))
}

pub(super) fn of_code(code: &str) -> ProviderFault {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "LimitExceededException"
        | "RequestLimitExceeded" => ProviderFault::Throttled,
        "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException" => ProviderFault::CredentialExpired,
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => ProviderFault::Denied,
        "NotFoundException" | "DisabledException" | "KMSInvalidStateException" => {
            ProviderFault::KeyGone
        }
        "InvalidCiphertextException" => ProviderFault::Altered,
        "IncorrectKeyException" => ProviderFault::WrongKey,
        "KeyUnavailableException"
        | "DependencyTimeoutException"
        | "KMSInternalException"
        | "ServiceUnavailable"
        | "InternalFailure" => ProviderFault::Unreachable,
        _ => ProviderFault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_kms_is_told_apart() {
        for (code, fault) in [
            ("ThrottlingException", ProviderFault::Throttled),
            ("ExpiredTokenException", ProviderFault::CredentialExpired),
            ("AccessDeniedException", ProviderFault::Denied),
            ("DisabledException", ProviderFault::KeyGone),
            ("InvalidCiphertextException", ProviderFault::Altered),
            ("IncorrectKeyException", ProviderFault::WrongKey),
            ("KeyUnavailableException", ProviderFault::Unreachable),
            ("SomethingElse", ProviderFault::Other),
        ] {
            assert_eq!(of_code(code), fault, "{code}");
        }
    }
}
