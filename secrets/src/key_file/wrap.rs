//! How a key file wraps: with a key derived for that one wrapping, so the number of wrappings needs no
//! counter. `format (1, 0x01), salt (32), commitment (32), nonce (12), ciphertext (64), tag (16)`.

use crate::provider::{WrapDigest, WrapText};
use crate::single_use::{self, CipherFault, Key, Labels, MacKey, NoRandomness, SingleUse, TAG};
use zeroize::Zeroizing;

const FORMAT: u8 = 0x01;
const HEADER: usize = 1 + 32 + 32 + 12;
const WRAPPED: usize = HEADER + 64 + TAG;
const LABELS: Labels =
    Labels { key: b"portcullis/vault/v1/wrap/key", commitment: b"portcullis/vault/v1/wrap/commit" };

/// The randomness of one wrapping.
pub(crate) struct WrapDraw {
    pub(crate) salt: [u8; 32],
    pub(crate) nonce: [u8; 12],
}

impl WrapDraw {
    pub(crate) fn fresh() -> Result<Self, NoRandomness> {
        Ok(Self { salt: single_use::random()?, nonce: single_use::random()? })
    }
}

/// Wraps a text under `kek`. The salt is hedged with the key that is wrapped, for the same reason as in
/// the envelope.
pub(crate) fn wrap(
    kek: &Key,
    text: &WrapText,
    digest: &WrapDigest,
    draw: &WrapDraw,
) -> Result<Vec<u8>, CipherFault> {
    let salt_key = single_use::subkey(kek, b"portcullis/vault/v1/wrap/salt")?;
    let secret = text.first_chunk::<32>().ok_or(CipherFault)?;
    let salt = MacKey::new(&salt_key)?.mac(&[&draw.salt, digest, secret]);
    let single = derive(kek, &salt, digest)?;
    let mut wrapped = Vec::with_capacity(WRAPPED);
    for field in [&[FORMAT], salt.as_slice(), single.commitment(), draw.nonce.as_slice()] {
        wrapped.extend_from_slice(field);
    }
    let aad = [wrapped.as_slice(), digest].concat();
    let mut text = text.clone();
    let tag = single.seal(&draw.nonce, &aad, text.as_mut_slice())?;
    wrapped.extend_from_slice(text.as_slice());
    wrapped.extend_from_slice(&tag);
    Ok(wrapped)
}

/// Unwraps what [`wrap`] made for the same digest.
pub(crate) fn unwrap(
    kek: &Key,
    wrapped: &[u8],
    digest: &WrapDigest,
) -> Result<WrapText, CipherFault> {
    let parts = Parts::split(wrapped).ok_or(CipherFault)?;
    let single = derive(kek, parts.salt, digest)?;
    if !single.commits_to(parts.commitment) {
        return Err(CipherFault);
    }
    let mut text = Zeroizing::new(*parts.text);
    single.open(parts.nonce, &[parts.header, digest].concat(), text.as_mut_slice(), *parts.tag)?;
    Ok(text)
}

struct Parts<'a> {
    header: &'a [u8],
    salt: &'a [u8; 32],
    commitment: &'a [u8; 32],
    nonce: &'a [u8; 12],
    text: &'a [u8; 64],
    tag: &'a [u8; TAG],
}

impl<'a> Parts<'a> {
    fn split(wrapped: &'a [u8]) -> Option<Self> {
        let header = wrapped.get(..HEADER)?;
        let (format, rest) = wrapped.split_first()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (text, rest) = rest.split_first_chunk()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let whole = *format == FORMAT && rest.is_empty() && wrapped.len() == WRAPPED;
        whole.then_some(Self { header, salt, commitment, nonce, text, tag })
    }
}

fn derive(kek: &Key, salt: &[u8; 32], digest: &WrapDigest) -> Result<SingleUse, CipherFault> {
    SingleUse::derive(kek, salt, &LABELS, &[digest.as_slice()])
}
