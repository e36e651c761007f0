//! Tokens that tie a form of the gateway's own pages to the session that it was shown to.

use aws_lc_rs::hmac;

/// Makes and checks the tokens of forms under a key of the deployment.
pub struct FormTokens {
    key: hmac::Key,
}

/// Proof that a form came back with the token of this session. [`FormTokens::check`] alone makes one,
/// and the doors of programs have no form to check.
#[derive(Debug)]
pub struct SignedForm {
    session: String,
}

impl FormTokens {
    /// Tokens under this key (32 random bytes, kept sealed by the vault).
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The token of a session's forms: 64 hexadecimal digits.
    #[must_use]
    pub fn of(&self, session: &str) -> String {
        hex::encode(hmac::sign(&self.key, &message(session)))
    }

    /// The digest under which a code that a person types is kept: such a code is short enough to be found from a
    /// plain one.
    #[must_use]
    pub fn digest_of_code(&self, code: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.key, format!("portcullis/user-code/v1\n{code}").as_bytes());
        let mut digest = [0; 32];
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    /// The tag of what a session of an MCP client says of itself: 64 hexadecimal digits.
    #[must_use]
    pub fn of_mcp_session(&self, said: &str) -> String {
        hex::encode(hmac::sign(&self.key, &of_mcp(said)))
    }

    /// Checks such a tag, in constant time.
    #[must_use]
    pub fn check_mcp_session(&self, said: &str, tag: &str) -> bool {
        hex::decode(tag).is_ok_and(|tag| hmac::verify(&self.key, &of_mcp(said), &tag).is_ok())
    }

    /// Checks the token that came back with a form, in constant time.
    #[must_use]
    pub fn check(&self, session: &str, token: &str) -> Option<SignedForm> {
        let tag = hex::decode(token).ok()?;
        hmac::verify(&self.key, &message(session), &tag).ok()?;
        Some(SignedForm { session: session.to_owned() })
    }
}

impl SignedForm {
    /// Whether it is a form of this session.
    #[must_use]
    pub fn is_of(&self, session: &str) -> bool {
        self.session == session
    }
}

impl std::fmt::Debug for FormTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FormTokens")
    }
}

fn of_mcp(said: &str) -> Vec<u8> {
    format!("portcullis/mcp-session/v1\n{said}").into_bytes()
}

fn message(session: &str) -> Vec<u8> {
    format!("portcullis/form/v1\n{session}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_session_and_its_deployment_only() {
        let tokens = FormTokens::new(&[7; 32]);
        let token = tokens.of("one");
        assert!(tokens.check("one", &token).is_some_and(|form| form.is_of("one")));
        assert!(tokens.check("two", &token).is_none());
        assert!(FormTokens::new(&[8; 32]).check("one", &token).is_none());
        for wrong in ["", "00", &format!("{token}00"), "no hexadecimal"] {
            assert!(tokens.check("one", wrong).is_none(), "{wrong}");
        }
    }
}
