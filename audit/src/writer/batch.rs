//! What goes into one commit, and how long it is gathered.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::chain::Hash;
use crate::error::Unavailable;
use crate::queue::{CutJob, Job, RecordJob, Reply, RotateJob, Shared, is_outcome};

/// Most records in one commit: bounds how long the last of them waits.
pub(crate) const MAX_BATCH: usize = 256;

/// How long a batch that nobody waits for lets others join.
const COMPANY: Duration = Duration::from_millis(2);

/// Jobs of one batch that make a crowd: the next waits until as many are there, at most [`GATHERING`].
/// Every commit costs about as much as ten of its records, so that fewer and fuller ones leave more
/// time for calls; but where nobody else is on the way there is nothing to wait for.
const CROWD: usize = 8;

/// How long a crowd is waited for (what the system's timers add to it aside), and how often it is
/// looked for.
const GATHERING: Duration = Duration::from_micros(500);
const GLANCE: Duration = Duration::from_micros(250);

/// After so long without a job there is no crowd any more.
pub(super) const LULL: Duration = Duration::from_millis(2);

/// What one commit will hold.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<RecordJob>,
    pub(super) policy_sets: Vec<(Hash, Vec<u8>, Reply)>,
    pub(super) cuts: Vec<CutJob>,
    pub(super) rotate: Option<RotateJob>,
    pub(super) close: Option<oneshot::Sender<()>>,
    /// Somebody waits for this commit.
    awaited: bool,
    /// Jobs that it was made of.
    pub(super) taken: usize,
}

impl Batch {
    fn take(&mut self, job: Job) {
        self.taken += 1;
        self.awaited |= !matches!(&job, Job::Record(record) if record.reply.is_none());
        match job {
            // An intent whose caller has gone must not become durable and look live.
            Job::Record(job) if job.is_abandoned_intent() => {}
            Job::Record(job) => self.records.push(job),
            Job::PolicySet { digest, text, reply } => self.policy_sets.push((digest, text, reply)),
            Job::Cut(cut) => self.cuts.push(cut),
            Job::Rotate(rotate) => self.rotate = Some(rotate),
            Job::Close { reply } => self.close = Some(reply),
        }
    }

    pub(crate) fn of(records: Vec<RecordJob>) -> Self {
        Self { records, ..Self::default() }
    }

    /// Outcomes, which somebody was promised, and everything else.
    pub(crate) fn only_outcomes(self) -> (Self, Self) {
        let (outcomes, records) = self.records.into_iter().partition(|job| is_outcome(job.payload));
        let others = Self { records, policy_sets: self.policy_sets, ..Self::default() };
        (Self { records: outcomes, ..Self::default() }, others)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.policy_sets.is_empty()
    }
}

/// Takes what waits, up to [`MAX_BATCH`]; waits for more only while nobody waits for the batch, or in
/// a crowd, which shows by how many were taken `before`.
pub(super) fn gather(
    first: Job,
    jobs: &mpsc::Receiver<Job>,
    shared: &Shared,
    before: usize,
) -> Batch {
    if before >= CROWD && matches!(first, Job::Record(_)) {
        await_crowd(before, shared);
    }
    let until = Instant::now() + COMPANY;
    let mut batch = Batch::default();
    batch.take(first);
    while batch.taken < MAX_BATCH
        && batch.close.is_none()
        && batch.rotate.is_none()
        && let Some(job) = next(jobs, (!batch.awaited).then_some(until))
    {
        batch.take(job);
    }
    shared.taken(batch.taken);
    batch
}

/// Asleep and not at the queue: there each job that comes would wake this thread. Ends when a glance
/// finds nobody new.
fn await_crowd(as_many: usize, shared: &Shared) {
    let until = Instant::now() + GATHERING;
    let mut there = 0;
    while shared.depth() > there && shared.depth() < as_many.min(MAX_BATCH) && !shared.is_closing()
    {
        there = shared.depth();
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(left.min(GLANCE));
    }
}

/// The next job: one that is there already, or one that comes in time.
fn next(jobs: &mpsc::Receiver<Job>, until: Option<Instant>) -> Option<Job> {
    match (jobs.try_recv(), until) {
        (Err(mpsc::TryRecvError::Empty), Some(until)) => {
            jobs.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
        }
        (job, _) => job.ok(),
    }
}

/// The next job, or a timeout when it is time to publish.
pub(super) fn next_job(
    jobs: &mpsc::Receiver<Job>,
    until: Option<Instant>,
) -> Result<Job, mpsc::RecvTimeoutError> {
    match until {
        Some(until) => jobs.recv_timeout(until.saturating_duration_since(Instant::now())),
        None => jobs.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
    }
}

pub(crate) fn refuse(batch: Batch, why: &str) {
    let replies = batch.records.into_iter().filter_map(|job| job.reply);
    for reply in replies.chain(batch.policy_sets.into_iter().map(|(_, _, reply)| reply)) {
        let _ = reply.send(Err(Unavailable::Sealed(why.to_owned())));
    }
}
