//! The one writer: takes what waits, writes it in one commit, and only then answers.
//!
//! No caller ever waits for a timer. While one commit is at the disk the next batch gathers in the
//! queue, so a lone record waits for its own fsync only, and many share one. Only outcomes that
//! nobody waits for let others join them for a moment ([`COMPANY`]): a lone reader's outcome then
//! rides on the commit of its next intent instead of standing in that intent's way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::crash_point;
use crate::entry::{CallFields, DEPLOYMENT, Kind, OutcomeStatus, RecordRef, ResultRef, Retention};
use crate::error::{InvalidEntry, Unavailable};
use crate::full;
use crate::head_file::{Head, HeadFile};
use crate::merkle::Frontier;
use crate::note::{Checkpoint, LogKey};
use crate::publish::NewHead;
use crate::queue::{Job, Payload, RecordJob, Reply, Shared, is_outcome};
use crate::receipt::Appended;
use crate::record::{Draft, Place, Stamp};
use crate::reserve::Reserve;
use crate::store::{LogRow, Mark, Row, Store, StoreError};
use crate::wal::Checkpointing;
use replicas::{Next, Undo};

mod replicas;

/// Most records in one commit: bounds how long the last of them waits.
pub(crate) const MAX_BATCH: usize = 256;

/// How long a batch that nobody waits for lets others join.
const COMPANY: Duration = Duration::from_millis(2);

/// Commits between two ticks to the WAL checkpointer.
const COMMITS_PER_TICK: u32 = 32;

/// How soon a publisher that is still busy is offered the next heads.
const PUBLISH_AGAIN: Duration = Duration::from_millis(100);

/// How often the deployment's log notes the heads of the tenants' logs.
pub(crate) const ANCHOR_EVERY: Duration = Duration::from_secs(60);

/// Heads in one anchor record: about 220 bytes each.
const HEADS_PER_ANCHOR: usize = 200;

/// Records between two notes of how far the logs are verified.
const RECORDS_PER_MARK: u64 = 8192;

/// The end of one log, in memory.
#[derive(Debug)]
pub(crate) struct LogEnd {
    pub(crate) row: LogRow,
    /// Number of records.
    pub(crate) size: u64,
    /// Leaf hash of the last record, or the genesis.
    pub(crate) leaf: Hash,
    /// The tree over all of them.
    pub(crate) tree: Frontier,
    /// How many of them the publisher was told of.
    pub(crate) announced: u64,
    /// How many of them an anchor record vouches for.
    pub(crate) anchored: u64,
    /// Intents without an outcome, by place.
    pub(crate) open: BTreeMap<u64, Uuid>,
}

impl LogEnd {
    /// A log with `size` records, nothing of which is open or shown; its tree is still empty.
    pub(crate) fn at(row: LogRow, size: u64, leaf: Hash) -> Self {
        Self {
            row,
            size,
            leaf,
            tree: Frontier::default(),
            announced: 0,
            anchored: 0,
            open: BTreeMap::new(),
        }
    }

    fn head(&self) -> Checkpoint {
        Checkpoint { origin: self.row.origin.clone(), size: self.size, root: self.tree.root() }
    }

    fn mark(&self) -> Option<Mark> {
        let seq = self.size.checked_sub(1)?;
        let low = self.open.keys().next().copied().unwrap_or(self.size);
        Some(Mark { seq, leaf: self.leaf, low })
    }
}

/// Who writes, in whose name.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) deployment: String,
    pub(crate) replica: String,
    pub(crate) key: Arc<LogKey>,
    pub(crate) boot: String,
    pub(crate) epoch: u64,
    pub(crate) started: Instant,
}

