//! Exports: a folder that anybody can verify without the operator (ledger-and-vault.md 5.11).
//!
//! ```text
//! README            the hash rules, in words
//! policy            verifier keys of `index`, the newest first
//! index             signed list of all logs, so that a log cannot be left out unnoticed
//! deployment/       one folder for each log
//!   policy          its verifier keys, the newest first, and the witnesses (C2SP tlog-policy)
//!   checkpoint      its head, a signed note, with the cosignatures of its witnesses
//!   proofs/         a proof for itself (C2SP tlog-proof) of each certificate and of the last record
//!   tile/entries/   records in bundles of 256, each with a uint16 length before it; without those that
//!                   were pruned, as a `prune` record further on says
//!   tile/<level>/   hash tiles
//! t/<tenant>/       the same
//! bodies/           only when something is disclosed, by whoever holds the keys: what some records commit
//!                   to, field by field (see [`crate::disclose`])
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::chain::{self, Hash};
use crate::entry::DEPLOYMENT;
use crate::error::ReadError;
use crate::keys::KeyChain;
use crate::note::{Checkpoint, LogKey, VerifierKey};
use crate::policy::{Policy, Witness};
use crate::publish::folder::of_log;
use crate::published::{PublishedLogs, ShownHead, prove_from};
use crate::read::{LogHead, Reader};
use crate::record::Record;
use crate::tiles::{WIDTH, entries_path, hash_tiles, push_entry};
use crate::tlog_proof::EXTENSION;

/// First line of the index; no checkpoint of a log begins so.
pub(crate) const INDEX_TITLE: &str = "portcullis/export/v1";

/// The same of an export of one log alone, which says nothing of the others.
pub(crate) const INDEX_TITLE_OF_ONE: &str = "portcullis/export-of-one-log/v1";

/// How long an export waits for heads that a running gateway is about to sign.
const PATIENCE: Duration = Duration::from_secs(5);

/// Records between two words about the progress.
const PROGRESS_STEP: u64 = 4096;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The head of each log.
    pub heads: Vec<Checkpoint>,
    /// Newer records that are not in it, because no signed head covers them yet.
    pub left: u64,
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
}

impl Watch {
    /// The newest key first: that one signs the head.
    fn policy(&self, keys: &KeyChain) -> String {
        let policy = Policy::of_logs(keys.newest_first().cloned());
        policy.watched_by(&self.witnesses, self.quorum).to_string()
    }
}

/// Writes every log of the ledger into `folder`, which must be absent or empty: its records up to
/// the head that the gateway has signed and shown. `key` signs the list of logs; no head is ever
/// signed here.
///
/// # Errors
/// [`ReadError`].
pub fn export(
    reader: &Reader,
    key: &LogKey,
    deployment: &str,
    folder: &Path,
) -> Result<Exported, ReadError> {
    export_with(reader, key, (deployment, None), folder, &Watch::default(), &mut |_, _| {})
}

/// [`export`], of all logs of the deployment or of one by its origin alone, telling now and then how
/// many records of how many are written. An export of one log says nothing of the others, not even
/// their names: the deployment's log is not in it.
///
/// # Errors
/// [`ReadError`].
pub fn export_with(
    reader: &Reader,
    key: &LogKey,
    (deployment, only): (&str, Option<&str>),
    folder: &Path,
    watch: &Watch,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ReadError> {
    make_folder(folder)?;
    let published = PublishedLogs::of(reader, deployment);
    let (logs, shown) = shown_heads(reader, &published, (deployment, only))?;
    let all: u64 = shown.iter().map(|(_, shown)| shown.head.size).sum();
    let stored: u64 = logs.iter().map(|log| log.size).sum();
    let name = format!("{deployment}/export");
    let (mut done, mut index_keys) = (0, KeysOfIndex::new(key, &name)?);
    for (log, shown) in &shown {
        let folder = of_log(folder, deployment, &log.origin);
        let keys = reader.keys(&log.origin)?.ok_or_else(|| no_key(&log.origin))?;
        index_keys.take(&keys)?;
        write(&folder, "policy", watch.policy(&keys).as_bytes())?;
        // In one view: somebody may prune meanwhile.
        reader.at_one_moment(|| {
            export_log(reader, &folder, log, shown, &mut |written| progress(done + written, all))
        })?;
        done += shown.head.size;
    }
    let heads: Vec<Checkpoint> = shown.into_iter().map(|(_, shown)| shown.head).collect();
    write(folder, "README", README.as_bytes())?;
    write(folder, "policy", Policy::of_logs(index_keys.named).to_string().as_bytes())?;
    write(folder, "index", key.sign(&name, &index_text(&heads, only.is_some())).as_bytes())?;
    Ok(Exported { heads, left: stored.saturating_sub(all) })
}

/// The keys that have signed lists of logs, the newest first: those of the logs under another name.
struct KeysOfIndex<'a> {
    name: &'a str,
    named: Vec<VerifierKey>,
}

impl<'a> KeysOfIndex<'a> {
    fn new(key: &LogKey, name: &'a str) -> Result<Self, ReadError> {
        let key = VerifierKey::parse(&key.vkey(name)).map_err(|_| no_key(name))?;
        Ok(Self { name, named: vec![key] })
    }

