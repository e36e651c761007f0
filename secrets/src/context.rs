//! What a sealed value is bound to: tenant, user, extension, name and purpose.
//!
//! The context never travels with the value. Whoever opens builds it again from the request that was
//! authorised, so a blob that was moved to another row, user or tenant does not open there.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// First pair of every context; keeps our blobs apart from those of any other product.
pub(crate) const PRODUCT: &str = "portcullis";

/// Longest tenant, user, extension or name, in bytes.
pub const MAX_PART: usize = 1024;

/// Whose key seals: one scope key per tenant, user and extension. Erasing that one row makes everything
/// of that scope unreadable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "ScopeParts", into = "ScopeParts")]
pub struct Scope {
    tenant: String,
    user: String,
    ext: String,
}

/// What a sealed value is for. A value that was sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A decision capsule beside a ledger record (design.md section 4); at most 16 MiB.
    Capsule,
    /// Arguments or an answer beside a ledger record; at most 16 MiB.
    CallBody,
    /// The exact argument bytes of a pending confirmation; at most 16 MiB.
    Confirmation,
    /// A key of the deployment itself; at most 64 KiB.
    DeploymentKey,
    /// The body beside a ledger record; at most 16 MiB.
    LedgerBody,
    /// The keys of the commitments in a ledger record; at most 64 KiB.
    FieldKey,
    /// A private key that signs tokens or checkpoints; at most 64 KiB.
    SigningKey,
}

/// Longest secret in bytes.
pub(crate) const SECRET_LIMIT: usize = 64 << 10;

/// The purpose of every [`SecretContext`]. INVARIANT: no [`Purpose`] has this word, so no other context
/// ever opens a secret (`context::tests::no_purpose_speaks_for_secrets`).
const SECRET: &str = "secret";

/// Everything that a sealed value is bound to. For secrets see [`SecretContext`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    scope: Scope,
    name: String,
    purpose: Purpose,
}

/// What a secret is bound to: a credential that an extension or an upstream may be lent. A type of its
/// own, because [`crate::Vault::lend`], which alone takes it to open something, costs a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretContext {
    scope: Scope,
    name: String,
}

/// The one form in which any context is sealed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) scope: &'a Scope,
    name: &'a str,
    purpose: &'static str,
    pub(crate) limit: usize,
}

/// A tenant, user, extension or name that cannot be part of a context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContext {
    /// The part is empty: most likely the caller lost it on the way.
    #[error("the {part} of a sealed value's context is empty")]
    Empty {
        /// `tenant`, `user`, `extension` or `name`.
        part: &'static str,
    },
    /// The part is longer than [`MAX_PART`] bytes.
    #[error("the {part} of a sealed value's context is longer than {MAX_PART} bytes")]
    TooLong {
        /// `tenant`, `user`, `extension` or `name`.
        part: &'static str,
    },
}

impl Scope {
    /// The scope of one user of one tenant in one extension. Each part is 1 to [`MAX_PART`] bytes.
    ///
    /// # Errors
    /// [`InvalidContext`] names the part that is empty or too long.
    pub fn new(tenant: &str, user: &str, ext: &str) -> Result<Self, InvalidContext> {
        Ok(Self {
            tenant: part("tenant", tenant)?,
            user: part("user", user)?,
            ext: part("extension", ext)?,
        })
    }

    /// The scope of a whole tenant, for values that belong to no user and no extension. No scope of a
    /// user can equal it: [`Scope::new`] takes no empty part.
    ///
    /// # Errors
    /// [`InvalidContext`] when the tenant is empty or too long.
    pub fn of_tenant(tenant: &str) -> Result<Self, InvalidContext> {
        Ok(Self { tenant: part("tenant", tenant)?, user: String::new(), ext: String::new() })
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The user; empty for the scope of a whole tenant.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The extension; empty for the scope of a whole tenant.
    #[must_use]
    pub fn extension(&self) -> &str {
        &self.ext
    }
}

impl Purpose {
    /// The word that is bound into the blob.
    ///
    /// INVARIANT: never changes once a value was sealed with it
    /// (`envelope::tests::the_vectors_are_reproduced_byte_for_byte` has each of them).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capsule => "capsule",
            Self::CallBody => "call-body",
            Self::Confirmation => "confirmation",
            Self::DeploymentKey => "deployment-key",
            Self::LedgerBody => "ledger-body",
            Self::FieldKey => "field-key",
            Self::SigningKey => "signing-key",
        }
    }

    /// Longest plaintext in bytes.
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Self::DeploymentKey | Self::FieldKey | Self::SigningKey => 64 << 10,
            Self::Capsule | Self::CallBody | Self::Confirmation | Self::LedgerBody => 16 << 20,
        }
    }
}

impl Context {
    /// Binds a value to a scope, a name of 1 to [`MAX_PART`] bytes and a purpose.
    ///
    /// # Errors
    /// [`InvalidContext`] when the name is empty or too long.
    pub fn new(scope: Scope, name: &str, purpose: Purpose) -> Result<Self, InvalidContext> {
        Ok(Self { scope, name: part("name", name)?, purpose })
    }

    /// Whose key seals.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What the value is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(crate) fn binding(&self) -> Binding<'_> {
        let (word, limit) = (self.purpose.as_str(), self.purpose.limit());
        Binding { scope: &self.scope, name: &self.name, purpose: word, limit }
    }
}

