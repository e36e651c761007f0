use super::*;
use crate::context::{Context, Purpose, Scope, SecretContext};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    blobs: Vec<Vector>,
}

/// Made by `tests/vectors/make.py`, which shares no code with this crate.
#[derive(Deserialize)]
struct Vector {
    name: String,
    tenant: String,
    user: String,
    ext: String,
    secret_name: String,
    purpose: String,
    #[serde(with = "hex::serde")]
    scope_key: [u8; 32],
    #[serde(with = "hex::serde")]
    sk_id: [u8; 16],
    sk_ver: u32,
    #[serde(with = "hex::serde")]
    secret_id: [u8; 16],
    secret_version: u32,
    #[serde(with = "hex::serde")]
    random: [u8; 32],
    #[serde(with = "hex::serde")]
    nonce: [u8; 12],
    #[serde(with = "hex::serde")]
    plaintext: Vec<u8>,
    #[serde(with = "hex::serde")]
    blob: Vec<u8>,
}

/// Any context, as the vault's callers have them.
#[derive(Clone)]
pub(super) enum Any {
    Secret(SecretContext),
    Other(Context),
}

impl Any {
    pub(super) fn new(scope: Scope, name: &str, purpose: Option<Purpose>) -> Self {
        match purpose {
            None => Self::Secret(SecretContext::new(scope, name).unwrap()),
            Some(purpose) => Self::Other(Context::new(scope, name, purpose).unwrap()),
        }
    }

    pub(super) fn binding(&self) -> Binding<'_> {
        match self {
            Self::Secret(context) => context.binding(),
            Self::Other(context) => context.binding(),
        }
    }
}

impl Vector {
    fn context(&self) -> Any {
        let scope = match (self.user.as_str(), self.ext.as_str()) {
            ("", "") => Scope::of_tenant(&self.tenant).unwrap(),
            (user, ext) => Scope::new(&self.tenant, user, ext).unwrap(),
        };
        let purposes = [
            Purpose::Capsule,
            Purpose::CallBody,
            Purpose::Confirmation,
            Purpose::DeploymentKey,
            Purpose::LedgerBody,
            Purpose::FieldKey,
            Purpose::SigningKey,
        ];
        let purpose = purposes.into_iter().find(|p| p.as_str() == self.purpose);
        assert!(purpose.is_some() || self.purpose == "secret");
        Any::new(scope, &self.secret_name, purpose)
    }

    fn key(&self) -> ScopeKey {
        let id = ScopeKeyId::from_bytes(self.sk_id);
        let secret = Zeroizing::new(self.scope_key);
        ScopeKey::new(id, self.sk_ver, self.context().binding().scope.clone(), secret).unwrap()
    }
}

fn vectors() -> Vec<Vector> {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../tests/vectors/sev1.json")).unwrap();
    assert!(vectors.blobs.len() >= 18);
    vectors.blobs
}

pub(super) fn key(secret: u8) -> ScopeKey {
    let id = ScopeKeyId::from_bytes([7; 16]);
    ScopeKey::new(id, 1, scope("t", "u", "x"), Zeroizing::new([secret; 32])).unwrap()
}

fn scope(tenant: &str, user: &str, ext: &str) -> Scope {
    Scope::new(tenant, user, ext).unwrap()
}

fn context() -> Any {
    Any::new(scope("t", "u", "x"), "token", None)
}

/// Seals and opens as the code does, with the contexts of its callers.
fn seal(
    key: &ScopeKey,
    blob: BlobId,
    context: &Any,
    plaintext: &[u8],
    draw: &Draw,
) -> Result<Vec<u8>, CipherFault> {
    super::seal(key, blob, &context.binding(), plaintext, draw)
}

fn open(key: &ScopeKey, context: &Any, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
    super::open(key, &context.binding(), blob)
}

pub(super) const BLOB: BlobId = BlobId { secret: [9; 16], version: 3 };
const DRAW: Draw = Draw { salt: [1; 32], nonce: [2; 12] };

fn sealed() -> Vec<u8> {
    seal(&key(5), BLOB, &context(), b"hunter2", &DRAW).unwrap()
}

#[test]
fn the_vectors_are_reproduced_byte_for_byte() {
    for vector in vectors() {
        let draw = Draw { salt: vector.random, nonce: vector.nonce };
        let blob = BlobId { secret: vector.secret_id, version: vector.secret_version };
        let sealed = seal(&vector.key(), blob, &vector.context(), &vector.plaintext, &draw);
        assert_eq!(hex::encode(sealed.unwrap()), hex::encode(&vector.blob), "{}", vector.name);
    }
}

#[test]
fn the_vectors_open() {
    for vector in vectors() {
        let opened = open(&vector.key(), &vector.context(), &vector.blob).unwrap();
        assert_eq!(*opened, vector.plaintext, "{}", vector.name);
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let sealed = sealed();
    for byte in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[byte] ^= 1 << bit;
            assert!(open(&key(5), &context(), &altered).is_err(), "byte {byte}, bit {bit}");
        }
    }
    assert!(open(&key(5), &context(), &sealed).is_ok());
}

