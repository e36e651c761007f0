//! Opening: tell absent, empty, whole, torn, forged and locked apart, verify the tail, close
//! orphans through the same append as everything else, start the writer.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::entry::Kind;
use crate::error::OpenError;
use crate::fault::{Fault, FaultKind};
use crate::head_file::{self, Head, HeadFile, Noted};
use crate::ledger::{LedgerOptions, OpenState, Opened};
use crate::note::LogKey;
use crate::publish::{Leaves, Publisher, Shown};
use crate::queue::{Queue, Shared};
use crate::record::{Record, is_name};
use crate::reserve::Reserve;
use crate::session_seq::Sessions;
use crate::spool::{Spool, Spooling};
use crate::store::{LogRow, Mark, SqliteStore, Store, beside};
use crate::wal::{Checkpointer, Checkpointing};
use crate::writer::{ANCHOR_EVERY, Closed, Identity, LogEnd, SpoolPlace, Writer};
use keys::Keys;

mod keys;
mod postgres;

/// Opens the ledger and starts its threads.
pub(crate) fn start(
    options: LedgerOptions,
) -> Result<(Queue, Arc<Shown>, Arc<LogKey>, Opened), OpenError> {
    check(&options)?;
    if let Some(postgres) = options.postgres.clone() {
        return postgres::start(&options, &postgres);
    }
    let lock = take_lock(&options.path)?;
    let found = look(&options.path)?;
    let key = crate::key_file::load(&options.signing_key, found.may_create_key())?;
    let store = SqliteStore::open(&options.path)?;
    let head = compare(&store, &found)?;
    let (key, keys) = keys::in_force(&options, key)?;
    let shared = Arc::new(Shared::default());
    let shown = Arc::new(Shown::of_ledger(&options.path, &options.deployment));
    let mut publisher = Publisher::open(
        Leaves::of_file(&options.path)?,
        &options.signing_key,
        &options.deployment,
        Arc::clone(&key),
        Arc::clone(&shown),
        Arc::clone(&shared),
    );
    let logs = open_logs(&store, &options, (&key, &keys), &mut publisher)?;
    publisher.nothing_signed_is_missing()?;
    let reserve = Arc::new(take_reserve(&options)?);
    logs.values().for_each(|end| shared.durable(&end.row.origin, end.size));
    let head_file = HeadFile::open(&beside(&options.path, ".head"), head).map_err(storage)?;
    shared.set_records(head.records);
    let identity = identify(&options, Arc::clone(&key), store.next_epoch()?)?;
    let spooling = start_spool(&options, &identity, &shared, Some(&reserve))?;
    let checkpointing = start_checkpointer(&options, &head_file, &reserve, &shared)?;
    let (heads, new_heads) = mpsc::sync_channel(1);
    let now = Instant::now();
    let mut writer = Writer {
        store: Store::Sqlite(store),
        identity,
        // At once what an earlier run did not come to: which heads were anchored is not known.
        publish_at: (!logs.is_empty()).then_some(now),
        logs,
        head,
        head_file,
        shared: Arc::clone(&shared),
        sessions: Sessions::default(),
        checkpointing: Some(checkpointing),
        undo: None,
        heads,
        publisher: spawn("ledger-publisher", move || publisher.run(&new_heads))?,
        publish_every: options.publish_every,
        anchor_at: now + ANCHOR_EVERY,
        spooling,
        earlier: Vec::new(),
        spools: SpoolPlace::new(&options.path, &keys),
        reserve: Some(reserve),
        room_at: None,
        commits: 0,
        marked_at: head.records,
        lock: Some(lock),
    };
    let closed =
        take_up(&mut writer, |writer| Ok(writer.close_orphans(orphans(&writer.logs), "crash")?))?;
    let opened = opened(found.state(), &writer, closed);
    Ok((serve(writer, &options)?, shown, key, opened))
}

/// Reads what earlier runs spooled, closes what they left open, and says where each outcome went.
fn take_up(
    writer: &mut Writer,
    close: impl FnOnce(&mut Writer) -> Result<Closed, OpenError>,
) -> Result<Closed, OpenError> {
    writer.read_earlier().map_err(storage)?;
    let closed = close(writer)?;
    writer.settle_earlier();
    writer.shared.sealed().map_or(Ok(closed), |why| Err(OpenError::Storage(why)))
}

fn opened(state: OpenState, writer: &Writer, closed: Closed) -> Opened {
    Opened {
        state,
        logs: writer.logs.len() as u64,
        records: writer.records(),
        orphans_closed: closed.unknown,
        outcomes_recovered: closed.outcomes,
    }
}

/// Lets the writer take what comes.
fn serve(writer: Writer, options: &LedgerOptions) -> Result<Queue, OpenError> {
    let (shared, spool) = (Arc::clone(&writer.shared), Arc::clone(&writer.spooling.spool));
    let (queue, jobs) = Queue::new(options.queue, options.deadline, shared, spool);
    spawn("ledger-writer", move || writer.run(&jobs))?;
    Ok(queue)
}

