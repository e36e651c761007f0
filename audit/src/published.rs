//! Reading what a running ledger has published: signed heads and hash tiles.

use std::io;
use std::path::{Path, PathBuf};

use crate::chain::Hash;
use crate::error::ReadError;
use crate::merkle::{MakeError, prove_inclusion};
use crate::note::{Checkpoint, SignedNote};
use crate::publish::folder;
use crate::read::{Query, Reader};
use crate::store::beside;
use crate::tiles::{TileHashes, TilePath};
use crate::tlog_proof::TlogProof;

/// A signed head as it is shown, with the cosignatures that it has by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownHead {
    /// The whole note.
    pub note: String,
    /// What it says. Its signature is the reader's to check.
    pub head: Checkpoint,
}

/// The published files of one ledger.
#[derive(Clone, Debug)]
pub struct PublishedLogs {
    root: PathBuf,
    deployment: String,
}

impl PublishedLogs {
    /// Those of the ledger that `reader` reads.
    #[must_use]
    pub fn of(reader: &Reader, deployment: &str) -> Self {
        Self { root: folder::published(reader.path()), deployment: deployment.to_owned() }
    }

    /// Folder of one log: its `checkpoint` and `tile/`.
    #[must_use]
    pub fn folder_of(&self, origin: &str) -> PathBuf {
        folder::of_log(&self.root, &self.deployment, origin)
    }

    /// The head of a log that is shown; `None` when none is yet.
    ///
    /// # Errors
    /// [`ReadError::Io`], also for a file that holds no checkpoint of this log.
    pub fn head(&self, origin: &str) -> Result<Option<ShownHead>, ReadError> {
        let path = self.folder_of(origin).join("checkpoint");
        let note = match std::fs::read_to_string(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let head = SignedNote::parse(&note).and_then(|signed| Checkpoint::parse(signed.text()));
        match head {
            Ok(head) if head.origin == origin => Ok(Some(ShownHead { note, head })),
            _ => {
                let why = "it holds no head of this log; the gateway makes it anew when it starts";
                Err(ReadError::Io { path, source: io::Error::new(io::ErrorKind::InvalidData, why) })
            }
        }
    }

    /// The proof that a record is under the head that is shown, with the record's bytes in it, so
    /// that it can be checked alone (c2sp.org/tlog-proof). Reads a few tiles, however long the log is.
    ///
    /// # Errors
    /// [`ReadError::NotYet`] when the record is not under a signed head, or not there at all.
    pub fn prove(&self, reader: &Reader, origin: &str, seq: u64) -> Result<TlogProof, ReadError> {
        let not_yet = || ReadError::NotYet { log: origin.to_owned(), seq };
        let log = Some(origin.to_owned());
        let query = Query { log, from: Some(seq), to: Some(seq), ..Query::default() };
        let Some(row) = reader.rows(&query)?.into_iter().next() else {
            let log = origin.to_owned();
            let is_gone = seq < reader.pruned(origin)?;
            return Err(if is_gone { ReadError::Pruned { log, seq } } else { not_yet() });
        };
        let shown = self.head(origin)?.ok_or_else(not_yet)?;
        prove_from(&self.folder_of(origin), &shown, seq, row.bytes)
    }
}

/// The same from any folder with the tiles of the head.
pub(crate) fn prove_from(
    folder: &Path,
    shown: &ShownHead,
    seq: u64,
    record: Vec<u8>,
) -> Result<TlogProof, ReadError> {
    let head = &shown.head;
    let mut hashes = TileHashes::new(head.size, |path| read_tile(folder, path));
    let proof = prove_inclusion(seq, head.size, |subtree| hashes.hash(subtree));
    let hashes = proof.map_err(|why| match why {
        MakeError::OutsideTree { .. } => ReadError::NotYet { log: head.origin.clone(), seq },
        MakeError::Hash(why) => {
            ReadError::Io { path: folder.to_owned(), source: io::Error::other(why.to_string()) }
        }
    })?;
    let made = TlogProof::new(seq, hashes, &shown.note).and_then(|proof| proof.with_extra(record));
    made.map_err(|why| ReadError::Io {
        path: folder.to_owned(),
        source: io::Error::other(why.to_string()),
    })
}

/// A tile of a log's folder, or the beginning of a wider one: the publisher takes partial tiles away
/// once it has shown later heads.
///
/// # Errors
/// When neither can be read.
pub fn read_tile(folder: &Path, path: &TilePath) -> io::Result<Vec<u8>> {
    match std::fs::read(folder.join(path.to_string())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => wider(folder, path),
        read => read,
    }
}

fn wider(folder: &Path, path: &TilePath) -> io::Result<Vec<u8>> {
    let full = folder.join(path.full().to_string());
    let mut bytes = match std::fs::read(&full) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::read(widest(&beside(&full, ".p"), path.width())?)?
        }
        read => read?,
    };
    bytes.truncate(path.width() * size_of::<Hash>());
    Ok(bytes)
}

/// The widest partial tile in a folder, of at least `width` hashes.
fn widest(folder: &Path, width: usize) -> io::Result<PathBuf> {
    let mut widest = None;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let found = name.to_str().and_then(|name| name.parse::<usize>().ok());
        widest = widest.max(found.filter(|found| *found >= width));
    }
    let widest = widest.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(folder.join(widest.to_string()))
}
