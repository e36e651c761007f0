//! A value on its way to the one who may have it.

use bytes::Bytes;
use portcullis_secrets::Lease;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// The value of a secret, wiped when dropped. `Debug` shows nothing of it.
pub struct LentValue(Held);

enum Held {
    Vault(Lease),
    Environment(SecretString),
}

impl LentValue {
    /// A value that the vault opened.
    #[must_use]
    pub fn from_vault(lease: Lease) -> Self {
        Self(Held::Vault(lease))
    }

    /// A value that stands in the gateway's environment (`env_fallback`).
    #[must_use]
    pub fn from_environment(value: SecretString) -> Self {
        Self(Held::Environment(value))
    }

    /// The answer `{"value": ...}` in a buffer that is wiped when the answer was sent. A value that is no
    /// UTF-8 cannot have come in by this door and gives no answer.
    #[must_use]
    pub fn into_body(self) -> Option<Bytes> {
        let body = self.with(|value| {
            let text = std::str::from_utf8(value).ok()?;
            // Room for the worst case at once: a buffer that grows leaves copies behind.
            let mut body = Zeroizing::new(Vec::with_capacity(value.len() * 6 + 16));
            body.extend_from_slice(b"{\"value\":");
            serde_json::to_writer(&mut *body, text).ok()?;
            body.push(b'}');
            Some(body)
        })?;
        Some(Bytes::from_owner(body))
    }

    /// Looks at the value.
    pub fn with<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match &self.0 {
            Held::Vault(lease) => lease.with(look),
            Held::Environment(value) => look(value.expose_secret().as_bytes()),
        }
    }
}

impl std::fmt::Debug for LentValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LentValue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_json_whatever_the_value() {
        let odd = "a\"b\\c\nd\u{0}é";
        let lent = LentValue::from_environment(SecretString::from(odd));
        assert!(!format!("{lent:?}").contains('b'));
        let body: serde_json::Value = serde_json::from_slice(&lent.into_body().unwrap()).unwrap();
        assert_eq!(body, serde_json::json!({ "value": odd }));
    }
}
