//! The sealed blob `SEV1`, byte for byte. Pure: randomness comes in as an argument.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 4 | magic `SEV1` |
//! | 4 | 2 | suite, 0x0001: HKDF-SHA-512, AES-256-GCM, key commitment |
//! | 6 | 2 | header length, 124 |
//! | 8 | 16 | secret id |
//! | 24 | 4 | secret version |
//! | 28 | 16 | scope key id |
//! | 44 | 4 | scope key version |
//! | 48 | 32 | salt |
//! | 80 | 32 | commitment |
//! | 112 | 12 | nonce |
//! | 124 | n + 16 | ciphertext, tag |
//!
//! Integers are big-endian. The associated data are the whole header followed by the encoded context.

use crate::context::{self, Binding};
use crate::padding;
use crate::scope_key::{ScopeKey, ScopeKeyId};
use crate::single_use::{self, CipherFault, Labels, NoRandomness, SingleUse, TAG};
use zeroize::{Zeroize as _, Zeroizing};

/// Length of the header in bytes.
pub const HEADER: usize = 124;

const MAGIC: [u8; 4] = *b"SEV1";
const SUITE: u16 = 0x0001;
const LABELS: Labels =
    Labels { key: b"portcullis/vault/v1/key", commitment: b"portcullis/vault/v1/commit" };

/// Which version of which secret a blob holds. Both stand in the header and are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobId {
    /// Random id of the secret.
    pub secret: [u8; 16],
    /// Version of the secret, from 1.
    pub version: u32,
}

/// A blob that is no blob: nothing was decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter or longer than any blob.
    #[error("a sealed value cannot be {0} bytes long")]
    Length(usize),
    /// Does not begin with `SEV1`.
    #[error("not a sealed value: it does not begin with `SEV1`")]
    Magic,
    /// A suite that this version does not know, or no longer accepts.
    #[error("sealed with suite {0:#06x}, and only 0x0001 is accepted")]
    Suite(u16),
    /// A header length other than 124.
    #[error("the header says it is {0} bytes long, and it is always {HEADER}")]
    HeaderLength(u16),
}

/// All randomness of one blob.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    pub(crate) salt: [u8; 32],
    pub(crate) nonce: [u8; 12],
}

/// The header as read. Authenticated only once the blob was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) blob: BlobId,
    pub(crate) key: ScopeKeyId,
    pub(crate) key_version: u32,
    salt: [u8; 32],
    commitment: [u8; 32],
    nonce: [u8; 12],
}

/// Why a well-formed blob did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Malformed(Malformed),
    /// The commitment does not fit: another key, another context, or an altered header.
    Commitment,
    /// The tag does not fit, or the padding inside is not ours.
    Altered,
}

impl Draw {
    /// One question to the operating system for all of it.
    pub(crate) fn fresh() -> Result<Self, NoRandomness> {
        let bytes: [u8; 44] = single_use::random()?;
        let (salt, rest) = bytes.split_first_chunk().ok_or(NoRandomness)?;
        let nonce = rest.first_chunk().ok_or(NoRandomness)?;
        Ok(Self { salt: *salt, nonce: *nonce })
    }
}

/// Seals one value. The salt that stands in the header is hedged: an HMAC over the random bytes *and* the
/// context, version and plaintext, so that a random generator that repeats itself (a restored virtual
/// machine) still gives different plaintexts different keys.
pub(crate) fn seal(
    key: &ScopeKey,
    blob: BlobId,
    binding: &Binding<'_>,
    plaintext: &[u8],
    draw: &Draw,
) -> Result<Vec<u8>, CipherFault> {
    let mut aad = room_for_header(binding);
    let (head, bound) = aad.split_at_mut_checked(HEADER).ok_or(CipherFault)?;
    let salt = hedged_salt(key, blob, bound, plaintext, draw)?;
    let single = derive(key, &salt, bound)?;
    let header = Header {
        blob,
        key: key.id(),
        key_version: key.version(),
        salt,
        commitment: *single.commitment(),
        nonce: draw.nonce,
    };
    header.write(head).ok_or(CipherFault)?;
    let mut sealed = Vec::with_capacity(HEADER + padding::padded_len(plaintext.len()) + TAG);
    sealed.extend_from_slice(head);
    padding::pad_into(&mut sealed, plaintext);
    let text = sealed.get_mut(HEADER..).ok_or(CipherFault)?;
    match single.seal(&draw.nonce, &aad, text) {
        Ok(tag) => sealed.extend_from_slice(&tag),
        Err(fault) => {
            sealed.zeroize();
            return Err(fault);
        }
    }
    Ok(sealed)
}

