//! The one writer: takes what waits, writes it in one commit, and only then answers.
//!
//! A lone caller never waits for a timer. While one commit is at the disk the next batch gathers in
//! the queue, so a lone record waits for its own sync only, and many share one. Others are let in for
//! a moment ([`batch`]) by outcomes that nobody waits for, so that a lone reader's outcome rides on
//! the commit of its next intent instead of standing in that intent's way; and by a batch that comes
//! after a large one, when there is company anyway.

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
use crate::entry::{CallFields, Kind, OutcomeStatus, RecordRef, ResultRef};
use crate::error::{InvalidEntry, Unavailable};
use crate::full;
use crate::head_file::{Head, HeadFile};
use crate::merkle::Frontier;
use crate::note::{Checkpoint, LogKey};
use crate::publish::NewHead;
use crate::queue::{Job, Payload, RecordJob, Shared};
use crate::receipt::Appended;
use crate::record::{Draft, Place, Stamp};
use crate::reserve::Reserve;
use crate::session_seq::Sessions;
use crate::spool::Spooling;
use crate::store::{LogRow, Mark, Row, Store, StoreError};
use crate::wal::Checkpointing;
pub(crate) use batch::{Batch, MAX_BATCH, refuse};
use batch::{LULL, gather, next_job};
pub(crate) use drain::{Closed, EarlierSpool, SpoolPlace};
pub(crate) use publishing::ANCHOR_EVERY;
use replicas::{Next, Undo};

mod batch;
mod cut;
mod drain;
mod publishing;
mod replicas;
mod rotate;

/// Commits between two ticks to the WAL checkpointer.
const COMMITS_PER_TICK: u32 = 32;

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
    /// What was numbered last in each session.
    pub(crate) sessions: Sessions,
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
    /// Where outcomes are kept that are late.
    pub(crate) spooling: Spooling,
    /// What earlier runs kept there and is not in the log.
    pub(crate) earlier: Vec<EarlierSpool>,
    pub(crate) spools: SpoolPlace,
    /// Of SQLite only.
    pub(crate) reserve: Option<Arc<Reserve>>,
    /// When it is tried to go on after the disk was full.
    pub(crate) room_at: Option<Instant>,
    pub(crate) commits: u32,
    pub(crate) marked_at: u64,
    /// Held as long as the ledger is open. Of SQLite only.
    pub(crate) lock: Option<File>,
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
        let mut taken = 0;
        loop {
            let due = [self.wake_at(), self.room_at].into_iter().flatten().min();
            let free = Instant::now();
            match next_job(jobs, due) {
                Ok(first) => {
                    let before = if free.elapsed() < LULL { taken } else { 0 };
                    let batch = gather(first, jobs, &self.shared, before);
                    taken = batch.taken;
                    if let Some(close) = self.process(batch) {
                        return Some(close);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => taken = 0,
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
            self.go_on_when_there_is_room();
            self.look_after_lease();
            self.publish_when_due();
        }
    }

    fn process(&mut self, mut batch: Batch) -> Option<oneshot::Sender<()>> {
        let close = batch.close.take();
        let cuts = std::mem::take(&mut batch.cuts);
        let rotate = batch.rotate.take();
        if !batch.is_empty() {
            let orphans = self.commit_and_answer(batch);
            if !orphans.is_empty() {
                self.close_as_unknown(orphans, "deadline");
            }
        }
        cuts.into_iter().for_each(|cut| self.carry_out(cut));
        rotate.into_iter().for_each(|rotate| self.rotate(rotate));
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
                self.keep_and_refuse(batch, &why);
                break;
            }
            let (before, mut placed) = (self.before(&batch), Vec::new());
            let error = match self.commit(&batch, &mut placed) {
                Ok(()) => return self.answer(batch, placed),
                Err(error) => error,
            };
            if self.found_no_room(&error) {
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
                // Whether it took effect is looked up with PostgreSQL; else the caller takes the batch back.
                if self.undo.is_some() {
                    self.keep(std::mem::take(placed));
                }
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
        let (log, seq) = (end.row.id, end.size);
        if let Some(tool) = &job.once
            && self.store.intends(log, job.payload.op(), tool)?
        {
            return Ok(Err(InvalidEntry::AlreadyBegun));
        }
        let session = job.draft.session().map(|key| self.sessions.next(log, *key, seq));
        let place = Place { log: &end.row.origin, seq, prev: &end.leaf, stamp, session };
        let record = job.draft.place(&place);
        let leaf = chain::leaf(&record);
        let pos = self.head.records + 1;
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
        Ok(Ok(Appended { log: end.row.origin.clone(), seq, leaf, session }))
    }

    fn after_commit(&mut self) {
        if let Err(error) = self.head_file.note(self.head) {
            self.shared.seal(format!("the head file cannot be written ({error})"));
        }
        self.undo = None;
        self.sessions.keep();
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
            let stored = Appended { log: String::new(), seq: 0, leaf: [0; 32], session: None };
            let _ = reply.send(Ok(stored)); // Durable whether or not anybody waits.
        }
        let mut orphans = Vec::new();
        self.spooling.spool.settled(batch.records.iter().filter_map(|job| job.ticket));
        for (job, placed) in batch.records.into_iter().zip(placed) {
            let seq = placed.as_ref().ok().map(|appended| appended.seq);
            if let (Payload::Closes { intent, .. }, None, Ok(_)) =
                (job.payload, job.ticket, &placed)
            {
                self.spooling.spool.forget(&job.tenant, intent);
            }
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

    /// Refuses a batch for good; its outcomes are spooled before anybody hears so.
    pub(crate) fn keep_and_refuse(&self, batch: Batch, why: &str) {
        self.spooling.spool.keep(batch.records.iter().filter_map(|job| job.ticket));
        refuse(batch, why);
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
            self.commit_and_answer(Batch::of(records));
            if self.shared.sealed().is_some() {
                break;
            }
            closed += count;
        }
        closed
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
        // Before the lease goes: who takes over reads what is spooled.
        self.spooling.spool.close();
        self.release();
        let Self { store, checkpointing, heads, publisher, head_file, lock, spooling, .. } = self;
        drop(spooling);
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

fn recover_job((tenant, op, seq): (String, Uuid, u64), why: &str) -> Option<RecordJob> {
    let status = OutcomeStatus::Unknown.as_str().to_owned();
    let res = Some(ResultRef { status, error: Some(why.to_owned()) });
    let fields = CallFields { res, ..CallFields::default() };
    let intent = RecordRef(seq);
    let draft = Draft::new(Kind::Recover, &tenant, op, Some(intent), &fields, false).ok()?;
    Some(RecordJob::new(tenant, draft, None, Payload::Closes { op, intent }))
}
