//! Retention: what may go, and that nobody can take more (ledger-and-vault.md 5.10).
//!
//! Pruning takes away the *bytes* of a whole expired prefix of a log. Its leaf hashes stay, so every
//! head and every proof still verifies, and the log says itself, in a `prune` record, up to where
//! bytes are gone, under which export, and who approved. The order cannot be changed, because each
//! step needs what the one before made: an export, its verification, [`examine`], the record, the cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::entry::{CallFields, Entry, Kind, Retention};
use crate::error::{ReadError, Unavailable};
use crate::ledger::Ledger;
use crate::merkle::Frontier;
use crate::note::Checkpoint;
use crate::policy::Policy;
use crate::published::PublishedLogs;
use crate::read::Reader;
use crate::record::{PruneNote, Record, are_two};
use crate::store::Cut;
use crate::tiles::WIDTH;
use crate::verify::{Trust, Verdict, verify};

/// A prefix of a log that has expired, is in an export that was verified, and hangs together under
/// the exported head. Only [`examine`] makes one.
#[derive(Clone, Debug)]
pub struct Prefix {
    tenant: String,
    cut: Cut,
    from: u64,
    class: Retention,
    head: Checkpoint,
    export: Hash,
    is_recorded: bool,
    shown: PublishedLogs,
}

/// Why nothing is pruned.
#[derive(Debug, thiserror::Error)]
pub enum NotPrunable {
    /// The export is not whole, or not of this log.
    #[error("the export does not cover it: {0}")]
    Export(String),
    /// The export is of another history than what is stored.
    #[error("the ledger's first {0} records are not those of the export")]
    OtherHistory(u64),
    /// A stored record is not what was logged.
    #[error("record {0} is not what was logged; what was changed is evidence, and is not pruned")]
    Edited(u64),
    /// Nothing has expired beyond what is pruned already.
    #[error("nothing to prune: {0}")]
    Nothing(String),
    /// Two people have to approve, each by a name of their own.
    #[error("two different people must approve, each named by letters, digits, `_`, `.` or `-`")]
    Approvers,
    /// The prune record is not under a head yet, so nothing was taken away.
    #[error(
        "record {0} says what goes, and no head is signed over it yet; the same command goes on once one is"
    )]
    NotShown(u64),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger did not take the prune record, or could not carry it out.
    #[error("the ledger does not take it: {0}")]
    Unavailable(#[from] Unavailable),
}

impl Prefix {
    /// The first record that stays.
    #[must_use]
    pub const fn until(&self) -> u64 {
        self.cut.until
    }

    /// How many records go now.
    #[must_use]
    pub fn records(&self) -> u64 {
        let kept = self.cut.kept.iter().filter(|seq| **seq >= self.from).count();
        (self.cut.until - self.from).saturating_sub(kept as u64)
    }

    /// The longest class of what goes.
    #[must_use]
    pub const fn class(&self) -> Retention {
        self.class
    }

    /// Whether its prune record is in the log already, and only its bytes are left to go: pruning
    /// was interrupted.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// SHA-256 of the export's `index`, which names the head of every log in it.
    #[must_use]
    pub const fn export(&self) -> &Hash {
        &self.export
    }

    fn entry(&self, [one, two]: [&str; 2]) -> Entry {
        let facts = [
            ("until", self.cut.until.to_string()),
            ("class", self.class.as_str().to_owned()),
            ("export", hex::encode(self.export)),
            ("head_size", self.head.size.to_string()),
            ("head_root", hex::encode(self.head.root)),
            ("kept", self.cut.kept.len().to_string()),
            ("approved_by", one.to_owned()),
            ("and_by", two.to_owned()),
        ];
        let note = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Entry {
            tenant: self.tenant.clone(),
            kind: Kind::Prune,
            op: Uuid::now_v7(),
            reference: None,
            fields: CallFields { note, ..CallFields::default() },
            body: None,
        }
    }
}

