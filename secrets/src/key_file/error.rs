//! Why a key file cannot be used, with the command that mends it.

use super::disk::LENGTH;
use crate::single_use::NoRandomness;
use std::io;
use std::path::PathBuf;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is no such file.
    #[error(
        "there is no key file `{path}`: restore it from its backup, or give the path of a new one"
    )]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link could be pointed at another key by whoever owns the link's folder.
    #[error("key file `{path}` is a symbolic link: name the file itself")]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A folder, a device or a socket.
    #[error("key file `{path}` is not a regular file")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Someone else owns it and can replace it.
    #[error(
        "key file `{path}` belongs to user {owner}, and this process runs as {us}: run `chown {us} {path}`"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        us: u32,
    },
    /// Group or others have access.
    #[error(
        "key file `{path}` has mode {mode:04o}, so others can read or replace it: run `chmod 600 {path}`"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not 32 bytes.
    #[error(
        "key file `{path}` is {length} bytes long instead of {LENGTH}: restore it from its backup"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// The operating system said no.
    #[error("key file `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No random bytes for a new key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}
