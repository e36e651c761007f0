//! What the writer does because others write too: heads that are read under a lock, batches that
//! are taken back, leases, and a database that goes away and comes back.

use std::time::{Duration, Instant};

use super::{Batch, Closed, LogEnd, Orphan, Placed, Writer, new_row};
use crate::chain::{Hash, tenant_of};
use crate::head_file::Head;
use crate::merkle::Frontier;
use crate::queue::Payload;
use crate::store::postgres::{self, Locked};
use crate::store::{LogRow, PgError, PostgresStore, Store, StoreError};

/// How often a batch that others stood in the way of is tried.
const TRIES: u32 = 5;

/// The pause before the first and before a later try to reach the database.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Leaves that the writer reads in one go to bring trees up.
const LEAVES_AT_ONCE: u64 = 65_536;

/// What happens with a batch that failed.
#[derive(Debug)]
pub(super) enum Next {
    Again,
    /// It is on disk although nobody heard so.
    Committed(Vec<Placed>),
    Seal(String),
}

/// How to take a batch back from memory.
#[derive(Debug)]
pub(crate) struct Undo {
    head: Head,
    /// Tenant, size, leaf and tree before the batch.
    ends: Vec<(String, u64, Hash, Frontier)>,
    /// Tenants whose logs this replica got to know by it.
    made: Vec<String>,
    /// Log, place and payload of each record.
    wrote: Vec<(i64, u64, Payload)>,
    /// The last record.
    last: Option<(i64, u64, Hash)>,
    /// What the callers would have heard.
    placed: Option<Vec<Placed>>,
}

impl Undo {
    pub(super) fn wrote(&mut self, log: i64, seq: u64, leaf: &Hash, payload: Payload) {
        self.wrote.push((log, seq, payload));
        self.last = Some((log, seq, *leaf));
    }
}

impl Writer {
    const fn postgres(&mut self) -> Option<&mut PostgresStore> {
        match &mut self.store {
            Store::Postgres(store) => Some(store),
            Store::Sqlite(_) => None,
        }
    }

    /// Durable records over all logs, as far as this replica knows.
    pub(crate) fn records(&self) -> u64 {
        match &self.store {
            Store::Sqlite(_) => self.head.records,
            Store::Postgres(_) => self.logs.values().map(|end| end.size).sum(),
        }
    }

