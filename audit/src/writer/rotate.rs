//! Writes the records by which a new key takes over: one in each log, all in one commit, so that no
//! crash leaves two logs under two keys.
//!
//! INVARIANT: no head over such a record is signed by the old key: this writer is sealed after it, and
//! other replicas find out before they write or sign
//! (`after_a_rotation_no_head_is_signed_by_the_old_key`,
//! `a_replica_with_the_old_key_neither_writes_nor_signs_after_a_rotation`).

use std::collections::BTreeMap;

use super::{Batch, Writer};
use crate::crash_point;
use crate::entry::{CallFields, Kind, Retention};
use crate::error::Unavailable;
use crate::keys::{KeyStatement, operation};
use crate::note::LogKey;
use crate::queue::{Payload, RecordJob, RotateJob};
use crate::receipt::Appended;
use crate::record::Draft;
use crate::rotate::NotRotated;
use crate::store::{PgError, Store, StoreError};

/// How often it is tried again when a log was begun at the same moment.
const TRIES: u32 = 8;

impl Writer {
    pub(super) fn rotate(&mut self, job: RotateJob) {
        let RotateJob { next, fence, reply } = job;
        let _ = reply.send(self.hand_over(&next, fence)); // The records say so too.
    }

    fn hand_over(&mut self, next: &LogKey, fence: bool) -> Result<Vec<Appended>, NotRotated> {
        if let Some(why) = self.shared.sealed() {
            return Err(Unavailable::Sealed(why).into());
        }
        if let Store::Postgres(store) = &self.store
            && !fence
        {
            let live = store.live_others();
            let live = live.map_err(|why| NotRotated::Storage(why.to_string()))?;
            if !live.is_empty() {
                return Err(NotRotated::Others(live));
            }
        }
        let mut tries = 0;
        let written = loop {
            match self.write_keys(next) {
                Err(StoreError::Postgres(PgError::Conflict(_))) if tries < TRIES => tries += 1,
                written => break written,
            }
        };
        // Whatever came of it: what signs next must have looked at the records again.
        let said = written.as_ref().err().map(ToString::to_string);
        let why = said.clone().unwrap_or_else(|| "its key was replaced".to_owned());
        self.shared.seal(format!("{why}; restart to go on"));
        match written {
            Ok(records) if records.is_empty() => Err(NotRotated::NoLog),
            Ok(records) => Ok(records),
            Err(_) => Err(NotRotated::Storage(said.unwrap_or_default())),
        }
    }

    fn write_keys(&mut self, next: &LogKey) -> Result<Vec<Appended>, StoreError> {
        self.know_all()?;
        let tenants: BTreeMap<&String, &str> =
            self.logs.iter().map(|(tenant, end)| (tenant, end.row.origin.as_str())).collect();
        let key = &self.identity.key;
        let jobs = tenants.iter().map(|(tenant, origin)| key_job(tenant, origin, key, next));
        let jobs: Option<Vec<RecordJob>> = jobs.collect();
        let jobs = jobs.ok_or_else(|| PgError::Refused("a log has no name of a key".to_owned()))?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        if let Store::Postgres(store) = &mut self.store {
            store.rotate_to(next.vkey(&self.identity.deployment));
        }
        let mut placed = Vec::new();
        if let Err(error) = self.commit(&Batch::of(jobs), &mut placed) {
            self.store.rollback();
            self.undo();
            return Err(error);
        }
        crash_point!("rotate_after_records");
        Ok(placed.into_iter().filter_map(Result::ok).collect())
    }
}

fn key_job(tenant: &str, origin: &str, old: &LogKey, new: &LogKey) -> Option<RecordJob> {
    let statement = KeyStatement::sign(origin, old, new).ok()?;
    let fields = CallFields {
        ret: Some(Retention::Hold),
        note: [("statement".to_owned(), statement)].into(),
        ..CallFields::default()
    };
    let op = operation(origin);
    let draft = Draft::new(Kind::Key, tenant, op, None, &fields, false).ok()?;
    Some(RecordJob::new(tenant.to_owned(), draft, None, Payload::Other { op }))
}