impl SecretContext {
    /// Binds a secret to a scope and a name of 1 to [`MAX_PART`] bytes.
    ///
    /// # Errors
    /// [`InvalidContext`] when the name is empty or too long.
    pub fn new(scope: Scope, name: &str) -> Result<Self, InvalidContext> {
        Ok(Self { scope, name: part("name", name)? })
    }

    /// Whose key seals.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The secret's name within its scope.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Longest secret in bytes.
    #[must_use]
    pub fn limit() -> usize {
        SECRET_LIMIT
    }

    pub(crate) fn binding(&self) -> Binding<'_> {
        Binding { scope: &self.scope, name: &self.name, purpose: SECRET, limit: SECRET_LIMIT }
    }
}

impl Binding<'_> {
    /// Appends the bytes that are authenticated with every blob.
    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) {
        encode_pairs_into(bytes, &self.pairs());
    }

    /// Length of those bytes.
    pub(crate) fn encoded_len(&self) -> usize {
        pairs_len(&self.pairs())
    }

    fn pairs(&self) -> [(&str, &str); 6] {
        [
            ("ext", &self.scope.ext),
            ("name", self.name),
            ("product", PRODUCT),
            ("purpose", self.purpose),
            ("tenant", &self.scope.tenant),
            ("user", &self.scope.user),
        ]
    }
}

/// The serialisation of the AWS Encryption SDK message header: a u16 count, then for each pair the u16
/// length and bytes of key and value, big-endian. Every length is written down, so no two different
/// contexts share one encoding.
///
/// INVARIANT: callers give the pairs sorted by key, and values of at most [`MAX_PART`] bytes
/// (`encoding_is_sorted_and_length_prefixed`).
pub(crate) fn encode_pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pairs_len(pairs));
    encode_pairs_into(&mut bytes, pairs);
    bytes
}

fn encode_pairs_into(bytes: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    push_u16(bytes, pairs.len());
    for (key, value) in pairs {
        push_text(bytes, key);
        push_text(bytes, value);
    }
}

fn pairs_len(pairs: &[(&str, &str)]) -> usize {
    let text: usize = pairs.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
    text + 2
}

/// SHA-256 of an encoded context.
pub(crate) fn digest(encoded: &[u8]) -> [u8; 32] {
    Sha256::digest(encoded).into()
}

/// How a scope looks in a stored row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeParts {
    tenant: String,
    user: String,
    ext: String,
}

impl TryFrom<ScopeParts> for Scope {
    type Error = InvalidContext;

    fn try_from(parts: ScopeParts) -> Result<Self, InvalidContext> {
        if parts.user.is_empty() && parts.ext.is_empty() {
            return Self::of_tenant(&parts.tenant);
        }
        Self::new(&parts.tenant, &parts.user, &parts.ext)
    }
}

impl From<Scope> for ScopeParts {
    fn from(scope: Scope) -> Self {
        Self { tenant: scope.tenant, user: scope.user, ext: scope.ext }
    }
}

fn part(part: &'static str, text: &str) -> Result<String, InvalidContext> {
    match text.len() {
        0 => Err(InvalidContext::Empty { part }),
        1..=MAX_PART => Ok(text.to_owned()),
        _ => Err(InvalidContext::TooLong { part }),
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_u16(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Lengths are bounded by [`MAX_PART`], so the conversion cannot fail; saturating keeps it total.
fn push_u16(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(tenant: &str, user: &str, ext: &str, name: &str) -> Vec<u8> {
        let scope = Scope::new(tenant, user, ext).unwrap();
        let context = SecretContext::new(scope, name).unwrap();
        let mut bytes = Vec::new();
        context.binding().encode_into(&mut bytes);
        assert_eq!(bytes.len(), context.binding().encoded_len());
        bytes
    }

    #[test]
    fn no_purpose_speaks_for_secrets() {
        use Purpose::*;
        let purposes =
            [Capsule, CallBody, Confirmation, DeploymentKey, LedgerBody, FieldKey, SigningKey];
        let words: std::collections::BTreeSet<_> = purposes.map(Purpose::as_str).into();
        assert!(words.len() == purposes.len() && !words.contains(SECRET));
    }

    #[test]
    fn encoding_is_sorted_and_length_prefixed() {
        let encoded = encoded("t", "u", "x", "n");
        let expected =
            b"\x00\x06\x00\x03ext\x00\x01x\x00\x04name\x00\x01n\x00\x07product\x00\x0aportcullis\
            \x00\x07purpose\x00\x06secret\x00\x06tenant\x00\x01t\x00\x04user\x00\x01u";
        assert_eq!(encoded, expected);
    }

    #[test]
    fn moving_a_letter_between_two_parts_changes_the_encoding() {
        assert_ne!(encoded("ab", "c", "x", "n"), encoded("a", "bc", "x", "n"));
    }

    #[test]
    fn empty_and_overlong_parts_are_named() {
        assert_eq!(Scope::new("t", "", "x"), Err(InvalidContext::Empty { part: "user" }));
        let long = "x".repeat(MAX_PART + 1);
        assert_eq!(Scope::new("t", "u", &long), Err(InvalidContext::TooLong { part: "extension" }));
    }

    #[test]
    fn no_user_scope_equals_the_scope_of_a_tenant() {
        assert!(Scope::new("t", "", "").is_err());
        let tenant = Scope::of_tenant("t").unwrap();
        let json = serde_json::to_string(&tenant).unwrap();
        assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), tenant);
    }
}
