//! The files of a running ledger in SQLite, watched: what is written to a file that nobody finds any
//! more is lost with the process, and who takes the lock file away lets a second one write.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::store::beside;

/// What the ledger holds open beside its database, by suffix. The rest is derived or closed again.
const SUFFIXES: [&str; 5] = ["", "-wal", "-shm", ".head", ".lock"];

/// A file as it was when it was last looked at.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Device and inode: held open, the inode can't become another file's.
    file: (u64, u64),
    length: u64,
}

/// The files that the ledger holds open.
#[derive(Debug)]
pub(crate) struct HeldFiles(Vec<Held>);

impl HeldFiles {
    /// The files of the ledger at `path`, all of which are open by now.
    ///
    /// # Errors
    /// When one of them can't be looked at.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let held = |suffix| {
            let path = beside(path, suffix);
            let now = std::fs::metadata(&path)?;
            Ok(Held { path, file: identity(&now), length: now.len() })
        };
        SUFFIXES.into_iter().map(held).collect::<std::io::Result<_>>().map(Self)
    }

    /// Lets the journal be as short as this at the next look: the caller may cut it, and nobody else.
    pub(crate) fn expect_journal(&mut self, length: u64) {
        self.journal().for_each(|held| held.length = length);
    }

    /// Bytes of the journal at the last look.
    pub(crate) fn journal_length(&mut self) -> u64 {
        self.journal().map(|held| held.length).sum()
    }

    fn journal(&mut self) -> impl Iterator<Item = &mut Held> {
        let is_journal =
            |held: &&mut Held| held.path.as_os_str().as_encoded_bytes().ends_with(b"-wal");
        self.0.iter_mut().filter(is_journal)
    }

    /// What happened to one of them, if it is not as the ledger left it: for people.
    pub(crate) fn look(&mut self) -> Option<String> {
        self.0.iter_mut().find_map(|held| {
            let name = held.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            held.look().map(|deed| format!("`{name}` was {deed} under the running ledger"))
        })
    }
}

impl Held {
    fn look(&mut self) -> Option<&'static str> {
        let Ok(now) = std::fs::metadata(&self.path) else { return Some("removed") };
        if identity(&now) != self.file {
            return Some("replaced");
        }
        let before = std::mem::replace(&mut self.length, now.len());
        (now.len() < before).then_some("cut short")
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
