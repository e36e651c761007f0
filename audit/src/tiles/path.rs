//! Names of tiles, parsed strictly: every tile has one name (c2sp.org/tlog-tiles).

use std::fmt;
use std::str::FromStr;

use super::{WIDTH, entries_path, tile_path};

/// Highest level that a name can have.
pub const MAX_LEVEL: u8 = 63;

/// Longest name: more than seven groups of digits are no `u64`.
const MAX_PATH_BYTES: usize = 64;

/// What a tile contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Records, each after its length.
    Entries,
    /// Hashes of full tiles of the level below; of leaves at level 0.
    Hashes {
        /// 0 to [`MAX_LEVEL`].
        level: u8,
    },
}

/// The name of a tile within its log: `tile/<level>/<n>[.p/<width>]`, `tile/entries/<n>[.p/<width>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// A text that is not the one name of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the name of a tile")]
pub struct NotATile;

impl TilePath {
    /// The tile of a tree with `size` leaves at this place, or none if the tree has none there.
    #[must_use]
    pub fn of_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            TileKind::Entries => 0,
            TileKind::Hashes { level } => u32::from(level),
        };
        let hashes = size.checked_shr(8 * level).unwrap_or(0);
        let rest = hashes.checked_sub(index.checked_mul(WIDTH as u64)?)?;
        let width = u16::try_from(rest.min(WIDTH as u64)).ok().filter(|width| *width > 0)?;
        Some(Self { kind, index, width })
    }

    /// What the tile contains.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Place among the tiles of its kind.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or records in it, 1 to 256.
    #[must_use]
    pub fn width(&self) -> usize {
        usize::from(self.width)
    }

    /// The full tile at this place, which may stand in for a partial one.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self { width: WIDTH as u16, ..*self }
    }
}

impl FromStr for TilePath {
    type Err = NotATile;

    fn from_str(text: &str) -> Result<Self, NotATile> {
        let parsed = parse(text).ok_or(NotATile)?;
        // One tile has one name: no zeroes, signs or groups more than are written.
        if parsed.to_string() == text { Ok(parsed) } else { Err(NotATile) }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str(&entries_path(self.index, self.width())),
            TileKind::Hashes { level } => f.write_str(&tile_path(level, self.index, self.width())),
        }
    }
}

fn parse(text: &str) -> Option<TilePath> {
    if text.len() > MAX_PATH_BYTES {
        return None;
    }
    let (kind, number) = text.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes { level: level.parse().ok().filter(|l| *l <= MAX_LEVEL)? },
    };
    let (number, width) = match number.split_once(".p/") {
        Some((number, width)) => {
            (number, width.parse().ok().filter(|width| (1..WIDTH as u16).contains(width))?)
        }
        None => (number, WIDTH as u16),
    };
    let mut index = 0_u64;
    for group in number.split('/') {
        let digits: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(digits).filter(|_| digits < 1000)?;
    }
    Some(TilePath { kind, index, width })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_of_the_specification_are_read() {
        let path: TilePath = "tile/0/x001/x234/067".parse().unwrap();
        assert_eq!(path.kind(), TileKind::Hashes { level: 0 });
        assert_eq!((path.index(), path.width()), (1_234_067, 256));
        let path: TilePath = "tile/entries/000.p/5".parse().unwrap();
        assert_eq!((path.kind(), path.index(), path.width()), (TileKind::Entries, 0, 5));
        assert_eq!(path.full().to_string(), "tile/entries/000");
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let bad = [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile//000",
            "tile/00/000",
            "tile/+0/000",
            "tile/64/000",
            "tile/256/000",
            "tile/-1/000",
            "tile/Entries/000",
            "tile/data/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/x000",
            "tile/0/001/000",
            "tile/0/x01/000",
            "tile/0/x0001/000",
            "tile/0/+01",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/05",
            "tile/0/000.p/+5",
            "tile/0/000.p/5/",
            "tile/0/000.p/5.p/5",
            "tile/0/000.P/5",
            "tile/0/000.p",
            "tile/0/x001.p/5/000",
            "tile/0/../000",
            "tile/0/x001/../000",
            "tile/0/000\n",
            " tile/0/000",
            "tile\\0\\000",
            "tile/0/٠٠٠",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        ];
        for text in bad {
            assert_eq!(text.parse::<TilePath>(), Err(NotATile), "{text:?}");
        }
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_specification() {
        let tile = |level, index| {
            let path = TilePath::of_tree(TileKind::Hashes { level }, index, 70_000);
            path.map(|path| path.to_string())
        };
        assert_eq!(tile(0, 272).as_deref(), Some("tile/0/272"));
        assert_eq!(tile(0, 273).as_deref(), Some("tile/0/273.p/112"));
        assert_eq!(tile(0, 274), None);
        assert_eq!(tile(1, 0).as_deref(), Some("tile/1/000"));
        assert_eq!(tile(1, 1).as_deref(), Some("tile/1/001.p/17"));
        assert_eq!(tile(2, 0).as_deref(), Some("tile/2/000.p/1"));
        assert_eq!(tile(3, 0), None);
        assert_eq!(tile(63, 0), None);
        assert_eq!(TilePath::of_tree(TileKind::Entries, u64::MAX, u64::MAX), None);
        assert_eq!(TilePath::of_tree(TileKind::Entries, 0, 0), None);
    }

    proptest! {
        #[test]
        fn a_name_is_read_back(level in 0_u8..=63, index in any::<u64>(), width in 1_u16..=256) {
            for kind in [TileKind::Entries, TileKind::Hashes { level }] {
                let path = TilePath { kind, index, width };
                prop_assert_eq!(path.to_string().parse(), Ok(path));
            }
        }

        #[test]
        fn what_is_read_has_one_name(text in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Ok(path) = text.parse::<TilePath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = text.parse::<TilePath>();
        }
    }
}