#[test]
fn a_flip_in_text_or_tag_is_told_from_a_flip_in_the_derivation() {
    let mut text = sealed();
    *text.last_mut().unwrap() ^= 1;
    assert_eq!(open(&key(5), &context(), &text).unwrap_err(), Refused::Altered);
    let mut salt = sealed();
    salt[48] ^= 1;
    assert_eq!(open(&key(5), &context(), &salt).unwrap_err(), Refused::Commitment);
}

#[test]
fn a_blob_moved_to_any_other_context_does_not_open() {
    let sealed = sealed();
    let moved = [
        Any::new(scope("T", "u", "x"), "token", None),
        Any::new(scope("t", "U", "x"), "token", None),
        Any::new(scope("t", "u", "X"), "token", None),
        Any::new(scope("t", "u", "x"), "Token", None),
        Any::new(scope("t", "u", "x"), "token", Some(Purpose::Capsule)),
        Any::new(scope("u", "t", "x"), "token", None),
        Any::new(scope("t", "x", "u"), "token", None),
        Any::new(Scope::of_tenant("t").unwrap(), "token", None),
    ];
    for context in moved {
        let refused = open(&key(5), &context, &sealed).unwrap_err();
        assert_eq!(refused, Refused::Commitment);
    }
}

#[test]
fn another_version_or_id_in_the_header_is_refused() {
    for offset in [8, 23, 24, 27, 28, 44, 47] {
        let mut altered = sealed();
        altered[offset] ^= 0x40;
        assert_eq!(open(&key(5), &context(), &altered).unwrap_err(), Refused::Altered, "{offset}");
    }
}

#[test]
fn unknown_suites_and_header_lengths_are_refused_before_anything_is_derived() {
    for suite in [0_u16, 2, 0x0078, 0x0100, u16::MAX] {
        let mut altered = sealed();
        altered[4..6].copy_from_slice(&suite.to_be_bytes());
        let refused = open(&key(5), &context(), &altered).unwrap_err();
        assert_eq!(refused, Refused::Malformed(Malformed::Suite(suite)));
    }
    let mut altered = sealed();
    altered[6..8].copy_from_slice(&125_u16.to_be_bytes());
    let refused = open(&key(5), &context(), &altered).unwrap_err();
    assert_eq!(refused, Refused::Malformed(Malformed::HeaderLength(125)));
}

#[test]
fn a_blob_of_any_other_length_is_refused() {
    let sealed = sealed();
    for length in 0..sealed.len() {
        assert!(open(&key(5), &context(), &sealed[..length]).is_err(), "{length}");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert!(open(&key(5), &context(), &longer).is_err());
}

#[test]
fn another_key_is_refused_by_the_commitment() {
    assert_eq!(open(&key(6), &context(), &sealed()).unwrap_err(), Refused::Commitment);
}

#[test]
fn repeated_randomness_gives_different_keys() {
    let blob = |version, context: &Any, plaintext: &[u8]| {
        seal(&key(5), BlobId { version, ..BLOB }, context, plaintext, &DRAW).unwrap()
    };
    let other = Any::new(scope("t", "u", "x"), "other", None);
    let sealed = [
        blob(1, &context(), b"a"),
        blob(1, &context(), b"b"),
        blob(2, &context(), b"a"),
        blob(1, &other, b"a"),
    ];
    let commitments: std::collections::BTreeSet<&[u8]> =
        sealed.iter().map(|blob| &blob[80..112]).collect();
    assert_eq!(commitments.len(), sealed.len(), "one derived key was used twice");
}

#[test]
fn fresh_draws_differ() {
    let (one, two) = (Draw::fresh().unwrap(), Draw::fresh().unwrap());
    assert!(one.salt != two.salt && one.nonce != two.nonce);
}

proptest! {
    #[test]
    fn whatever_was_sealed_opens_and_its_length_is_hidden(
        text in proptest::collection::vec(any::<u8>(), 0..2000)
    ) {
        let sealed = seal(&key(5), BLOB, &context(), &text, &DRAW).unwrap();
        prop_assert_eq!(&*open(&key(5), &context(), &sealed).unwrap(), &text);
        prop_assert!(text.len() > 63 || sealed.len() == HEADER + 64 + TAG);
    }
}

#[test]
fn every_pair_of_the_context_is_bound_by_the_commitment_and_by_the_tag() {
    let encoded = |context: &Any| {
        let mut bytes = Vec::new();
        context.binding().encode_into(&mut bytes);
        bytes
    };
    let (sealed, bound) = (sealed(), encoded(&context()));
    let header = Header::parse(&sealed).unwrap().0;
    for byte in 0..bound.len() {
        for bit in 0..8 {
            let mut altered = bound.clone();
            altered[byte] ^= 1 << bit;
            let single = derive(&key(5), &header.salt, &altered).unwrap();
            assert!(!single.commits_to(&header.commitment), "byte {byte}, bit {bit}");
            // Even with the right key, the tag covers the context.
            let right = derive(&key(5), &header.salt, &bound).unwrap();
            let (text, tag) = sealed[HEADER..].split_last_chunk::<TAG>().unwrap();
            let aad = [&sealed[..HEADER], &altered].concat();
            assert!(right.open(&header.nonce, &aad, &mut text.to_vec(), *tag).is_err());
        }
    }
}
