//! What earlier runs spooled: appended as the outcome that it is, before what is open still is closed as
//! unknown. What can't be appended is never dropped without a word: it is named in the process's log,
//! counted in [`crate::Status::kept_aside`], and its file is kept.
//!
//! What is checked, and what that is worth: an entry is signed by the log's key over the outcome's
//! bytes, the log, and place, leaf and operation of the intent ([`entry`]). So nobody who may only
//! write files makes an outcome, or moves one to another intent, or to one that was rewritten. He can
//! take files away, and then the intent is closed as unknown; and he can put a copy back, whose
//! intent is closed by then. Who holds the log key, or rewrites the whole database, is as strong
//! here as anywhere: that is for witnesses and anchors to catch.

use std::io;
use std::path::{Path, PathBuf};

use super::{Batch, LogEnd, MAX_BATCH, Orphan, Writer};
use crate::chain::{origin, tenant_of};
use crate::crash_point;
use crate::entry::{Kind, RecordRef};
use crate::keys::KeyChain;
use crate::note::VerifierKey;
use crate::queue::{Payload, RecordJob};
use crate::record::Record;
use crate::spool::Late;
use crate::spool::entry::{self, Keys};
use crate::spool::file::{self, Earlier};
use crate::store::{Placed, StoreError};

/// A file of an earlier run, and what of it is not in the log yet.
#[derive(Debug)]
pub(crate) struct EarlierSpool {
    file: Earlier,
    pending: Vec<Late>,
    /// Entries that can't be appended.
    kept: usize,
}

/// Where other runs of this ledger spool, and the keys whose word counts there.
#[derive(Debug)]
pub(crate) struct SpoolPlace {
    ledger: PathBuf,
    keys: Keys,
}

impl SpoolPlace {
    pub(crate) fn new(ledger: &Path, keys: &Keys) -> Self {
        Self { ledger: ledger.to_owned(), keys: keys.clone() }
    }
}

/// How many intents were closed, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Closed {
    pub(crate) unknown: u64,
    /// By what was spooled.
    pub(crate) outcomes: u64,
}

/// How the intent of a spooled outcome stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    /// By an outcome: this one, written after it was spooled.
    Closed,
    /// As unknown.
    TooLate,
    /// There is none at this place, or another one.
    Other,
}

impl Writer {
    /// Reads what other runs spooled, as far as this process does not hold it already: replicas share the
    /// folder, and one that died since may have left an outcome there.
    pub(crate) fn read_earlier(&mut self) -> io::Result<()> {
        self.earlier.retain(|spool| !spool.file.held);
        let known: Vec<PathBuf> =
            self.earlier.iter().map(|spool| spool.file.path.clone()).collect();
        let files = file::earlier(&self.spools.ledger, &known)?;
        if files.is_empty() {
            return Ok(());
        }
        let keys = self.spool_keys();
        let deployment = self.identity.deployment.as_str();
        self.earlier
            .extend(files.into_iter().map(|file| EarlierSpool::read(file, deployment, &keys)));
        Ok(())
    }

    /// Of logs that were begun since the keys were read, the key that they were begun under.
    fn spool_keys(&self) -> Keys {
        let mut keys = self.spools.keys.clone();
        for LogEnd { row, .. } in self.logs.values() {
            if !keys.contains_key(&row.origin)
                && let Ok(vkey) = VerifierKey::parse(&row.vkey)
            {
                let begun = KeyChain::new(vkey);
                if begun.genesis() == row.genesis {
                    keys.insert(row.origin.clone(), begun);
                }
            }
        }
        keys
    }

    /// Closes intents that nobody else can close: with the outcome that was spooled, else as unknown.
    pub(crate) fn close_orphans(
        &mut self,
        orphans: Vec<Orphan>,
        why: &str,
    ) -> Result<Closed, StoreError> {
        let (mut jobs, mut rest) = (Vec::new(), Vec::new());
        for orphan in orphans {
            match self.outcome_of(&orphan)? {
                Some(job) => jobs.push(job),
                None => rest.push(orphan),
            }
        }
        let mut outcomes = 0;
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() && self.shared.sealed().is_none() {
            let batch: Vec<RecordJob> = jobs.by_ref().take(MAX_BATCH).collect();
            let count = batch.len() as u64;
            crash_point!("spool_before_append");
            self.commit_and_answer(Batch::of(batch));
            crash_point!("spool_after_append");
            outcomes += count;
        }
        if self.shared.sealed().is_some() {
            return Ok(Closed { unknown: 0, outcomes: 0 });
        }
        Ok(Closed { unknown: self.close_as_unknown(rest, why), outcomes })
    }

