//! The ledger as its callers see it: hand in a record, get back proof that it is durable.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::entry::{Entry, Intent, Kind, OutcomeRecord};
use crate::error::{InvalidEntry, OpenError, Unavailable};
use crate::note::LogKey;
use crate::promise::Promise;
use crate::publish::Shown;
use crate::queue::{CutJob, Job, Payload, Queue, RecordJob, is_outcome};
use crate::receipt::{Appended, IntentReceipt};
use crate::record::Draft;
use crate::store::Cut;
use crate::store::postgres::Transport;

/// Where the ledger is and how patient it is.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The SQLite file; `-wal`, `-shm`, `.lock` and `.head` files stand beside it. With
    /// PostgreSQL there is no such file, and only `.head` and `.published` stand beside this name.
    /// With both, `.spool-*` files stand there as long as an outcome is late.
    pub path: PathBuf,
    /// PostgreSQL in place of the SQLite file.
    pub postgres: Option<Postgres>,
    /// First part of every log's origin: 1 to 64 characters of `[a-z0-9.-]`.
    pub deployment: String,
    /// Ed25519 seed file, 32 bytes, mode 0600; created when it and the ledger are both absent.
    pub signing_key: PathBuf,
    /// Name of this process among the replicas (`w.replica`).
    pub replica: String,
    /// Records that may wait for the writer before callers hear [`Unavailable::Full`].
    pub queue: usize,
    /// How long a caller waits for durability before it hears [`Unavailable::Deadline`].
    pub deadline: Duration,
    /// Bytes that are kept on the disk for the outcomes of admitted calls, should it become full.
    pub reserve: u64,
    /// Bytes of SQLite's journal (`-wal`) above which it is written over from its beginning; it is cut where
    /// it grew beyond four times as many. It is looked at every 32 commits.
    pub journal: u64,
    /// How soon a record is under a signed checkpoint that is shown.
    pub publish_every: Duration,
}

/// A PostgreSQL database that any number of replicas share. All have the same key file and
/// deployment; each has a replica name of its own, because the newest process of a name takes over
/// from the one before, which is refused from then on.
#[derive(Clone)]
pub struct Postgres {
    url: String,
    /// How long a replica may stand still before another one takes over its open intents and
    /// refuses it.
    pub(crate) lease: Duration,
}

impl Postgres {
    /// The database at `postgres://user:password@host/database`, with a lease of 10 s.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), lease: Duration::from_secs(10) }
    }

    /// The same with another lease.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// How what is said to it is protected on its way; `None` when this is no address of a
    /// PostgreSQL.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        crate::store::postgres::transport(&self.url)
    }

    /// The first parameter of the address that the driver does not know and would leave out; `?` for one
    /// that can't be a name.
    #[must_use]
    pub fn unknown_parameter(&self) -> Option<&str> {
        crate::store::postgres::unknown_parameter(&self.url)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Without the address: it may hold a password.
impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl LedgerOptions {
    /// Options with the default bounds: 4,096 waiting records, 2 s, a checkpoint a second.
    #[must_use]
    pub fn new(path: PathBuf, deployment: &str, signing_key: PathBuf) -> Self {
        Self {
            path,
            postgres: None,
            deployment: deployment.to_owned(),
            signing_key,
            replica: "0".to_owned(),
            queue: 4096,
            deadline: Duration::from_secs(2),
            reserve: 16 * 1024 * 1024,
            journal: 32 * 1024 * 1024,
            publish_every: Duration::from_secs(1),
        }
    }
}

/// What was found at the path (never confused: style.md A8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenState {
    /// There was nothing; a new ledger was created.
    Absent,
    /// There was a ledger without a single record.
    Empty,
    /// There was a ledger, and its tail verified.
    Whole,
}

/// What opening found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What was at the path.
    pub state: OpenState,
    /// Number of logs.
    pub logs: u64,
    /// Number of records over all logs, those of the recovery included.
    pub records: u64,
    /// Intents that had no outcome and were closed as unknown.
    pub orphans_closed: u64,
    /// Outcomes that an earlier run spooled, and that are in the log now.
    pub outcomes_recovered: u64,
}

