//! What a witness remembers of each log, on disk before it is said.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_audit::fork::ForkProof;
use portcullis_audit::note::{Checkpoint, Cosigner, CosignerKey, SignedNote, VerifierKey};
use portcullis_audit::witness::{AddCheckpoint, Refusal, TreeHead, decide, signer};
use portcullis_audit::write_whole;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::seen::{Seen, of_its_log};
use super::{Trust, WitnessError};

/// Logs that one witness remembers at most: whoever holds the key of a deployment can name as many
/// as they like.
const MAX_LOGS: usize = 65_536;

/// A witness: its key, whom it trusts, and what it cosigned last of each log.
#[derive(Debug)]
pub struct Witness {
    folder: PathBuf,
    cosigner: Cosigner,
    trust: Trust,
    logs: Mutex<BTreeMap<String, Arc<Mutex<Log>>>>,
    _lock: File,
}

/// One log. Whoever holds its lock is the only one to look at its note and to replace it.
#[derive(Debug, Default)]
struct Log {
    stored: Option<TreeHead>,
    /// Who signed what is stored: the newest of those who did. Read from the note, as the head is, so that
    /// a key that was replaced stays so after a restart too.
    by: Option<VerifierKey>,
    seen: Seen,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotCosigned {
    /// The protocol says no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// It could not be stored.
    #[error("the checkpoint cannot be stored")]
    Storage(#[from] io::Error),
    /// There is no room for one more log.
    #[error("this witness watches {MAX_LOGS} logs already")]
    TooManyLogs,
}

impl Witness {
    /// Opens the folder, which is made when it is absent, and reads what was cosigned.
    ///
    /// # Errors
    /// [`WitnessError`]; a note that is damaged refuses the start.
    pub fn open(folder: &Path, name: Option<&str>, trust: Trust) -> Result<Self, WitnessError> {
        make_folder(folder)?;
        let lock = lock(folder)?;
        let cosigner = super::cosigner(folder, name)?;
        make_folder(&folder.join("logs"))?;
        let logs = read_all(&folder.join("logs"), &trust)?;
        let (folder, logs) = (folder.to_owned(), Mutex::new(logs));
        Ok(Self { folder, cosigner, trust, logs, _lock: lock })
    }

    /// The public side of its key, for policies.
    #[must_use]
    pub fn key(&self) -> CosignerKey {
        self.cosigner.key()
    }

    /// How many logs it has cosigned.
    #[must_use]
    pub fn logs(&self) -> usize {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Answers an `add-checkpoint` request at the time `now`, in seconds since 1970.
    pub(super) fn add_checkpoint(&self, body: &str, now: u64) -> Result<String, NotCosigned> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::from)?;
        let origin = request.head().origin.clone();
        let keys = self.trust.keys_of(&origin);
        // Before anything is remembered of a log, one of its keys has to have signed.
        if !keys.iter().any(|key| Checkpoint::open(request.note(), key).is_ok()) {
            let refusal = decide(request, &keys, None).err().unwrap_or(Refusal::UnknownOrigin);
            return Err(refusal.into());
        }
        let log = self.log(&origin)?;
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let note = of_its_log(request.note(), &origin);
        if let Some(proof) = log.seen.take(&keys, request.head().size, &note) {
            self.keep(&proof);
        }
        let pending = decide(request, &keys, log.stored.zip(log.by.as_ref()))?;
        if log.stored != Some(pending.next()) {
            log.stored = Some(replace(&self.note(&origin), &note)?);
            log.by = signer(&note, &keys).cloned();
        }
        let persisted = pending.persisted(log.stored.unwrap_or_default())?;
        Ok(persisted.cosign(&self.cosigner, now))
    }

    fn log(&self, origin: &str) -> Result<Arc<Mutex<Log>>, NotCosigned> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get(origin) {
            return Ok(Arc::clone(log));
        }
        if logs.len() >= MAX_LOGS {
            return Err(NotCosigned::TooManyLogs);
        }
        tracing::info!(log = origin, "a log is watched from now on");
        Ok(Arc::clone(logs.entry(origin.to_owned()).or_default()))
    }

    /// Keeps the proof that a log has forked, and says so where it is heard.
    fn keep(&self, proof: &ForkProof) {
        let name = format!("{}-{}.txt", id(proof.origin()), proof.size());
        let path = self.folder.join("forks").join(name);
        let (log, size) = (proof.origin(), proof.size());
        if path.exists() {
            return;
        }
        tracing::error!(log, size, proof = %path.display(), "THIS LOG HAS FORKED: it signed two histories");
        if let Err(error) = write_whole(&path, proof.to_string().as_bytes()) {
            tracing::error!(%error, "the proof cannot be kept, here it is:\n{proof}");
        }
    }

    fn note(&self, origin: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{}.note", id(origin)))
    }
}

/// Replaces the note of a log and gives the head that is on disk now.
fn replace(path: &Path, note: &str) -> io::Result<TreeHead> {
    write_whole(path, note.as_bytes())?;
    let stored = std::fs::read_to_string(path)?;
    head_of(&stored).map(|(_, head)| head).map_err(io::Error::other)
}

/// The file name of a log: an origin may have any characters and any length.
fn id(origin: &str) -> String {
    hex::encode(Sha256::digest(origin)).chars().take(32).collect()
}

fn head_of(note: &str) -> Result<(String, TreeHead), &'static str> {
    let signed = SignedNote::parse(note).map_err(|_| "it is not a signed note")?;
    let head = Checkpoint::parse(signed.text()).map_err(|_| "it is not a checkpoint")?;
    Ok((head.origin, TreeHead { size: head.size, root: head.root }))
}

fn read_all(
    folder: &Path,
    trust: &Trust,
) -> Result<BTreeMap<String, Arc<Mutex<Log>>>, WitnessError> {
    let fault = |source| WitnessError::Io { path: folder.to_owned(), source };
    let mut logs = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        // What a crash left of a note that was not yet in its place says nothing.
        if path.extension().is_some_and(|extension| extension == "note") {
            let (origin, log) = read(&path, trust)?;
            logs.insert(origin, Arc::new(Mutex::new(log)));
        }
    }
    Ok(logs)
}

fn read(path: &Path, trust: &Trust) -> Result<(String, Log), WitnessError> {
    let damaged = |why: &str| WitnessError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let note = std::fs::read_to_string(path).map_err(|why| damaged(&why.to_string()))?;
    let (origin, head) = head_of(&note).map_err(damaged)?;
    if path.file_stem().is_none_or(|stem| *stem != *id(&origin)) {
        return Err(damaged("it is the note of another log"));
    }
    let keys = trust.keys_of(&origin);
    let is_signed = |key: &VerifierKey| Checkpoint::open(&note, key).is_ok();
    if !keys.is_empty() && !keys.iter().any(is_signed) {
        return Err(damaged("no key that is trusted for this log signed it"));
    }
    let by = signer(&note, &keys).cloned();
    let mut log = Log { stored: Some(head), by, ..Log::default() };
    log.seen.take(&keys, head.size, &note);
    Ok((origin, log))
}

pub(super) fn make_folder(folder: &Path) -> Result<(), WitnessError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| WitnessError::Io { path: folder.to_owned(), source })
}

/// Two witnesses in one folder would compare and set past each other.
fn lock(folder: &Path) -> Result<File, WitnessError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|source| WitnessError::Io { path: path.clone(), source })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(WitnessError::Locked(folder.to_owned())),
        Err(error) => Err(WitnessError::Io { path, source: error.into() }),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
