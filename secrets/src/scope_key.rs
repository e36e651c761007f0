//! Scope keys: 32 random bytes for each tenant, user and extension, wrapped by the key-encryption key.
//!
//! What is wrapped is the key followed by a digest of whose key it is. So a row that was moved to another
//! scope is refused even by a provider that knows no associated data, or that wraps again by itself.

use crate::context::{PRODUCT, Scope, encode_pairs};
use crate::provider::{KeyRef, WrapDigest, WrapText, Wrapped};
use crate::single_use::{self, CipherFault, Key, MacKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Random id of a scope key; in rows as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeKeyId([u8; 16]);

/// What may be done with a scope key. A key moves down this list only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Stored, and used for nothing yet.
    Pending,
    /// Seals and opens; at most one in each scope.
    Active,
    /// Opens what it sealed, seals nothing new.
    DecryptOnly,
    /// Neither; the wrapped bytes are still there.
    Retired,
    /// The wrapped bytes were overwritten. What it sealed is unreadable for good.
    Destroyed,
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
    /// Kind of provider that wrapped it, such as `key-file`.
    pub kek_provider: String,
    /// Which key-encryption key.
    pub kek_id: String,
    /// Version of the key-encryption key.
    pub kek_ver: u32,
    /// The wrapped bytes, in rows as hex digits; zeros once destroyed.
    #[serde(with = "hex::serde")]
    pub wrapped: Vec<u8>,
    /// What may be done with it.
    pub state: KeyState,
}

/// An unwrapped scope key, wiped on drop. No `Debug`, no `Clone`, no serde.
pub(crate) struct ScopeKey {
    id: ScopeKeyId,
    version: u32,
    scope: Scope,
    secret: Key,
    /// Key of the hedged salt (envelope.rs).
    salt_key: MacKey,
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

impl KeyState {
    /// The word in rows. Never changes once a row was written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
            Self::Retired => "retired",
            Self::Destroyed => "destroyed",
        }
    }

    /// How far down the list.
    pub(crate) fn rank(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Active => 1,
            Self::DecryptOnly => 2,
            Self::Retired => 3,
            Self::Destroyed => 4,
        }
    }

    /// Whether the key may open what it sealed.
    #[must_use]
    pub fn opens(self) -> bool {
        matches!(self, Self::Active | Self::DecryptOnly)
    }
}

impl std::str::FromStr for KeyState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Pending, Self::Active, Self::DecryptOnly, Self::Retired, Self::Destroyed]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or(())
    }
}

impl WrappedScopeKey {
    /// The version of the key-encryption key that wrapped it.
    #[must_use]
    pub fn kek(&self) -> KeyRef {
        KeyRef { kek_id: self.kek_id.clone(), kek_ver: self.kek_ver }
    }

    /// What the wrapping is bound to.
    pub(crate) fn digest(&self) -> WrapDigest {
        context_digest(&self.scope, self.sk_id, self.sk_ver)
    }

    /// The key of an unwrapped text. Whose key it is comes from the row and must equal what is inside.
    pub(crate) fn key_of(&self, text: &WrapText) -> Result<ScopeKey, CipherFault> {
        let (secret, inside) = text.split_first_chunk::<32>().ok_or(CipherFault)?;
        if !bool::from(inside.ct_eq(&self.digest())) {
            return Err(CipherFault);
        }
        ScopeKey::new(self.sk_id, self.sk_ver, self.scope.clone(), Zeroizing::new(*secret))
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
        Ok(Self { id, version, scope, salt_key: MacKey::new(&salt_key)?, secret })
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

    /// HMAC under the key of the hedged salt.
    pub(crate) fn salt_mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.salt_key.mac(parts)
    }

    /// The 32 bytes of SHA-256 that say whose key this is.
    pub(crate) fn digest(&self) -> WrapDigest {
        context_digest(&self.scope, self.id, self.version)
    }

    /// What a provider wraps: the key, then whose it is.
    pub(crate) fn text(&self) -> WrapText {
        let mut text = Zeroizing::new([0; 64]);
        let (secret, digest) = text.split_at_mut(32);
        secret.copy_from_slice(self.secret.as_slice());
        digest.copy_from_slice(&self.digest());
        text
    }

    /// The row of this key.
    pub(crate) fn row(&self, provider: &str, wrapped: Wrapped, state: KeyState) -> WrappedScopeKey {
        WrappedScopeKey {
            sk_id: self.id,
            scope: self.scope.clone(),
            sk_ver: self.version,
            kek_provider: provider.to_owned(),
            kek_id: wrapped.key.kek_id,
            kek_ver: wrapped.key.kek_ver,
            wrapped: wrapped.bytes,
            state,
        }
    }
}

/// `SHA-256("portcullis/vault/v1/sk\n" || context)`. The key-encryption key is left out on purpose: a
/// provider that rewraps by itself cannot write a new digest.
fn context_digest(scope: &Scope, id: ScopeKeyId, version: u32) -> WrapDigest {
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

impl std::fmt::Display for ScopeKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<ScopeKeyId> for String {
    fn from(id: ScopeKeyId) -> Self {
        id.to_string()
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