    fn outcome_of(&self, (tenant, op, seq): &Orphan) -> Result<Option<RecordJob>, StoreError> {
        let origin = origin(&self.identity.deployment, tenant);
        let all = self.earlier.iter().flat_map(|spool| &spool.pending);
        for late in all.filter(|late| (late.intent, late.op) == (*seq, *op)) {
            if late.origin == origin && self.standing(late)? == Standing::Open {
                let payload = Payload::Closes { op: *op, intent: RecordRef(*seq) };
                let (draft, body) = (late.draft.clone(), late.body.clone());
                return Ok(Some(RecordJob::shared(tenant.clone(), draft, body, payload)));
            }
        }
        Ok(None)
    }

    /// Takes away the files whose outcomes are all in the log, and puts those aside that hold one
    /// that can't be. One whose intent another replica is about to close waits.
    pub(crate) fn settle_earlier(&mut self) {
        for mut spool in std::mem::take(&mut self.earlier) {
            let pending = std::mem::take(&mut spool.pending);
            for late in pending {
                self.settle(&mut spool, late);
            }
            if spool.pending.is_empty() && spool.file.held {
                // Whoever holds it takes it away, or says what became of it.
            } else if spool.pending.is_empty() {
                self.shared.kept_aside(spool.kept);
                spool.end();
            } else {
                self.earlier.push(spool);
            }
        }
    }

    fn settle(&self, spool: &mut EarlierSpool, late: Late) {
        let path = spool.file.path.display();
        let (log, seq, op) = (late.origin.as_str(), late.intent, late.op);
        match self.standing(&late) {
            Ok(Standing::Closed) => {}
            Ok(Standing::Open) => spool.pending.push(late),
            Ok(Standing::TooLate) => {
                let why = "its intent was closed as unknown before";
                tracing::error!(log, seq, %op, %path, "a spooled outcome is too late: {why}");
                spool.kept += 1;
            }
            Ok(Standing::Other) => {
                let why = "the intent that it names is not in the log";
                tracing::error!(log, seq, %op, %path, "a spooled outcome is refused: {why}");
                spool.kept += 1;
            }
            Err(error) => {
                tracing::warn!(log, seq, %op, %error, "a spooled outcome is looked up later");
                spool.pending.push(late);
            }
        }
    }

    fn standing(&self, late: &Late) -> Result<Standing, StoreError> {
        let tenant = tenant_of(&self.identity.deployment, &late.origin);
        let Some(end) = tenant.and_then(|tenant| self.logs.get(tenant)) else {
            return Ok(Standing::Other);
        };
        Ok(standing(late, &self.store.of_operation(end.row.id, &late.op)?))
    }
}

/// How the intent stands by the records of its operation.
fn standing(late: &Late, records: &[Placed]) -> Standing {
    let is_intent = |(seq, leaf, bytes): &&Placed| {
        let said = Record::parse(bytes).is_ok_and(|record| record.kind == Kind::Intent);
        (*seq, *leaf) == (late.intent, late.leaf) && (said || bytes.is_empty())
    };
    let Some((_, _, bytes)) = records.iter().find(is_intent) else { return Standing::Other };
    if bytes.is_empty() {
        return Standing::Closed; // Pruned, and so not open.
    }
    let closes = |(_, _, bytes): &Placed| {
        let record = Record::parse(bytes).ok()?;
        let closes = matches!(record.kind, Kind::Outcome | Kind::Recover);
        (closes && record.reference == Some(late.intent)).then_some(record.kind)
    };
    match records.iter().find_map(closes) {
        None => Standing::Open,
        Some(Kind::Outcome) => Standing::Closed,
        Some(_) => Standing::TooLate,
    }
}

impl EarlierSpool {
    fn read(mut file: Earlier, deployment: &str, keys: &Keys) -> Self {
        let bytes = std::mem::replace(&mut file.bytes, Ok(Vec::new()));
        let path = file.path.display();
        let (mut pending, mut kept) = (Vec::new(), 0);
        match bytes {
            Err(why) => {
                tracing::error!(%path, why, "a spool can't be read; it is kept");
                kept += 1;
            }
            Ok(bytes) => {
                let (payloads, end) = entry::frames(&bytes);
                for (number, payload) in payloads.into_iter().enumerate() {
                    match entry::open(payload, deployment, keys) {
                        Ok(late) => pending.push(late),
                        Err(why) => {
                            tracing::error!(%path, number, %why, "a spooled outcome is refused");
                            kept += 1;
                        }
                    }
                }
                // Its owner may be within a write.
                let end = if file.held { Ok(()) } else { end };
                if let Err(why) = end {
                    tracing::error!(%path, number = pending.len() + kept, %why, "a spooled outcome is refused");
                    kept += 1;
                }
            }
        }
        Self { file, pending, kept }
    }

    fn end(&self) {
        let path = self.file.path.display();
        if self.kept == 0 {
            if let Err(error) = self.file.remove() {
                tracing::warn!(%path, %error, "a spool is not needed and could not be removed");
            }
            return;
        }
        match self.file.put_aside() {
            Ok(aside) => {
                let aside = aside.display();
                tracing::error!(kept = self.kept, %aside, "what can't be appended is kept there");
            }
            Err(error) => tracing::error!(%path, %error, "a spool could not be put aside"),
        }
    }
}
