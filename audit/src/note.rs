//! C2SP signed notes and checkpoints (c2sp.org/signed-note v1.0.0, c2sp.org/tlog-checkpoint
//! v1.0.0), Ed25519 (signature type 0x01). No I/O, no clock.
//!
//! Only notes are ever signed; a raw record never is, so no record can be replayed as a head.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::chain::{Hash, digest};

/// Signature type byte of Ed25519 in a signed note.
const ED25519_TYPE: u8 = 0x01;

/// Longest note that is read; a checkpoint has a few hundred bytes.
const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Signatures that are looked at; the specification asks for at least 16.
const MAX_SIGNATURES: usize = 64;

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
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| BadKey)
    }

    /// The verifier key under `name`: `name+hex(key id)+base64(0x01 || public key)`.
    #[must_use]
    pub fn vkey(&self, name: &str) -> String {
        VerifierKey::new(name, self.0.public_key().as_ref()).to_string()
    }

    /// Signs `text`, which must end with a newline, under `name`.
    #[must_use]
    pub fn sign(&self, name: &str, text: &str) -> String {
        let key = VerifierKey::new(name, self.0.public_key().as_ref());
        let mut signature = key.id.to_vec();
        signature.extend_from_slice(self.0.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(signature))
    }
}

/// A seed that is not 32 bytes, or a verifier key that is not in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not in its form")]
pub struct BadKey;

/// The public side: who must have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: Vec<u8>,
}

impl VerifierKey {
    fn new(name: &str, public: &[u8]) -> Self {
        let hash = digest(&[name.as_bytes(), b"\n", &[ED25519_TYPE], public]);
        let [a, b, c, d, ..] = hash;
        Self { name: name.to_owned(), id: [a, b, c, d], public: public.to_vec() }
    }

    /// Reads a verifier key, and checks that its key id fits.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadKey);
        };
        let key = BASE64.decode(key).map_err(|_| BadKey)?;
        let Some((&ED25519_TYPE, public)) = key.split_first() else { return Err(BadKey) };
        let made = Self::new(name, public);
        let fits = is_key_name(name) && public.len() == 32 && hex::encode(made.id) == id;
        fits.then_some(made).ok_or(BadKey)
    }

    /// Name of the key; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key signed.
    ///
    /// # Errors
    /// [`BadNote`] for a note that is not in its form or not signed by this key.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, BadNote> {
        let (text, signatures) = split(note)?;
        let mut found = false;
        for line in signatures.lines().take(MAX_SIGNATURES) {
            let (name, signature) = signature_line(line)?;
            let Some((id, signature)) = signature.split_first_chunk::<4>() else {
                return Err(BadNote::Form);
            };
            if name != self.name || *id != self.id {
                continue; // The specification: unknown keys are ignored.
            }
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_| BadNote::Signature)?;
            found = true;
        }
        if found { Ok(text) } else { Err(BadNote::Unsigned) }
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), BASE64.encode(key))
    }
}

/// Why a note does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not a signed note.
    #[error("it is not a signed note")]
    Form,
    /// The expected key did not sign it.
    #[error("the expected key did not sign it")]
    Unsigned,
    /// The expected key's signature is wrong.
    #[error("the signature does not fit the text")]
    Signature,
    /// The text is not a checkpoint.
    #[error("the signed text is not a checkpoint")]
    Checkpoint,
    /// The checkpoint is that of another log.
    #[error("it is the head of another log")]
    Origin,
}

/// The head of a log: how many records, under which root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// RFC 6962 root over their leaf hashes.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: origin, size, root, each on a line.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// The signed note.
    #[must_use]
    pub fn sign(&self, key: &LogKey) -> String {
        key.sign(&self.origin, &self.text())
    }

    /// Reads a checkpoint that `key` signed; the key's name is the origin that it must have.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, BadNote> {
        let text = key.open(note)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(BadNote::Checkpoint);
        };
        if origin != key.name() {
            return Err(BadNote::Origin);
        }
        let size = size.parse::<u64>().ok().filter(|n| n.to_string() == size);
        let root = BASE64.decode(root).ok().and_then(|bytes| Hash::try_from(bytes).ok());
        match (size, root) {
            (Some(size), Some(root)) => Ok(Self { origin: origin.to_owned(), size, root }),
            _ => Err(BadNote::Checkpoint),
        }
    }
}

fn split(note: &str) -> Result<(&str, &str), BadNote> {
    let bad = note.len() > MAX_NOTE_BYTES
        || note.bytes().any(|b| b < 0x20 && b != b'\n')
        || !note.ends_with('\n');
    if bad {
        return Err(BadNote::Form);
    }
    let at = note.rfind("\n\n").ok_or(BadNote::Form)?;
    let (text, signatures) = note.split_at_checked(at + 1).ok_or(BadNote::Form)?;
    let signatures = signatures.strip_prefix('\n').ok_or(BadNote::Form)?;
    if signatures.is_empty() { Err(BadNote::Form) } else { Ok((text, signatures)) }
}

fn signature_line(line: &str) -> Result<(&str, Vec<u8>), BadNote> {
    let rest = line.strip_prefix("\u{2014} ").ok_or(BadNote::Form)?;
    let (name, signature) = rest.split_once(' ').ok_or(BadNote::Form)?;
    let signature = BASE64.decode(signature).map_err(|_| BadNote::Form)?;
    if is_key_name(name) { Ok((name, signature)) } else { Err(BadNote::Form) }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.contains(char::is_whitespace)
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
