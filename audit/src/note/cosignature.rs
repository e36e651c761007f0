//! `cosignature/v1` (c2sp.org/tlog-cosignature v1.0.1, Ed25519, signature type 0x04): a witness
//! says that, at a time, this was the largest consistent head it had seen of the log.

use aws_lc_rs::signature::Ed25519KeyPair;

use super::key::{Vkey, key_pair, public_of};
use super::signed::{SignedNote, is_key_name, signature_line};
use super::{BadKey, BadNote};

/// Signature type byte of a timestamped cosignature.
const COSIGNATURE_TYPE: u8 = 0x04;

/// Latest time that a cosignature may have, in seconds since 1970.
const MAX_SECONDS: u64 = i64::MAX as u64;

/// The key of a witness. It makes cosignatures and nothing else, all under one name.
pub struct Cosigner {
    pair: Ed25519KeyPair,
    key: Vkey,
}

impl std::fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cosigner({})", self.key)
    }
}

impl Cosigner {
    /// The key behind a 32-byte seed that no other cosigner and no log has.
    ///
    /// # Errors
    /// [`BadKey`] when `seed` has another length or `name` can't be the name of a key.
    pub fn from_seed(name: &str, seed: &[u8]) -> Result<Self, BadKey> {
        let pair = key_pair(seed)?;
        let key = Vkey::new(name, COSIGNATURE_TYPE, public_of(&pair));
        if is_key_name(name) { Ok(Self { pair, key }) } else { Err(BadKey) }
    }

    /// The public side.
    #[must_use]
    pub fn key(&self) -> CosignerKey {
        CosignerKey(self.key.clone())
    }

    /// The signature line for the text of a checkpoint, which must end with a newline.
    /// `unix_seconds` is cut to the latest time that the format allows, 2^63 - 1.
    #[must_use]
    pub fn cosign(&self, text: &str, unix_seconds: u64) -> String {
        let seconds = unix_seconds.min(MAX_SECONDS);
        let signature = self.pair.sign(message(text, seconds).as_bytes());
        let timestamped = [&seconds.to_be_bytes(), signature.as_ref()].concat();
        signature_line(&self.key.name, self.key.id, &timestamped)
    }
}

/// The public side of a [`Cosigner`] (type 0x04): which witness must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignerKey(Vkey);

impl CosignerKey {
    /// Reads a verifier key of type 0x04, and checks that its key id fits.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        Vkey::parse(text, COSIGNATURE_TYPE).map(Self)
    }

    /// Name of the witness.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.0.public
    }

    /// When this witness cosigned the note, in seconds since 1970; the last time of several.
    ///
    /// # Errors
    /// [`BadNote::Unsigned`] when there is no cosignature of this key, [`BadNote::Signature`] when
    /// one of them is wrong.
    pub fn verify(&self, note: &SignedNote<'_>) -> Result<u64, BadNote> {
        let mut last = None;
        for timestamped in self.0.signatures(note) {
            let seconds = self.check(note.text(), timestamped)?;
            last = last.max(Some(seconds));
        }
        last.ok_or(BadNote::Unsigned)
    }

    fn check(&self, text: &str, timestamped: &[u8]) -> Result<u64, BadNote> {
        let (seconds, signature) =
            timestamped.split_first_chunk::<8>().ok_or(BadNote::Signature)?;
        let seconds = u64::from_be_bytes(*seconds);
        if seconds > MAX_SECONDS {
            return Err(BadNote::Signature);
        }
        self.0.check(message(text, seconds).as_bytes(), signature)?;
        Ok(seconds)
    }
}

impl std::fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is signed. Its first line is no origin of a log, so it is never taken for a checkpoint.
fn message(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

#[cfg(test)]
#[path = "cosignature_tests.rs"]
mod tests;
