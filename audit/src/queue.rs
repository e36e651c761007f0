//! The bounded way from callers to the writer thread, and the answers back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::entry::{Body, RecordRef, ToolRef};
use crate::error::Unavailable;
use crate::ledger::Status;
use crate::note::LogKey;
use crate::receipt::Appended;
use crate::record::Draft;
use crate::rotate::NotRotated;
use crate::spool::{Spool, Ticket};
use crate::store::Cut;

/// How far outcomes may exceed the bound: they belong to intents that were admitted, so overload
/// must hit new intents first.
const OUTCOME_ROOM: usize = 4;

/// Where the writer's answer to one record goes.
pub(crate) type Reply = oneshot::Sender<Result<Appended, Unavailable>>;

/// One thing for the writer to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Append a record.
    Record(RecordJob),
    /// Store a policy set.
    PolicySet { digest: [u8; 32], text: Vec<u8>, reply: Reply },
    /// Take away the bytes of pruned records.
    Cut(CutJob),
    /// Let another key take over.
    Rotate(RotateJob),
    /// Finish and stop.
    Close { reply: oneshot::Sender<()> },
}

/// Bytes to take away: of the records of a log from `from` up to the cut.
#[derive(Debug)]
pub(crate) struct CutJob {
    pub(crate) tenant: String,
    pub(crate) from: u64,
    pub(crate) cut: Cut,
    pub(crate) reply: oneshot::Sender<Result<(), Unavailable>>,
}

/// A key that takes over. With `fence` other replicas are not asked for: they find out.
#[derive(Debug)]
pub(crate) struct RotateJob {
    pub(crate) next: Arc<LogKey>,
    pub(crate) fence: bool,
    pub(crate) reply: oneshot::Sender<Result<Vec<Appended>, NotRotated>>,
}

impl From<RotateJob> for Job {
    fn from(job: RotateJob) -> Self {
        Self::Rotate(job)
    }
}

/// A record on its way to the writer.
#[derive(Debug)]
pub(crate) struct RecordJob {
    pub(crate) tenant: String,
    /// Shared with the spool, as the body is.
    pub(crate) draft: Arc<Draft>,
    pub(crate) body: Option<Arc<Body>>,
    pub(crate) payload: Payload,
    /// Of an outcome that is spooled when it is late.
    pub(crate) ticket: Option<Ticket>,
    /// Refused when the log has an intent of this operation for this tool already.
    pub(crate) once: Option<ToolRef>,
    pub(crate) reply: Option<Reply>,
}

/// What the writer must know about a record beyond its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload {
    /// Opens an operation. Dropped before it is written when its caller has gone.
    Intent { op: Uuid },
    /// Closes the intent at this place, which must be open and of this operation.
    Closes { op: Uuid, intent: RecordRef },
    /// Neither.
    Other { op: Uuid },
}

impl Payload {
    pub(crate) const fn op(&self) -> &Uuid {
        match self {
            Self::Intent { op } | Self::Closes { op, .. } | Self::Other { op } => op,
        }
    }
}

impl RecordJob {
    pub(crate) fn new(tenant: String, draft: Draft, body: Option<Body>, payload: Payload) -> Self {
        Self::shared(tenant, Arc::new(draft), body.map(Arc::new), payload)
    }

    /// The same of what is shared already.
    pub(crate) const fn shared(
        tenant: String,
        draft: Arc<Draft>,
        body: Option<Arc<Body>>,
        payload: Payload,
    ) -> Self {
        Self { tenant, draft, body, payload, ticket: None, once: None, reply: None }
    }

    pub(crate) fn once(mut self, tool: ToolRef) -> Self {
        self.once = Some(tool);
        self
    }

    pub(crate) fn answered_to(mut self, reply: Reply) -> Self {
        self.reply = Some(reply);
        self
    }

    pub(crate) fn is_abandoned_intent(&self) -> bool {
        let gone = self.reply.as_ref().is_some_and(Reply::is_closed);
        gone && matches!(self.payload, Payload::Intent { .. })
    }
}

impl From<RecordJob> for Job {
    fn from(job: RecordJob) -> Self {
        Self::Record(job)
    }
}

/// What the writer and the callers both see.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    depth: AtomicUsize,
    records: AtomicU64,
    /// Size of each log under the checkpoint that is shown.
    published: Mutex<BTreeMap<String, u64>>,
    /// Durable size of each log, noted when it is about to be published.
    durable: Mutex<BTreeMap<String, u64>>,
    /// The disk is full.
    full: AtomicBool,
    /// Why no new intents are taken for now, by the word of somebody who can take it back.
    suspended: Mutex<Option<String>>,
    /// Outcomes whose callers were told "not in time" and that are not on disk yet.
    stalled: AtomicU64,
    /// Outcomes that are late, whoever waits for them, and how many of them are in the spool.
    late: AtomicUsize,
    spooled: AtomicUsize,
    /// Outcomes of earlier runs that can't be appended any more.
    kept_aside: AtomicUsize,
    sealed: OnceLock<String>,
    /// The database cannot be reached: why. Unlike a seal this passes.
    away: Mutex<Option<String>>,
    is_away: AtomicBool,
    closing: AtomicBool,
}

