//! Exports: a folder that anybody can verify without the operator (ledger-and-vault.md 5.11).
//!
//! ```text
//! README            the hash rules, in words
//! policy            verifier key of `index`
//! index             signed list of all logs, so that a log cannot be left out unnoticed
//! deployment/       one folder for each log
//!   policy          its verifier key, and the witnesses (C2SP tlog-policy)
//!   checkpoint      its head, a signed note
//!   tile/entries/   records in bundles of 256, each with a uint16 length before it
//!   tile/<level>/   hash tiles
//! t/<tenant>/       the same
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::chain::Hash;
use crate::error::ReadError;
use crate::merkle;
use crate::note::{Checkpoint, LogKey, VerifierKey};
use crate::policy::{Policy, Witness};
use crate::publish::folder as published;
use crate::read::{LogHead, Reader};
use crate::tiles::{WIDTH, entries_path, hash_tiles, push_entry};

/// First line of the index; no checkpoint of a log begins so.
pub(crate) const INDEX_TITLE: &str = "portcullis/export/v1";

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The head of each log.
    pub heads: Vec<Checkpoint>,
}

impl Exported {
    /// Number of records over all logs.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.heads.iter().map(|head| head.size).sum()
    }
}

/// What an export says about those who watch the ledger from outside.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The witnesses that the operator names, for each log's policy.
    pub witnesses: Vec<Witness>,
    /// How many of them must have cosigned.
    pub quorum: usize,
    /// The ledger file, beside which the cosigned checkpoints are shown.
    pub ledger: Option<PathBuf>,
}

/// Writes every log of the ledger into `folder`, which must be absent or empty, and signs the
/// heads with the log key.
///
/// # Errors
/// [`ReadError`].
pub fn export(
    reader: &Reader,
    key: &LogKey,
    deployment: &str,
    folder: &Path,
) -> Result<Exported, ReadError> {
    export_watched(reader, key, deployment, folder, &Watch::default())
}

/// Writes every log of the ledger into `folder`, which must be absent or empty, and signs the
/// heads with the log key. A head that is shown as it is has the cosignatures that it is shown with.
///
/// # Errors
/// [`ReadError`].
pub fn export_watched(
    reader: &Reader,
    key: &LogKey,
    deployment: &str,
    folder: &Path,
    watch: &Watch,
) -> Result<Exported, ReadError> {
    make_folder(folder)?;
    let heads = reader.at_one_moment(|| {
        let logs = reader.logs()?;
        let heads = logs.iter().map(|log| export_log(reader, key, deployment, folder, log, watch));
        heads.collect::<Result<Vec<_>, _>>()
    })?;
    let name = format!("{deployment}/export");
    write(folder, "README", README.as_bytes())?;
    write(folder, "policy", policy(&key.vkey(&name)).as_bytes())?;
    write(folder, "index", key.sign(&name, &index_text(&heads)).as_bytes())?;
    Ok(Exported { heads })
}

fn export_log(
    reader: &Reader,
    key: &LogKey,
    deployment: &str,
    folder: &Path,
    log: &LogHead,
    watch: &Watch,
) -> Result<Checkpoint, ReadError> {
    let within = log.origin.strip_prefix(deployment).unwrap_or(&log.origin);
    let folder = folder.join(within.trim_start_matches('/'));
    let mut bundles = Bundles { folder: &folder, leaves: Vec::new(), bundle: Vec::new() };
    reader.each(&log.origin, |_, leaf, bytes| bundles.push(leaf, bytes))?;
    bundles.flush()?;
    let leaves = bundles.leaves;
    for (path, bytes) in hash_tiles(&leaves) {
        write(&folder, &path, &bytes)?;
    }
    let head = Checkpoint {
        origin: log.origin.clone(),
        size: leaves.len() as u64,
        root: merkle::root(&leaves),
    };
    write(&folder, "policy", watch.policy(&log.vkey).as_bytes())?;
    let note = watch.shown(deployment, &log.vkey, &head).unwrap_or_else(|| head.sign(key));
    write(&folder, "checkpoint", note.as_bytes())?;
    Ok(head)
}

