//! What an auditor brings along: whom to believe, and what callers kept.

use super::bodies::Brought;
use super::counts::{Kept, logs_of};
use super::report::Verdict;
use crate::fault::printable;
use crate::note::{Checkpoint, VerifierKey};
use crate::policy::Policy;
use crate::promise::Promise;

/// Whom the verifier believes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Logs and witnesses that the auditor believes, from elsewhere (c2sp.org/tlog-policy): every
    /// log must be signed by one of these logs' keys and cosigned by the quorum. Without one, the
    /// policies in the folder are taken, which proves only that it hangs together.
    pub policy: Option<Policy>,
    /// Checkpoints that the auditor has seen before, each with a name for reports: what was signed
    /// then must be the begin of what is here.
    pub seen: Vec<(String, String)>,
    /// Promises that callers have kept, each with a name for reports; see [`Promise`].
    pub promises: Vec<(String, String)>,
    /// Numbers that callers say they were told with their answers; those of promises need not be here too.
    /// Unless signed in an opened promise, one that is missing is named in the report and is no fault.
    pub answers: Vec<Kept>,
    /// The promises are all that a caller kept, the newest included: one that is newer than the export
    /// is told and no reason to give up.
    pub keeps_all: bool,
    /// Payloads of disclosed fields that the auditor has from elsewhere.
    pub payloads: Vec<Brought>,
}

impl Trust {
    /// Believes these keys, and asks for no witness.
    #[must_use]
    pub fn in_keys(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        Self { policy: Some(Policy::of_logs(keys)), ..Self::default() }
    }

    /// What was brought along says something only where its log is, and only up to the head that is here.
    pub(super) fn is_of_these(&self, listed: &[Checkpoint]) -> Result<(), Verdict> {
        for (name, note) in &self.promises {
            let origin = Promise::origin_of(note)
                .ok_or_else(|| Verdict::Unreadable(format!("`{name}`: it is not a promise")))?;
            if listed.iter().all(|head| head.origin != origin) {
                let why =
                    format!("`{name}` is a promise of `{origin}`, which is not in this export");
                return Err(Verdict::Unreadable(printable(&why)));
            }
        }
        for log in logs_of(&self.answers) {
            if listed.iter().all(|head| head.origin != log) {
                let why =
                    format!("an answer that was kept is of `{log}`, which is not in this export");
                return Err(Verdict::Unreadable(printable(&why)));
            }
        }
        for one in &self.payloads {
            let of_it = |head: &Checkpoint| head.origin.rsplit('/').next() == Some(&one.tenant);
            if !listed.iter().any(of_it) {
                let why =
                    format!("`{}` is of `{}`, which is not in this export", one.name, one.tenant);
                return Err(Verdict::Unreadable(printable(&why)));
            }
        }
        Ok(())
    }
}