    /// When the writer must wake up although nobody asks for anything.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match &self.store {
            Store::Sqlite(_) => self.publish_at,
            Store::Postgres(store) => {
                Some(self.publish_at.map_or(store.renew_at(), |at| at.min(store.renew_at())))
            }
        }
    }

    /// Locks the heads of the batch's logs and takes size and leaf from there: what is in memory is
    /// what this replica saw last.
    pub(super) fn lock_heads(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let Store::Postgres(store) = &mut self.store else { return Ok(()) };
        let mut tenants: Vec<&String> = batch.records.iter().map(|job| &job.tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let (mut ids, mut new) = (Vec::new(), Vec::new());
        for tenant in &tenants {
            match self.logs.get(*tenant) {
                Some(end) => ids.push(end.row.id),
                None => new.push(new_row(&self.identity, 0, tenant)),
            }
        }
        let (made, locked) = store.lock(ids, &new)?;
        let mut undo = Undo {
            head: self.head,
            ends: Vec::new(),
            made: Vec::new(),
            wrote: Vec::new(),
            last: None,
            placed: None,
        };
        for row in made {
            if let Some(tenant) =
                tenant_of(&self.identity.deployment, &row.origin).map(str::to_owned)
            {
                let genesis = row.genesis;
                undo.made.push(tenant.clone());
                self.logs.insert(tenant, LogEnd::at(row, 0, genesis));
            }
        }
        for tenant in tenants {
            let Some(end) = self.logs.get_mut(tenant) else { continue };
            let Some(head) = locked.iter().find(|head| head.id == end.row.id) else { continue };
            follow(end, head)?;
            undo.ends.push((tenant.clone(), end.size, end.leaf, end.tree.clone()));
        }
        self.undo = Some(Box::new(undo));
        Ok(())
    }

    /// Keeps what the callers would have heard, until it is known whether it is true.
    pub(super) fn keep(&mut self, placed: Vec<Placed>) {
        if let Some(undo) = &mut self.undo {
            undo.placed = Some(placed);
        }
    }

    /// Takes the batch back from memory.
    pub(super) fn undo(&mut self) {
        self.sessions.give_back();
        let Some(undo) = self.undo.take() else { return };
        self.head = undo.head;
        for (tenant, size, leaf, tree) in undo.ends {
            if let Some(end) = self.logs.get_mut(&tenant) {
                (end.size, end.leaf, end.tree) = (size, leaf, tree);
            }
        }
        for (log, seq, payload) in undo.wrote.into_iter().rev() {
            let Some(end) = self.logs.values_mut().find(|end| end.row.id == log) else { continue };
            match payload {
                Payload::Intent { .. } => drop(end.open.remove(&seq)),
                Payload::Closes { op, intent } => drop(end.open.insert(intent.0, op)),
                Payload::Other { .. } => {}
            }
        }
        // Rolled back, a log that was begun has no row any more.
        undo.made.iter().for_each(|tenant| drop(self.logs.remove(tenant)));
    }

    /// What becomes of a batch whose commit failed.
    pub(super) fn after_failure(
        &mut self,
        error: StoreError,
        batch: &mut Batch,
        tries: &mut u32,
    ) -> Next {
        self.store.rollback();
        let error = match error {
            StoreError::Postgres(error) => error,
            StoreError::Sqlite(error) => {
                return Next::Seal(format!(
                    "a commit failed ({error}); restart to verify and go on"
                ));
            }
        };
        let next = match error {
            PgError::Lost(why) => self.wait_for_database(&why),
            PgError::Busy(why) => self.wait_for_room(why),
            PgError::Conflict(_) if *tries < TRIES => {
                *tries += 1;
                self.undo();
                std::thread::sleep(PAUSE.0.saturating_mul(*tries) / 10);
                Next::Again
            }
            PgError::Fenced(why) => Next::Seal(why),
            PgError::Conflict(why) | PgError::Refused(why) => {
                Next::Seal(format!("a commit failed ({why}); restart to verify and go on"))
            }
        };
        if matches!(next, Next::Again) {
            // Who gave up must not find its intent done; outcomes are written whatever it takes.
            batch.records.retain(|job| !job.is_abandoned_intent());
        }
        next
    }

    /// Somebody holds a head or there is no room: rolled back, and tried until it works. Meanwhile
    /// no new intent is taken.
    fn wait_for_room(&mut self, why: String) -> Next {
        self.undo();
        self.shared.away(why);
        if self.shared.is_closing() {
            return Next::Seal("closed while PostgreSQL was busy".to_owned());
        }
        std::thread::sleep(PAUSE.0);
        // Waiting must not cost the lease.
        match self.postgres().map(PostgresStore::renew_late) {
            Some(Err(PgError::Fenced(why))) => return Next::Seal(why),
            Some(Err(PgError::Lost(why))) => return self.wait_for_database(&why),
            _ => {}
        }
        // Only the batch that waits can show that there is room again.
        Next::Again
    }

    /// Connects anew, however long it takes, and finds out whether the batch was committed.
    fn wait_for_database(&mut self, why: &str) -> Next {
        self.shared.away(format!("PostgreSQL cannot be reached: {why}"));
        let mut pause = PAUSE.0;
        loop {
            if self.shared.is_closing() {
                return Next::Seal("closed while PostgreSQL could not be reached".to_owned());
            }
            match self.find_out() {
                Ok(next) => {
                    self.shared.back();
                    return next;
                }
                Err(PgError::Lost(why) | PgError::Busy(why) | PgError::Conflict(why)) => {
                    self.shared.away(format!("PostgreSQL cannot be reached: {why}"));
                }
                Err(PgError::Fenced(why) | PgError::Refused(why)) => return Next::Seal(why),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn find_out(&mut self) -> Result<Next, PgError> {
        let last = self.undo.as_ref().filter(|undo| undo.placed.is_some());
        let last = last.and_then(|undo| undo.last);
        let Some(store) = self.postgres() else { return Ok(Next::Again) };
        store.reconnect()?;
        let committed = match last {
            Some((log, seq, leaf)) => store.holds(log, seq, leaf)?,
            None => None,
        };
        if let Some(head) = committed
            && let Some(placed) = self.undo.as_mut().and_then(|undo| undo.placed.take())
        {
            self.head = head;
            self.after_commit();
            return Ok(Next::Committed(placed));
        }
        self.undo();
        Ok(Next::Again)
    }

    /// Renews the lease and closes what dead replicas left open.
    pub(super) fn look_after_lease(&mut self) {
        let due = match &self.store {
            Store::Sqlite(_) => return,
            Store::Postgres(store) => store.renew_at() <= Instant::now(),
        };
        if !due || self.shared.sealed().is_some() {
            return;
        }
        let Some(store) = self.postgres() else { return };
        let dead = store.renew().and_then(|()| store.take_dead());
        let dead = dead.and_then(|dead| self.take_over(&dead));
        match dead {
            Ok(_) => self.shared.back(),
            Err(PgError::Lost(why)) => {
                if let Next::Seal(why) = self.wait_for_database(&why) {
                    self.shared.seal(why);
                }
            }
            Err(PgError::Busy(why) | PgError::Conflict(why)) => {
                tracing::warn!(why, "the lease is renewed later");
            }
            Err(PgError::Fenced(why) | PgError::Refused(why)) => self.shared.seal(why),
        }
        // Others close what they took over; then it is known what became of what was spooled.
        self.settle_earlier();
        if self.postgres().is_some_and(|store| store.publishes()) {
            // Others' records are to be shown too.
            self.publish_at.get_or_insert_with(Instant::now);
        }
    }

    /// Closes what the replicas behind these epochs left open: with the outcome that one of them spooled in
    /// the folder that they share, else as unknown. Each is closed once: who
    /// is itself taken over meanwhile is refused.
    pub(crate) fn take_over(&mut self, epochs: &[i64]) -> Result<Closed, PgError> {
        if epochs.is_empty() {
            return Ok(Closed::default());
        }
        let Store::Postgres(store) = &self.store else { return Ok(Closed::default()) };
        let orphans = store.orphans_of(epochs)?;
        self.know_all()?;
        self.read_earlier().map_err(|why| PgError::Busy(why.to_string()))?;
        let mut jobs: Vec<Orphan> = Vec::with_capacity(orphans.len());
        for (origin, op, seq) in orphans {
            let Some(tenant) = tenant_of(&self.identity.deployment, &origin) else { continue };
            let tenant = tenant.to_owned();
            let Some(end) = self.logs.get_mut(&tenant) else { continue };
            end.open.insert(seq, op);
            jobs.push((tenant, op, seq));
        }
        let closed = self.close_orphans(jobs, "crash").map_err(|error| match error {
            StoreError::Postgres(error) => error,
            StoreError::Sqlite(error) => PgError::Refused(error.to_string()),
        })?;
        if self.shared.sealed().is_none()
            && let Store::Postgres(store) = &self.store
        {
            store.close_epochs(epochs.to_vec())?;
        }
        Ok(closed)
    }

    /// Whether this replica publishes; then its trees are brought up to the heads of all logs.
    pub(super) fn may_publish(&mut self) -> bool {
        match &self.store {
            Store::Sqlite(_) => return true,
            Store::Postgres(store) if !store.publishes() => return false,
            Store::Postgres(_) => {}
        }
        let grown = self.know_all().and_then(|()| self.grow_trees());
        if let Err(why) = &grown {
            tracing::warn!(%why, "publishing waits");
            if let PgError::Refused(why) = why {
                self.shared.seal(why.clone());
            }
        }
        grown.is_ok()
    }

    /// Learns of logs that others began, and how far they are.
    pub(super) fn know_all(&mut self) -> Result<(), PgError> {
        let Store::Postgres(store) = &self.store else { return Ok(()) };
        for (row, size, leaf) in postgres::heads(store.client())? {
            let Some(tenant) = tenant_of(&self.identity.deployment, &row.origin) else { continue };
            let tenant = tenant.to_owned();
            match self.logs.get_mut(&tenant) {
                Some(end) => follow(end, &Locked { id: row.id, size, leaf })?,
                None => drop(self.logs.insert(tenant, LogEnd::at(row, size, leaf))),
            }
        }
        self.shared.set_records(self.records());
        Ok(())
    }

    /// Not more than [`LEAVES_AT_ONCE`], because callers wait meanwhile: a tree that is not there yet
    /// is shown later.
    fn grow_trees(&mut self) -> Result<(), PgError> {
        let Store::Postgres(store) = &self.store else { return Ok(()) };
        let mut left = LEAVES_AT_ONCE;
        for end in self.logs.values_mut().filter(|end| end.tree.size() < end.size) {
            let (tree, mut last) = (&mut end.tree, None);
            let to = end.size.min(tree.size() + left);
            left -= to - tree.size();
            postgres::each_leaf(store.client(), end.row.id, tree.size(), to, |leaf| {
                tree.push(leaf);
                last = Some(leaf);
            })?;
            let tree_size = end.tree.size();
            if tree_size != to || (to == end.size && last != Some(end.leaf)) {
                return Err(behind(&end.row, tree_size, end.size));
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Notes which heads the publisher was told of.
    pub(super) fn announced(&mut self, told: &[(i64, u64)]) {
        if matches!(self.store, Store::Sqlite(_)) {
            self.logs.values_mut().for_each(|end| end.announced = end.size);
            return;
        }
        for (log, size) in told {
            let ends = self.logs.values_mut().filter(|end| end.row.id == *log);
            ends.for_each(|end| end.announced = *size);
        }
    }

    /// Lets go of the lease, so that nobody waits for it to run out.
    pub(super) fn release(&self) {
        let Store::Postgres(store) = &self.store else { return };
        let open = self.logs.values().any(|end| !end.open.is_empty());
        if self.shared.sealed().is_none()
            && let Err(error) = store.release(open)
        {
            tracing::warn!(%error, "the lease runs out by itself");
        }
    }
}

/// Takes size and leaf from the locked head. A head behind what this replica acknowledged was
/// rolled back: a backup was put back, or a standby took over that had not received everything.
fn follow(end: &mut LogEnd, head: &Locked) -> Result<(), PgError> {
    if head.size < end.size || (head.size == end.size && head.leaf != end.leaf) {
        return Err(behind(&end.row, head.size, end.size));
    }
    (end.size, end.leaf) = (head.size, head.leaf);
    Ok(())
}

fn behind(row: &LogRow, here: u64, acknowledged: u64) -> PgError {
    let why = format!(
        "log `{}` is not the one that was acknowledged: here are {here} records of the {acknowledged} \
         that were; a standby took over that had not received everything, or a backup was put back",
        row.origin
    );
    PgError::Refused(why)
}