/// How the ledger is, for readiness and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Why no new intents are taken, when that is so.
    pub sealed: Option<String>,
    /// Records that wait for the writer now.
    pub queue_depth: usize,
    /// Durable records over all logs.
    pub records: u64,
    /// Of these, the records under a checkpoint that this process signed and shows; the rest
    /// follows within about a second. With PostgreSQL one replica does so for all.
    pub published: u64,
    /// Outcomes that are in the spool because they are not in the log yet.
    pub spooled: usize,
    /// Spooled outcomes of earlier runs that this one found and could not append: their intents were
    /// closed as unknown by then, or they are not what they say. They are kept beside the ledger in
    /// files that end in `.aside`.
    pub kept_aside: usize,
}

/// How far a log is: what is on disk, and what a checkpoint vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// Name of the log.
    pub origin: String,
    /// Durable records, as of the last time that heads were published: at most
    /// [`LedgerOptions::publish_every`] old.
    pub durable: u64,
    /// Of these, the records under the checkpoint that is shown.
    pub shown: u64,
    /// Where its checkpoint and its tiles are.
    pub folder: PathBuf,
}

/// A handle to the one writer. Clones share it.
#[derive(Clone, Debug)]
pub struct Ledger {
    queue: Arc<Queue>,
    shown: Arc<Shown>,
    key: Arc<LogKey>,
}

impl Ledger {
    /// Opens or creates the ledger: verifies the tail, closes orphan intents as unknown through
    /// the same append as everything else, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError`]; locked, torn, forged, key and storage are different answers.
    pub fn open(options: LedgerOptions) -> Result<(Self, Opened), OpenError> {
        let (queue, shown, key, opened) = crate::recover::start(options)?;
        Ok((Self { queue: Arc::new(queue), shown, key }, opened))
    }

    /// Makes an intent durable. When this returns a receipt, the record is committed and fsynced.
    ///
    /// # Errors
    /// [`Unavailable`]; the caller must not act. An intent refused by deadline is never left open.
    pub async fn intent(&self, intent: Intent) -> Result<IntentReceipt, Unavailable> {
        self.begin(intent, false).await
    }

    /// [`Self::intent`] of what may be done once: refused when the log has an intent of this
    /// operation for this tool already, looked at in the commit that would add the second one.
    ///
    /// # Errors
    /// As [`Self::intent`], and [`InvalidEntry::AlreadyBegun`].
    pub async fn intent_once(&self, intent: Intent) -> Result<IntentReceipt, Unavailable> {
        self.begin(intent, true).await
    }

    async fn begin(&self, intent: Intent, once: bool) -> Result<IntentReceipt, Unavailable> {
        self.queue.refuse_when_sealed()?;
        let Intent { tenant, op, call_digest, fields, body } = intent;
        let draft = Draft::new(Kind::Intent, &tenant, op, None, &fields, body.is_some())?;
        let mut job = RecordJob::new(tenant, draft, body, Payload::Intent { op });
        if once {
            job = job.once(fields.tool.unwrap_or_default());
        }
        let tenant = job.tenant.clone();
        let record = self.wait(job).await?;
        self.queue.spool().expect(&tenant, record.seq, op, record.leaf);
        Ok(IntentReceipt::mint(op, call_digest, record))
    }

    /// Makes an outcome durable.
    ///
    /// # Errors
    /// [`Unavailable`]; then the deed may be done and its record is missing, and the ledger is
    /// sealed: no new intent is taken until that outcome is on disk. Meanwhile it is kept in the
    /// spool beside the ledger, from where the next start appends it if this process ends before.
    pub async fn outcome(&self, outcome: OutcomeRecord) -> Result<Appended, Unavailable> {
        self.wait(self.watched(outcome_job(outcome)?)).await
    }

    /// Queues an outcome for the next commit without waiting for it. One that is late is spooled as
    /// any other is.
    ///
    /// # Errors
    /// [`Unavailable`]; the ledger is then sealed.
    pub fn outcome_queued(&self, outcome: OutcomeRecord) -> Result<(), Unavailable> {
        self.queue.submit(self.watched(outcome_job(outcome)?))
    }

    fn watched(&self, job: RecordJob) -> RecordJob {
        let ticket = self.queue.spool().watch(&job);
        RecordJob { ticket, ..job }
    }