/// Finds how much of the log `origin` of `tenant` can be pruned at `now`, under an export in `folder`
/// that is verified first against `policy`: keys and witnesses that the operator believes.
///
/// # Errors
/// [`NotPrunable`].
pub fn examine(
    reader: &Reader,
    (origin, tenant): (&str, &str),
    folder: &Path,
    policy: Policy,
    now: Timestamp,
) -> Result<Prefix, NotPrunable> {
    let export = verified(origin, folder, policy)?;
    // Where there are witnesses, their clocks say what has expired, and not the operator's alone.
    let now = export.seen.map_or(now, |seen| seen.min(now));
    // In one view: a gateway may write, and somebody else prune.
    let looked = reader.at_one_moment(|| {
        let mut look = Look::new(now, export.head.size, reader.pruned(origin)?);
        let walked = reader
            .each(origin, |seq, leaf, bytes| look.take(seq, &leaf, bytes).map_err(Stop::Here));
        match walked {
            Err(Stop::Read(error)) => Err(error),
            Err(Stop::Here(why)) => Ok(Err(why)),
            Ok(()) => Ok(Ok(look)),
        }
    });
    let look = looked??;
    if look.exported.size() != export.head.size || look.exported.root() != export.head.root {
        return Err(NotPrunable::OtherHistory(export.head.size));
    }
    let (from, recorded) = look.from(&export)?;
    let until = match &recorded {
        Some((_, note)) => note.until,
        None => look.expired().min(export.head.size) / WIDTH as u64 * WIDTH as u64,
    };
    if until <= from || until > look.expired() {
        return Err(NotPrunable::Nothing(look.why(export.head.size)));
    }
    Ok(Prefix {
        tenant: tenant.to_owned(),
        from,
        class: recorded.as_ref().map_or_else(|| look.longest_before(until), |(_, note)| note.class),
        is_recorded: recorded.is_some(),
        cut: Cut {
            until,
            seq: recorded.map_or(0, |(seq, _)| seq),
            kept: look.certificates.range(..until).copied().collect(),
        },
        head: export.head,
        export: export.digest,
        shown: PublishedLogs::of(reader, origin.split('/').next().unwrap_or_default()),
    })
}

