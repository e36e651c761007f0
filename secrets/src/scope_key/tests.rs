use super::*;
use crate::key_file::wrap::{self, WrapDraw};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    scope_keys: Vec<Vector>,
}

/// Made by `tests/vectors/make.py`, which shares no code with this crate.
#[derive(Deserialize)]
struct Vector {
    #[serde(with = "hex::serde")]
    kek: [u8; 32],
    #[serde(with = "hex::serde")]
    scope_key: [u8; 32],
    #[serde(with = "hex::serde")]
    random: [u8; 32],
    #[serde(with = "hex::serde")]
    nonce: [u8; 12],
    row: WrappedScopeKey,
}

fn kek(byte: u8) -> Key {
    Zeroizing::new([byte; 32])
}

fn key(user: &str, version: u32) -> ScopeKey {
    let scope = Scope::new("t", user, "x").unwrap();
    ScopeKey::new(ScopeKeyId([3; 16]), version, scope, Zeroizing::new([4; 32])).unwrap()
}

fn row(key: &ScopeKey, wrapped: Vec<u8>) -> WrappedScopeKey {
    WrappedScopeKey {
        sk_id: key.id(),
        scope: key.scope().clone(),
        sk_ver: key.version(),
        kek_provider: "key-file".into(),
        kek_id: "k".into(),
        kek_ver: 1,
        wrapped,
        state: KeyState::Active,
    }
}

fn wrap(kek: &Key, key: &ScopeKey, draw: &WrapDraw) -> Result<Vec<u8>, CipherFault> {
    wrap::wrap(kek, &key.text(), &key.digest(), draw)
}

fn unwrap(kek: &Key, row: &WrappedScopeKey) -> Result<ScopeKey, CipherFault> {
    row.key_of(&wrap::unwrap(kek, &row.wrapped, &row.digest())?)
}

const DRAW: WrapDraw = WrapDraw { salt: [5; 32], nonce: [6; 12] };

fn wrapped(user: &str) -> WrappedScopeKey {
    let key = key(user, 1);
    let wrapped = wrap(&kek(1), &key, &DRAW).unwrap();
    row(&key, wrapped)
}

#[test]
fn the_vectors_are_reproduced_byte_for_byte_and_unwrap() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../tests/vectors/sev1.json")).unwrap();
    assert!(!vectors.scope_keys.is_empty());
    for vector in vectors.scope_keys {
        let (kek, row) = (Zeroizing::new(vector.kek), vector.row);
        let key = unwrap(&kek, &row).unwrap_or_else(|_| panic!("{:?} does not unwrap", row.sk_id));
        assert_eq!(key.secret(), &vector.scope_key);
        let draw = WrapDraw { salt: vector.random, nonce: vector.nonce };
        assert_eq!(wrap(&kek, &key, &draw).unwrap(), row.wrapped);
        let file = crate::KeyFile::from_key(kek).unwrap();
        assert_eq!(file.id(), row.kek_id);
    }
}

#[test]
fn another_kek_does_not_unwrap() {
    assert!(unwrap(&kek(1), &wrapped("a")).is_ok());
    assert!(unwrap(&kek(2), &wrapped("a")).is_err());
}

#[test]
fn every_flipped_bit_of_a_wrapped_key_is_refused() {
    let whole = wrapped("a");
    for byte in 0..whole.wrapped.len() {
        for bit in 0..8 {
            let mut altered = whole.clone();
            altered.wrapped[byte] ^= 1 << bit;
            assert!(unwrap(&kek(1), &altered).is_err(), "byte {byte}, bit {bit}");
        }
    }
}

#[test]
fn a_wrapped_key_of_any_other_length_is_refused() {
    let whole = wrapped("a");
    for length in 0..whole.wrapped.len() {
        let wrapped = whole.wrapped[..length].to_vec();
        assert!(unwrap(&kek(1), &WrappedScopeKey { wrapped, ..whole.clone() }).is_err());
    }
    let wrapped = [whole.wrapped.as_slice(), &[0]].concat();
    assert!(unwrap(&kek(1), &WrappedScopeKey { wrapped, ..whole }).is_err());
}

#[test]
fn a_row_moved_to_another_scope_id_or_version_is_refused() {
    let whole = wrapped("a");
    let scope = Scope::new("t", "b", "x").unwrap();
    assert!(unwrap(&kek(1), &WrappedScopeKey { scope, ..whole.clone() }).is_err());
    let sk_id = ScopeKeyId([4; 16]);
    assert!(unwrap(&kek(1), &WrappedScopeKey { sk_id, ..whole.clone() }).is_err());
    assert!(unwrap(&kek(1), &WrappedScopeKey { sk_ver: 2, ..whole }).is_err());
}

/// What a provider without associated data would let through: everything fits but the digest inside.
#[test]
fn the_digest_inside_is_checked_on_its_own() {
    let (key, other) = (key("a", 1), key("b", 1));
    let mut text = key.text();
    text[32..].copy_from_slice(&other.digest());
    let forged = wrap::wrap(&kek(1), &text, &key.digest(), &DRAW).unwrap();
    let row = row(&key, forged);
    assert!(wrap::unwrap(&kek(1), &row.wrapped, &row.digest()).is_ok());
    assert!(unwrap(&kek(1), &row).is_err());
}

#[test]
fn repeated_randomness_wraps_different_keys_under_different_keys() {
    let (one, two) = (wrapped("a"), wrapped("b"));
    assert_ne!(one.wrapped[33..65], two.wrapped[33..65]);
}