/// Opens what [`seal`] made, under the context of the authorised request.
pub(crate) fn open(
    key: &ScopeKey,
    binding: &Binding<'_>,
    blob: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (header, body) = Header::parse(blob).map_err(Refused::Malformed)?;
    let short = Refused::Malformed(Malformed::Length(blob.len()));
    let mut aad = room_for_header(binding);
    let (head, bound) = aad.split_at_mut_checked(HEADER).ok_or(short)?;
    head.copy_from_slice(blob.get(..HEADER).ok_or(short)?);
    let single = derive(key, &header.salt, bound).map_err(|_| Refused::Altered)?;
    if !single.commits_to(&header.commitment) {
        return Err(Refused::Commitment);
    }
    let (text, tag) = body.split_last_chunk::<TAG>().ok_or(short)?;
    let mut text = Zeroizing::new(text.to_vec());
    single.open(&header.nonce, &aad, &mut text, *tag).map_err(|_| Refused::Altered)?;
    let length = padding::unpadded_len(&text).ok_or(Refused::Altered)?;
    text.truncate(length);
    Ok(text)
}

/// The associated data with a header still to be written: header, then encoded context, in one buffer.
fn room_for_header(binding: &Binding<'_>) -> Vec<u8> {
    let mut aad = Vec::with_capacity(HEADER + binding.encoded_len());
    aad.resize(HEADER, 0);
    binding.encode_into(&mut aad);
    aad
}

impl Header {
    /// Splits a blob into header and the rest. Unknown suite, wrong length and foreign magic are errors;
    /// nothing is guessed.
    pub(crate) fn parse(blob: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let short = Malformed::Length(blob.len());
        if blob.len() < HEADER + padding::SMALLEST + TAG {
            return Err(short);
        }
        let mut rest = blob;
        if take::<4>(&mut rest).ok_or(short)? != MAGIC {
            return Err(Malformed::Magic);
        }
        let suite = u16::from_be_bytes(take(&mut rest).ok_or(short)?);
        if suite != SUITE {
            return Err(Malformed::Suite(suite));
        }
        let length = u16::from_be_bytes(take(&mut rest).ok_or(short)?);
        if usize::from(length) != HEADER {
            return Err(Malformed::HeaderLength(length));
        }
        let header = Self::fields(&mut rest).ok_or(short)?;
        Ok((header, rest))
    }

    fn fields(rest: &mut &[u8]) -> Option<Self> {
        Some(Self {
            blob: BlobId { secret: take(rest)?, version: u32::from_be_bytes(take(rest)?) },
            key: ScopeKeyId::from_bytes(take(rest)?),
            key_version: u32::from_be_bytes(take(rest)?),
            salt: take(rest)?,
            commitment: take(rest)?,
            nonce: take(rest)?,
        })
    }

    /// Fills `head`, which is [`HEADER`] bytes long.
    fn write(&self, mut head: &mut [u8]) -> Option<()> {
        let head = &mut head;
        put(head, &MAGIC)?;
        put(head, &SUITE.to_be_bytes())?;
        put(head, &124_u16.to_be_bytes())?;
        put(head, &self.blob.secret)?;
        put(head, &self.blob.version.to_be_bytes())?;
        put(head, self.key.as_bytes())?;
        put(head, &self.key_version.to_be_bytes())?;
        put(head, &self.salt)?;
        put(head, &self.commitment)?;
        put(head, &self.nonce)?;
        head.is_empty().then_some(())
    }
}

fn hedged_salt(
    key: &ScopeKey,
    blob: BlobId,
    bound: &[u8],
    plaintext: &[u8],
    draw: &Draw,
) -> Result<[u8; 32], CipherFault> {
    let length = u32::try_from(bound.len()).map_err(|_| CipherFault)?.to_be_bytes();
    let version = blob.version.to_be_bytes();
    Ok(key.salt_mac(&[&draw.salt, &length, bound, &version, plaintext]))
}

fn derive(key: &ScopeKey, salt: &[u8; 32], bound: &[u8]) -> Result<SingleUse, CipherFault> {
    let tail: [&[u8]; 2] = [&SUITE.to_be_bytes(), &context::digest(bound)];
    SingleUse::derive(key.secret(), salt, &LABELS, &tail)
}

/// Writes `field` at the front of what is left.
fn put(left: &mut &mut [u8], field: &[u8]) -> Option<()> {
    let (place, after) = std::mem::take(left).split_at_mut_checked(field.len())?;
    place.copy_from_slice(field);
    *left = after;
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod two_keys;