/// What stands at the path before anything is touched.
struct Found {
    database: bool,
    noted: Noted,
    empty: bool,
}

impl Found {
    const fn may_create_key(&self) -> bool {
        !self.database && matches!(self.noted, Noted::Absent)
    }

    const fn state(&self) -> OpenState {
        match (self.database, self.empty) {
            (false, _) => OpenState::Absent,
            (true, true) => OpenState::Empty,
            (true, false) => OpenState::Whole,
        }
    }
}

fn look(path: &Path) -> Result<Found, OpenError> {
    let database = path.try_exists().map_err(storage)?;
    let noted = head_file::read(&beside(path, ".head")).map_err(storage)?;
    let empty = !matches!(noted, Noted::Head(head) if head.records > 0);
    if !database && !empty {
        return Err(torn("the head file counts records, but the database is gone".to_owned()));
    }
    Ok(Found { database, noted, empty })
}

/// The database must hold at least what the head file says was acknowledged.
fn compare(store: &SqliteStore, found: &Found) -> Result<Head, OpenError> {
    let records = store.records()?;
    let leaf = store.leaf_at(records)?.unwrap_or(Head::EMPTY.leaf);
    match found.noted {
        Noted::Absent if records > 0 => {
            Err(torn(format!("the database has {records} records, but the head file is gone")))
        }
        Noted::Unreadable => Err(torn("the head file is damaged".to_owned())),
        Noted::Head(noted) if noted.records > records => Err(torn(format!(
            "{} records were acknowledged, the database has {records}",
            noted.records
        ))),
        Noted::Head(noted)
            if noted.records > 0 && store.leaf_at(noted.records)? != Some(noted.leaf) =>
        {
            Err(OpenError::Forged {
                fault: Fault {
                    log: "all".to_owned(),
                    seq: None,
                    kind: FaultKind::Rewritten,
                    why: format!("record number {} is not the one acknowledged", noted.records),
                },
            })
        }
        _ => Ok(Head { records, leaf }),
    }
}

fn open_logs(
    store: &SqliteStore,
    options: &LedgerOptions,
    (key, keys): (&LogKey, &Keys),
    publisher: &mut Publisher,
) -> Result<HashMap<String, LogEnd>, OpenError> {
    let mut logs = HashMap::new();
    for row in store.logs()? {
        let tenant = tenant_of(&row, &options.deployment)?;
        let keys = keys::of_log(&row, keys, key, &options.signing_key)?;
        let mark = store.mark(row.id)?;
        let known = (mark, store.pruned(row.id)?);
        let mut end = verify_tail(row, known, |log, from, each| store.each_from(log, from, each))?;
        (end.tree, end.announced) = publisher.take_up(&end.row, end.size, &keys)?;
        logs.insert(tenant, end);
    }
    Ok(logs)
}

fn tenant_of(row: &LogRow, deployment: &str) -> Result<String, OpenError> {
    chain::tenant_of(deployment, &row.origin).map(str::to_owned).ok_or_else(|| {
        OpenError::Options(format!(
            "log `{}` is not of deployment `{deployment}`; set the name that the ledger was created with",
            row.origin
        ))
    })
}

/// Verifies a log from the last point that a running ledger vouched for. Everything before is
/// the work of `portcullis-verify`: start-up must stay short. Of the first `pruned` records the bytes
/// may be gone.
fn verify_tail(
    row: LogRow,
    (mark, pruned): (Option<Mark>, u64),
    read: impl FnOnce(i64, u64, &mut Step<'_>) -> Result<(), OpenError>,
) -> Result<LogEnd, OpenError> {
    let from = mark.map_or(0, |mark| mark.low.min(mark.seq));
    let mut tail =
        Tail { origin: &row.origin, pruned, next: from, prev: None, open: BTreeMap::new() };
    if from == 0 {
        tail.prev = Some(row.genesis);
    }
    let mut vouched = mark.is_none();
    read(row.id, from, &mut |seq, leaf, bytes| {
        tail.step(seq, &leaf, bytes)?;
        vouched |= mark.is_some_and(|mark| mark.seq == seq && mark.leaf == leaf);
        Ok(())
    })?;
    if !vouched {
        return Err(tail.fault(
            tail.next,
            FaultKind::Deleted,
            "the last vouched record is not here",
        ));
    }
    let Tail { next: size, prev, open, .. } = tail;
    let leaf = prev.unwrap_or(row.genesis);
    // The publisher knows the tree.
    Ok(LogEnd { open, ..LogEnd::at(row, size, leaf) })
}

/// What is done with each record of a tail: place, leaf, bytes.
type Step<'a> = dyn FnMut(u64, Hash, &[u8]) -> Result<(), OpenError> + 'a;

struct Tail<'a> {
    origin: &'a str,
    /// Before this place a record may have no bytes any more.
    pruned: u64,
    next: u64,
    /// Unknown only before the first step of a tail that does not begin at zero.
    prev: Option<Hash>,
    open: BTreeMap<u64, Uuid>,
}

