//! One key for one message: the only file that names a cipher.
//!
//! Key and commitment come out of HKDF-SHA-512 (RFC 5869) over a fresh salt, so no (key, nonce) pair can
//! repeat and the 2^32 message bound of a shared GCM key (NIST SP 800-38D section 8.3) does not apply.
//! AES-GCM alone does not commit to its key; the commitment does, and is compared before decryption.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Length of a GCM tag in bytes.
pub(crate) const TAG: usize = 16;

/// 32 bytes that are wiped on drop.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// Names the two values that one derivation gives, so that they can never be swapped.
pub(crate) struct Labels {
    pub(crate) key: &'static [u8],
    pub(crate) commitment: &'static [u8],
}

/// A derived key that has sealed or opened nothing yet; using it spends it.
pub(crate) struct SingleUse {
    key: Key,
    commitment: [u8; 32],
}

/// The operating system gave no random bytes: nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// The tag did not fit (the message or what it is bound to was altered), or a length is beyond what the
/// primitive takes. Deliberately without detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CipherFault;

impl SingleUse {
    /// `tail` (suite and context digest) follows the label in both expansions.
    pub(crate) fn derive(
        secret: &[u8; 32],
        salt: &[u8; 32],
        labels: &Labels,
        tail: &[&[u8]],
    ) -> Result<Self, CipherFault> {
        let prk = Hkdf::<Sha512>::new(Some(salt), secret);
        let mut commitment = [0; 32];
        let mut key = Zeroizing::new([0; 32]);
        expand(&prk, labels.key, tail, &mut key)?;
        expand(&prk, labels.commitment, tail, &mut commitment)?;
        Ok(Self { key, commitment })
    }

    /// The commitment to the key; public, it stands in the header.
    pub(crate) fn commitment(&self) -> &[u8; 32] {
        &self.commitment
    }

    #[cfg(test)]
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Compares in constant time.
    pub(crate) fn commits_to(&self, claimed: &[u8; 32]) -> bool {
        self.commitment.ct_eq(claimed).into()
    }

    /// Encrypts in place and gives the tag.
    pub(crate) fn seal(
        self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG], CipherFault> {
        Aes256Gcm::new(&(*self.key).into())
            .encrypt_inout_detached(&Nonce::from(*nonce), aad, text.into())
            .map(Into::into)
            .map_err(|_| CipherFault)
    }

    /// Decrypts in place; on an error the text is not the plaintext and must be dropped.
    pub(crate) fn open(
        self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: [u8; TAG],
    ) -> Result<(), CipherFault> {
        Aes256Gcm::new(&(*self.key).into())
            .decrypt_inout_detached(&Nonce::from(*nonce), aad, text.into(), &Tag::from(tag))
            .map_err(|_| CipherFault)
    }
}

/// A key of another use, derived from the same secret under its own label.
pub(crate) fn subkey(secret: &[u8; 32], label: &[u8]) -> Result<Key, CipherFault> {
    let mut key = Zeroizing::new([0; 32]);
    expand(&Hkdf::<Sha512>::new(None, secret), label, &[], &mut key)?;
    Ok(key)
}

/// HMAC-SHA-256 under one key, with the key's part of the work done once.
#[derive(Clone)]
pub(crate) struct MacKey(Hmac<Sha256>);

impl MacKey {
    pub(crate) fn new(key: &Key) -> Result<Self, CipherFault> {
        Hmac::new_from_slice(key.as_slice()).map(Self).map_err(|_| CipherFault)
    }

    /// Over the concatenation of the parts.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Fills an array from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

fn expand(
    prk: &Hkdf<Sha512>,
    label: &[u8],
    tail: &[&[u8]],
    into: &mut [u8; 32],
) -> Result<(), CipherFault> {
    let done = match tail {
        [] => prk.expand(label, into),
        [one] => prk.expand_multi_info(&[label, one], into),
        [one, two] => prk.expand_multi_info(&[label, one, two], into),
        _ => return Err(CipherFault),
    };
    done.map_err(|_| CipherFault)
}

#[cfg(test)]
mod tests;
