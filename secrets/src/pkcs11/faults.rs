//! What a return value of PKCS#11 means for whoever must act.

use super::error;
use crate::provider::{ProviderError, ProviderFault};
use cryptoki::error::{Error, RvError};

/// Sorts an error that is not about the message itself. What neither names the PIN nor the key counts as
/// "the module was away": the sessions are dropped and the question is asked once more.
pub(super) fn sorted(what: Error) -> ProviderError {
    let fault = match &what {
        Error::Pkcs11(value, _) => of_value(value),
        Error::LibraryLoading(_) | Error::NullFunctionPointer | Error::MissingSymbol(_) => {
            ProviderFault::Unreachable
        }
        _ => ProviderFault::Other,
    };
    error(fault, what.to_string())
}

fn of_value(value: &RvError) -> ProviderFault {
    use RvError as Rv;
    match value {
        Rv::PinExpired => ProviderFault::CredentialExpired,
        Rv::PinIncorrect
        | Rv::PinInvalid
        | Rv::PinLenRange
        | Rv::PinLocked
        | Rv::UserPinNotInitialized
        | Rv::KeyFunctionNotPermitted
        | Rv::ActionProhibited
        | Rv::TokenWriteProtected => ProviderFault::Denied,
        Rv::SessionCount | Rv::DeviceMemory | Rv::HostMemory => ProviderFault::Throttled,
        Rv::MechanismInvalid | Rv::MechanismParamInvalid | Rv::TemplateInconsistent => {
            ProviderFault::Other
        }
        _ => ProviderFault::Unreachable,
    }
}

/// Whether a failed decryption may be the message's fault. SoftHSM says `CKR_GENERAL_ERROR` for a wrong
/// tag and for its own troubles alike, so a known answer decides (token.rs).
pub(super) fn may_be_the_message(what: &Error) -> bool {
    use RvError as Rv;
    matches!(
        what,
        Error::Pkcs11(
            Rv::GeneralError
                | Rv::FunctionFailed
                | Rv::EncryptedDataInvalid
                | Rv::EncryptedDataLenRange
                | Rv::DataInvalid
                | Rv::DataLenRange
                | Rv::ArgumentsBad
                | Rv::SignatureInvalid,
            _
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    #[test]
    fn each_fault_of_a_module_is_told_apart() {
        let fault = |value| sorted(Error::Pkcs11(value, Function::Decrypt)).fault();
        assert_eq!(fault(RvError::PinExpired), ProviderFault::CredentialExpired);
        assert_eq!(fault(RvError::PinLocked), ProviderFault::Denied);
        assert_eq!(fault(RvError::SessionCount), ProviderFault::Throttled);
        for away in [
            RvError::DeviceRemoved,
            RvError::TokenNotPresent,
            RvError::DeviceError,
            RvError::SessionHandleInvalid,
            RvError::CryptokiNotInitialized,
            RvError::GeneralError,
        ] {
            assert_eq!(fault(away), ProviderFault::Unreachable);
        }
        assert_eq!(fault(RvError::MechanismInvalid), ProviderFault::Other);
    }
}
