//! Gives a ledger a new signing key, in steps of which each can be the last before a crash:
//!
//! 1. The new key is made, durably, as `<key file>.next`. Nothing has changed.
//! 2. Each log gets a `key` record that both keys signed, all in one commit. The ledger takes nothing
//!    more: the old key has signed its last head.
//! 3. The ledger is opened as at any start. That finds the records, puts the new key in the place
//!    of the old one, which stays as `<key file>.retired-<id>`, and signs the heads with it.
//!
//! Interrupted before the commit, the same call goes on with the key that is there; interrupted after
//! it, any start goes on. What was signed last is noted beside the key file, whose place stays the
//! same, so it guards against a second root for one size across both keys.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::chain::origin;
use crate::crash_point;
use crate::entry::DEPLOYMENT;
use crate::error::{OpenError, Unavailable};
use crate::key_file::{is_waiting, keep_as_retired, load_key, lock, make_next, retired};
use crate::ledger::{Ledger, LedgerOptions};
use crate::note::VerifierKey;

/// What a replica says that still has the old key.
pub(crate) const REPLACED: &str =
    "the log key was replaced by `portcullis ledger key rotate`; restart with the new key file";

/// A key that has taken over from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The old key, under the name of the deployment's own log.
    pub old: VerifierKey,
    /// The new one.
    pub new: VerifierKey,
    /// Number of logs with a key record of this rotation; `None` when an earlier call wrote them and
    /// this one brought it to its end.
    pub logs: Option<usize>,
    /// Where the old key's file is now. Nothing needs it any more.
    pub retired: PathBuf,
}

/// Why the key was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum NotRotated {
    /// The ledger can't be opened, or the key files not be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Other replicas have the ledger open, and would have to stop at once.
    #[error("other replicas have the ledger open: {}", .0.join(", "))]
    Others(Vec<String>),
    /// Somebody else rotates it at this moment.
    #[error("another `ledger key rotate` is under way")]
    Busy,
    /// There is nothing yet that a key has signed.
    #[error("the ledger has no log yet")]
    NoLog,
    /// The ledger does not take the records.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Whether the records were written is not known; the next start looks.
    #[error("the records could not be written: {0}")]
    Storage(String),
}

/// Replaces the key of the ledger that these options open, or brings a rotation to its end that was
/// interrupted. With a SQLite file no gateway may have it open. With PostgreSQL the other replicas
/// are to be stopped; with `fence` it is done all the same, and they find out before they write or
/// sign anything more, seal themselves and have to be restarted with the new key file.
///
/// # Errors
/// [`NotRotated`]; the same call again goes on where it stopped.
pub async fn rotate(options: LedgerOptions, fence: bool) -> Result<Rotated, NotRotated> {
    let path = options.signing_key.clone();
    let name = origin(&options.deployment, DEPLOYMENT);
    let of_file = || -> Result<VerifierKey, OpenError> {
        let vkey = load_key(&path)?.vkey(&name);
        let why = |_| OpenError::Options(format!("`{name}` can't be the name of a key"));
        VerifierKey::parse(&vkey).map_err(why)
    };
    let unusable = |error: std::io::Error| NotRotated::Storage(error.to_string());
    let _lock = lock(&path).map_err(unusable)?.ok_or(NotRotated::Busy)?;
    let (old, waiting) = (of_file()?, is_waiting(&path));
    let (ledger, _) = Ledger::open(options.clone())?;
    let mut logs = None;
    if waiting && !is_waiting(&path) {
        ledger.close().await?;
    } else {
        let next = make_next(&path)?;
        keep_as_retired(&path, &old.id()).map_err(unusable)?;
        crash_point!("rotate_after_next");
        let written = ledger.hand_over(Arc::new(next), fence).await;
        // Sealed, because its key was replaced.
        let closed = ledger.close().await;
        logs = Some(written?.len());
        crash_point!("rotate_before_install");
        drop(closed);
        Ledger::open(options)?.0.close().await?;
    }
    let retired = retired(&path, &old.id());
    Ok(Rotated { new: of_file()?, retired, old, logs })
}

impl Ledger {
    async fn hand_over(
        &self,
        next: Arc<crate::note::LogKey>,
        fence: bool,
    ) -> Result<Vec<crate::receipt::Appended>, NotRotated> {
        let (reply, answer) = oneshot::channel();
        self.submit(crate::queue::RotateJob { next, fence, reply })?;
        answer.await.unwrap_or(Err(NotRotated::Unavailable(Unavailable::Closed)))
    }
}