/// Why the walk over the log ended early.
enum Stop {
    Here(NotPrunable),
    Read(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// A log in an export that is whole.
struct Covered {
    head: Checkpoint,
    /// When the slowest of its witnesses saw the head.
    seen: Option<Timestamp>,
    /// Records that are not in it because they were pruned before.
    pruned: u64,
    /// SHA-256 of the export's list of logs.
    digest: Hash,
}

fn verified(origin: &str, folder: &Path, policy: Policy) -> Result<Covered, NotPrunable> {
    let index = folder.join("index");
    let list = || {
        let io = |source: io::Error| ReadError::Io { path: index.clone(), source };
        std::fs::read(&index).map(|list| chain::digest(&[&list])).map_err(io)
    };
    let before = list();
    let trust = Trust { policy: Some(policy), ..Trust::default() };
    let report = verify(folder, &trust);
    if report.verdict != Verdict::Whole {
        let said = report.to_text();
        return Err(NotPrunable::Export(said.lines().next().unwrap_or_default().to_owned()));
    }
    let log = report.logs.iter().find(|log| log.origin == origin);
    let log = log.ok_or_else(|| NotPrunable::Export(format!("`{origin}` is not in it")))?;
    let digest = before?;
    if list()? != digest {
        return Err(NotPrunable::Export("it was changed while it was verified".to_owned()));
    }
    let seen = log.witnessed_by.iter().map(|(_, at)| i64::try_from(*at).unwrap_or(i64::MAX));
    let seen = seen.min().and_then(|at| Timestamp::from_second(at).ok());
    let (origin, size, root) = (log.origin.clone(), log.records, log.root);
    Ok(Covered { head: Checkpoint { origin, size, root }, seen, pruned: log.pruned, digest })
}

/// What one pass over the stored log finds.
struct Look {
    now: Timestamp,
    /// Records of the export.
    size: u64,
    /// Before this place bytes may be gone.
    pruned: u64,
    exported: Frontier,
    /// The first record that has not expired: its place, and why it is kept.
    first_kept: Option<(u64, String)>,
    open: BTreeMap<u64, Uuid>,
    certificates: BTreeSet<u64>,
    /// The first record, other than a certificate, whose bytes are here.
    first_bytes: Option<u64>,
    /// The last prune record, with its place.
    recorded: Option<(u64, PruneNote)>,
    /// The latest time that a record so far claims: a clock that was set back makes nothing older.
    latest: Option<Timestamp>,
    /// Where a longer class than before begins.
    longest: Vec<(u64, Retention)>,
    size_here: u64,
}

impl Look {
    const fn new(now: Timestamp, size: u64, pruned: u64) -> Self {
        Self {
            now,
            size,
            pruned,
            exported: Frontier::new(),
            first_kept: None,
            open: BTreeMap::new(),
            certificates: BTreeSet::new(),
            first_bytes: None,
            recorded: None,
            latest: None,
            longest: Vec::new(),
            size_here: 0,
        }
    }

    fn take(&mut self, seq: u64, leaf: &Hash, bytes: &[u8]) -> Result<(), NotPrunable> {
        if seq < self.size {
            self.exported.push(*leaf);
        }
        self.size_here = seq + 1;
        if bytes.is_empty() && seq < self.pruned {
            return Ok(());
        }
        if chain::leaf(bytes) != *leaf {
            return Err(NotPrunable::Edited(seq));
        }
        let record = Record::parse(bytes).map_err(|_| NotPrunable::Edited(seq))?;
        self.weigh(seq, &record);
        match (record.kind, record.reference) {
            (Kind::Intent, _) => drop(self.open.insert(seq, record.op)),
            (Kind::Outcome | Kind::Recover, Some(intent)) => drop(self.open.remove(&intent)),
            _ => {}
        }
        if let Some(note) = record.prune() {
            self.recorded = Some((seq, note.clone()));
        }
        Ok(())
    }

    /// A certificate of a destruction stays for ever and stands in nobody's way. What has no class
    /// is kept as long as what changes something.
    fn weigh(&mut self, seq: u64, record: &Record) {
        if record.kind.is_certificate() {
            self.certificates.insert(seq);
            return;
        }
        self.first_bytes.get_or_insert(seq);
        if self.first_kept.is_some() {
            return;
        }
        let class = record.ret.unwrap_or(Retention::Years7);
        if self.longest.last().is_none_or(|(_, longest)| *longest < class) {
            self.longest.push((seq, class));
        }
        self.latest = self.latest.max(record.ts.parse().ok());
        let until = self.latest.and_then(|written| class.keeps_until(written));
        if until.is_none_or(|until| until >= self.now) {
            let until =
                until.map_or_else(|| "for ever".to_owned(), |until| format!("until {until:.0}"));
            self.first_kept =
                Some((seq, format!("record {seq} is kept {until} (class {})", class.as_str())));
        }
    }

    /// All before this place has expired, and nothing in it is open.
    fn expired(&self) -> u64 {
        let kept = self.first_kept.as_ref().map_or(self.size_here, |(seq, _)| *seq);
        self.open.keys().next().map_or(kept, |open| kept.min(*open))
    }

    /// The first record that may go, and the prune record that was not carried out to its end.
    fn from(&self, export: &Covered) -> Result<(u64, Option<(u64, PruneNote)>), NotPrunable> {
        let here = self.first_bytes.unwrap_or(self.size_here);
        let left = |note: &PruneNote| note.until > self.pruned || here < note.until;
        let Some((seq, note)) = self.recorded.as_ref().filter(|(_, note)| left(note)) else {
            let is_covered = export.pruned <= self.pruned;
            let why =
                || NotPrunable::Export("it does not have the records that would go".to_owned());
            return is_covered.then_some((self.pruned, None)).ok_or_else(why);
        };
        if note.export != export.digest {
            let why = "pruning was interrupted; it goes on under the export that record";
            return Err(NotPrunable::Export(format!("{why} {seq} names")));
        }
        Ok((here.min(note.until - 1), Some((*seq, note.clone()))))
    }

    fn longest_before(&self, until: u64) -> Retention {
        let before = self.longest.iter().take_while(|(seq, _)| *seq < until);
        before.last().map_or(Retention::Days30, |(_, class)| *class)
    }

    fn why(&self, exported: u64) -> String {
        let kept = self.first_kept.as_ref().map(|(_, why)| why.clone());
        let kept = kept.unwrap_or_else(|| "all of it has expired".to_owned());
        format!(
            "{kept}; {exported} records are in the export, {} are pruned already, and records go in \
             whole bundles of {WIDTH}",
            self.pruned
        )
    }
}

/// How long a prune record waits for a head over it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether these name the two people who have to approve; what they say of themselves, not proved.
///
/// # Errors
/// [`NotPrunable::Approvers`].
pub fn approvers([one, two]: [&str; 2]) -> Result<(), NotPrunable> {
    if are_two(one, two) { Ok(()) } else { Err(NotPrunable::Approvers) }
}

/// Records the prune in its log, waits for a head over that record, and takes the bytes away.
/// Interrupted, it is gone on with by the same call on what [`examine`] finds then. Gives the place of
/// the prune record.
///
/// # Errors
/// [`NotPrunable::Approvers`], [`NotPrunable::Unavailable`], [`NotPrunable::NotShown`].
pub async fn prune(
    ledger: &Ledger,
    prefix: Prefix,
    approved_by: [&str; 2],
) -> Result<u64, NotPrunable> {
    approvers(approved_by)?;
    let mut cut = prefix.cut.clone();
    if !prefix.is_recorded {
        cut.seq = ledger.put(prefix.entry(approved_by)).await?.seq;
    }
    let (seq, since) = (cut.seq, Instant::now());
    // Without a head over it, an export would miss what is gone.
    while prefix.shown.head(&prefix.head.origin)?.is_none_or(|shown| shown.head.size <= seq) {
        if since.elapsed() > PATIENCE {
            return Err(NotPrunable::NotShown(seq));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ledger.cut(prefix.tenant, prefix.from, cut).await?;
    Ok(seq)
}
