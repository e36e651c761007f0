//! The right edge of a log's tiles: what is needed to write the next tile, and no more.

use crate::chain::Hash;
use crate::merkle::{Frontier, root};
use crate::tiles::{WIDTH, tile_path};

/// A tile whose bytes are known: path below the log's folder, and its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) path: String,
    pub(crate) hashes: Vec<Hash>,
}

impl Tile {
    /// Whether nothing can be added to it any more.
    pub(crate) fn is_full(&self) -> bool {
        self.hashes.len() == WIDTH
    }
}

/// The hashes of the last, not yet full tile of each level (c2sp.org/tlog-tiles), level 0 first.
/// At most 255 hashes a level, whatever the size of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TileEdge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl TileEdge {
    /// The edge of a log with `size` leaves, read from its tiles: `read` gives the hashes of the
    /// tile at a path. `None` when one of them is missing or has another width.
    pub(crate) fn read<E>(
        size: u64,
        mut read: impl FnMut(&str) -> Result<Option<Vec<Hash>>, E>,
    ) -> Result<Option<Self>, E> {
        let (mut levels, mut rest) = (Vec::new(), size);
        for level in 0_u8.. {
            if rest == 0 {
                break;
            }
            let (index, width) = (rest / WIDTH as u64, (rest % WIDTH as u64) as usize);
            let mut hashes = Vec::new();
            if width > 0 {
                match read(&tile_path(level, index, width))? {
                    Some(found) if found.len() == width => hashes = found,
                    _ => return Ok(None),
                }
            }
            levels.push(hashes);
            rest = index;
        }
        Ok(Some(Self { size, levels }))
    }

    /// Number of leaves.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// How many of the last leaves [`Self::ends_with`] wants to see.
    pub(crate) fn tail(&self) -> u64 {
        match (0_u32..).zip(&self.levels).find(|(_, hashes)| !hashes.is_empty()) {
            Some((0, hashes)) => hashes.len() as u64,
            Some((level, _)) => (WIDTH as u64).saturating_pow(level),
            None => 0,
        }
    }

    /// Whether these are the last leaves of the log. Each record names the one before, so these
    /// few speak for all.
    pub(crate) fn ends_with(&self, leaves: &[Hash]) -> bool {
        match self.levels.iter().position(|hashes| !hashes.is_empty()) {
            Some(0) => self.levels.first().is_some_and(|hashes| hashes == leaves),
            Some(level) => {
                let last = self.levels.get(level).and_then(|hashes| hashes.last());
                leaves.len() as u64 == self.tail() && last == Some(&root(leaves))
            }
            None => leaves.is_empty(),
        }
    }

    /// Adds a leaf; tiles that are full now go to `full`, the lowest level first.
    pub(crate) fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        let (mut hash, mut index) = (leaf, self.size);
        self.size += 1;
        for level in 0_u8.. {
            let at = usize::from(level);
            if self.levels.len() == at {
                self.levels.push(Vec::new());
            }
            index /= WIDTH as u64;
            let Some(hashes) = self.levels.get_mut(at) else { return };
            hashes.push(hash);
            if hashes.len() < WIDTH {
                return;
            }
            hash = root(hashes);
            let path = tile_path(level, index, WIDTH);
            full.push(Tile { path, hashes: std::mem::take(hashes) });
        }
    }

    /// The tiles that are begun and not full.
    pub(crate) fn partial(&self) -> Vec<Tile> {
        let mut index = self.size;
        let mut tiles = Vec::new();
        for (level, hashes) in (0_u8..).zip(&self.levels) {
            index /= WIDTH as u64;
            if !hashes.is_empty() {
                let path = tile_path(level, index, hashes.len());
                tiles.push(Tile { path, hashes: hashes.clone() });
            }
        }
        tiles
    }

    /// The same as a growing tree.
    pub(crate) fn frontier(&self) -> Frontier {
        let largest_first = self.levels.iter().rev();
        let edge = largest_first.flat_map(|hashes| Frontier::over(hashes).into_edge());
        Frontier::of_edge(self.size, edge.collect())
    }

    /// Root over all leaves (RFC 6962).
    pub(crate) fn root(&self) -> Hash {
        self.frontier().root()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::chain::leaf;
    use crate::tiles::hash_tiles;

    fn leaves(size: u32) -> Vec<Hash> {
        (0..size).map(|i| leaf(&i.to_be_bytes())).collect()
    }

    fn grown(leaves: &[Hash]) -> (TileEdge, HashMap<String, Vec<Hash>>) {
        let (mut edge, mut full) = (TileEdge::default(), Vec::new());
        for leaf in leaves {
            edge.push(*leaf, &mut full);
        }
        full.extend(edge.partial());
        (edge, full.into_iter().map(|tile| (tile.path, tile.hashes)).collect())
    }

    fn holds(size: u32) {
        let leaves = leaves(size);
        let (edge, tiles) = grown(&leaves);
        let mut tail = leaves[leaves.len() - edge.tail() as usize..].to_vec();
        assert!(edge.ends_with(&tail), "{size}");
        if let Some(first) = tail.first_mut() {
            first[0] ^= 1;
            assert!(!edge.ends_with(&tail) && !edge.ends_with(&tail[1..]), "{size}");
        }
        assert_eq!(edge.root(), root(&leaves), "{size}");
        let mut frontier = edge.frontier();
        frontier.push(leaf(b"next"));
        let more: Vec<Hash> = leaves.iter().copied().chain([leaf(b"next")]).collect();
        assert_eq!(frontier.root(), root(&more), "{size}");
        let expected: HashMap<_, _> = hash_tiles(&leaves)
            .into_iter()
            .map(|(path, bytes)| (path, bytes.as_chunks::<32>().0.to_vec()))
            .collect();
        assert_eq!(tiles, expected, "{size}");
        let read = TileEdge::read(edge.size(), |path| Ok::<_, ()>(tiles.get(path).cloned()));
        assert_eq!(read, Ok(Some(edge)), "{size}");
    }

    #[test]
    fn the_edge_grows_the_tiles_of_the_whole_log_at_every_border() {
        for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792] {
            holds(size);
        }
    }

    #[test]
    fn a_missing_or_longer_tile_is_no_edge() {
        let (edge, mut tiles) = grown(&leaves(700));
        let read = |tiles: &HashMap<String, Vec<Hash>>| {
            TileEdge::read(700, |path| Ok::<_, ()>(tiles.get(path).cloned())).unwrap()
        };
        assert_eq!(read(&tiles), Some(edge));
        tiles.get_mut("tile/0/002.p/188").unwrap().push([0; 32]);
        assert_eq!(read(&tiles), None);
        tiles.remove("tile/0/002.p/188");
        assert_eq!(read(&tiles), None);
    }

    proptest! {
        #[test]
        fn the_edge_agrees_with_the_whole_log(size in 0_u32..2_000) {
            holds(size);
        }
    }
}
