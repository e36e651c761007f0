//! The check of one log, record by record. Pure: bytes in, report or first fault out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uuid::Uuid;

use super::counts::{Counts, Kept};
use super::keys::Keys;
use super::log_report::{Anchor, LogReport, Voucher};
use crate::chain::{self, Hash};
use crate::entry::Kind;
use crate::fault::{Fault, FaultKind};
use crate::keys::KeyChain;
use crate::merkle::{self, Frontier};
use crate::note::Checkpoint;
use crate::promise::Promise;
use crate::record::{NotARecord, PruneNote, Record};
use trouble::Trouble;

mod trouble;

/// What the bytes of a record tell without their place: the part of the check that many can share.
#[derive(Debug)]
pub struct Examined {
    leaf: Hash,
    parsed: Result<Record, NotARecord>,
}

impl Examined {
    /// Hashes and reads the bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { leaf: chain::leaf(bytes), parsed: Record::parse(bytes) }
    }
}

/// Takes the records of one log in order.
#[derive(Debug)]
pub struct Checker {
    report: LogReport,
    /// Leaf hashes that the signed head vouches for, when they are known.
    vouched: Option<Vec<Hash>>,
    leaves: Vec<Hash>,
    tree: Frontier,
    /// Heads of this log that the deployment's log vouches for, the smallest first.
    anchors: VecDeque<Anchor>,
    /// Heads of other logs that this one vouches for.
    anchored: Vec<Anchor>,
    /// Leaf hashes that were promised to callers, each with the name of the promise.
    promised: BTreeMap<u64, Vec<(Hash, String)>>,
    prev: Hash,
    last_ts: String,
    open: BTreeMap<u64, Uuid>,
    counts: Counts,
    /// The prune record that gives up most.
    prune: Option<PruneNote>,
    /// Certificates that are here.
    certificates: BTreeSet<u64>,
    /// What it is when records are gone that none may be.
    gone: FaultKind,
    keys: Keys,
    trouble: Option<Trouble>,
}

impl Checker {
    /// A check of the log `origin` that begins at `genesis`. `vouched` are leaf hashes under the
    /// signed head.
    #[must_use]
    pub fn new(origin: &str, genesis: Hash, vouched: Option<Vec<Hash>>) -> Self {
        let report = LogReport {
            origin: origin.to_owned(),
            records: 0,
            intents: 0,
            outcomes: 0,
            recovered: 0,
            open: 0,
            pruned: 0,
            kept: 0,
            certificates: 0,
            erased: 0,
            signed_by: Vec::new(),
            witnessed_by: Vec::new(),
            clock_backwards: 0,
            latest_ts: String::new(),
            counts: 0,
            counted: 0,
            kept_answers: None,
            disclosed: None,
            root: genesis,
            anchored: Vec::new(),
            keys: Vec::new(),
        };
        Self {
            report,
            vouched,
            leaves: Vec::new(),
            tree: Frontier::default(),
            anchors: VecDeque::new(),
            anchored: Vec::new(),
            promised: BTreeMap::new(),
            prev: genesis,
            last_ts: String::new(),
            open: BTreeMap::new(),
            counts: Counts::default(),
            prune: None,
            certificates: BTreeSet::new(),
            gone: FaultKind::Deleted,
            keys: Keys::Unknown,
            trouble: None,
        }
    }

    /// The check of a copy: what is not here may still be elsewhere.
    #[must_use]
    pub const fn of_copy(mut self) -> Self {
        self.gone = FaultKind::Torn;
        self
    }

    /// Follows the keys of the log from this chain on.
    #[must_use]
    pub fn following(mut self, keys: KeyChain) -> Self {
        self.keys = Keys::Followed(keys);
        self
    }

    /// Lets no key record count that is not in this chain.
    pub(crate) fn knowing(mut self, keys: KeyChain) -> Self {
        self.keys = Keys::Known(keys);
        self
    }

    /// Holds the log also against the heads that anchor records of the deployment's log vouch for.
    #[must_use]
    pub fn against(mut self, mut anchors: Vec<Anchor>) -> Self {
        anchors.sort_by_key(|anchor| anchor.head.size);
        self.anchors = anchors.into();
        self
    }

    /// Holds the log also against what it promised to callers.
    #[must_use]
    pub fn keeping(mut self, promises: Vec<(String, Promise)>) -> Self {
        for (name, promise) in promises {
            self.promised.entry(promise.seq).or_default().push((promise.leaf, name));
        }
        self
    }

    /// Holds the log also against the numbers that callers were told.
    #[must_use]
    pub fn answered(mut self, kept: Vec<Kept>) -> Self {
        self.counts.remember(kept);
        self
    }

    /// Takes a record of which only the leaf hash is here: it must have been pruned, which a record
    /// further on has to say.
    pub fn pass(&mut self, leaf: Hash) {
        let at = self.leaves.len();
        self.leaves.push(leaf);
        self.tree.push(leaf);
        self.prev = leaf;
        self.report.pruned = self.taken();
        if self.trouble.is_none()
            && self.vouched.as_ref().is_some_and(|vouched| vouched.get(at) != Some(&leaf))
        {
            self.trouble = Some(Trouble::NotVouched { at, parsed: Ok(()) });
        }
        self.hold_to_others(at as u64, &leaf);
    }

