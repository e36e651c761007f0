//! A full disk: new intents are refused, outcomes of admitted calls are still written out of the
//! reserve, and the ledger goes on by itself once there is room (ledger-and-vault.md 5.7, rule 3).
//!
//! Unlike any other failed commit this one leaves nothing in doubt: SQLite says "full" when a page
//! could not be written, before anything was committed, and takes the transaction back. A quota that is
//! used up is a full disk for us alone. SQLite calls it a failed write like any other, so it is asked
//! whether there is room for another. Where its index of the journal could not grow, the batch may be in the
//! journal and is written over by the next one; after a crash before that it is there as any batch is whose
//! callers were not answered.

use std::time::{Duration, Instant};

use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
use uuid::Uuid;

use crate::chain::Hash;
use crate::entry::{CallFields, DEPLOYMENT, Kind, Retention};
use crate::head_file::Head;
use crate::merkle::Frontier;
use crate::queue::{Payload, RecordJob};
use crate::record::Draft;
use crate::reserve::Reserve;
use crate::store::StoreError;
use crate::writer::{Batch, Orphan, Placed, Writer, refuse};

/// What callers and readiness are told.
pub(crate) const FULL: &str = "the disk under the ledger is full; make room, it goes on by itself";

/// How often it is tried to take the reserve again.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Size, last leaf and tree of a log.
type End = (u64, Hash, Frontier);

/// The ends of the logs of a batch before it is written.
#[derive(Debug)]
pub(crate) struct Before {
    head: Head,
    /// None for a log that there was not.
    logs: Vec<(String, Option<End>)>,
}

/// True for an error that says that nothing was written because there was no room.
pub(crate) fn is_full(error: &rusqlite::Error, reserve: &Reserve) -> bool {
    let Some(code) = error.sqlite_error().map(|error| error.extended_code) else { return false };
    match code {
        SQLITE_FULL => true,
        // The second is its index of the journal, which grows too and is not told of as full either.
        SQLITE_IOERR_WRITE | SQLITE_IOERR_SHMSIZE => reserve.finds_no_room(),
        _ => false,
    }
}

impl Writer {
    /// Whether a batch was not written because there was no room for it.
    pub(crate) fn found_no_room(&self, error: &StoreError) -> bool {
        let StoreError::Sqlite(error) = error else { return false };
        self.reserve.as_ref().is_some_and(|reserve| is_full(error, reserve))
    }

    pub(crate) fn before(&self, batch: &Batch) -> Before {
        let mut logs: Vec<(String, Option<End>)> = Vec::new();
        if self.reserve.is_none() {
            // PostgreSQL takes a batch back in its own way.
            return Before { head: self.head, logs };
        }
        for job in &batch.records {
            if logs.iter().all(|(tenant, _)| *tenant != job.tenant) {
                let end = self.logs.get(&job.tenant);
                let end = end.map(|end| (end.size, end.leaf, end.tree.clone()));
                logs.push((job.tenant.clone(), end));
            }
        }
        Before { head: self.head, logs }
    }

    /// Takes back what a batch did to the ends of its logs.
    fn take_back(&mut self, before: Before, batch: &Batch, placed: &[Placed]) {
        self.head = before.head;
        self.sessions.give_back();
        for (tenant, end) in before.logs {
            match (end, self.logs.get_mut(&tenant)) {
                (Some((size, leaf, tree)), Some(now)) => {
                    drop(now.open.split_off(&size));
                    (now.size, now.leaf, now.tree) = (size, leaf, tree);
                }
                _ => drop(self.logs.remove(&tenant)),
            }
        }
        for (job, placed) in batch.records.iter().zip(placed) {
            if let (Payload::Closes { op, intent }, Ok(_)) = (job.payload, placed)
                && let Some(end) = self.logs.get_mut(&job.tenant)
                && intent.0 < end.size
            {
                end.open.insert(intent.0, op);
            }
        }
    }

    /// Gives up the reserve, refuses what nobody was promised, and writes the outcomes all the same.
    pub(crate) fn disk_full(
        &mut self,
        before: Before,
        batch: Batch,
        placed: &[Placed],
    ) -> Vec<Orphan> {
        self.take_back(before, &batch, placed);
        let begins = !self.shared.is_full();
        self.shared.set_full(true);
        self.room_at = Some(Instant::now() + TRY_EVERY);
        if let Some(Err(error)) = self.reserve.as_deref().map(Reserve::give_up) {
            tracing::error!(%error, "the ledger's reserve could not be given up");
        }
        let (mut batch, others) = batch.only_outcomes();
        refuse(others, FULL);
        if begins {
            batch.records.extend(note(Kind::Seal, "disk_full"));
        }
        if batch.is_empty() { Vec::new() } else { self.commit_for_good(batch) }
    }

    /// Writes what nobody may lose; a further failure seals the ledger.
    fn commit_for_good(&mut self, batch: Batch) -> Vec<Orphan> {
        let (before, mut placed) = (self.before(&batch), Vec::new());
        match self.commit(&batch, &mut placed) {
            Ok(()) => self.answer(batch, placed),
            Err(error) => {
                self.store.rollback();
                self.take_back(before, &batch, &placed);
                let why = format!("a commit failed ({error}); restart to verify and go on");
                self.shared.seal(why.clone());
                self.keep_and_refuse(batch, &why);
                Vec::new()
            }
        }
    }

    /// Takes the reserve again when there is room, and goes on.
    pub(crate) fn go_on_when_there_is_room(&mut self) {
        if self.room_at.is_none() && self.shared.is_full() {
            // The spool took the reserve.
            self.room_at = Some(Instant::now() + TRY_EVERY);
        }
        if self.room_at.is_none_or(|due| due > Instant::now()) || self.shared.sealed().is_some() {
            return;
        }
        match self.reserve.as_deref().map_or(Ok(()), Reserve::take_again) {
            Err(_) => self.room_at = Some(Instant::now() + TRY_EVERY),
            Ok(()) => {
                self.room_at = None;
                self.shared.set_full(false);
                let record = note(Kind::Recover, "disk_full");
                self.commit_and_answer(Batch::of(record.into_iter().collect()));
            }
        }
    }
}

/// A record of the deployment about the ledger itself.
fn note(kind: Kind, why: &str) -> Option<RecordJob> {
    let op = Uuid::now_v7();
    let mut fields = CallFields { ret: Some(Retention::Hold), ..CallFields::default() };
    fields.note.insert("why".to_owned(), why.to_owned());
    let draft = Draft::new(kind, DEPLOYMENT, op, None, &fields, false).ok()?;
    Some(RecordJob::new(DEPLOYMENT.to_owned(), draft, None, Payload::Other { op }))
}
