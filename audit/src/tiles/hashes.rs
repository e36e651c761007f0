//! Hashes of subtrees out of tiles, to make proofs from an export or a published log.

use std::collections::BTreeMap;

use super::{TileKind, TilePath, WIDTH};
use crate::chain::Hash;
use crate::merkle::{Subtree, root};

/// Tiles that are kept, more than one proof of any tree needs.
const KEPT_TILES: usize = 32;

/// Gives the hashes of the complete subtrees of a tree from its tiles, which `fetch` gets.
///
/// What tiles say is not vouched for: verify a proof that was made from them against the root.
#[derive(Debug)]
pub struct TileHashes<F> {
    size: u64,
    fetch: F,
    kept: BTreeMap<TilePath, Vec<Hash>>,
}

/// Why a hash can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTile<E> {
    /// The tree has no such complete subtree.
    #[error("the tree has no subtree at level {}, index {}", .0.level, .0.index)]
    OutsideTree(Subtree),
    /// The tile can't be fetched.
    #[error("`{path}`: {why}")]
    Fetch {
        /// Which tile.
        path: TilePath,
        /// The error of `fetch`.
        why: E,
    },
    /// The tile has not as many bytes as its hashes need.
    #[error("`{path}` has {bytes} bytes")]
    Length {
        /// Which tile.
        path: TilePath,
        /// Bytes that it has.
        bytes: usize,
    },
}

impl<F, E> TileHashes<F>
where
    F: FnMut(&TilePath) -> Result<Vec<u8>, E>,
{
    /// The tree of `size` leaves. `fetch` gives the bytes of a tile; for a partial tile that is
    /// gone it may give those of the full tile ([`TilePath::full`]).
    pub const fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch, kept: BTreeMap::new() }
    }

    /// The hash of a complete subtree.
    ///
    /// # Errors
    /// [`BadTile`].
    pub fn hash(&mut self, subtree: Subtree) -> Result<Hash, BadTile<E>> {
        let outside = BadTile::OutsideTree(subtree);
        // The subtree is the root over 1 << height hashes of one tile.
        let (level, height) = (subtree.level / 8, subtree.level % 8);
        let (Ok(level), Some(first)) =
            (u8::try_from(level), subtree.index.checked_mul(1 << height))
        else {
            return Err(outside);
        };
        let path = TilePath::of_tree(TileKind::Hashes { level }, first / WIDTH as u64, self.size);
        let within = usize::try_from(first % WIDTH as u64).unwrap_or(WIDTH);
        let within = within..within + (1 << height);
        let Some(path) = path.filter(|path| within.end <= path.width()) else {
            return Err(outside);
        };
        // The tile has as many hashes as its path says.
        self.tile(path)?.get(within).map(root).ok_or(outside)
    }

    fn tile(&mut self, path: TilePath) -> Result<&[Hash], BadTile<E>> {
        if self.kept.len() >= KEPT_TILES && !self.kept.contains_key(&path) {
            self.kept.clear();
        }
        match self.kept.entry(path) {
            std::collections::btree_map::Entry::Occupied(kept) => Ok(kept.into_mut()),
            std::collections::btree_map::Entry::Vacant(free) => {
                let bytes = (self.fetch)(&path).map_err(|why| BadTile::Fetch { path, why })?;
                Ok(free.insert(split(path, &bytes)?))
            }
        }
    }
}

