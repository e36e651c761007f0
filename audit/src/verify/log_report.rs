//! What the check of one log found, and what vouches for it from outside.

use super::bodies::DisclosedReport;
use super::counts::KeptReport;
use crate::chain::Hash;
use crate::fault::{Fault, FaultKind};
use crate::keys::KeyChange;
use crate::note::Checkpoint;

/// What a whole log contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// Its name.
    pub origin: String,
    /// Number of records.
    pub records: u64,
    /// Number of intents.
    pub intents: u64,
    /// Intents closed by an outcome.
    pub outcomes: u64,
    /// Intents closed as unknown by the ledger.
    pub recovered: u64,
    /// Intents that nothing closed yet.
    pub open: u64,
    /// Records from the begin whose bytes were pruned, as a prune record further on says.
    pub pruned: u64,
    /// Certificates among the pruned records that the prune record says are kept.
    pub kept: u64,
    /// Of these, the ones that are here.
    pub certificates: u64,
    /// Subjects whose keys were destroyed, so that what they did can no longer be read.
    pub erased: u64,
    /// Verifier keys that signed the head.
    pub signed_by: Vec<String>,
    /// Witnesses of the policy that cosigned the head, each with its time in seconds since 1970.
    pub witnessed_by: Vec<(String, u64)>,
    /// Times at which the clock went backwards; order is by place, so this is a flag, no fault.
    pub clock_backwards: u64,
    /// The latest time that a record claims; RFC 3339, empty where there is none.
    pub latest_ts: String,
    /// Counts of sessions, none of which has a gap.
    pub counts: u64,
    /// Records that are numbered in them.
    pub counted: u64,
    /// What became of the answers that callers kept, when some of this log were given.
    pub kept_answers: Option<KeptReport>,
    /// What the export discloses of its records, when it does.
    pub disclosed: Option<DisclosedReport>,
    /// Root over all leaf hashes.
    pub root: Hash,
    /// Heads of other logs that its anchor records vouch for.
    pub anchored: Vec<Anchor>,
    /// Keys that took over from the one that the log began under, by its key records.
    pub keys: Vec<KeyChange>,
}

/// Seconds that clocks may differ before a report says so.
const TOLERANCE: i64 = 60;

impl LogReport {
    /// The fault when a certificate that must be kept is not here.
    pub(crate) fn lost_certificate(&self) -> Option<Fault> {
        (self.pruned > 0 && self.certificates < self.kept).then(|| Fault {
            log: self.origin.clone(),
            seq: None,
            kind: FaultKind::Deleted,
            why: format!(
                "{} certificates among what was pruned must be kept, here are {}",
                self.kept, self.certificates
            ),
        })
    }

    /// Whether a record claims a later time than any witness saw it at: the gateway's clock was wrong
    /// then, or the witness's is.
    #[must_use]
    pub fn is_ahead_of_witnesses(&self) -> bool {
        let seen = self.witnessed_by.iter().map(|(_, at)| *at).max();
        let claimed = self.latest_ts.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second);
        match (seen.map(i64::try_from), claimed) {
            (Some(Ok(seen)), Ok(claimed)) => claimed > i64::saturating_add(seen, TOLERANCE),
            _ => false,
        }
    }
}

/// A head that is vouched for by more than the log's own checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The head.
    pub head: Checkpoint,
    /// By what.
    pub by: Voucher,
}

/// What vouches for a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The anchor record at this place of the deployment's log.
    Record(u64),
    /// A checkpoint that the auditor has from before; its name.
    Seen(String),
}

impl Anchor {
    /// Whether nothing but an auditor's own file vouches for it.
    pub(crate) const fn is_only_seen(&self) -> bool {
        matches!(self.by, Voucher::Seen(_))
    }
}

impl std::fmt::Display for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.by {
            Voucher::Record(seq) => write!(f, "record {seq} of the deployment's log"),
            Voucher::Seen(name) => write!(f, "the checkpoint `{name}` seen before"),
        }
    }
}
