//! API keys, `imp_live_` and 32 characters (wire-contract 1.3), and service tokens, `imp_svc_` and as many:
//! 190 bits of them random.

use secrecy::{ExposeSecret as _, SecretString};

use super::IdentityError;

const PREFIX: &str = "imp_live_";
const SERVICE_PREFIX: &str = "imp_svc_";
const RANDOM_CHARS: usize = 32;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many characters of the key are kept to recognise it by; 6 of them random.
const SHOWN_CHARS: usize = PREFIX.len() + 6;

/// A key in the clear. It exists from its making until it was shown once.
#[derive(Debug)]
pub struct ApiKeyText(SecretString);

impl ApiKeyText {
    /// The whole key, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The first characters, which may be kept and shown.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.expose().chars().take(SHOWN_CHARS).collect()
    }

    /// What the directory keeps. A plain digest will do: the text is random, so there is nothing to
    /// guess that a slow hash would protect.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.expose().as_bytes())
    }
}

/// Makes a key.
pub fn fresh_api_key() -> Result<ApiKeyText, IdentityError> {
    fresh(PREFIX)
}

/// Makes a service token.
pub fn fresh_service_token() -> Result<ApiKeyText, IdentityError> {
    fresh(SERVICE_PREFIX)
}

fn fresh(prefix: &str) -> Result<ApiKeyText, IdentityError> {
    let mut text = prefix.to_owned();
    while text.len() < prefix.len() + RANDOM_CHARS {
        let mut bytes = [0; RANDOM_CHARS];
        getrandom::fill(&mut bytes).map_err(|_| IdentityError::Generate)?;
        let missing = prefix.len() + RANDOM_CHARS - text.len();
        text.extend(bytes.iter().filter_map(|&byte| unbiased(byte)).take(missing));
    }
    Ok(ApiKeyText(text.into()))
}

/// The digest of a text that has the form of a key.
pub(crate) fn digest_of(key: &str) -> Option<[u8; 32]> {
    digest_with(PREFIX, key)
}

/// The digest of a text that has the form of a service token.
pub(crate) fn service_digest_of(token: &str) -> Option<[u8; 32]> {
    digest_with(SERVICE_PREFIX, token)
}

fn digest_with(prefix: &str, key: &str) -> Option<[u8; 32]> {
    let random = key.strip_prefix(prefix)?;
    let whole = random.len() == RANDOM_CHARS && random.bytes().all(|b| b.is_ascii_alphanumeric());
    whole.then(|| sha256(key.as_bytes()))
}

/// One character for one random byte; bytes beyond the last whole alphabet are dropped, since they
/// would favour the first characters.
fn unbiased(byte: u8) -> Option<char> {
    let index = usize::from(byte);
    if index >= ALPHABET.len() * 4 {
        return None;
    }
    ALPHABET.get(index % ALPHABET.len()).map(|&c| char::from(c))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_has_the_published_form_and_is_never_the_same() {
        let (one, two) = (fresh_api_key().unwrap(), fresh_api_key().unwrap());
        assert_eq!(digest_of(one.expose()), Some(one.sha256()));
        assert_eq!(one.expose().len(), 41);
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn a_text_of_another_form_is_no_key() {
        let key = fresh_api_key().unwrap();
        let upper = key.expose().to_uppercase();
        let long = format!("{}0", key.expose());
        for text in
            ["", "imp_live_", upper.as_str(), long.as_str(), "imp_live_%' OR 1=1 --............"]
        {
            assert_eq!(digest_of(text), None, "{text}");
        }
    }

    #[test]
    fn the_debug_form_of_a_key_does_not_show_it() {
        let key = fresh_api_key().unwrap();
        assert!(!format!("{key:?}").contains(key.expose()));
    }
}
