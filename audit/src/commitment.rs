//! Commitments: what a record says about a payload without containing it (ledger-and-vault.md 5.3).

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

/// Domain label of a commitment.
const LABEL: &[u8] = b"portcullis/ledger/v1/commit\n";

/// `c = HMAC-SHA-256(k, "portcullis/ledger/v1/commit\n" || field || 0x00 || payload)`.
///
/// `k` is fresh and random for each field, so that a low-entropy payload cannot be guessed from
/// `c`, and destroying `k` kills the link. `k` goes into the sealed body, never into the record.
#[derive(Clone)]
pub struct Commitment {
    digest: [u8; 32],
    length: u64,
    key: Zeroizing<[u8; 32]>,
}

impl Commitment {
    /// Commits to `payload` as the field `field_name` under a fresh random key.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn of(field_name: &str, payload: &[u8]) -> Result<Self, NoRandomness> {
        Ok(Self::under(fresh_key()?, field_name, payload))
    }

    /// The same commitment under a key that was disclosed, for checking one, or that was kept before there
    /// was a payload.
    #[must_use]
    pub fn under(key: Zeroizing<[u8; 32]>, field_name: &str, payload: &[u8]) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*key));
        context.update(LABEL);
        context.update(field_name.as_bytes());
        context.update(&[0]);
        context.update(payload);
        let mut digest = [0_u8; 32];
        digest.copy_from_slice(context.sign().as_ref());
        Self { digest, length: payload.len() as u64, key }
    }

    /// True when `digest` is this commitment; compared in constant time.
    #[must_use]
    pub fn matches(&self, digest: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.digest, digest).is_ok()
    }

    /// `c`, as the record carries it (there in lowercase hex).
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// `n`: length of the payload in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// `k`: belongs into the sealed body and nowhere else.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// A random key for one commitment.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn fresh_key() -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
    let mut key = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| NoRandomness)?;
    Ok(key)
}

impl std::fmt::Debug for Commitment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commitment").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The operating system gave no random bytes; nothing may be recorded without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes; check that /dev/urandom can be read")]
pub struct NoRandomness;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_payload_gives_unlinkable_commitments() {
        let (one, two) =
            (Commitment::of("in", b"42").unwrap(), Commitment::of("in", b"42").unwrap());
        assert_ne!(one.digest(), two.digest());
        assert!(!one.matches(two.digest()));
    }

    #[test]
    fn a_disclosed_key_opens_only_its_own_field_and_payload() {
        let one = Commitment::of("in", b"42").unwrap();
        let key = || Zeroizing::new(*one.key());
        assert!(one.matches(Commitment::under(key(), "in", b"42").digest()));
        assert!(!one.matches(Commitment::under(key(), "in", b"43").digest()));
        assert!(!one.matches(Commitment::under(key(), "out", b"42").digest()));
    }

    #[test]
    fn the_key_never_shows_in_debug() {
        let one = Commitment::of("in", b"42").unwrap();
        let shown = format!("{one:?}");
        assert!(!shown.contains(&hex::encode(one.key())) && !shown.contains("key"));
    }
}