/// The hashes of a tile; of a full tile in place of a partial one only those of the partial.
fn split<E>(path: TilePath, bytes: &[u8]) -> Result<Vec<Hash>, BadTile<E>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let fits = hashes.len() == path.width() || hashes.len() == WIDTH;
    if !fits || !rest.is_empty() {
        return Err(BadTile::Length { path, bytes: bytes.len() });
    }
    Ok(hashes.iter().take(path.width()).copied().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chain::leaf;
    use crate::merkle::{
        MakeError, prove_consistency, prove_inclusion, tree_root, verify_consistency,
        verify_inclusion,
    };
    use crate::tiles::hash_tiles;

    type Tiles = BTreeMap<String, Vec<u8>>;

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(|n| leaf(&n.to_be_bytes())).collect()
    }

    fn tiles(leaves: &[Hash]) -> Tiles {
        hash_tiles(leaves).into_iter().collect()
    }

    fn fetch(tiles: &Tiles) -> impl FnMut(&TilePath) -> Result<Vec<u8>, &'static str> {
        |path| tiles.get(&path.to_string()).cloned().ok_or("absent")
    }

    #[test]
    fn proofs_made_from_tiles_hold_at_the_borders_of_tiles() {
        let all = leaves(65_793);
        let sizes = [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_793];
        let mut older = (0, root(&[]));
        for size in sizes {
            let some = &all[..usize::try_from(size).unwrap()];
            let tiles = tiles(some);
            let mut hashes = TileHashes::new(size, fetch(&tiles));
            let whole = tree_root(size, |at| hashes.hash(at)).unwrap();
            assert_eq!(whole, root(some), "size {size}");
            for index in [0, size / 3, size.saturating_sub(257), size - 1] {
                let proof = prove_inclusion(index, size, |at| hashes.hash(at)).unwrap();
                let leaf = &all[usize::try_from(index).unwrap()];
                assert_eq!(verify_inclusion(leaf, index, size, &proof, &whole), Ok(()));
            }
            let proof = prove_consistency(older.0, size, |at| hashes.hash(at)).unwrap();
            assert_eq!(verify_consistency(older.0, &older.1, size, &whole, &proof), Ok(()));
            older = (size, whole);
        }
    }

    #[test]
    fn a_proof_fetches_at_most_two_tiles_per_level() {
        let tiles = tiles(&leaves(65_793));
        let mut fetched = 0;
        let mut get = fetch(&tiles);
        let mut hashes = TileHashes::new(65_793, |path: &TilePath| {
            fetched += 1;
            get(path)
        });
        prove_inclusion(40_000, 65_793, |at| hashes.hash(at)).unwrap();
        assert!(fetched <= 6, "{fetched}");
    }

    #[test]
    fn a_full_tile_stands_in_for_a_partial_one_that_is_gone() {
        let all = leaves(512);
        let tiles = tiles(&all);
        let mut hashes = TileHashes::new(300, |path: &TilePath| {
            if path.kind() == (TileKind::Hashes { level: 0 }) {
                fetch(&tiles)(&path.full())
            } else {
                Ok(root(&all[..256]).to_vec())
            }
        });
        assert_eq!(tree_root(300, |at| hashes.hash(at)), Ok(root(&all[..300])));
    }

    #[test]
    fn a_tile_that_is_missing_or_cut_is_named() {
        let mut tiles = tiles(&leaves(300));
        tiles.get_mut("tile/0/001.p/44").unwrap().pop();
        tiles.remove("tile/0/000");
        let mut hashes = TileHashes::new(300, fetch(&tiles));
        let first = "tile/0/000".parse().unwrap();
        let missing = hashes.hash(Subtree { level: 0, index: 3 });
        assert_eq!(missing, Err(BadTile::Fetch { path: first, why: "absent" }));
        let path = "tile/0/001.p/44".parse().unwrap();
        let cut = prove_inclusion(299, 300, |at| hashes.hash(at));
        assert_eq!(cut, Err(MakeError::Hash(BadTile::Length { path, bytes: 44 * 32 - 1 })));
        let outside = Subtree { level: 0, index: 300 };
        assert_eq!(hashes.hash(outside), Err(BadTile::OutsideTree(outside)));
    }

    proptest! {
        #[test]
        fn every_subtree_of_a_tree_has_its_hash(size in 1_u64..2000, level in 0_u32..12, at in any::<u64>()) {
            let all = leaves(size);
            let tiles = tiles(&all);
            let count = size >> level;
            let index = if count == 0 { at } else { at % (count + 1) };
            let hash = TileHashes::new(size, fetch(&tiles)).hash(Subtree { level, index });
            if index < count {
                let first = usize::try_from(index << level).unwrap();
                prop_assert_eq!(hash, Ok(root(&all[first..first + (1 << level)])));
            } else {
                prop_assert_eq!(hash, Err(BadTile::OutsideTree(Subtree { level, index })));
            }
        }

        #[test]
        fn arbitrary_subtrees_never_panic(size in any::<u64>(), level in any::<u32>(), index in any::<u64>()) {
            let mut hashes = TileHashes::new(size, |path: &TilePath| Ok::<_, ()>(vec![0; 32 * path.width()]));
            let _ = hashes.hash(Subtree { level, index });
        }
    }
}