/// Everything that the writer thread owns.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    /// By tenant.
    pub(crate) logs: HashMap<String, LogEnd>,
    /// Over all logs.
    pub(crate) head: Head,
    pub(crate) head_file: HeadFile,
    pub(crate) shared: Arc<Shared>,
    /// Of SQLite only.
    pub(crate) checkpointing: Option<Checkpointing>,
    /// With PostgreSQL: how to take a batch back that was not committed.
    pub(crate) undo: Option<Box<Undo>>,
    pub(crate) heads: mpsc::SyncSender<Vec<NewHead>>,
    pub(crate) publisher: JoinHandle<()>,
    /// When what was written since is to be published.
    pub(crate) publish_at: Option<Instant>,
    pub(crate) publish_every: Duration,
    pub(crate) anchor_at: Instant,
    /// Of SQLite only.
    pub(crate) reserve: Option<Reserve>,
    /// When it is tried to go on after the disk was full.
    pub(crate) room_at: Option<Instant>,
    pub(crate) commits: u32,
    pub(crate) marked_at: u64,
    /// Held as long as the ledger is open. Of SQLite only.
    pub(crate) lock: Option<File>,
}

/// What one commit will hold.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<RecordJob>,
    policy_sets: Vec<(Hash, Vec<u8>, Reply)>,
    close: Option<oneshot::Sender<()>>,
    /// Somebody waits for this commit.
    awaited: bool,
}

