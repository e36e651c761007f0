//! Room that is kept for what was promised: when the disk is full, the outcomes of admitted calls
//! and the record that says so are still written (ledger-and-vault.md 5.7, rule 3).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// A file of real blocks beside the ledger, given up when the disk is full.
#[derive(Debug)]
pub(crate) struct Reserve {
    file: File,
    bytes: u64,
}

impl Reserve {
    /// Takes the room.
    pub(crate) fn take(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let reserve = Self { file: options.open(path)?, bytes };
        reserve.take_again()?;
        Ok(reserve)
    }

    /// Takes the room again; the error of the file system while there is not enough.
    pub(crate) fn take_again(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let taken = fallocate(&self.file, FallocateFlags::empty(), 0, self.bytes);
        if let Err(error) = taken {
            // Some of it may have been taken, which others need now.
            self.give_up()?;
            return Err(error.into());
        }
        self.file.sync_all()
    }

    /// Gives the room to whoever writes next.
    pub(crate) fn give_up(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_all()
    }
}
