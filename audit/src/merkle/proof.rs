//! Inclusion and consistency proofs (RFC 9162 sections 2.1.3 and 2.1.4; the same as RFC 6962's).
//!
//! Proofs are made from the hashes of complete subtrees, wherever these are kept: a maker asks
//! for at most two of them per level of the tree, never for all leaves. What keeps them behind an
//! `await` runs a maker twice: once with a closure that only notes what is asked, once with the
//! answers.

use crate::chain::{Hash, digest, node};

/// Longest proof: one hash for each level of a tree of less than 2^64 leaves.
pub const MAX_PROOF_HASHES: usize = 64;

/// A complete subtree: the leaves `index << level .. (index + 1) << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subtree {
    /// Height; a leaf has 0.
    pub level: u32,
    /// Place among the subtrees of this height.
    pub index: u64,
}

/// Why a proof, or a root, was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MakeError<E> {
    /// There is no such leaf, or the older tree is larger than the newer.
    #[error("the tree has only {size} leaves")]
    OutsideTree {
        /// Leaves of the tree.
        size: u64,
    },
    /// The hash of a subtree can't be had.
    #[error("a hash of the tree can't be read: {0}")]
    Hash(E),
}

/// The root of the first `size` leaves.
///
/// # Errors
/// The error of `hash`.
pub fn tree_root<E>(size: u64, hash: impl FnMut(Subtree) -> Result<Hash, E>) -> Result<Hash, E> {
    range_root(0, size, &mut { hash })
}

/// The proof that leaf `index` is in the tree of `size` leaves, its sibling first: `PATH(index,
/// D[size])` of RFC 9162 section 2.1.3.1.
///
/// # Errors
/// [`MakeError`].
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, MakeError<E>> {
    if index >= size {
        return Err(MakeError::OutsideTree { size });
    }
    let mut siblings = Vec::new();
    let (mut low, mut high) = (0, size);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            siblings.push((middle, high));
            high = middle;
        } else {
            siblings.push((low, middle));
            low = middle;
        }
    }
    roots(siblings, hash)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves: `PROOF(old,
/// D[new])` of RFC 9162 section 2.1.4.1. It is empty when `old` is 0 or `new`.
///
/// # Errors
/// [`MakeError`].
pub fn prove_consistency<E>(
    old: u64,
    new: u64,
    hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, MakeError<E>> {
    if old > new {
        return Err(MakeError::OutsideTree { size: new });
    }
    let mut ranges = Vec::new();
    let (mut low, mut high) = (0, if old == 0 { 0 } else { new });
    while high > old {
        let middle = low + split(high - low);
        if old <= middle {
            ranges.push((middle, high));
            high = middle;
        } else {
            ranges.push((low, middle));
            low = middle;
        }
    }
    // The verifier knows the old root; a part of the old tree it must be told.
    if low > 0 {
        ranges.push((low, high));
    }
    roots(ranges, hash)
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// The tree has no leaf at this index.
    #[error("the index is not in the tree")]
    Index,
    /// The older tree is larger than the newer.
    #[error("the older tree is larger than the newer")]
    Sizes,
    /// Hashes are missing.
    #[error("the proof is too short for these sizes")]
    TooShort,
    /// There are more hashes than the sizes need.
    #[error("the proof is too long for these sizes")]
    TooLong,
    /// The proof does not lead to the root of the older tree.
    #[error("the proof does not lead to the old root")]
    OldRoot,
    /// The proof does not lead to the root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// Checks that the leaf with hash `leaf` is at `index` of the tree with `size` leaves and `root`
/// (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// [`BadProof`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), BadProof> {
    if index >= size {
        return Err(BadProof::Index);
    }
    let mut walk = Walk { first: index, second: size - 1 };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match walk.step()? {
            Side::Left => node(sibling, &hash),
            Side::Right => node(&hash, sibling),
        };
    }
    walk.done()?;
    if hash == *root { Ok(()) } else { Err(BadProof::Root) }
}

/// Checks that the tree with `new_size` leaves and `new_root` begins with the tree of `old_size`
/// leaves and `old_root` (RFC 9162 section 2.1.4.2). Every tree begins with the empty one, and
/// equal sizes need equal roots; both need an empty proof.
///
/// # Errors
/// [`BadProof`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), BadProof> {
    if old_size > new_size {
        return Err(BadProof::Sizes);
    }
    if old_size == 0 || old_size == new_size {
        return verify_without_proof(old_size, old_root, new_size, new_root, proof);
    }
    let mut walk = Walk { first: old_size - 1, second: new_size - 1 };
    walk.skip_ones();
    // A whole subtree is its own start; else the proof begins with the rightmost one.
    let (start, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(BadProof::TooShort)?
    };
    let (mut old, mut new) = (*start, *start);
    for hash in rest {
        match walk.step()? {
            Side::Left => (old, new) = (node(hash, &old), node(hash, &new)),
            Side::Right => new = node(&new, hash),
        }
    }
    walk.done()?;
    match (old == *old_root, new == *new_root) {
        (true, true) => Ok(()),
        (false, _) => Err(BadProof::OldRoot),
        (true, false) => Err(BadProof::Root),
    }
}

fn verify_without_proof(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), BadProof> {
    let empty = digest(&[]);
    if !proof.is_empty() {
        return Err(BadProof::TooLong);
    }
    if old_size == 0 && *old_root != empty {
        return Err(BadProof::OldRoot);
    }
    if old_size == new_size && old_root != new_root {
        return Err(BadProof::Root);
    }
    Ok(())
}

/// Where the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a leaf to the root: `fn` and `sn` of RFC 9162.
struct Walk {
    first: u64,
    second: u64,
}

impl Walk {
    /// Goes up to where the next hash is needed, and says on which side it stands.
    fn step(&mut self) -> Result<Side, BadProof> {
        if self.second == 0 {
            return Err(BadProof::TooLong);
        }
        let left = self.first & 1 == 1 || self.first == self.second;
        if left {
            while self.first & 1 == 0 && self.first != 0 {
                self.up();
            }
        }
        self.up();
        Ok(if left { Side::Left } else { Side::Right })
    }

    fn skip_ones(&mut self) {
        while self.first & 1 == 1 {
            self.up();
        }
    }

    const fn up(&mut self) {
        self.first >>= 1;
        self.second >>= 1;
    }

    const fn done(&self) -> Result<(), BadProof> {
        if self.second == 0 { Ok(()) } else { Err(BadProof::TooShort) }
    }
}

/// The largest power of two below `leaves`, which are at least 2.
const fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The roots over `ranges`, last range first.
fn roots<E>(
    ranges: Vec<(u64, u64)>,
    mut hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, MakeError<E>> {
    let upwards = ranges.into_iter().rev();
    let roots = upwards.map(|(low, high)| range_root(low, high, &mut hash));
    roots.collect::<Result<_, E>>().map_err(MakeError::Hash)
}

/// The root over the leaves `low..high`, where `low` is 0 or a place at which the tree splits.
fn range_root<E>(
    low: u64,
    high: u64,
    hash: &mut impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let mut edge = Vec::new();
    let mut at = low;
    while at < high {
        let level = (high - at).ilog2();
        edge.push(hash(Subtree { level, index: at >> level })?);
        at += 1 << level;
    }
    let joined = edge.into_iter().rev().reduce(|right, left| node(&left, &right));
    Ok(joined.unwrap_or_else(|| digest(&[])))
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