impl Watch {
    fn policy(&self, vkey: &str) -> String {
        let of_log = VerifierKey::parse(vkey).map(|key| Policy::of_logs([key]));
        let watched = of_log.map(|policy| policy.watched_by(&self.witnesses, self.quorum));
        watched.map_or_else(|_| policy(vkey), |policy| policy.to_string())
    }

    /// The note that is shown of a log, when its head is this one.
    fn shown(&self, deployment: &str, vkey: &str, head: &Checkpoint) -> Option<String> {
        let root = published::published(self.ledger.as_deref()?);
        let path = published::of_log(&root, deployment, &head.origin).join("checkpoint");
        let note = fs::read_to_string(path).ok()?;
        let shown = Checkpoint::open(&note, &VerifierKey::parse(vkey).ok()?).ok()?;
        (shown == *head).then_some(note)
    }
}

struct Bundles<'a> {
    folder: &'a Path,
    leaves: Vec<Hash>,
    bundle: Vec<u8>,
}

impl Bundles<'_> {
    fn push(&mut self, leaf: Hash, bytes: &[u8]) -> Result<(), ReadError> {
        // A record that is too long cannot have been written by the ledger; leaving it out makes
        // the export fail its own head.
        if push_entry(&mut self.bundle, bytes).is_ok() {
            self.leaves.push(leaf);
        }
        if self.leaves.len().is_multiple_of(WIDTH) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ReadError> {
        if self.bundle.is_empty() {
            return Ok(());
        }
        let last = self.leaves.len() - 1;
        let path = entries_path((last / WIDTH) as u64, last % WIDTH + 1);
        write(self.folder, &path, &self.bundle)?;
        self.bundle.clear();
        Ok(())
    }
}

/// A tlog-policy file that trusts one log without witnesses.
fn policy(vkey: &str) -> String {
    format!("log {vkey}\nquorum none\n")
}

fn index_text(heads: &[Checkpoint]) -> String {
    let mut text = format!("{INDEX_TITLE}\nlogs {}\n", heads.len());
    for head in heads {
        text.push_str(&format!("{} {} {}\n", head.origin, head.size, hex::encode(head.root)));
    }
    text
}

fn make_folder(folder: &Path) -> Result<(), ReadError> {
    let io = |source| ReadError::Io { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(io)?;
    if fs::read_dir(folder).map_err(io)?.next().is_some() {
        let why = "the folder is not empty; give the export a new one";
        return Err(io(std::io::Error::new(std::io::ErrorKind::AlreadyExists, why)));
    }
    Ok(())
}

fn write(folder: &Path, path: &str, bytes: &[u8]) -> Result<(), ReadError> {
    let path = folder.join(path);
    let io = |source| ReadError::Io { path: path.clone(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    fs::write(&path, bytes).map_err(io)
}

const README: &str = "\
This folder is an export of a Portcullis ledger. `portcullis-verify .` checks it; so does any
implementation of C2SP tlog-tiles, log by log.

`index` is a signed note (C2SP signed-note, Ed25519) that lists every log with its size and
root. Each log is a folder:

  policy         its verifier key and the witnesses that the operator names, as a C2SP
                 tlog-policy; compare it with one that you got
                 from elsewhere, because whoever can change this folder can change this file
  checkpoint     origin, size and root, as a signed note (C2SP tlog-checkpoint)
  tile/entries/  records in bundles of 256, each after its length as a big-endian uint16
  tile/0/ ...    hash tiles (C2SP tlog-tiles)

Hash rules (SHA-256):

  leaf    = H(0x00 || record bytes)              the bytes as they are, never re-serialised
  node    = H(0x01 || left || right)             RFC 6962
  prev    = leaf of the record before it
  genesis = H(\"portcullis/ledger/v1/genesis\\n\" || origin || \"\\n\" || verifier key)
            is the prev of record 0
  c       = HMAC-SHA-256(k, \"portcullis/ledger/v1/commit\\n\" || field || 0x00 || payload)
            where k was disclosed to you

A record is JSON in which every value is a string, an array or an object, keys are ascending,
there is no white space, and nothing has a second spelling.

What this can not show: a ledger whose operator rewrote history and signed it anew, with the
real key, before anybody outside saw the old head. Keep checkpoints that you have seen.
";
