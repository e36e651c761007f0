//! What the writer hands to the publisher, and what it notes of that in the deployment's log.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Batch, LogEnd, Writer};
use crate::entry::{CallFields, DEPLOYMENT, Kind, Retention};
use crate::note::Checkpoint;
use crate::publish::NewHead;
use crate::queue::{Payload, RecordJob};
use crate::record::Draft;

/// How soon a publisher that is still busy is offered the next heads.
const PUBLISH_AGAIN: Duration = Duration::from_millis(100);

/// How often the deployment's log notes the heads of the tenants' logs.
pub(crate) const ANCHOR_EVERY: Duration = Duration::from_secs(60);

/// Heads in one anchor record: about 220 bytes each.
const HEADS_PER_ANCHOR: usize = 200;

impl Writer {
    pub(super) fn publish_when_due(&mut self) {
        let now = Instant::now();
        if self.publish_at.is_none_or(|due| due > now) || self.shared.sealed().is_some() {
            return;
        }
        if !self.may_publish() {
            self.publish_at = None;
            return;
        }
        // A log that the deployment's knows nothing of could be left out unnoticed.
        let is_new = |(tenant, end): (&String, &LogEnd)| {
            tenant != DEPLOYMENT && end.anchored == 0 && end.size > 0
        };
        if self.anchor_at <= now || self.logs.iter().any(is_new) {
            self.anchor();
            self.anchor_at = now + ANCHOR_EVERY;
        }
        let new = self.new_heads();
        new.iter().for_each(|new| self.shared.durable(&new.head.origin, new.head.size));
        let told: Vec<(i64, u64)> = new.iter().map(|new| (new.log, new.head.size)).collect();
        self.publish_at = match self.heads.try_send(new) {
            Ok(()) => None,
            // It is still busy, and later heads say all that these do.
            Err(mpsc::TrySendError::Full(_)) => Some(now + PUBLISH_AGAIN),
            Err(mpsc::TrySendError::Disconnected(_)) => {
                self.shared.seal("the publisher has ended".to_owned());
                None
            }
        };
        if self.publish_at.is_none() {
            self.announced(&told);
        }
    }

    /// Heads of the logs that have grown.
    pub(super) fn new_heads(&self) -> Vec<NewHead> {
        let grown = self.logs.values().filter(|end| end.announced < end.size);
        let grown = grown.filter(|end| end.tree.size() == end.size);
        grown.map(|end| NewHead { log: end.row.id, head: end.head() }).collect()
    }

    /// Notes the heads of the tenants' logs in the deployment's own, so that none can be left out
    /// or told differently to somebody else later.
    pub(super) fn anchor(&mut self) {
        let tenants = self.logs.iter().filter(|(tenant, _)| *tenant != DEPLOYMENT);
        let grown = tenants.filter(|(_, end)| end.anchored < end.size);
        let grown = grown.filter(|(_, end)| end.tree.size() == end.size);
        let heads: Vec<(String, Checkpoint)> =
            grown.map(|(tenant, end)| (tenant.clone(), end.head())).collect();
        for heads in heads.chunks(HEADS_PER_ANCHOR) {
            let noted: Vec<Checkpoint> = heads.iter().map(|(_, head)| head.clone()).collect();
            let Some(record) = anchor_job(&noted) else { continue };
            let (reply, mut answer) = oneshot::channel();
            self.commit_and_answer(Batch::of(vec![record.answered_to(reply)]));
            // Refused on a full disk or a sealed ledger: then they wait for the next time.
            if !matches!(answer.try_recv(), Ok(Ok(_))) {
                return;
            }
            for (tenant, head) in heads {
                if let Some(end) = self.logs.get_mut(tenant) {
                    end.anchored = head.size;
                }
            }
        }
    }
}

fn anchor_job(heads: &[Checkpoint]) -> Option<RecordJob> {
    let op = Uuid::now_v7();
    let fields =
        CallFields { heads: heads.to_vec(), ret: Some(Retention::Hold), ..CallFields::default() };
    let draft = Draft::new(Kind::Anchor, DEPLOYMENT, op, None, &fields, false).ok()?;
    Some(RecordJob::new(DEPLOYMENT.to_owned(), draft, None, Payload::Other { op }))
}
