//! The head file: how many records there are and which is the last, outside of SQLite.
//!
//! SQLite recovers from a damaged or missing WAL by silently forgetting its end: one flipped bit
//! lost 6 of 10 committed rows without an error (ledger-and-vault.md 4). So after each commit
//! the writer notes the head here, in place, in one sector. It is not fsynced with each commit
//! (that would double the price of a record): it survives a killed process always, and a power
//! loss up to the last WAL checkpoint.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::chain::{Hash, digest};

const LABEL: &[u8] = b"portcullis/ledger/v1/head\n";
const LENGTH: usize = 72;

/// The newest record over all logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of records.
    pub(crate) records: u64,
    /// Leaf hash of the last one; zeros when there is none.
    pub(crate) leaf: Hash,
}

impl Head {
    pub(crate) const EMPTY: Self = Self { records: 0, leaf: [0; 32] };

    fn encode(self) -> [u8; LENGTH] {
        let records = self.records.to_be_bytes();
        let check = digest(&[LABEL, &records, &self.leaf]);
        let mut out = [0_u8; LENGTH];
        let bytes = records.iter().chain(&self.leaf).chain(&check);
        for (slot, byte) in out.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        out
    }

    fn decode(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (records, rest) = bytes.split_first_chunk::<8>()?;
        let (leaf, _) = rest.split_first_chunk::<32>()?;
        let head = Self { records: u64::from_be_bytes(*records), leaf: *leaf };
        (head.encode() == *bytes).then_some(head)
    }
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// There is no file.
    Absent,
    /// There is one, and it does not hold a head.
    Unreadable,
    /// The head at the last note.
    Head(Head),
}

/// Reads the head; an unreadable file is not an absent one.
pub(crate) fn read(path: &Path) -> std::io::Result<Noted> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Noted::Absent),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() == 0 {
        return Ok(Noted::Absent); // Made, and not written yet.
    }
    let mut bytes = [0_u8; LENGTH];
    if file.read_exact_at(&mut bytes, 0).is_err() {
        return Ok(Noted::Unreadable);
    }
    Ok(Head::decode(&bytes).map_or(Noted::Unreadable, Noted::Head))
}

/// The open file, for noting heads in place.
#[derive(Debug)]
pub(crate) struct HeadFile(File);

impl HeadFile {
    /// Opens the file for noting, and notes `head` durably.
    pub(crate) fn open(path: &Path, head: Head) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let file = Self(file);
        file.note(head)?;
        file.0.sync_all()?;
        crate::key_file::sync_folder_of(path)?;
        Ok(file)
    }

    pub(crate) fn note(&self, head: Head) -> std::io::Result<()> {
        self.0.write_all_at(&head.encode(), 0)
    }

    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }

    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}
