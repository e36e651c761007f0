//! Taking away the bytes of pruned records. Only after the prune record is on disk, in pieces, and
//! so that it can be gone on with after a kill at any moment.

use super::Writer;
use crate::crash_point;
use crate::error::Unavailable;
use crate::queue::CutJob;
use crate::store::{Cut, StoreError};
use crate::wal::Checkpointing;

/// Records in one transaction.
const AT_ONCE: u64 = 1024;

impl Writer {
    pub(super) fn carry_out(&mut self, job: CutJob) {
        let CutJob { tenant, from, cut, reply } = job;
        let done = match (self.shared.sealed(), self.logs.get(&tenant)) {
            (Some(why), _) => Err(Unavailable::Sealed(why)),
            (None, None) => Err(Unavailable::Sealed(format!("there is no log of `{tenant}`"))),
            (None, Some(end)) => {
                let id = end.row.id;
                let done = self.cut(id, from, &cut).map_err(|error| self.cut_failed(&error));
                // Who lost its lease meanwhile has stopped half-way.
                done.and_then(|()| {
                    self.shared.sealed().map_or(Ok(()), |why| Err(Unavailable::Sealed(why)))
                })
            }
        };
        // Who asked may have gone; the cut is done all the same.
        let _ = reply.send(done);
    }

    fn cut(&mut self, log: i64, from: u64, cut: &Cut) -> Result<(), StoreError> {
        crash_point!("prune_before_cut");
        self.store.insert_prune(log, cut)?;
        let mut from = from;
        while from < cut.until && self.shared.sealed().is_none() {
            let to = cut.until.min(from + AT_ONCE);
            let place = |end| cut.kept.partition_point(|seq| *seq < end);
            let kept = cut.kept.get(place(from)..place(to)).unwrap_or_default();
            self.store.clear(log, from, to, kept)?;
            crash_point!("prune_midway");
            from = to;
            // It may take long: neither the lease nor the room for the journal must run out.
            self.look_after_lease();
            self.checkpointing.iter().for_each(Checkpointing::tick);
        }
        Ok(())
    }

    /// After a failed commit the file is suspect, whatever was in the commit.
    fn cut_failed(&mut self, error: &StoreError) -> Unavailable {
        self.store.rollback();
        let why = format!("pruning stopped ({error}); it goes on where it was when asked again");
        if matches!(error, StoreError::Sqlite(_)) {
            self.shared.seal(why.clone());
        }
        Unavailable::Sealed(why)
    }
}