impl Tail<'_> {
    fn step(&mut self, seq: u64, leaf: &Hash, bytes: &[u8]) -> Result<(), OpenError> {
        if seq != self.next {
            return Err(self.fault(self.next, FaultKind::Deleted, "the record is not here"));
        }
        if bytes.is_empty() && seq < self.pruned {
            self.prev = Some(*leaf);
            self.next += 1;
            return Ok(());
        }
        if chain::leaf(bytes) != *leaf {
            return Err(self.fault(seq, FaultKind::Edited, "its bytes do not give its leaf hash"));
        }
        let record = Record::parse(bytes)
            .map_err(|error| self.fault(seq, FaultKind::NotCanonical, &error.to_string()))?;
        if record.log != self.origin || record.seq != seq {
            return Err(self.fault(seq, FaultKind::Foreign, "it names another place"));
        }
        if self.prev.is_some_and(|prev| prev != record.prev) {
            return Err(self.fault(seq, FaultKind::Rewritten, "`prev` is not the record before"));
        }
        match (record.kind, record.reference) {
            (Kind::Intent, _) => drop(self.open.insert(seq, record.op)),
            (Kind::Outcome | Kind::Recover, Some(intent)) => drop(self.open.remove(&intent)),
            _ => {}
        }
        self.prev = Some(*leaf);
        self.next += 1;
        Ok(())
    }

    fn fault(&self, seq: u64, kind: FaultKind, why: &str) -> OpenError {
        let (log, why) = (self.origin.to_owned(), why.to_owned());
        OpenError::Forged { fault: Fault { log, seq: Some(seq), kind, why } }
    }
}

fn take_reserve(options: &LedgerOptions) -> Result<Reserve, OpenError> {
    Reserve::take(&beside(&options.path, ".reserve"), options.reserve).map_err(|error| {
        let (bytes, path) = (options.reserve, options.path.display());
        OpenError::Storage(format!(
            "no room for the reserve of {bytes} bytes beside `{path}`: {error}"
        ))
    })
}

fn orphans(logs: &HashMap<String, LogEnd>) -> Vec<(String, Uuid, u64)> {
    let each = |(tenant, end): (&String, &LogEnd)| {
        let tenant = tenant.clone();
        end.open.iter().map(move |(seq, op)| (tenant.clone(), *op, *seq)).collect::<Vec<_>>()
    };
    logs.iter().flat_map(each).collect()
}

fn identify(options: &LedgerOptions, key: Arc<LogKey>, epoch: u64) -> Result<Identity, OpenError> {
    let mut boot = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut boot)
        .map_err(|_| OpenError::Storage(crate::NoRandomness.to_string()))?;
    Ok(Identity {
        deployment: options.deployment.clone(),
        replica: options.replica.clone(),
        key,
        boot: hex::encode(boot),
        epoch,
        started: Instant::now(),
    })
}

fn start_spool(
    options: &LedgerOptions,
    identity: &Identity,
    shared: &Arc<Shared>,
    reserve: Option<&Arc<Reserve>>,
) -> Result<Spooling, OpenError> {
    let spool = Spool::new(
        (&options.path, &identity.boot),
        (&options.deployment, Arc::clone(&identity.key)),
        options.deadline,
        Arc::clone(shared),
        reserve.cloned(),
    );
    Spooling::start(spool).map_err(storage)
}

fn start_checkpointer(
    options: &LedgerOptions,
    head_file: &HeadFile,
    reserve: &Arc<Reserve>,
    shared: &Arc<Shared>,
) -> Result<Checkpointing, OpenError> {
    let head_file = head_file.try_clone().map_err(storage)?;
    let place = (options.path.as_path(), options.journal);
    let checkpointer =
        Checkpointer::open(place, head_file, Arc::clone(reserve), Arc::clone(shared))?;
    let (ticks, received) = mpsc::sync_channel(1);
    let thread = spawn("ledger-wal", move || checkpointer.run(&received))?;
    Ok(Checkpointing { ticks, thread })
}

fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(storage)
}

/// A second process must not write: both would extend the same head.
fn take_lock(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    let lock = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(path, ".lock"))
        .map_err(storage)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(error) => Err(storage(error.into())),
    }
}

fn check(options: &LedgerOptions) -> Result<(), OpenError> {
    for (what, name) in [("deployment", &options.deployment), ("replica", &options.replica)] {
        if !is_name(name) {
            return Err(OpenError::Options(format!(
                "the {what} `{name}` is not a name of 1 to 64 letters, digits, `_`, `.` or `-`"
            )));
        }
    }
    if options.queue == 0 || options.deadline.is_zero() {
        return Err(OpenError::Options("queue and deadline must be above zero".to_owned()));
    }
    Ok(())
}

fn check_lease(postgres: &crate::ledger::Postgres) -> Result<(), OpenError> {
    if postgres.lease < std::time::Duration::from_millis(100) {
        return Err(OpenError::Options("the lease must be at least 100 ms".to_owned()));
    }
    Ok(())
}

fn torn(why: String) -> OpenError {
    OpenError::Torn { why }
}

fn storage(error: std::io::Error) -> OpenError {
    OpenError::Storage(error.to_string())
}
