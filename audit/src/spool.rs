//! Outcomes that are not in the log in time are kept in a side file until they are, so that what came of
//! an action survives the process too (ledger-and-vault.md 5.7, rule 4).
//!
//! Every outcome is watched from the moment that its caller hands it in. One that is not durable by
//! its deadline, that the writer had to refuse, or that still waits when the ledger is closed, is
//! written to the spool and fsynced; no intent is taken until it is in the log after all. Then the
//! file is removed. What a dead process left there is appended by the next start, before it closes
//! what is still open as unknown (`writer/drain.rs`).
//!
//! While nothing is late no file is touched: an outcome costs two entries in a map.
//!
//! INVARIANT: an outcome that is in the spool is in the log after the next start, once
//! (`every_crash_point_of_the_spool_loses_no_spooled_outcome`).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::entry::RecordRef;
use crate::note::LogKey;
use crate::queue::{Payload, RecordJob, Shared};
use crate::reserve::Reserve;
pub(crate) use entry::Late;
use file::SpoolFiles;

pub(crate) mod entry;
pub(crate) mod file;

/// How often a spool that is in use is looked at, and a write that failed is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Most outcomes that are spooled at a time.
const MAX_OUTCOMES: usize = 65_536;

/// Which outcome of this run.
pub(crate) type Ticket = u64;

/// Where outcomes are watched.
#[derive(Debug)]
pub(crate) struct Spool {
    deployment: String,
    key: Arc<LogKey>,
    deadline: Duration,
    shared: Arc<Shared>,
    /// Of SQLite only: what the outcomes may take on a full disk.
    reserve: Option<Arc<Reserve>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Locked before `state`, and for as long as the disk takes.
    files: Mutex<SpoolFiles>,
}

#[derive(Debug, Default)]
struct State {
    next: Ticket,
    /// Operation and leaf of each intent that was acknowledged and has no outcome, by tenant and place.
    intents: HashMap<(String, u64), (Uuid, Hash)>,
    /// In time so far, and until when they are.
    waiting: BTreeMap<Ticket, (Instant, Late)>,
    /// Not in time, and whether they are in the file.
    late: BTreeMap<Ticket, (Late, bool)>,
    /// When the files are looked at again; `None` while there are none.
    look_at: Option<Instant>,
    /// The watcher sleeps until somebody wakes it.
    asleep: bool,
    closed: bool,
}

impl State {
    /// When there is something to do. All wait equally long, so the first one is due first.
    fn due(&self) -> Option<Instant> {
        let first = self.waiting.first_key_value().map(|(_, (due, _))| *due);
        [first, self.look_at].into_iter().flatten().min()
    }

    /// What is due is late from here on.
    fn move_late(&mut self, now: Instant) {
        let due = self.waiting.iter().filter(|(_, (due, _))| *due <= now);
        let due: Vec<Ticket> = due.map(|(ticket, _)| *ticket).collect();
        for ticket in due {
            if let Some((_, late)) = self.waiting.remove(&ticket) {
                self.late.insert(ticket, (late, false));
            }
        }
    }

    fn unwritten(&self) -> Vec<(Ticket, Late)> {
        let there = self.late.values().filter(|(_, written)| *written).count();
        let missing = self.late.iter().filter(|(_, (_, written))| !written);
        let missing = missing.take(MAX_OUTCOMES.saturating_sub(there));
        missing.map(|(ticket, (late, _))| (*ticket, late.clone())).collect()
    }
}

