//! Taking away the bytes of pruned records. Only after the prune record is on disk, in pieces, and
//! so that it can be gone on with after a kill at any moment.

use super::Writer;
use crate::crash_point;
use crate::error::Unavailable;
use crate::queue::CutJob;
use crate::store::{Cut, StoreError};

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
                self.cut(id, from, &cut).map_err(|error| self.cut_failed(&error))
            }
        };
        // Who asked may have gone; the cut is done all the same.
        let _ = reply.send(done);
    }

    fn cut(&self, log: i64, from: u64, cut: &Cut) -> Result<(), StoreError> {
        crash_point!("prune_before_cut");
        self.store.insert_prune(log, cut)?;
        let mut from = from;
        while from < cut.until {
            let to = cut.until.min(from + AT_ONCE);
            self.store.clear(log, from, to, &cut.kept)?;
            crash_point!("prune_midway");
            from = to;
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
