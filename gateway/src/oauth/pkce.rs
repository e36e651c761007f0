//! Proof key for code exchange (RFC 7636), the method S256 and no other.

use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::OAuthFault;
use crate::identify::sha256;

/// The only method: `plain` would let whoever saw the request redeem the code.
const METHOD: &str = "S256";
/// RFC 7636 section 4.1.
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

/// The SHA-256 of a verifier that only the program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// Reads a challenge and its method.
    ///
    /// # Errors
    /// [`OAuthFault::InvalidRequest`] for another method or another form.
    pub fn read(challenge: &str, method: &str) -> Result<Self, OAuthFault> {
        if method != METHOD {
            return Err(OAuthFault::InvalidRequest("`code_challenge_method` must be S256"));
        }
        challenge.parse()
    }

    /// Whether this is the verifier behind it, in constant time.
    #[must_use]
    pub fn fits(&self, verifier: &str) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        VERIFIER_BYTES.contains(&verifier.len())
            && verifier.bytes().all(plain)
            && verify_slices_are_equal(&sha256(verifier.as_bytes()), &self.0).is_ok()
    }
}

impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for Challenge {
    type Err = OAuthFault;

    fn from_str(text: &str) -> Result<Self, OAuthFault> {
        let digest = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        digest.map(Self).ok_or(OAuthFault::InvalidRequest(
            "`code_challenge` must be 43 characters of base64url without padding",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_standard_fits_and_nothing_else_does() {
        let challenge = Challenge::read(CHALLENGE, "S256").unwrap();
        assert_eq!(challenge.to_string(), CHALLENGE);
        assert!(challenge.fits(VERIFIER));
        for wrong in
            ["", CHALLENGE, VERIFIER.get(1..).unwrap(), &format!("{VERIFIER}A"), &"é".repeat(30)]
        {
            assert!(!challenge.fits(wrong), "{wrong}");
        }
    }

    #[test]
    fn no_other_method_and_no_other_form_is_taken() {
        for method in ["plain", "", "s256", "S512"] {
            assert!(Challenge::read(CHALLENGE, method).is_err(), "{method}");
        }
        let padded = format!("{CHALLENGE}=");
        for text in ["", "short", &padded, VERIFIER.get(..42).unwrap(), &"A".repeat(44)] {
            assert!(Challenge::read(text, "S256").is_err(), "{text}");
        }
    }
}