impl Spool {
    pub(crate) fn new(
        (ledger, run): (&Path, &str),
        (deployment, key): (&str, Arc<LogKey>),
        deadline: Duration,
        shared: Arc<Shared>,
        reserve: Option<Arc<Reserve>>,
    ) -> Self {
        Self {
            deployment: deployment.to_owned(),
            key,
            deadline,
            shared,
            reserve,
            state: Mutex::default(),
            changed: Condvar::new(),
            files: Mutex::new(SpoolFiles::new(ledger, run)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, SpoolFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An intent was acknowledged: its outcome will be bound to it.
    pub(crate) fn expect(&self, tenant: &str, seq: u64, op: Uuid, leaf: Hash) {
        self.state().intents.insert((tenant.to_owned(), seq), (op, leaf));
    }

    /// An intent was closed by something else than its caller's outcome.
    pub(crate) fn forget(&self, tenant: &str, RecordRef(seq): RecordRef) {
        self.state().intents.remove(&(tenant.to_owned(), seq));
    }

    /// Watches an outcome of an intent that this run acknowledged.
    pub(crate) fn watch(&self, job: &RecordJob) -> Option<Ticket> {
        let Payload::Closes { op, intent: RecordRef(intent) } = job.payload else { return None };
        let origin = chain::origin(&self.deployment, &job.tenant);
        let mut state = self.state();
        let key = (job.tenant.clone(), intent);
        let leaf = state.intents.get(&key).filter(|(of, _)| *of == op).map(|(_, leaf)| *leaf)?;
        state.intents.remove(&key);
        if state.closed {
            return None;
        }
        let (draft, body) = (Arc::clone(&job.draft), job.body.clone());
        let late = Late { origin, intent, leaf, op, draft, body };
        let ticket = state.next;
        state.next += 1;
        state.waiting.insert(ticket, (Instant::now() + self.deadline, late));
        if std::mem::take(&mut state.asleep) {
            self.changed.notify_one();
        }
        drop(state);
        Some(ticket)
    }

    /// These are in the log, or never will be because they do not fit it.
    pub(crate) fn settled(&self, tickets: impl Iterator<Item = Ticket>) {
        let mut state = self.state();
        let was_late = !state.late.is_empty();
        for ticket in tickets {
            if state.waiting.remove(&ticket).is_none() {
                state.late.remove(&ticket);
            }
        }
        if was_late {
            self.count(&state);
            if state.late.is_empty() {
                state.look_at = Some(Instant::now());
                self.changed.notify_one();
            }
        }
    }

    /// The writer will not write these: they are late now, and on disk when this returns, if the disk
    /// takes them.
    pub(crate) fn keep(&self, tickets: impl Iterator<Item = Ticket>) {
        if self.hasten(tickets) {
            self.turn();
        }
    }

    /// [`Self::keep`] without waiting for the disk.
    pub(crate) fn keep_soon(&self, ticket: Ticket) {
        if self.hasten(std::iter::once(ticket)) {
            self.state().look_at = Some(Instant::now());
            self.changed.notify_one();
        }
    }

    fn hasten(&self, tickets: impl Iterator<Item = Ticket>) -> bool {
        let (now, mut any) = (Instant::now(), false);
        let mut state = self.state();
        for ticket in tickets {
            if let Some((due, _)) = state.waiting.get_mut(&ticket) {
                (*due, any) = (now, true);
            }
        }
        any
    }

    /// What still waits is kept for the next start; nothing is watched any more.
    /// Writes down what still waits, and lets go of the files; once.
    pub(crate) fn close(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.waiting.values_mut().for_each(|(due, _)| *due = now);
        drop(state);
        self.turn();
        let mut files = self.files();
        let kept = self.state().late.len();
        if kept > 0 {
            let path = files.path().display();
            tracing::error!(kept, %path, "outcomes are not in the log; the next start appends them");
        }
        files.release();
        self.changed.notify_one();
    }

    /// Watches until the ledger is closed.
    fn run(&self) {
        let mut state = self.state();
        while !state.closed {
            state.asleep = false;
            let now = Instant::now();
            state = match state.due() {
                Some(due) if due <= now => {
                    drop(state);
                    self.turn();
                    self.state()
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(state, due.duration_since(now));
                    waited.map_or_else(|error| error.into_inner().0, |(state, _)| state)
                }
                None => {
                    state.asleep = true;
                    self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Writes what is late and not written, and takes the files away once nothing is late.
    fn turn(&self) {
        let mut files = self.files();
        self.look(&mut files);
        let mut state = self.state();
        state.move_late(Instant::now());
        self.count(&state);
        let missing = state.unwritten();
        drop(state);
        if !missing.is_empty() {
            self.write(&mut files, missing);
        }
        let mut state = self.state();
        self.count(&state);
        if state.late.is_empty() {
            state.look_at = None;
            drop(state);
            self.remove(&mut files);
        } else {
            state.look_at = Some(Instant::now() + LOOK_EVERY);
        }
    }

    /// Somebody may take the file away or change it: what is in memory still is written again, to
    /// another one.
    fn look(&self, files: &mut SpoolFiles) {
        if files.is_there() {
            return;
        }
        let path = files.path().display();
        tracing::error!(%path, "the spool was taken away or changed while in use; it is written again");
        files.lose();
        self.state().late.values_mut().for_each(|(_, written)| *written = false);
    }

    fn write(&self, files: &mut SpoolFiles, missing: Vec<(Ticket, Late)>) {
        let (mut frames, mut tickets) = (Vec::new(), Vec::with_capacity(missing.len()));
        for (ticket, late) in missing {
            let frame = late.frame(&self.key);
            if u64::try_from(frames.len() + frame.len()).is_ok_and(|bytes| bytes > files.room()) {
                break;
            }
            frames.extend_from_slice(&frame);
            tickets.push(ticket);
        }
        if tickets.is_empty() {
            tracing::error!(
                "the spool is as large as it may be; further outcomes are in memory only"
            );
            return;
        }
        match self.append(files, &frames) {
            Ok(()) => {
                let (late, path) = (tickets.len(), files.path().display());
                tracing::warn!(late, %path, "outcomes are not in the log yet; they are spooled");
                let mut state = self.state();
                for ticket in tickets {
                    if let Some((_, written)) = state.late.get_mut(&ticket) {
                        *written = true;
                    }
                }
            }
            Err(error) => {
                let late = tickets.len();
                tracing::error!(late, %error, "outcomes are neither in the log nor in the spool");
            }
        }
    }

    /// On a full disk the ledger's reserve pays: it is there for outcomes.
    fn append(&self, files: &mut SpoolFiles, frames: &[u8]) -> io::Result<()> {
        let written = files.append(frames);
        let Err(error) = written else { return Ok(()) };
        // Nothing is known of the end of that file; it is not written to again.
        files.leave();
        match &self.reserve {
            Some(reserve) if is_full(&error) => {
                self.shared.set_full(true);
                reserve.give_up()?;
                files.append(frames).inspect_err(|_| files.leave())
            }
            _ => Err(error),
        }
    }

    fn remove(&self, files: &mut SpoolFiles) {
        if files.is_empty() {
            return;
        }
        match files.remove() {
            Ok(()) => tracing::warn!("all late outcomes are in the log; the spool is removed"),
            // The next start finds that they are in the log.
            Err(error) => {
                tracing::warn!(%error, "the spool is not needed and could not be removed")
            }
        }
    }

    fn count(&self, state: &State) {
        let written = state.late.values().filter(|(_, written)| *written).count();
        self.shared.set_late(state.late.len(), written);
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The spool and the thread that watches it. When it is dropped, what is not in the log is kept, and
/// the files are let go of.
#[derive(Debug)]
pub(crate) struct Spooling {
    pub(crate) spool: Arc<Spool>,
    thread: Option<JoinHandle<()>>,
}

impl Spooling {
    pub(crate) fn start(spool: Spool) -> io::Result<Self> {
        let spool = Arc::new(spool);
        let watcher = Arc::clone(&spool);
        let thread = std::thread::Builder::new().name("ledger-spool".to_owned());
        let thread = Some(thread.spawn(move || watcher.run())?);
        Ok(Self { spool, thread })
    }
}

impl Drop for Spooling {
    fn drop(&mut self) {
        self.spool.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the watcher of the spool ended by a panic");
        }
    }
}
