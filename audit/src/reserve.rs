//! Room that is kept for what was promised: when the disk is full, the outcomes of admitted calls
//! and the record that says so are still written (ledger-and-vault.md 5.7, rule 3).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};

/// As much as SQLite may need at once, which is 32 KiB for its index of the journal, with what the file
/// system needs for it.
const WRITE: usize = 64 * 1024;

/// A file of real blocks beside the ledger, given up when the disk is full.
#[derive(Debug)]
pub(crate) struct Reserve {
    file: Mutex<File>,
    bytes: u64,
}

impl Reserve {
    /// Takes the room.
    pub(crate) fn take(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let reserve = Self { file: Mutex::new(options.open(path)?), bytes };
        reserve.take_again()?;
        Ok(reserve)
    }

    /// Takes the room again; the error of the file system while there is not enough, for the reserve and for
    /// one write more: else the next record would find the disk full again.
    pub(crate) fn take_again(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let file = self.file();
        let taken = fallocate(&*file, FallocateFlags::empty(), 0, self.bytes);
        let taken = taken.map_err(io::Error::from).and_then(|()| try_one_more(&file));
        if let Err(error) = taken {
            // Some of it may have been taken, which others need now.
            empty(&file)?;
            return Err(error);
        }
        file.sync_all()
    }

    /// Gives the room to whoever writes next.
    pub(crate) fn give_up(&self) -> io::Result<()> {
        empty(&self.file())
    }

    /// Whether there is no room for one more write: none at all, or none for us, whose quota is used up.
    pub(crate) fn finds_no_room(&self) -> bool {
        try_one_more(&self.file()).is_err_and(|error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        })
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes more than there is, and takes it back.
fn try_one_more(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let tried = file.write_all_at(&[0; WRITE], length);
    file.set_len(length)?;
    tried
}

fn empty(file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.sync_all()
}
