//! The keys of notes and their text form (signed-note, "Verifier keys").

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::BadNote;
use super::signed::{SignedNote, is_key_name, signature_line};
use crate::chain::digest;

/// Signature type byte of a note signature.
const ED25519_TYPE: u8 = 0x01;

/// The key that signs heads. It signs notes and nothing else.
pub struct LogKey(Ed25519KeyPair);

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogKey({})", hex::encode(self.0.public_key().as_ref()))
    }
}

impl LogKey {
    /// The key behind a 32-byte seed.
    ///
    /// # Errors
    /// [`BadKey`] when `seed` has another length.
    pub fn from_seed(seed: &[u8]) -> Result<Self, BadKey> {
        key_pair(seed).map(Self)
    }

    /// The verifier key under `name`: `name+hex(key id)+base64(0x01 || public key)`.
    #[must_use]
    pub fn vkey(&self, name: &str) -> String {
        self.vkey_of(name).to_string()
    }

    /// Signs `text`, which must end with a newline, under `name`.
    #[must_use]
    pub fn sign(&self, name: &str, text: &str) -> String {
        let signature = self.0.sign(text.as_bytes());
        let line = signature_line(name, self.vkey_of(name).id, signature.as_ref());
        format!("{text}\n{line}")
    }

    fn vkey_of(&self, name: &str) -> Vkey {
        Vkey::new(name, ED25519_TYPE, public_of(&self.0))
    }
}

/// A seed that is not 32 bytes, or a verifier key that is not in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not in its form")]
pub struct BadKey;

/// The public side of a [`LogKey`] (type 0x01): who must have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey(Vkey);

impl VerifierKey {
    /// Reads a verifier key of type 0x01, and checks that its key id fits.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        Vkey::parse(text, ED25519_TYPE).map(Self)
    }

    /// The key `public` under the name `name`: the same key signs many logs, each under its origin.
    ///
    /// # Errors
    /// [`BadKey`] when `name` can't be the name of a key.
    pub fn of_public(name: &str, public: [u8; 32]) -> Result<Self, BadKey> {
        let key = Self(Vkey::new(name, ED25519_TYPE, public));
        if is_key_name(name) { Ok(key) } else { Err(BadKey) }
    }

    /// Name of the key; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The key id in lowercase hex, as in the key's text form: tells keys of one name apart.
    #[must_use]
    pub fn id(&self) -> String {
        hex::encode(self.0.id)
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.0.public
    }

    /// Checks that this key signed the note.
    ///
    /// # Errors
    /// [`BadNote::Unsigned`] when there is no signature of this key, [`BadNote::Signature`] when
    /// one of them is wrong.
    pub fn verify(&self, note: &SignedNote<'_>) -> Result<(), BadNote> {
        let mut found = Err(BadNote::Unsigned);
        for signature in self.0.signatures(note) {
            self.0.check(note.text().as_bytes(), signature)?;
            found = Ok(());
        }
        found
    }

    /// The text of a note that this key signed.
    ///
    /// # Errors
    /// [`BadNote`] for a note that is not in its form or not signed by this key.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, BadNote> {
        let note = SignedNote::parse(note)?;
        self.verify(&note)?;
        Ok(note.text())
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A verifier key of any type: its name, its key id, and the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vkey {
    pub(super) name: String,
    pub(super) id: [u8; 4],
    kind: u8,
    pub(super) public: [u8; 32],
}

impl Vkey {
    pub(super) fn new(name: &str, kind: u8, public: [u8; 32]) -> Self {
        let [a, b, c, d, ..] = digest(&[name.as_bytes(), b"\n", &[kind], &public]);
        Self { name: name.to_owned(), id: [a, b, c, d], kind, public }
    }

    pub(super) fn parse(text: &str, kind: u8) -> Result<Self, BadKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadKey);
        };
        let key = BASE64.decode(key).map_err(|_| BadKey)?;
        let public = match key.split_first() {
            Some((first, public)) if *first == kind => public.try_into().map_err(|_| BadKey)?,
            _ => return Err(BadKey),
        };
        let made = Self::new(name, kind, public);
        let fits = is_key_name(name) && hex::encode(made.id) == id;
        fits.then_some(made).ok_or(BadKey)
    }

    /// What this key is said to have signed; the specification: unknown keys are ignored.
    pub(super) fn signatures<'n>(
        &self,
        note: &'n SignedNote<'_>,
    ) -> impl Iterator<Item = &'n [u8]> {
        let ours = note.signatures().iter().filter(|s| s.name == self.name && s.id == self.id);
        ours.map(|signature| signature.bytes.as_slice())
    }

    pub(super) fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), BadNote> {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        key.verify(message, signature).map_err(|_| BadNote::Signature)
    }
}

impl std::fmt::Display for Vkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![self.kind];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), BASE64.encode(key))
    }
}

pub(super) fn key_pair(seed: &[u8]) -> Result<Ed25519KeyPair, BadKey> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadKey)
}

pub(super) fn public_of(pair: &Ed25519KeyPair) -> [u8; 32] {
    let mut public = [0; 32];
    // An Ed25519 public key has 32 bytes (RFC 8032).
    public.copy_from_slice(pair.public_key().as_ref());
    public
}
