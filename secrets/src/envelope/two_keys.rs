//! One ciphertext that AES-GCM accepts under two keys, and the commitment that refuses it.
//!
//! The tag is linear in the ciphertext, so one free block can be solved for such that both tags agree
//! (Dodis, Grubbs, Ristenpart and Woodage, "Fast Message Franking", CRYPTO 2018).

use super::tests::{Any, BLOB, key};
use super::*;
use crate::context::Scope;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};

const TEXT: usize = 64;

struct Gcm {
    hash: u128,
    cipher: Aes256,
    nonce: [u8; 12],
}

impl Gcm {
    fn new(key: &[u8; 32], nonce: [u8; 12]) -> Self {
        let cipher = Aes256::new(&(*key).into());
        let mut gcm = Self { hash: 0, cipher, nonce };
        gcm.hash = gcm.block(0);
        gcm
    }

    fn block(&self, value: u128) -> u128 {
        let mut block = value.to_be_bytes().into();
        self.cipher.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }

    /// Block `number` of the key stream; 0 masks the tag.
    fn stream(&self, number: u32) -> u128 {
        let mut counter = [0; 16];
        counter[..12].copy_from_slice(&self.nonce);
        counter[12..].copy_from_slice(&(number + 1).to_be_bytes());
        self.block(u128::from_be_bytes(counter))
    }

    fn tag(&self, blocks: &[u128]) -> u128 {
        let hash = blocks.iter().fold(0, |sum, block| times(sum ^ block, self.hash));
        hash ^ self.stream(0)
    }
}

/// Multiplication in the field of GCM (NIST SP 800-38D section 6.3).
fn times(x: u128, y: u128) -> u128 {
    let (mut product, mut v) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            product ^= v;
        }
        v = if v & 1 == 1 { v >> 1 ^ (0xe1 << 120) } else { v >> 1 };
    }
    product
}

fn power(x: u128, exponent: u128) -> u128 {
    let one = 1 << 127;
    (0..128).rev().fold(one, |sum, bit| {
        let square = times(sum, sum);
        if exponent >> bit & 1 == 1 { times(square, x) } else { square }
    })
}

fn blocks(aad: &[u8], text: &[u128]) -> Vec<u128> {
    let chunk = |chunk: &[u8]| {
        let mut block = [0; 16];
        block[..chunk.len()].copy_from_slice(chunk);
        u128::from_be_bytes(block)
    };
    let mut blocks: Vec<u128> = aad.chunks(16).map(chunk).collect();
    blocks.extend(text);
    blocks.push((aad.len() as u128 * 8) << 64 | (text.len() as u128 * 128));
    blocks
}

/// Ciphertext and tag that hold under both keys; the padding is right under the first.
fn craft(keys: [&[u8; 32]; 2], nonce: [u8; 12], aad: &[u8]) -> Vec<u8> {
    let [one, two] = keys.map(|key| Gcm::new(key, nonce));
    let mut padding = [0_u128; TEXT / 16];
    padding[1] = 0x80 << 120;
    let mut text: Vec<u128> =
        (1..).zip(padding).map(|(number, block)| block ^ one.stream(number)).collect();
    text[0] = 0;
    let all = blocks(aad, &text);
    let exponent = (all.len() - aad.chunks(16).len()) as u128;
    let difference = one.tag(&all) ^ two.tag(&all);
    let slope = power(one.hash, exponent) ^ power(two.hash, exponent);
    text[0] = times(difference, power(slope, u128::MAX - 1));
    let tag = one.tag(&blocks(aad, &text));
    text.into_iter().chain([tag]).flat_map(u128::to_be_bytes).collect()
}

#[test]
fn one_ciphertext_under_two_keys_is_refused_by_the_commitment() {
    let scope = Scope::new("t", "u", "x").unwrap();
    let context = Any::new(scope, "token", None);
    let mut aad = room_for_header(&context.binding());
    let bound = aad[HEADER..].to_vec();
    let (salt, nonce) = ([3; 32], [4; 12]);
    let [one, two] = [5, 6].map(|secret| derive(&key(secret), &salt, &bound).unwrap());
    let commitment = *one.commitment();
    let id = key(5).id();
    let header = Header { blob: BLOB, key: id, key_version: 1, salt, commitment, nonce };
    header.write(&mut aad[..HEADER]).unwrap();
    let crafted = craft([one.key(), two.key()], nonce, &aad);

    // AES-GCM alone takes it under both keys.
    let (text, tag) = crafted.split_last_chunk::<TAG>().unwrap();
    let plaintexts = [one, two].map(|single| {
        let mut text = text.to_vec();
        assert!(single.open(&nonce, &aad, &mut text, *tag).is_ok());
        text
    });
    assert_ne!(plaintexts[0], plaintexts[1]);

    // The envelope opens it under the key it commits to, and refuses it under the other.
    let blob = [&aad[..HEADER], &crafted].concat();
    assert!(super::open(&key(5), &context.binding(), &blob).is_ok());
    let refused = super::open(&key(6), &context.binding(), &blob).unwrap_err();
    assert_eq!(refused, Refused::Commitment);
}