    /// Adds the keys of a log, of which the newest must be the one that signs the list.
    fn take(&mut self, keys: &KeyChain) -> Result<(), ReadError> {
        let signs = self.named.first().map(VerifierKey::public);
        if signs != Some(keys.current().public()) {
            return Err(ReadError::Key { log: keys.birth().name().to_owned() });
        }
        for key in keys.newest_first() {
            let named = VerifierKey::of_public(self.name, *key.public());
            let named = named.map_err(|_| no_key(self.name))?;
            if !self.named.contains(&named) {
                self.named.push(named);
            }
        }
        Ok(())
    }
}

fn no_key(log: &str) -> ReadError {
    ReadError::Key { log: log.to_owned() }
}

/// A log and the head that is shown of it.
type Shown = (LogHead, ShownHead);

/// Logs with the heads that are shown of them, once these cover what is stored now or nobody signs any
/// more. The deployment's head is read before the others are: it vouches for them as they were then.
fn shown_heads(
    reader: &Reader,
    published: &PublishedLogs,
    (deployment, only): (&str, Option<&str>),
) -> Result<(Vec<LogHead>, Vec<Shown>), ReadError> {
    let (since, own) = (Instant::now(), chain::origin(deployment, DEPLOYMENT));
    loop {
        let of_deployment = published.head(&own)?;
        let mut logs = reader.logs()?;
        logs.retain(|log| only.is_none_or(|only| only == log.origin));
        let mut shown = Vec::new();
        for log in &logs {
            let own = log.origin == own;
            let head = if own { of_deployment.clone() } else { published.head(&log.origin)? };
            shown.extend(head.map(|head| (log.clone(), head)));
        }
        let current = shown.iter().filter(|(log, shown)| shown.head.size >= log.size).count();
        let written = logs.iter().filter(|log| log.size > 0).count();
        if current >= written || since.elapsed() >= PATIENCE {
            return Ok((logs, shown));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn export_log(
    reader: &Reader,
    folder: &Path,
    log: &LogHead,
    shown: &ShownHead,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ReadError> {
    let size = shown.head.size;
    let mut bundles = Bundles { folder, leaves: Vec::new(), bundle: Vec::new() };
    let mut proved = BTreeMap::new();
    // Whole bundles are pruned, and never beyond a head that was shown.
    let width = WIDTH as u64;
    let pruned = reader.pruned(&log.origin)?.min(size) / width * width;
    reader.each(&log.origin, |seq, leaf, bytes| {
        if seq >= size {
            return Ok(());
        }
        if seq < pruned {
            if is_certificate(bytes) {
                proved.insert(seq, bytes.to_vec());
            }
            bundles.leaves.push(leaf);
            return Ok(());
        }
        if seq + 1 == size || is_certificate(bytes) {
            proved.insert(seq, bytes.to_vec());
        }
        if seq.is_multiple_of(PROGRESS_STEP) {
            progress(seq);
        }
        bundles.push(leaf, bytes)
    })?;
    bundles.flush()?;
    for (path, bytes) in hash_tiles(&bundles.leaves) {
        write(folder, &path, &bytes)?;
    }
    write(folder, "checkpoint", shown.note.as_bytes())?;
    for (seq, record) in proved {
        let proof = prove_from(folder, shown, seq, record)?;
        write(folder, &format!("proofs/{seq}.{EXTENSION}"), proof.to_string().as_bytes())?;
    }
    Ok(())
}

/// Records whose proof somebody else may ask for: what was destroyed, pruned, put in force.
fn is_certificate(bytes: &[u8]) -> bool {
    Record::parse(bytes).is_ok_and(|record| record.kind.is_certificate())
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

fn index_text(heads: &[Checkpoint], of_one: bool) -> String {
    let title = if of_one { INDEX_TITLE_OF_ONE } else { INDEX_TITLE };
    let mut text = format!("{title}\nlogs {}\n", heads.len());
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

  policy         its verifier keys, the newest first, and the witnesses that the operator names,
                 as a C2SP tlog-policy; compare it with one that you got
                 from elsewhere, because whoever can change this folder can change this file
  checkpoint     origin, size and root, as a signed note (C2SP tlog-checkpoint)
  tile/entries/  records in bundles of 256, each after its length as a big-endian uint16; the
                 first may be missing when they have expired: a `prune` record in the log then
                 says up to where, and names the export that has them (SHA-256 of its `index`)
  tile/0/ ...    hash tiles (C2SP tlog-tiles)
  proofs/        of some records a proof that can be sent and checked alone (C2SP tlog-proof):
                 `portcullis-verify --proof FILE`

Hash rules (SHA-256):

  leaf    = H(0x00 || record bytes)              the bytes as they are, never re-serialised
  node    = H(0x01 || left || right)             RFC 6962
  prev    = leaf of the record before it
  genesis = H(\"portcullis/ledger/v1/genesis\\n\" || origin || \"\\n\" || verifier key)
            is the prev of record 0
  c       = HMAC-SHA-256(k, \"portcullis/ledger/v1/commit\\n\" || field || 0x00 || payload)
            where k was disclosed to you

A log that changed its key has a `key` record for each change, proved in proofs/: its
`note.statement` is a signed note under the key name `origin/key`, with the lines
`portcullis/key/v1`, origin, old and new verifier key, signed by both. The new key signs all
heads over that record. The verifier key in the genesis is the first one.

A record is JSON in which every value is a string, an array or an object, keys are ascending,
there is no white space, and nothing has a second spelling.

What this can not show: a ledger whose operator rewrote history and signed it anew, with the
real key, before anybody outside saw the old head. Keep checkpoints that you have seen.
";