impl Shared {
    /// Stops new intents until the process starts again. The first reason stays.
    pub(crate) fn seal(&self, why: String) {
        tracing::error!(why, "the ledger is sealed");
        let _ = self.sealed.set(why);
    }

    pub(crate) fn sealed(&self) -> Option<String> {
        self.sealed.get().cloned()
    }

    /// Refuses new intents until [`Self::back`].
    pub(crate) fn away(&self, why: String) {
        if let Ok(mut away) = self.away.lock() {
            if away.is_none() {
                tracing::error!(why, "the ledger waits for its database");
            }
            *away = Some(why);
        }
        self.is_away.store(true, Ordering::Release);
    }

    /// The database is there again.
    pub(crate) fn back(&self) {
        if self.is_away.swap(false, Ordering::AcqRel) {
            tracing::warn!("the ledger has its database again");
            if let Ok(mut away) = self.away.lock() {
                *away = None;
            }
        }
    }

    fn why_away(&self) -> Option<String> {
        let away = self.is_away.load(Ordering::Acquire);
        away.then(|| self.away.lock().ok().and_then(|away| away.clone()).unwrap_or_default())
    }

    /// Somebody waits for the end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Jobs that wait for the writer.
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    pub(crate) fn taken(&self, jobs: usize) {
        self.depth.fetch_sub(jobs, Ordering::Relaxed);
    }

    pub(crate) fn set_records(&self, records: u64) {
        self.records.store(records, Ordering::Relaxed);
    }

    /// The checkpoint that is shown covers so many records of a log.
    pub(crate) fn published(&self, origin: &str, size: u64) {
        if let Ok(mut published) = self.published.lock() {
            published.insert(origin.to_owned(), size);
        }
    }

    /// Records over all logs that a shown checkpoint covers.
    fn published_records(&self) -> u64 {
        self.published.lock().map_or(0, |published| published.values().sum())
    }

    /// Durable records of a log, whether or not a checkpoint covers them yet.
    pub(crate) fn durable(&self, origin: &str, size: u64) {
        if let Ok(mut durable) = self.durable.lock() {
            durable.insert(origin.to_owned(), size);
        }
    }

    /// Origin, durable size and shown size of each log.
    pub(crate) fn logs(&self) -> Vec<(String, u64, u64)> {
        let shown = self.published.lock().map(|sizes| sizes.clone()).unwrap_or_default();
        let durable = self.durable.lock().map(|sizes| sizes.clone()).unwrap_or_default();
        let each = durable.into_iter().map(|(origin, durable)| {
            let shown = shown.get(&origin).copied().unwrap_or(0);
            (origin, durable.max(shown), shown)
        });
        each.collect()
    }

