//! The claims of the fuzz targets, against changed seeds, on every test run.
//!
//! `PORTCULLIS_FUZZ_SECONDS` says how long for each target; 4 when it is not set. The search
//! begins anywhere; what breaks a claim is printed in hex, to become a seed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking; clippy's allow-*-in-tests does not reach helper functions"
)]

#[path = "../fuzz/claims.rs"]
mod claims;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use claims::{TARGETS, Target};

#[test]
fn note_holds_its_claim() {
    search("note");
}

#[test]
fn checkpoint_holds_its_claim() {
    search("checkpoint");
}

#[test]
fn tile_path_holds_its_claim() {
    search("tile_path");
}

#[test]
fn entry_bundle_holds_its_claim() {
    search("entry_bundle");
}

#[test]
fn proof_holds_its_claim() {
    search("proof");
}

#[test]
fn policy_holds_its_claim() {
    search("policy");
}

#[test]
fn record_holds_its_claim() {
    search("record");
}

#[test]
fn request_holds_its_claim() {
    search("request");
}

#[test]
fn every_claim_has_a_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut names = TARGETS.map(|target| target.name);
    names.sort_unstable();
    assert_eq!(files, names);
}

fn search(name: &str) {
    let Target { claim, seeds, .. } = TARGETS.into_iter().find(|t| t.name == name).unwrap();
    let seconds = std::env::var("PORTCULLIS_FUZZ_SECONDS").map_or(4, |text| text.parse().unwrap());
    let seeds = seeds();
    let mut dice = Dice::thrown();
    let (until, mut tried) = (Instant::now() + Duration::from_secs(seconds), 0_u64);
    for seed in &seeds {
        hold(name, claim, seed);
    }
    while Instant::now() < until {
        let mut input = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(4) {
            change(&mut input, &seeds, &mut dice);
            hold(name, claim, &input);
            tried += 1;
        }
    }
    println!("{name}: {tried} inputs");
}

fn hold(name: &str, claim: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| claim(input))).is_err() {
        panic!("the claim of `{name}` does not hold for {}", hex::encode(input));
    }
}

/// One change of the kinds that parsers stumble over.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let (from, to) = dice.range(input.len());
    match dice.below(9) {
        0 if !input.is_empty() => {
            let at = dice.below(input.len());
            input[at] ^= 1 << dice.below(8);
        }
        1 if !input.is_empty() => {
            let at = dice.below(input.len());
            input[at] = dice.byte();
        }
        2 => drop(input.drain(from..to)),
        3 => {
            let part = input[from..to].to_vec();
            input.splice(from..from, part);
        }
        4 => input.truncate(from),
        5 => {
            let byte = dice.byte();
            input.insert(from, byte);
        }
        6 => {
            let other = &seeds[dice.below(seeds.len())];
            let (first, last) = dice.range(other.len());
            input.splice(from..to, other[first..last].iter().copied());
        }
        7 => swap_lines(input, dice),
        _ => input[from..to].reverse(),
    }
}

fn swap_lines(input: &mut Vec<u8>, dice: &mut Dice) {
    let mut lines: Vec<Vec<u8>> =
        input.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    if !lines.is_empty() {
        let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
        lines.swap(a, b);
        *input = lines.concat();
    }
}

/// Numbers that are random enough (xorshift64*).
struct Dice(u64);

impl Dice {
    fn thrown() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        Self(u64::from_le_bytes(seed) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// A byte that the formats know, or any.
    fn byte(&mut self) -> u8 {
        const KNOWN: &[u8] = b"\n \t\r\0+-/.0=\x7f\xff\"\\{}[],:xp9";
        if self.below(2) == 0 {
            KNOWN[self.below(KNOWN.len())]
        } else {
            self.next().to_le_bytes()[0]
        }
    }

    /// A short part of something of this length.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        (from, (from + self.below(40)).min(length))
    }
}