    /// Whether the leaf hashes of all records are known.
    pub(crate) const fn is_vouched(&self) -> bool {
        self.vouched.is_some()
    }

    /// [`Self::pass`] of the first `count` records, whose leaf hashes the signed head vouches for.
    pub(crate) fn pass_vouched(&mut self, count: u64) {
        let Some(vouched) = &self.vouched else { return };
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(vouched.len());
        let leaves = vouched.get(..count).unwrap_or_default().to_vec();
        leaves.into_iter().for_each(|leaf| self.pass(leaf));
    }

    /// Number of records taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Takes the next record.
    pub fn step(&mut self, bytes: &[u8]) {
        self.take(Examined::of(bytes));
    }

    /// Takes the next record, of which what it alone can tell is known already.
    pub fn take(&mut self, record: Examined) {
        let at = self.leaves.len();
        let Examined { leaf, parsed } = record;
        self.leaves.push(leaf);
        self.tree.push(leaf);
        match self.trouble.take() {
            None => self.trouble = self.examine(at, &leaf, parsed).err(),
            Some(trouble) => self.trouble = Some(self.learn(trouble, parsed.ok())),
        }
        self.hold_to_others(at as u64, &leaf);
        self.prev = leaf;
    }

    /// Holds it to what was promised to callers and vouched for by others.
    fn hold_to_others(&mut self, at: u64, leaf: &Hash) {
        if self.trouble.is_none() {
            self.trouble = self.keeps_promises(at, leaf).err();
        }
        if self.trouble.is_none() {
            self.trouble = self.meets_anchors().err();
        }
    }

    /// Says that the bytes end here although more was to come.
    pub fn torn(&mut self, why: &str) {
        if self.trouble.is_none() {
            let fault = self.fault(Some(self.taken()), FaultKind::Torn, why.to_owned());
            self.trouble = Some(Trouble::Certain(fault));
        }
    }