impl Batch {
    fn take(&mut self, job: Job) {
        self.awaited |= !matches!(&job, Job::Record(record) if record.reply.is_none());
        match job {
            // An intent whose caller has gone must not become durable and look live.
            Job::Record(job) if job.is_abandoned_intent() => {}
            Job::Record(job) => self.records.push(job),
            Job::PolicySet { digest, text, reply } => self.policy_sets.push((digest, text, reply)),
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

/// What became of one record of a batch.
pub(crate) type Placed = Result<Appended, InvalidEntry>;

/// An intent that somebody else must close: tenant, operation, place.
pub(crate) type Orphan = (String, Uuid, u64);

impl Writer {
    /// Serves the queue until it is told to close or every handle is gone.
    pub(crate) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        let close = self.serve(jobs);
        self.finish();
        if let Some(close) = close {
            // Nobody waits when the closing task was itself dropped.
            let _ = close.send(());
        }
    }

    fn serve(&mut self, jobs: &mpsc::Receiver<Job>) -> Option<oneshot::Sender<()>> {
        loop {
            let due = [self.wake_at(), self.room_at].into_iter().flatten().min();
            match next_job(jobs, due) {
                Ok(first) => {
                    let batch = gather(first, jobs, &self.shared);
                    if let Some(close) = self.process(batch) {
                        return Some(close);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
            self.go_on_when_there_is_room();
            self.look_after_lease();
            self.publish_when_due();
        }
    }

    fn process(&mut self, mut batch: Batch) -> Option<oneshot::Sender<()>> {
        let close = batch.close.take();
        if !batch.is_empty() {
            let orphans = self.commit_and_answer(batch);
            if !orphans.is_empty() {
                self.close_as_unknown(orphans, "deadline");
            }
        }
        close
    }

    /// Returns the intents whose callers went away while they were being written.
    pub(crate) fn commit_and_answer(&mut self, mut batch: Batch) -> Vec<Orphan> {
        if self.shared.is_full() {
            let (outcomes, others) = batch.only_outcomes();
            refuse(others, full::FULL);
            batch = outcomes;
        }
        let mut tries = 0;
        while !batch.is_empty() {
            if let Some(why) = self.shared.sealed() {
                refuse(batch, &why);
                break;
            }
            let (before, mut placed) = (self.before(&batch), Vec::new());
            let error = match self.commit(&batch, &mut placed) {
                Ok(()) => return self.answer(batch, placed),
                Err(error) => error,
            };
            if full::is_full(&error) {
                self.store.rollback();
                return self.disk_full(before, batch, &placed);
            }
            match self.after_failure(error, &mut batch, &mut tries) {
                Next::Again => {}
                Next::Committed(placed) => return self.answer(batch, placed),
                // Whether the commit is on disk is unknown, and asking the same connection again
                // proves nothing: only a restart that re-reads the records may go on.
                Next::Seal(why) => self.shared.seal(why),
            }
        }
        Vec::new()
    }

    pub(crate) fn commit(
        &mut self,
        batch: &Batch,
        placed: &mut Vec<Placed>,
    ) -> Result<(), StoreError> {
        crash_point!("ledger_before_write");
        self.store.begin()?;
        self.lock_heads(batch)?;
        for (digest, text, _) in &batch.policy_sets {
            self.store.insert_policy_set(digest, text)?;
        }
        let stamp = self.stamp();
        placed.reserve(batch.records.len());
        for job in &batch.records {
            placed.push(self.write(job, &stamp)?);
        }
        if self.head.records >= self.marked_at + RECORDS_PER_MARK {
            self.mark()?;
        }
        crash_point!("ledger_after_write_before_commit");
        match self.store.commit() {
            Ok(None) => {}
            Ok(Some(head)) => self.head = head,
            Err(error) => {
                self.keep(std::mem::take(placed));
                return Err(error);
            }
        }
        crash_point!("ledger_after_commit_before_reply");
        self.after_commit();
        Ok(())
    }

    fn write(&mut self, job: &RecordJob, stamp: &Stamp) -> Result<Placed, StoreError> {
        let next_id = self.logs.len() + 1;
        let end = match self.logs.entry(job.tenant.clone()) {
            Entry::Occupied(end) => end.into_mut(),
            Entry::Vacant(slot) => {
                slot.insert(new_log(&mut self.store, &self.identity, next_id, &job.tenant)?)
            }
        };
        if let Payload::Closes { op, intent } = job.payload
            && end.open.get(&intent.0) != Some(&op)
        {
            tracing::error!(%op, seq = intent.0, "an outcome names an intent that is not open");
            return Ok(Err(InvalidEntry::NoSuchIntent));
        }
        let place = Place { log: &end.row.origin, seq: end.size, prev: &end.leaf, stamp };
        let record = job.draft.place(&place);
        let leaf = chain::leaf(&record);
        let pos = self.head.records + 1;
        let (log, seq) = (end.row.id, end.size);
        let op = job.payload.op().as_bytes();
        self.store.insert(&Row {
            pos,
            log,
            seq,
            op,
            prev: &end.leaf,
            leaf: &leaf,
            record: &record,
        })?;
        if let Some(body) = &job.body {
            self.store.insert_body((pos, log, seq), &body.0)?;
        }
        if let Some(undo) = &mut self.undo {
            undo.wrote(log, seq, &leaf, job.payload);
        }
        match job.payload {
            Payload::Intent { op } => drop(end.open.insert(seq, op)),
            Payload::Closes { intent, .. } => drop(end.open.remove(&intent.0)),
            Payload::Other { .. } => {}
        }
        end.size += 1;
        end.leaf = leaf;
        // With replicas the tree may lag behind; it catches up when it is asked for.
        if end.tree.size() == seq {
            end.tree.push(leaf);
        }
        self.head = Head { records: pos, leaf };
        Ok(Ok(Appended { log: end.row.origin.clone(), seq, leaf }))
    }

    fn after_commit(&mut self) {
        if let Err(error) = self.head_file.note(self.head) {
            self.shared.seal(format!("the head file cannot be written ({error})"));
        }
        self.undo = None;
        self.shared.back();
        self.shared.set_records(self.records());
        self.publish_at.get_or_insert_with(|| Instant::now() + self.publish_every);
        self.commits = self.commits.wrapping_add(1);
        if self.commits.is_multiple_of(COMMITS_PER_TICK) {
            self.checkpointing.iter().for_each(Checkpointing::tick);
        }
    }

    pub(crate) fn answer(&self, batch: Batch, placed: Vec<Placed>) -> Vec<Orphan> {
        for (_, _, reply) in batch.policy_sets {
            let stored = Appended { log: String::new(), seq: 0, leaf: [0; 32] };
            let _ = reply.send(Ok(stored)); // Durable whether or not anybody waits.
        }
        let mut orphans = Vec::new();
        for (job, placed) in batch.records.into_iter().zip(placed) {
            let seq = placed.as_ref().ok().map(|appended| appended.seq);
            let Some(reply) = job.reply else { continue };
            if reply.send(placed.map_err(Unavailable::Invalid)).is_ok() {
                continue;
            }
            match (job.payload, seq) {
                (Payload::Intent { op }, Some(seq)) => orphans.push((job.tenant, op, seq)),
                (Payload::Closes { .. }, _) => self.shared.late_outcome_durable(),
                _ => {}
            }
        }
        orphans
    }

    /// Closes intents that nobody else can close, through the same append as everything else.
    /// Returns how many were closed.
    pub(crate) fn close_as_unknown(&mut self, orphans: Vec<Orphan>, why: &str) -> u64 {
        let mut closed = 0;
        let mut rest = orphans.into_iter().peekable();
        while rest.peek().is_some() {
            let jobs = rest.by_ref().take(MAX_BATCH);
            let records: Vec<_> = jobs.filter_map(|orphan| recover_job(orphan, why)).collect();
            let count = records.len() as u64;
            self.commit_and_answer(Batch { records, ..Batch::default() });
            if self.shared.sealed().is_some() {
                break;
            }
            closed += count;
        }
        closed
    }

    fn publish_when_due(&mut self) {
        let now = Instant::now();
        if self.publish_at.is_none_or(|due| due > now) || self.shared.sealed().is_some() {
            return;
        }
        if !self.may_publish() {
            self.publish_at = None;
            return;
        }
        // A log that the deployment's knows nothing of could be left out unnoticed.
        let is_new = |(tenant, end): (&String, &LogEnd)| {
            tenant != DEPLOYMENT && end.anchored == 0 && end.size > 0
        };
        if self.anchor_at <= now || self.logs.iter().any(is_new) {
            self.anchor();
            self.anchor_at = now + ANCHOR_EVERY;
        }
        let new = self.new_heads();
        new.iter().for_each(|new| self.shared.durable(&new.head.origin, new.head.size));
        let told: Vec<(i64, u64)> = new.iter().map(|new| (new.log, new.head.size)).collect();
        self.publish_at = match self.heads.try_send(new) {
            Ok(()) => None,
            // It is still busy, and later heads say all that these do.
            Err(mpsc::TrySendError::Full(_)) => Some(now + PUBLISH_AGAIN),
            Err(mpsc::TrySendError::Disconnected(_)) => {
                self.shared.seal("the publisher has ended".to_owned());
                None
            }
        };
        if self.publish_at.is_none() {
            self.announced(&told);
        }
    }

    /// Heads of the logs that have grown.
    fn new_heads(&self) -> Vec<NewHead> {
        let grown = self.logs.values().filter(|end| end.announced < end.size);
        let grown = grown.filter(|end| end.tree.size() == end.size);
        grown.map(|end| NewHead { log: end.row.id, head: end.head() }).collect()
    }

    /// Notes the heads of the tenants' logs in the deployment's own, so that none can be left out
    /// or told differently to somebody else later.
    fn anchor(&mut self) {
        let tenants = self.logs.iter().filter(|(tenant, _)| *tenant != DEPLOYMENT);
        let grown = tenants.filter(|(_, end)| end.anchored < end.size);
        let grown = grown.filter(|(_, end)| end.tree.size() == end.size);
        let heads: Vec<(String, Checkpoint)> =
            grown.map(|(tenant, end)| (tenant.clone(), end.head())).collect();
        for heads in heads.chunks(HEADS_PER_ANCHOR) {
            let noted: Vec<Checkpoint> = heads.iter().map(|(_, head)| head.clone()).collect();
            let Some(record) = anchor_job(&noted) else { continue };
            let (reply, mut answer) = oneshot::channel();
            self.commit_and_answer(Batch::of(vec![record.answered_to(reply)]));
            // Refused on a full disk or a sealed ledger: then they wait for the next time.
            if !matches!(answer.try_recv(), Ok(Ok(_))) {
                return;
            }
            for (tenant, head) in heads {
                if let Some(end) = self.logs.get_mut(tenant) {
                    end.anchored = head.size;
                }
            }
        }
    }

    fn stamp(&self) -> Stamp {
        let who = &self.identity;
        Stamp {
            ts: format!("{:.6}", jiff::Timestamp::now()),
            boot: who.boot.clone(),
            ns: u64::try_from(who.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            replica: who.replica.clone(),
            epoch: who.epoch,
        }
    }

    fn mark(&mut self) -> Result<(), StoreError> {
        for end in self.logs.values() {
            if let Some(mark) = end.mark() {
                self.store.set_mark(end.row.id, &mark)?;
            }
        }
        self.marked_at = self.head.records;
        Ok(())
    }

    /// Notes how far the logs are verified, moves the WAL into the database, lets go of the file.
    fn finish(mut self) {
        if self.shared.sealed().is_none() && self.may_publish() {
            self.anchor();
            // Waits for the publisher: what is acknowledged is to be under a shown head.
            let _ = self.heads.send(self.new_heads());
        }
        // Asked again: what is in memory after a failed commit is not what is on disk.
        if self.shared.sealed().is_none() {
            let marked = self.store.begin().and_then(|()| self.mark());
            if let Err(error) = marked.and_then(|()| self.store.commit().map(drop)) {
                self.shared.seal(format!("the last commit failed ({error})"));
            }
        }
        self.release();
        let Self { store, checkpointing, heads, publisher, head_file, lock, .. } = self;
        drop(store);
        drop(heads);
        if publisher.join().is_err() {
            tracing::error!("the publisher ended by a panic");
        }
        checkpointing.into_iter().for_each(Checkpointing::end);
        if let Err(error) = head_file.sync() {
            tracing::error!(%error, "the head file could not be synced");
        }
        drop(lock);
    }
}

fn new_log(
    store: &mut Store,
    identity: &Identity,
    id: usize,
    tenant: &str,
) -> Result<LogEnd, StoreError> {
    let row = new_row(identity, id, tenant);
    store.insert_log(&row)?;
    let leaf = row.genesis;
    Ok(LogEnd::at(row, 0, leaf))
}

/// A log as it begins.
fn new_row(identity: &Identity, id: usize, tenant: &str) -> LogRow {
    let origin = chain::origin(&identity.deployment, tenant);
    let vkey = identity.key.vkey(&origin);
    let genesis = chain::genesis(&origin, &vkey);
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    LogRow { id, origin, vkey, genesis }
}

/// Takes what waits, up to [`MAX_BATCH`]; waits for more only while nobody waits for the batch.
fn gather(first: Job, jobs: &mpsc::Receiver<Job>, shared: &Shared) -> Batch {
    let until = Instant::now() + COMPANY;
    let mut batch = Batch::default();
    let mut taken = 1;
    batch.take(first);
    while taken < MAX_BATCH
        && batch.close.is_none()
        && let Some(job) = next(jobs, (!batch.awaited).then_some(until))
    {
        batch.take(job);
        taken += 1;
    }
    shared.taken(taken);
    batch
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
fn next_job(
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

fn recover_job((tenant, op, seq): (String, Uuid, u64), why: &str) -> Option<RecordJob> {
    let status = OutcomeStatus::Unknown.as_str().to_owned();
    let res = Some(ResultRef { status, error: Some(why.to_owned()) });
    let fields = CallFields { res, ..CallFields::default() };
    let intent = RecordRef(seq);
    let draft = Draft::new(Kind::Recover, &tenant, op, Some(intent), &fields, false).ok()?;
    Some(RecordJob::new(tenant, draft, None, Payload::Closes { op, intent }))
}

fn anchor_job(heads: &[Checkpoint]) -> Option<RecordJob> {
    let op = Uuid::now_v7();
    let fields =
        CallFields { heads: heads.to_vec(), ret: Some(Retention::Hold), ..CallFields::default() };
    let draft = Draft::new(Kind::Anchor, DEPLOYMENT, op, None, &fields, false).ok()?;
    Some(RecordJob::new(DEPLOYMENT.to_owned(), draft, None, Payload::Other { op }))
}
