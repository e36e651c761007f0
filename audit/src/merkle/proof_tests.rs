use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use serde_json::Value;

use super::super::root;
use super::*;
use crate::chain::leaf;

/// A tree in memory that counts what is asked of it.
struct Tree {
    levels: Vec<Vec<Hash>>,
    asked: std::cell::Cell<usize>,
}

impl Tree {
    fn new(size: u64) -> Self {
        let mut levels = vec![(0..size).map(|i| leaf(&i.to_be_bytes())).collect::<Vec<_>>()];
        while levels.last().unwrap().len() > 1 {
            let below = levels.last().unwrap();
            levels.push(below.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect());
        }
        Self { levels, asked: std::cell::Cell::new(0) }
    }

    fn hash(&self, subtree: Subtree) -> Result<Hash, Infallible> {
        self.asked.set(self.asked.get() + 1);
        Ok(self.levels[subtree.level as usize][usize::try_from(subtree.index).unwrap()])
    }

    fn leaves(&self, size: u64) -> &[Hash] {
        &self.levels[0][..usize::try_from(size).unwrap()]
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        prove_inclusion(index, size, |s| self.hash(s)).unwrap()
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        prove_consistency(old, new, |s| self.hash(s)).unwrap()
    }
}

/// `PATH(m, D[n])` of RFC 9162 section 2.1.3.1, word for word.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (below, sibling) = if m < k {
        (path(m, &leaves[..k]), root(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), root(&leaves[..k]))
    };
    [below, vec![sibling]].concat()
}