    /// Makes any other record durable: refusals, administration, secret use. A `Recover` record
    /// with a reference closes that intent, which must be open and of the same operation.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn append(&self, entry: Entry) -> Result<Appended, Unavailable> {
        let own_verb = [Kind::Intent, Kind::Outcome, Kind::Anchor, Kind::Prune, Kind::Key];
        if own_verb.contains(&entry.kind) {
            return Err(InvalidEntry::WrongVerb(entry.kind.as_str()).into());
        }
        self.put(entry).await
    }

    /// [`Self::append`] of any kind.
    pub(crate) async fn put(&self, entry: Entry) -> Result<Appended, Unavailable> {
        let Entry { tenant, kind, op, reference, fields, body } = entry;
        let draft = Draft::new(kind, &tenant, op, reference, &fields, body.is_some())?;
        let payload = match reference {
            Some(intent) if kind == Kind::Recover => Payload::Closes { op, intent },
            _ => Payload::Other { op },
        };
        self.wait(RecordJob::new(tenant, draft, body, payload)).await
    }

    /// Stores the text of a policy set under its digest, durably. Storing it again changes nothing.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn store_policy_set(
        &self,
        digest: [u8; 32],
        text: Vec<u8>,
    ) -> Result<(), Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.queue.submit(Job::PolicySet { digest, text, reply })?;
        self.queue.answer(answer, false).await.map(|_| ())
    }

    /// Takes away the bytes that a prune record in the log gives up, however long it takes.
    pub(crate) async fn cut(&self, tenant: String, from: u64, cut: Cut) -> Result<(), Unavailable> {
        let (reply, done) = oneshot::channel();
        self.queue.submit(Job::Cut(CutJob { tenant, from, cut, reply }))?;
        done.await.unwrap_or(Err(Unavailable::Closed))
    }

    /// A signed promise that a durable record is where it is, for a caller who wants to hold the
    /// ledger to it.
    #[must_use]
    pub fn promise(&self, record: &Appended) -> String {
        let Appended { log, seq, leaf, session } = record.clone();
        Promise { origin: log, seq, leaf, session }.sign(&self.key)
    }

    /// How the ledger is now; never blocks.
    #[must_use]
    pub fn status(&self) -> Status {
        self.queue.status()
    }

    /// How far each log is; never blocks.
    #[must_use]
    pub fn logs(&self) -> Vec<LogStatus> {
        let logs = self.queue.shared().logs().into_iter();
        let each = logs.map(|(origin, durable, shown)| {
            let folder = self.shown.folder_of(&origin);
            LogStatus { origin, durable, shown, folder }
        });
        each.collect()
    }

    /// Adds the cosignatures of witnesses to the checkpoint that is shown, if `text` is still what
    /// it says; false when a newer head is shown. The caller has checked the signatures. Waits for
    /// the disk.
    ///
    /// # Errors
    /// When the checkpoint can't be read or written, or would be no note any more.
    pub fn add_cosignatures(&self, origin: &str, text: &str, lines: &str) -> io::Result<bool> {
        self.shown.add(origin, text, lines)
    }

    /// Takes no new intents until [`Self::resume`]: callers hear [`Unavailable::Sealed`] with this
    /// reason. Outcomes and all other records are still taken. Calling it again changes the reason.
    pub fn suspend(&self, why: String) {
        self.queue.shared().suspend(why);
    }

    /// Ends what [`Self::suspend`] began. A ledger that sealed itself stays sealed.
    pub fn resume(&self) {
        self.queue.shared().resume();
    }

    /// Writes what is queued, moves the WAL into the database, and stops the writer. Other clones
    /// hear [`Unavailable::Closed`] afterwards.
    ///
    /// # Errors
    /// [`Unavailable::Sealed`] when the ledger was sealed, so that not everything is on disk.
    pub async fn close(self) -> Result<(), Unavailable> {
        self.queue.close().await
    }

    /// Hands a job to the writer; never waits.
    pub(crate) fn submit(&self, job: impl Into<Job>) -> Result<(), Unavailable> {
        self.queue.submit(job)
    }

    async fn wait(&self, job: RecordJob) -> Result<Appended, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let is_outcome = is_outcome(job.payload);
        self.queue.submit(job.answered_to(reply))?;
        self.queue.answer(answer, is_outcome).await
    }
}

fn outcome_job(outcome: OutcomeRecord) -> Result<RecordJob, Unavailable> {
    let OutcomeRecord { tenant, op, reference, status, error_class, out, mut fields, body } =
        outcome;
    fields.res =
        Some(crate::entry::ResultRef { status: status.as_str().to_owned(), error: error_class });
    if out.is_some() {
        fields.output = out;
    }
    let draft = Draft::new(Kind::Outcome, &tenant, op, Some(reference), &fields, body.is_some())?;
    Ok(RecordJob::new(tenant, draft, body, Payload::Closes { op, intent: reference }))
}
