//! RFC 6962 tree hashes over leaf hashes, and the proofs over them. No I/O, no clock.

mod proof;

pub use proof::{
    BadProof, MAX_PROOF_HASHES, MakeError, Subtree, prove_consistency, prove_inclusion, tree_root,
    verify_consistency, verify_inclusion,
};

use crate::chain::{Hash, digest, node};

/// The root over `leaves` (RFC 6962 section 2.1); the empty tree has the hash of nothing.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    Frontier::over(leaves).root()
}

/// The right edge of a growing tree: one hash for each complete subtree, largest first.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    size: u64,
    edge: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, edge: Vec::new() }
    }

    /// The tree over `leaves`.
    #[must_use]
    pub fn over(leaves: &[Hash]) -> Self {
        let mut tree = Self::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    /// The tree of `size` leaves whose complete subtrees, largest first, have these hashes.
    pub(crate) const fn of_edge(size: u64, edge: Vec<Hash>) -> Self {
        Self { size, edge }
    }

    /// Hashes of the complete subtrees, largest first.
    pub(crate) fn into_edge(self) -> Vec<Hash> {
        self.edge
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut subtree = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                subtree = node(&left, &subtree);
            }
        }
        self.edge.push(subtree);
        self.size += 1;
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        match edge.next() {
            None => digest(&[]),
            Some(last) => edge.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chain::leaf;

    /// The definition in RFC 6962, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => digest(&[]),
            [one] => *one,
            more => {
                let split = more.len().next_power_of_two() / 2;
                node(&by_definition(&more[..split]), &by_definition(&more[split..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_rfc_6962_vectors() {
        // The eight inputs of the certificate-transparency reference tests.
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let leaves: Vec<Hash> = inputs.iter().map(|i| leaf(&hex::decode(i).unwrap())).collect();
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ];
        for (size, expected) in roots.iter().enumerate() {
            assert_eq!(hex::encode(root(&leaves[..size])), *expected, "size {size}");
        }
        assert_eq!(
            hex::encode(root(&leaves)),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
        );
    }

    proptest! {
        #[test]
        fn the_growing_edge_agrees_with_the_definition(size in 0_u16..600) {
            let leaves: Vec<Hash> = (0..size).map(|i| leaf(&i.to_be_bytes())).collect();
            prop_assert_eq!(root(&leaves), by_definition(&leaves));
        }
    }
}
