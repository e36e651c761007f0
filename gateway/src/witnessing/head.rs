//! A shown head, and the proofs that it continues older ones, from the published files.

use std::io;
use std::path::{Path, PathBuf};

use portcullis_audit::chain::Hash;
use portcullis_audit::merkle::{MakeError, prove_consistency};
use portcullis_audit::note::{Checkpoint, SignedNote};
use portcullis_audit::read_tile;
use portcullis_audit::tiles::{BadTile, TileHashes, TilePath};

/// A checkpoint of a log as it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: String,
    /// Where the log's tiles are.
    pub folder: PathBuf,
}

/// Why a proof was not made.
pub(super) type NoProof = MakeError<BadTile<io::Error>>;

impl Head {
    /// The head that is shown now.
    pub(super) fn read(origin: &str, folder: &Path) -> io::Result<Self> {
        let note = std::fs::read_to_string(folder.join("checkpoint"))?;
        let parsed = SignedNote::parse(&note).and_then(|note| Checkpoint::parse(note.text()));
        let checkpoint = parsed.map_err(io::Error::other)?;
        if checkpoint.origin != origin {
            return Err(io::Error::other("it is the checkpoint of another log"));
        }
        Ok(Self { checkpoint, note, folder: folder.to_owned() })
    }

    /// The proof that this head continues the one of `old` records.
    pub(super) fn proof_from(&self, old: u64) -> Result<Vec<Hash>, NoProof> {
        let size = self.checkpoint.size;
        let mut tiles = TileHashes::new(size, |path: &TilePath| read_tile(&self.folder, path));
        prove_consistency(old, size, |subtree| tiles.hash(subtree))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_audit::merkle::{root, verify_consistency};
    use portcullis_audit::note::LogKey;
    use portcullis_audit::tiles::hash_tiles;

    use super::*;

    fn leaves(size: u32) -> Vec<[u8; 32]> {
        (0..size).map(|n| portcullis_audit::chain::leaf(&n.to_be_bytes())).collect()
    }

    #[test]
    fn a_proof_is_made_although_the_tiles_have_grown_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in hash_tiles(&leaves(700)) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        for size in [1, 5, 255, 256, 257, 511, 513, 700] {
            let checkpoint = Checkpoint {
                origin: "d/t/x".to_owned(),
                size: u64::from(size),
                root: root(&leaves(size)),
            };
            let note = checkpoint.sign(&LogKey::from_seed(&[7; 32]).unwrap());
            let head = Head { checkpoint, note, folder: folder.path().to_owned() };
            for old in 1..size {
                let proof = head.proof_from(u64::from(old)).unwrap();
                let (from, to) = (root(&leaves(old)), head.checkpoint.root);
                let holds = verify_consistency(old.into(), &from, size.into(), &to, &proof);
                assert_eq!(holds, Ok(()), "{old} to {size}");
            }
        }
    }
}