/// `SUBPROOF(m, D[n], b)` of RFC 9162 section 2.1.4.1, word for word.
fn subproof(m: usize, leaves: &[Hash], b: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if b { Vec::new() } else { vec![root(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (below, other) = if m <= k {
        (subproof(m, &leaves[..k], b), root(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), root(&leaves[..k]))
    };
    [below, vec![other]].concat()
}

fn hash_of(value: &Value) -> Hash {
    BASE64.decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn hashes_of(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash_of).collect()
}

#[test]
fn the_vectors_of_transparency_dev_are_answered_as_they_say() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../tests/vectors/merkle.json")).unwrap();
    for vector in vectors["inclusion"].as_array().unwrap() {
        let answer = verify_inclusion(
            &hash_of(&vector["leafHash"]),
            vector["leafIdx"].as_u64().unwrap(),
            vector["treeSize"].as_u64().unwrap(),
            &hashes_of(&vector["proof"]),
            &hash_of(&vector["root"]),
        );
        assert_eq!(answer.is_err(), vector["wantErr"].as_bool().unwrap(), "{vector}: {answer:?}");
    }
    for vector in vectors["consistency"].as_array().unwrap() {
        let answer = verify_consistency(
            vector["size1"].as_u64().unwrap(),
            &hash_of(&vector["root1"]),
            vector["size2"].as_u64().unwrap(),
            &hash_of(&vector["root2"]),
            &hashes_of(&vector["proof"]),
        );
        assert_eq!(answer.is_err(), vector["wantErr"].as_bool().unwrap(), "{vector}: {answer:?}");
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proved_and_nothing_else_is() {
    let tree = Tree::new(40);
    for size in 1..=40 {
        let root = root(tree.leaves(size));
        for index in 0..size {
            let proof = tree.inclusion(index, size);
            for claimed in 0..size + 2 {
                let leaf = tree.levels[0][usize::try_from(index).unwrap()];
                let answer = verify_inclusion(&leaf, claimed, size, &proof, &root);
                assert_eq!(answer.is_ok(), claimed == index, "leaf {index} as {claimed} of {size}");
            }
        }
    }
}

#[test]
fn every_pair_of_small_trees_is_proved_and_no_other_pair_is() {
    let tree = Tree::new(33);
    let roots: Vec<Hash> = (0..=33).map(|size| root(tree.leaves(size))).collect();
    for new in 0..=33_u64 {
        for old in 0..=new {
            let proof = tree.consistency(old, new);
            for (claimed, old_root) in (0_u64..).zip(&roots) {
                let new_root = &roots[usize::try_from(new).unwrap()];
                let answer = verify_consistency(claimed, old_root, new, new_root, &proof);
                // Both need no proof at all.
                let trivial = proof.is_empty() && (claimed == 0 || claimed == new);
                assert_eq!(
                    answer.is_ok(),
                    claimed == old || trivial,
                    "{old} as {claimed} to {new}"
                );
            }
        }
    }
}

#[test]
fn sizes_around_the_width_of_a_tile_and_of_a_tile_of_tiles_are_proved() {
    let tree = Tree::new(65_537);
    let sizes = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537];
    for new in sizes {
        let new_root = tree_root(new, |s| tree.hash(s)).unwrap();
        assert_eq!(new_root, root(tree.leaves(new)), "size {new}");
        for index in [0, 1, 254, 255, 256, new / 2, new - 1].into_iter().filter(|i| *i < new) {
            let leaf = tree.levels[0][usize::try_from(index).unwrap()];
            let proof = tree.inclusion(index, new);
            assert_eq!(verify_inclusion(&leaf, index, new, &proof, &new_root), Ok(()));
        }
        for old in sizes.into_iter().filter(|old| *old <= new) {
            let old_root = root(tree.leaves(old));
            let proof = tree.consistency(old, new);
            assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        }
    }
}

#[test]
fn a_proof_asks_for_at_most_two_hashes_per_level() {
    let tree = Tree::new(65_537);
    for index in (0..65_537).step_by(4099) {
        tree.asked.set(0);
        tree.inclusion(index, 65_537);
        assert!(tree.asked.get() <= 34, "leaf {index}: {}", tree.asked.get());
        tree.asked.set(0);
        tree.consistency(index, 65_537);
        assert!(tree.asked.get() <= 34, "size {index}: {}", tree.asked.get());
    }
}

/// How a proof is made when the hashes are behind an `await`.
#[test]
fn a_first_run_tells_what_a_second_run_needs() {
    let tree = Tree::new(1_000);
    let mut needed = Vec::new();
    prove_inclusion(700, 1_000, |at| {
        needed.push(at);
        Ok::<_, Infallible>([0; 32])
    })
    .unwrap();
    let fetched: std::collections::BTreeMap<Subtree, Hash> =
        needed.into_iter().map(|at| (at, tree.hash(at).unwrap())).collect();
    let proof = prove_inclusion(700, 1_000, |at| fetched.get(&at).copied().ok_or(at)).unwrap();
    assert_eq!(proof, tree.inclusion(700, 1_000));
}

#[test]
fn the_empty_tree_has_no_leaf_and_begins_every_tree() {
    let empty = digest(&[]);
    assert_eq!(tree_root(0, |_| Err(())), Ok(empty));
    assert_eq!(verify_inclusion(&empty, 0, 0, &[], &empty), Err(BadProof::Index));
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty, 9, &[9; 32], &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty, 9, &[9; 32], &[empty]), Err(BadProof::TooLong));
    assert_eq!(verify_consistency(0, &[1; 32], 9, &[9; 32], &[]), Err(BadProof::OldRoot));
    assert_eq!(
        prove_inclusion(0, 0, |_| Ok::<_, ()>(empty)),
        Err(MakeError::OutsideTree { size: 0 })
    );
    assert_eq!(
        prove_consistency(2, 1, |_| Ok::<_, ()>(empty)),
        Err(MakeError::OutsideTree { size: 1 })
    );
}

#[test]
fn the_largest_sizes_do_not_overflow() {
    let hash = |_| Ok::<_, Infallible>([1; 32]);
    let proof = prove_inclusion(u64::MAX - 1, u64::MAX, hash).unwrap();
    assert!(proof.len() <= MAX_PROOF_HASHES);
    let wrong = verify_inclusion(&[1; 32], u64::MAX - 1, u64::MAX, &proof, &[0; 32]);
    assert_eq!(wrong, Err(BadProof::Root), "length and sizes fit");
    let proof = prove_consistency(u64::MAX / 3, u64::MAX, hash).unwrap();
    let wrong = verify_consistency(u64::MAX / 3, &[1; 32], u64::MAX, &[0; 32], &proof);
    assert_eq!(wrong, Err(BadProof::OldRoot), "length and sizes fit");
}

/// Without the byte before a leaf, an inner node could be shown as a record of a smaller tree.
#[test]
fn the_bytes_of_a_node_are_never_a_record() {
    for size in 2..20_u64 {
        let tree = Tree::new(size);
        let root = root(tree.leaves(size));
        let record = [tree.levels[0][0], tree.levels[0][1]].concat();
        let proof = tree.inclusion(0, size);
        for shown in 1..size {
            for index in 0..shown {
                for cut in 0..=proof.len() {
                    let answer =
                        verify_inclusion(&leaf(&record), index, shown, &proof[cut..], &root);
                    assert!(answer.is_err(), "node as record {index} of {shown}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn proofs_are_those_of_the_rfc(size in 1_u64..700, a in any::<u64>(), b in any::<u64>()) {
        let tree = Tree::new(size);
        let (index, old) = (a % size, b % size + 1);
        let leaves = tree.leaves(size);
        prop_assert_eq!(tree.inclusion(index, size), path(usize::try_from(index).unwrap(), leaves));
        let by_definition = subproof(usize::try_from(old).unwrap(), leaves, true);
        prop_assert_eq!(tree.consistency(old, size), by_definition);
    }

    #[test]
    fn no_changed_inclusion_proof_holds(
        size in 1_u64..300, index in any::<u64>(), at in any::<prop::sample::Index>(), change in 0..4,
    ) {
        let tree = Tree::new(size);
        let index = index % size;
        let (leaf, root) = (tree.levels[0][usize::try_from(index).unwrap()], root(tree.leaves(size)));
        let mut proof = tree.inclusion(index, size);
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
        if !changed(&mut proof, at, change) {
            return Ok(());
        }
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &root).is_err());
    }

    #[test]
    fn no_changed_consistency_proof_holds(
        new in 1_u64..300, old in any::<u64>(), at in any::<prop::sample::Index>(), change in 0..4,
    ) {
        let tree = Tree::new(new);
        let old = old % new + 1;
        let (old_root, new_root) = (root(tree.leaves(old)), root(tree.leaves(new)));
        let mut proof = tree.consistency(old, new);
        prop_assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        if !changed(&mut proof, at, change) {
            return Ok(());
        }
        prop_assert!(verify_consistency(old, &old_root, new, &new_root, &proof).is_err());
    }

    #[test]
    fn arbitrary_proofs_never_panic_and_never_hold(
        old in any::<u64>(), new in any::<u64>(),
        proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        prop_assert!(verify_inclusion(&[1; 32], old, new, &proof, &[2; 32]).is_err());
        prop_assume!(old > 0);
        prop_assert!(verify_consistency(old, &[1; 32], new, &[2; 32], &proof).is_err());
    }
}

/// Drops, doubles, alters or adds a hash; false when there is none to change.
fn changed(proof: &mut Vec<Hash>, at: prop::sample::Index, change: i32) -> bool {
    if change == 3 {
        proof.push([3; 32]);
        return true;
    }
    if proof.is_empty() {
        return false;
    }
    let at = at.index(proof.len());
    match change {
        0 => drop(proof.remove(at)),
        1 => proof.insert(at, proof[at]),
        _ => proof[at][at % 32] ^= 1,
    }
    true
}