    /// Stops new intents until [`Self::resume`]; the newest reason stays.
    pub(crate) fn suspend(&self, why: String) {
        *self.suspended.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Takes back [`Self::suspend`]; what is sealed stays so.
    pub(crate) fn resume(&self) {
        *self.suspended.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn suspended(&self) -> Option<String> {
        self.suspended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_full(&self, full: bool) {
        if full {
            tracing::error!("{}", crate::full::FULL);
        } else {
            tracing::warn!("there is room under the ledger again; it goes on");
        }
        self.full.store(full, Ordering::Release);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// An outcome is not on disk in time. Counted before its answer is closed, so that the
    /// writer, which sees the closed answer, never counts down first.
    fn outcome_late(&self) {
        self.stalled.fetch_add(1, Ordering::AcqRel);
    }

    /// A late outcome reached the disk after all.
    pub(crate) fn late_outcome_durable(&self) {
        let _ = self
            .stalled
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |late| late.checked_sub(1));
    }

    /// So many outcomes are late, and so many of them are in the spool.
    pub(crate) fn set_late(&self, late: usize, spooled: usize) {
        self.late.store(late, Ordering::Release);
        self.spooled.store(spooled, Ordering::Release);
    }

    /// So many spooled outcomes of earlier runs are kept for people to look at.
    pub(crate) fn kept_aside(&self, more: usize) {
        self.kept_aside.fetch_add(more, Ordering::AcqRel);
    }

    /// Why records may be missing.
    fn why_sealed(&self) -> Option<String> {
        self.sealed().or_else(|| self.why_away()).or_else(|| {
            let late = self.late.load(Ordering::Acquire);
            let stalled = self.stalled.load(Ordering::Acquire);
            (late > 0 || stalled > 0).then(|| {
                let spooled = self.spooled.load(Ordering::Acquire);
                format!(
                    "an outcome is not in the log yet; it is still being written ({late} are late, \
                     {spooled} of them are in the spool)"
                )
            })
        })
    }

    /// Why no new intent is taken.
    fn why_closed_to_intents(&self) -> Option<String> {
        let full = || self.is_full().then(|| crate::full::FULL.to_owned());
        self.why_sealed().or_else(full).or_else(|| self.suspended())
    }
}

/// The callers' end.
#[derive(Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    spool: Arc<Spool>,
    bound: usize,
    deadline: Duration,
}

impl Queue {
    pub(crate) fn new(
        bound: usize,
        deadline: Duration,
        shared: Arc<Shared>,
        spool: Arc<Spool>,
    ) -> (Self, mpsc::Receiver<Job>) {
        let (sender, receiver) = mpsc::channel();
        (Self { sender, shared, spool, bound, deadline }, receiver)
    }

    /// Refuses early, so that a sealed ledger costs its callers nothing.
    pub(crate) fn refuse_when_sealed(&self) -> Result<(), Unavailable> {
        match self.shared.why_closed_to_intents() {
            Some(why) => Err(Unavailable::Sealed(why)),
            None => Ok(()),
        }
    }

    /// Puts a job into the queue, or says why not; never waits.
    pub(crate) fn submit(&self, job: impl Into<Job>) -> Result<(), Unavailable> {
        let job = job.into();
        let is_outcome = matches!(&job, Job::Record(r) if is_outcome(r.payload));
        let ticket = if let Job::Record(record) = &job { record.ticket } else { None };
        let submitted = self.send(job, is_outcome);
        if let (Err(_), Some(ticket)) = (&submitted, ticket) {
            self.spool.keep_soon(ticket);
        }
        submitted
    }

    fn send(&self, job: Job, is_outcome: bool) -> Result<(), Unavailable> {
        let bound = if is_outcome { self.bound.saturating_mul(OUTCOME_ROOM) } else { self.bound };
        if self.shared.depth.fetch_add(1, Ordering::Relaxed) >= bound {
            self.shared.taken(1);
            if is_outcome {
                self.shared.seal("an outcome found no room in the queue".to_owned());
            }
            return Err(Unavailable::Full);
        }
        self.sender.send(job).map_err(|_| {
            self.shared.taken(1);
            Unavailable::Closed
        })
    }

    /// Waits for the writer's answer, at most the deadline.
    ///
    /// Closing before the last look decides the race with the writer: either the answer is here,
    /// or the writer's send fails and it knows that the caller has gone.
    pub(crate) async fn answer(
        &self,
        mut answer: oneshot::Receiver<Result<Appended, Unavailable>>,
        is_outcome: bool,
    ) -> Result<Appended, Unavailable> {
        match tokio::time::timeout(self.deadline, &mut answer).await {
            Ok(Ok(result)) => return result,
            Ok(Err(_)) => return Err(Unavailable::Closed),
            Err(_) if is_outcome => self.shared.outcome_late(),
            Err(_) => {}
        }
        answer.close();
        match answer.try_recv() {
            Ok(result) => {
                if is_outcome {
                    self.shared.late_outcome_durable();
                }
                result
            }
            Err(_) => Err(Unavailable::Deadline),
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            sealed: self.shared.why_closed_to_intents(),
            queue_depth: self.shared.depth.load(Ordering::Relaxed),
            records: self.shared.records.load(Ordering::Relaxed),
            published: self.shared.published_records(),
            spooled: self.shared.spooled.load(Ordering::Acquire),
            kept_aside: self.shared.kept_aside.load(Ordering::Acquire),
        }
    }

    pub(crate) async fn close(&self) -> Result<(), Unavailable> {
        let (reply, done) = oneshot::channel();
        self.shared.closing.store(true, Ordering::Release);
        self.shared.depth.fetch_add(1, Ordering::Relaxed);
        if self.sender.send(Job::Close { reply }).is_ok() {
            // An error means that the writer ended without an answer; `sealed` says why.
            let _ = done.await;
        }
        self.shared.why_sealed().map_or(Ok(()), |why| Err(Unavailable::Sealed(why)))
    }

    pub(crate) fn spool(&self) -> &Spool {
        &self.spool
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// True for a record that closes an intent.
pub(crate) const fn is_outcome(payload: Payload) -> bool {
    matches!(payload, Payload::Closes { .. })
}
