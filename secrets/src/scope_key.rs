//! Scope keys: 32 random bytes for each tenant, user and extension, wrapped by the key-encryption key.
//!
//! The wrapped plaintext is the key followed by a digest of whose key it is. So a row that was moved to
//! another scope is refused even by a provider that knows no associated data.
//!
//! The key file wraps with a key derived for that one wrapping, so the number of wrappings needs no
//! counter: `format (1, 0x01), salt (32), commitment (32), nonce (12), ciphertext (64), tag (16)`.

use crate::context::{PRODUCT, Scope, encode_pairs};
use crate::single_use::{self, CipherFault, Key, Labels, NoRandomness, SingleUse, TAG};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const FORMAT: u8 = 0x01;
const HEADER: usize = 1 + 32 + 32 + 12;
const WRAPPED: usize = HEADER + 64 + TAG;
const LABELS: Labels =
    Labels { key: b"portcullis/vault/v1/wrap/key", commitment: b"portcullis/vault/v1/wrap/commit" };

/// Random id of a scope key; in rows as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeKeyId([u8; 16]);

/// What may be done with a scope key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Seals and opens; at most one in each scope.
    Active,
    /// Opens what it sealed, seals nothing new.
    DecryptOnly,
}

/// A scope key as it is stored: nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedScopeKey {
    /// Random id; stands in the header of every blob that the key sealed.
    pub sk_id: ScopeKeyId,
    /// Whose key it is. Bound into `wrapped`, so changing it here makes the row unusable.
    pub scope: Scope,
    /// Version within the scope, from 1.
    pub sk_ver: u32,
    /// Kind of provider that wrapped it: `key-file`.
    pub kek_provider: String,
    /// Fingerprint of the key-encryption key.
    pub kek_id: String,
    /// Version of the key-encryption key.
    pub kek_ver: u32,
    /// The wrapped bytes, in rows as hex digits.
    #[serde(with = "hex::serde")]
    pub wrapped: Vec<u8>,
    /// What may be done with it.
    pub state: KeyState,
}

/// Why a stored scope key did not unwrap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// Another key-encryption key wrapped it.
    #[error(
        "scope key wrapped under key `{expected}`, and the key file holds `{have}`: put the right key file back"
    )]
    OtherKek {
        /// Fingerprint in the row.
        expected: String,
        /// Fingerprint of the key in use.
        have: String,
    },
    /// The row is not as it was written, or it was moved from another scope.
    #[error("the stored scope key `{sk_id}` was altered or moved: restore its row from a backup")]
    Altered {
        /// Id in the row.
        sk_id: String,
    },
}

/// An unwrapped scope key, wiped on drop. No `Debug`, no `Clone`, no serde.
pub(crate) struct ScopeKey {
    id: ScopeKeyId,
    version: u32,
    scope: Scope,
    secret: Key,
    salt_key: Key,
}

/// The randomness of one wrapping.
pub(crate) struct WrapDraw {
    pub(crate) salt: [u8; 32],
    pub(crate) nonce: [u8; 12],
}

impl ScopeKeyId {
    /// From the 16 bytes of a blob's header.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl ScopeKey {
    pub(crate) fn new(
        id: ScopeKeyId,
        version: u32,
        scope: Scope,
        secret: Key,
    ) -> Result<Self, CipherFault> {
        let salt_key = single_use::subkey(&secret, b"portcullis/vault/v1/salt")?;
        Ok(Self { id, version, scope, secret, salt_key })
    }

    pub(crate) fn id(&self) -> ScopeKeyId {
        self.id
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Key of the hedged salt (envelope.rs).
    pub(crate) fn salt_key(&self) -> &Key {
        &self.salt_key
    }

    /// The 32 bytes of SHA-256 that say whose key this is.
    fn context_digest(&self) -> [u8; 32] {
        context_digest(&self.scope, self.id, self.version)
    }
}

impl WrapDraw {
    pub(crate) fn fresh() -> Result<Self, NoRandomness> {
        Ok(Self { salt: single_use::random()?, nonce: single_use::random()? })
    }
}

/// Wraps a scope key under `kek`. The salt is hedged with the key that is wrapped, for the same reason as
/// in the envelope.
pub(crate) fn wrap(kek: &Key, key: &ScopeKey, draw: &WrapDraw) -> Result<Vec<u8>, CipherFault> {
    let bound = key.context_digest();
    let salt_key = single_use::subkey(kek, b"portcullis/vault/v1/wrap/salt")?;
    let salt = single_use::mac(&salt_key, &[&draw.salt, &bound, key.secret()])?;
    let single = derive(kek, &salt, &bound)?;
    let mut wrapped =
        [&[FORMAT], salt.as_slice(), single.commitment(), draw.nonce.as_slice()].concat();
    let aad = [wrapped.as_slice(), &bound].concat();
    let mut text = Zeroizing::new([key.secret().as_slice(), &bound].concat());
    let tag = single.seal(&draw.nonce, &aad, &mut text)?;
    wrapped.extend_from_slice(&text);
    wrapped.extend_from_slice(&tag);
    Ok(wrapped)
}

/// Unwraps the key of a row. Whose key it is comes from the row and must equal what is bound inside.
pub(crate) fn unwrap(kek: &Key, row: &WrappedScopeKey) -> Result<ScopeKey, CipherFault> {
    let bound = context_digest(&row.scope, row.sk_id, row.sk_ver);
    let parts = Parts::split(&row.wrapped).ok_or(CipherFault)?;
    let single = derive(kek, parts.salt, &bound)?;
    if !single.commits_to(parts.commitment) {
        return Err(CipherFault);
    }
    let mut text = Zeroizing::new(*parts.text);
    single.open(parts.nonce, &[parts.header, &bound].concat(), text.as_mut_slice(), *parts.tag)?;
    let (secret, inside) = text.split_first_chunk::<32>().ok_or(CipherFault)?;
    if !bool::from(inside.ct_eq(&bound)) {
        return Err(CipherFault);
    }
    ScopeKey::new(row.sk_id, row.sk_ver, row.scope.clone(), Zeroizing::new(*secret))
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

fn derive(kek: &Key, salt: &[u8; 32], bound: &[u8; 32]) -> Result<SingleUse, CipherFault> {
    SingleUse::derive(kek, salt, &LABELS, &[bound.as_slice()])
}

/// `SHA-256("portcullis/vault/v1/sk\n" || context)`. The key-encryption key is left out on purpose: a
/// provider that rewraps by itself cannot write a new digest.
fn context_digest(scope: &Scope, id: ScopeKeyId, version: u32) -> [u8; 32] {
    let encoded = encode_pairs(&[
        ("ext", scope.extension()),
        ("product", PRODUCT),
        ("sk_id", &String::from(id)),
        ("sk_ver", &version.to_string()),
        ("tenant", scope.tenant()),
        ("user", scope.user()),
    ]);
    Sha256::new().chain_update(b"portcullis/vault/v1/sk\n").chain_update(encoded).finalize().into()
}

impl From<ScopeKeyId> for String {
    fn from(id: ScopeKeyId) -> Self {
        hex::encode(id.0)
    }
}

impl TryFrom<String> for ScopeKeyId {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)?;
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests;
