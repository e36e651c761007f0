//! The side files: `<ledger>.spool-<run>-<n>` beside the head file, one after the other for each run of a
//! writer, which holds a lock on its own as long as it lives.
//!
//! A file appears whole under its name (temporary name, fsync, rename, fsync of the folder) and grows by
//! frames, each fsynced. After a failed write or fsync nothing is written to it again: another file
//! is begun.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::crash_point;
use crate::key_file::sync_folder_of;
use crate::store::beside;

/// Most bytes of a file. What does not fit stays in memory; no intent is taken meanwhile.
pub(crate) const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Between the ledger's name and the run's.
const INFIX: &str = ".spool-";

/// While it is not whole.
const TEMPORARY: &str = ".new";

/// Of a file that is kept for people to look at.
const ASIDE: &str = ".aside";

/// The files of one run.
#[derive(Debug)]
pub(crate) struct SpoolFiles {
    /// The ledger's path, `.spool-`, and the name of the run.
    stem: PathBuf,
    made: u32,
    /// The one that grows.
    growing: Option<Growing>,
    /// Those that nothing is written to any more.
    left: Vec<PathBuf>,
}

#[derive(Debug)]
struct Growing {
    path: PathBuf,
    file: File,
    length: u64,
}

impl SpoolFiles {
    pub(crate) fn new(ledger: &Path, run: &str) -> Self {
        let stem = beside(ledger, &format!("{INFIX}{run}"));
        Self { stem, made: 0, growing: None, left: Vec::new() }
    }

    /// Where the outcomes are now.
    pub(crate) fn path(&self) -> &Path {
        self.growing.as_ref().map_or(self.stem.as_path(), |growing| growing.path.as_path())
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> u64 {
        MAX_BYTES.saturating_sub(self.growing.as_ref().map_or(0, |growing| growing.length))
    }

    /// Returns when the frames are on disk.
    pub(crate) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        crash_point!("spool_before_write");
        let written = match &mut self.growing {
            Some(growing) => growing.append(frames),
            None => self.begin(frames),
        };
        crash_point!("spool_after_write");
        written
    }

    fn begin(&mut self, frames: &[u8]) -> io::Result<()> {
        let path = beside(&self.stem, &format!("-{}", self.made));
        self.made += 1;
        let temporary = beside(&path, TEMPORARY);
        let made = make(&temporary, frames).and_then(|file| {
            crash_point!("spool_before_rename");
            fs::rename(&temporary, &path)?;
            sync_folder_of(&path)?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let length = u64::try_from(frames.len()).unwrap_or(u64::MAX);
                self.growing = Some(Growing { path, file, length });
                Ok(())
            }
            Err(error) => {
                // What could not be written whole is still in memory.
                let _ = fs::remove_file(&temporary);
                if path.exists() {
                    self.left.push(path);
                }
                Err(error)
            }
        }
    }

    /// Begins another file with what is spooled next.
    pub(crate) fn leave(&mut self) {
        self.left.extend(self.growing.take().map(|growing| growing.path));
    }

    /// The same; that file is somebody else's business now.
    pub(crate) fn lose(&mut self) {
        self.growing = None;
    }

    /// Lets go of the files, so that the next start may read them.
    pub(crate) fn release(&mut self) {
        self.leave();
        self.left.clear();
    }

    /// Whether the file is where it was put, as long as it was.
    pub(crate) fn is_there(&self) -> bool {
        self.growing.as_ref().is_none_or(|growing| growing.is_there().unwrap_or(false))
    }

    /// Takes all files of this run away: everything in them is in the log.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        self.leave();
        crash_point!("spool_before_remove");
        let files = std::mem::take(&mut self.left);
        files.iter().try_for_each(|path| remove_if_there(path))?;
        files.first().map_or(Ok(()), |path| sync_folder_of(path))
    }

    /// Whether there is a file.
    pub(crate) const fn is_empty(&self) -> bool {
        self.growing.is_none() && self.left.is_empty()
    }
}

impl Growing {
    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all(frames)?;
        self.file.sync_all()?;
        self.length += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn is_there(&self) -> io::Result<bool> {
        let (named, ours) = (fs::symlink_metadata(&self.path)?, self.file.metadata()?);
        let same = (named.dev(), named.ino()) == (ours.dev(), ours.ino());
        Ok(same && named.len() == self.length)
    }
}

fn make(path: &Path, frames: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(frames)?;
    file.sync_all()?;
    Ok(file)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file of another run. Where this process holds its lock nobody writes to it; else its frames count all
/// the same, for each is signed and none is ever changed, and who holds it takes it away.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) path: PathBuf,
    /// Its bytes, or why it is no spool.
    pub(crate) bytes: Result<Vec<u8>, String>,
    /// Whether another process holds it, or nobody can tell.
    pub(crate) held: bool,
    _lock: Option<File>,
}

/// The files of other runs, but for those that are known, oldest name first.
///
/// # Errors
/// When one can't be read that may be read once somebody mends it: what it holds is not given up.
pub(crate) fn earlier(ledger: &Path, known: &[PathBuf]) -> io::Result<Vec<Earlier>> {
    let folder = ledger.parent().filter(|folder| !folder.as_os_str().is_empty());
    let prefix = beside(ledger, INFIX);
    let Some(prefix) = prefix.file_name().and_then(|name| name.to_str()) else {
        return Ok(Vec::new());
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| {
            name.strip_prefix(prefix).is_some_and(|rest| !rest.contains(ASIDE))
        });
        let path = entry.path();
        if ours && !known.contains(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let shown = path.display().to_string();
        match read(path) {
            Ok(file) => files.push(file),
            // Its owner took it away meanwhile.
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
            Err(why) => {
                let why = format!(
                    "the spool `{shown}` can't be read ({why}): mend that, or move it away"
                );
                return Err(io::Error::other(why));
            }
        }
    }
    Ok(files)
}

fn read(path: PathBuf) -> io::Result<Earlier> {
    // Neither through a link nor from a pipe that would never end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let no_spool = "it is no file of this ledger, or too long for one";
    // Writable, because a lock over a network is one of bytes, and those are locked by writers only.
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(why) if fs::symlink_metadata(&path)?.file_type().is_file() => return Err(why),
        // A link, a folder or a pipe is nothing that a ledger made.
        Err(_) => {
            return Ok(Earlier { path, bytes: Err(no_spool.to_owned()), held: false, _lock: None });
        }
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Ok(Earlier { path, bytes: Err(no_spool.to_owned()), held: false, _lock: None });
    }
    let held = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    let mut bytes = Vec::new();
    (&file).read_to_end(&mut bytes)?;
    Ok(Earlier { path, bytes: Ok(bytes), held, _lock: Some(file) })
}

impl Earlier {
    /// Takes it away: nothing in it is needed any more.
    pub(crate) fn remove(&self) -> io::Result<()> {
        crash_point!("spool_before_remove");
        remove_if_there(&self.path)?;
        sync_folder_of(&self.path)
    }

    /// Keeps it for people to look at, under a name that no start reads.
    pub(crate) fn put_aside(&self) -> io::Result<PathBuf> {
        crash_point!("spool_before_aside");
        let mut aside = beside(&self.path, ASIDE);
        let mut number = 1;
        while fs::symlink_metadata(&aside).is_ok() {
            aside = beside(&self.path, &format!("{ASIDE}-{number}"));
            number += 1;
        }
        fs::rename(&self.path, &aside)?;
        sync_folder_of(&aside)?;
        Ok(aside)
    }
}