    /// The end of the log, which must be that of `head` when one is known.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn finish(mut self, head: Option<&Checkpoint>) -> Result<LogReport, Fault> {
        if let Some(trouble) = self.trouble.take() {
            return Err(self.name(trouble, head));
        }
        let size = self.taken();
        let root = self.tree.root();
        if let Some(head) = head {
            self.compare(head, size, &root)?;
        }
        if let Some(anchor) = self.anchors.pop_front() {
            let why = format!("{anchor} vouches for {} records", anchor.head.size);
            let kind = match anchor.by {
                Voucher::Record(_) => FaultKind::Truncated,
                Voucher::Seen(_) => FaultKind::RolledBack,
            };
            return Err(self.fault(Some(size), kind, why));
        }
        self.was_pruned()?;
        if let Some((seq, promises)) = self.promised.pop_first() {
            let name = promises.first().map(|(_, name)| name.as_str()).unwrap_or_default();
            let why = format!("the promise `{name}` is of this record, here are {size}");
            return Err(self.fault(Some(seq), FaultKind::Omitted, why));
        }
        let ended = self.counts.end(size, self.report.pruned);
        ended.map_err(|(seq, why)| self.fault(Some(seq), FaultKind::Omitted, why))?;
        (self.report.counts, self.report.counted, self.report.kept_answers) = self.counts.report();
        self.report.anchored = std::mem::take(&mut self.anchored);
        self.report.keys = self.keys.changes();
        self.report.open = self.open.len() as u64;
        Ok(LogReport { records: size, root, ..self.report })
    }

    /// What is gone must be what a prune record gives up, of the very history that is here.
    fn was_pruned(&mut self) -> Result<(), Fault> {
        let until = self.prune.as_ref().map_or(0, |note| note.until);
        if self.report.pruned > until {
            let last = self.report.pruned - 1;
            let why =
                format!("records {until} to {last} are not here, and no prune record says so");
            return Err(self.fault(Some(until), self.gone, why));
        }
        let Some(note) = self.prune.take() else { return Ok(()) };
        let covered = usize::try_from(note.head_size).ok().and_then(|size| self.leaves.get(..size));
        if covered.map(merkle::root) != Some(note.head_root) {
            let why = "the prune record names an export of another history".to_owned();
            return Err(self.fault(None, FaultKind::BadPrune, why));
        }
        self.report.kept = note.kept;
        self.report.certificates = self.certificates.range(..note.until).count() as u64;
        Ok(())
    }

    /// A prune record must say all that it must, and only of what was there before it.
    fn may_prune(&mut self, at: u64, record: &Record) -> Result<(), Trouble> {
        let Some(note) = record.prune().filter(|note| note.head_size <= at) else {
            let why =
                "it does not say what is pruned, under which export that was there before, and \
                       which two people approved"
                    .to_owned();
            return Err(self.certain(at, FaultKind::BadPrune, why));
        };
        if self.prune.as_ref().is_none_or(|most| most.until <= note.until) {
            self.prune = Some(note.clone());
        }
        Ok(())
    }

    fn compare(&self, head: &Checkpoint, size: u64, root: &Hash) -> Result<(), Fault> {
        if size < head.size {
            let why = format!("the signed head counts {} records, here are {size}", head.size);
            return Err(self.fault(Some(size), FaultKind::Truncated, why));
        }
        if size > head.size {
            let why = format!("the signed head counts {} records, here are {size}", head.size);
            return Err(self.fault(Some(head.size), FaultKind::Inserted, why));
        }
        if *root != head.root {
            let why = "the records hang together, but not under the signed head".to_owned();
            return Err(self.fault(None, FaultKind::Rewritten, why));
        }
        Ok(())
    }

    fn examine(
        &mut self,
        at: usize,
        leaf: &Hash,
        parsed: Result<Record, NotARecord>,
    ) -> Result<(), Trouble> {
        if self.vouched.as_ref().is_some_and(|vouched| vouched.get(at) != Some(leaf)) {
            return Err(Trouble::NotVouched { at, parsed: parsed.map(|_| ()) });
        }
        let at = at as u64;
        let record = parsed.map_err(|why| {
            self.certain(at, FaultKind::NotCanonical, format!("the bytes are not a record: {why}"))
        })?;
        self.place(at, &record)?;
        self.pair(at, &record)?;
        let counted = self.counts.take(&record, self.report.pruned);
        counted.map_err(|why| self.certain(at, FaultKind::SessionGap, why))?;
        if record.ts < self.last_ts {
            self.report.clock_backwards += 1;
        }
        if record.ts > self.report.latest_ts {
            self.report.latest_ts.clone_from(&record.ts);
        }
        if record.kind == Kind::Prune {
            self.may_prune(at, &record)?;
        }
        if record.kind == Kind::Key {
            let taken = self.keys.take(&record);
            taken.map_err(|why| self.certain(at, FaultKind::BadKey, why))?;
        }
        if record.kind.is_certificate() {
            self.certificates.insert(at);
        }
        self.report.erased += u64::from(record.kind == Kind::Erase);
        let heads = record.heads().iter().cloned();
        self.anchored.extend(heads.map(|head| Anchor { head, by: Voucher::Record(record.seq) }));
        self.last_ts = record.ts;
        Ok(())
    }

    fn keeps_promises(&mut self, at: u64, leaf: &Hash) -> Result<(), Trouble> {
        let promises = self.promised.remove(&at).unwrap_or_default();
        match promises.iter().find(|(promised, _)| promised != leaf) {
            None => Ok(()),
            Some((_, name)) => {
                let why = format!("the promise `{name}` is of another record in this place");
                Err(self.certain(at, FaultKind::Omitted, why))
            }
        }
    }

    /// The heads that the deployment's log vouches for must be those of the records so far.
    fn meets_anchors(&mut self) -> Result<(), Trouble> {
        while self.anchors.front().is_some_and(|anchor| anchor.head.size <= self.tree.size()) {
            let Some(anchor) = self.anchors.pop_front() else { break };
            if anchor.head.root != self.tree.root() {
                let at = anchor.head.size.saturating_sub(1);
                let why = format!(
                    "{anchor} vouches for another history of its first {} records",
                    anchor.head.size
                );
                return Err(self.certain(at, FaultKind::Forked, why));
            }
        }
        Ok(())
    }

    /// Log, place and link of a record.
    fn place(&self, at: u64, record: &Record) -> Result<(), Trouble> {
        if record.log != self.report.origin {
            let why = format!("it belongs to log `{}`", record.log);
            return Err(self.certain(at, FaultKind::Foreign, why));
        }
        if record.seq < at {
            let why = format!("it claims place {}, which is taken", record.seq);
            return Err(self.certain(at, FaultKind::Inserted, why));
        }
        if record.seq > at {
            return Err(Trouble::Ahead { at, claims: record.seq });
        }
        if record.prev == self.prev {
            return Ok(());
        }
        if at == 0 {
            let why = "it does not begin from this log's name and key".to_owned();
            return Err(self.certain(0, FaultKind::Edited, why));
        }
        Err(Trouble::BrokenLink { at, claimed: record.prev })
    }

    /// Outcomes and recoveries close an open intent of the same operation.
    fn pair(&mut self, at: u64, record: &Record) -> Result<(), Trouble> {
        let closes = matches!(record.kind, Kind::Outcome | Kind::Recover);
        if record.kind == Kind::Intent {
            self.report.intents += 1;
            self.open.insert(at, record.op);
        } else if closes && (record.reference.is_some() || record.kind == Kind::Outcome) {
            let is_gone = record.reference.is_some_and(|seq| seq < self.report.pruned);
            let intent = record.reference.and_then(|seq| self.open.remove(&seq));
            // Of a pruned intent nobody can tell any more what it was.
            if intent != Some(record.op) && !(is_gone && intent.is_none()) {
                let why = "it closes no open intent of its operation".to_owned();
                return Err(self.certain(at, FaultKind::BadReference, why));
            }
            self.report.outcomes += u64::from(record.kind == Kind::Outcome);
            self.report.recovered += u64::from(record.kind == Kind::Recover);
        }
        Ok(())
    }
}
