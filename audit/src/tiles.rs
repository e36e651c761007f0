//! Names and contents of C2SP tiles and entry bundles (c2sp.org/tlog-tiles). No I/O, no clock.

mod hashes;
mod path;

pub use hashes::{BadTile, TileHashes};
pub use path::{MAX_LEVEL, NotATile, TileKind, TilePath};

use crate::chain::Hash;
use crate::merkle::root;

/// Width of a tile: hashes in it, records in a bundle.
pub const WIDTH: usize = 256;

/// `tile/entries/x001/x234/067`, with `.p/<width>` for the last one when it is not full.
#[must_use]
pub fn entries_path(index: u64, width: usize) -> String {
    format!("tile/entries/{}", numbered(index, width))
}

/// `tile/<level>/x001/x234/067`, with `.p/<width>` when it is not full.
#[must_use]
pub fn tile_path(level: u8, index: u64, width: usize) -> String {
    format!("tile/{level}/{}", numbered(index, width))
}

/// Number of records in the bundle `index` of a log with `size` records.
#[must_use]
pub fn bundle_width(size: u64, index: u64) -> usize {
    let rest = size.saturating_sub(index.saturating_mul(WIDTH as u64));
    usize::try_from(rest).map_or(WIDTH, |rest| rest.min(WIDTH))
}

/// Appends a record to a bundle: its length as big-endian uint16, then its bytes.
///
/// # Errors
/// [`TooLong`] for a record that the length cannot say.
pub fn push_entry(bundle: &mut Vec<u8>, record: &[u8]) -> Result<(), TooLong> {
    let length = u16::try_from(record.len()).map_err(|_| TooLong)?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(record);
    Ok(())
}

/// A record that does not fit into a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is longer than 65535 bytes")]
pub struct TooLong;

/// The records of a bundle; the last item is an error when the bundle ends within one.
pub fn entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], CutOff>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = rest.split_first_chunk::<2>().and_then(|(length, tail)| {
            tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let Some((entry, tail)) = cut else {
            rest = &[];
            return Some(Err(CutOff));
        };
        rest = tail;
        Some(Ok(entry))
    })
}

/// A bundle that ends within a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bundle ends within a record")]
pub struct CutOff;

/// Every hash tile of a log, level 0 first, as path and bytes.
#[must_use]
pub fn hash_tiles(leaves: &[Hash]) -> Vec<(String, Vec<u8>)> {
    let mut tiles = Vec::new();
    let mut hashes = leaves.to_vec();
    let mut level = 0;
    while !hashes.is_empty() {
        for (index, tile) in (0_u64..).zip(hashes.chunks(WIDTH)) {
            tiles.push((tile_path(level, index, tile.len()), tile.concat()));
        }
        hashes = hashes.chunks_exact(WIDTH).map(root).collect();
        level += 1;
    }
    tiles
}

fn numbered(index: u64, width: usize) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < WIDTH { format!("{path}.p/{width}") } else { path }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chain::leaf;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(0, 1_234_067, WIDTH), "tile/0/x001/x234/067");
        assert_eq!(entries_path(0, 5), "tile/entries/000.p/5");
        assert_eq!(entries_path(1000, WIDTH), "tile/entries/x001/000");
    }

    #[test]
    fn a_tree_of_70000_has_three_levels() {
        let leaves: Vec<Hash> = (0_u32..70_000).map(|i| leaf(&i.to_be_bytes())).collect();
        let tiles = hash_tiles(&leaves);
        let last = &tiles.last().unwrap().0;
        assert_eq!(last, "tile/2/000.p/1");
        assert_eq!(tiles.len(), 274 + 2 + 1);
    }

    proptest! {
        #[test]
        fn a_bundle_gives_back_its_records(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
        ) {
            let mut bundle = Vec::new();
            for record in &records {
                push_entry(&mut bundle, record).unwrap();
            }
            let back: Result<Vec<&[u8]>, _> = entries(&bundle).collect();
            prop_assert_eq!(back.unwrap(), records);
        }

        #[test]
        fn a_cut_bundle_says_so(cut in 1_usize..12) {
            let mut bundle = Vec::new();
            push_entry(&mut bundle, b"0123456789").unwrap();
            bundle.truncate(bundle.len() - cut);
            prop_assert_eq!(entries(&bundle).last(), (cut < 12).then_some(Err(CutOff)));
        }
    }
}
