//! The ledger of a deployment from outside the gateway: for `portcullis ledger` and the demo.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_audit::chain::{self, tenant_of};
use portcullis_audit::keys::KeyChain;
use portcullis_audit::note::VerifierKey;
use portcullis_audit::policy::{Policy, Witness};
use portcullis_audit::prune::{self, NotPrunable, Prefix, examine};
use portcullis_audit::rotate::{self, NotRotated, Rotated};
use portcullis_audit::tlog_proof::TlogProof;
use portcullis_audit::{
    DEPLOYMENT, Exported, Ledger, OpenError, PublishedLogs, ReadError, Reader, Unavailable, Watch,
    export_with, load_key,
};

use crate::config::{Settings, WitnessPolicy};
use crate::directory::DirectoryError;
use crate::open::{ledger_options, look_at_directory};

/// Why the ledger can't be read or exported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LedgerError {
    /// There is none.
    #[error("there is no ledger at `{}`", .0.display())]
    #[diagnostic(help(
        "name the deployment by --config; `portcullis serve` makes its ledger at the first start"
    ))]
    Absent(PathBuf),
    /// There is no such log.
    #[error("there is no log `{0}`")]
    #[diagnostic(help(
        "name a tenant, or `deployment`; `portcullis ledger show` lists what there is"
    ))]
    NoLog(String),
    /// The ledger, or the folder of an export.
    #[error(transparent)]
    Read(ReadError),
    /// The key that signs heads, or a ledger that can't be opened for writing.
    #[error(transparent)]
    Key(#[from] OpenError),
    /// Nothing is pruned.
    #[error(transparent)]
    #[diagnostic(help("`portcullis ledger prune --help` shows the steps, in their order"))]
    NotPrunable(#[from] NotPrunable),
    /// Somebody wants it kept.
    #[error("log {0} is held since {since} by {by}, so nothing of it goes", since = .1, by = .2)]
    #[diagnostic(help("`portcullis vault holds` says why; `portcullis vault lift` ends a hold"))]
    Held(String, String, String),
    /// Who is held can't be asked.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The key was not replaced.
    #[error(transparent)]
    #[diagnostic(help(
        "stop every gateway of this deployment and call it again: it goes on where it stopped; \
         `portcullis ledger key rotate --help` shows the steps"
    ))]
    NotRotated(#[from] NotRotated),
    /// The ledger could not be closed in order.
    #[error("the ledger was not closed in order: {0}")]
    Unavailable(#[from] Unavailable),
    /// The operating system.
    #[error("nothing can be run: {0}")]
    Runtime(#[from] std::io::Error),
}

impl From<ReadError> for LedgerError {
    fn from(fault: ReadError) -> Self {
        match fault {
            ReadError::Absent(path) => Self::Absent(path),
            fault => Self::Read(fault),
        }
    }
}

/// A read-only view of the deployment's ledger; a running gateway does not mind.
///
/// # Errors
/// When there is none, or it can't be read.
pub fn reader(settings: &Settings) -> Result<Reader, LedgerError> {
    Ok(Reader::of(&ledger_options(settings)?)?)
}

/// Writes all logs, or one, into a folder that anybody can verify; tells now and then how many records of how
/// many are written.
///
/// # Errors
/// When the ledger can't be read, the folder not written, or the key not used.
pub fn export(
    settings: &Settings,
    log: Option<&str>,
    folder: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, LedgerError> {
    let (key, reader) = (load_key(&settings.data.ledger_key())?, reader(settings)?);
    let origin = match log {
        Some(log) => Some(origin(&reader, log)?),
        None => None,
    };
    let which = (settings.ledger.deployment.as_str(), origin.as_deref());
    Ok(export_with(&reader, &key, which, folder, &watch(settings), progress)?)
}

/// The proof that one record is in its log, with the record in it.
///
/// # Errors
/// When there is no such log or record, or it is not under a signed head yet.
pub fn prove(settings: &Settings, log: &str, seq: u64) -> Result<TlogProof, LedgerError> {
    let reader = reader(settings)?;
    let origin = origin(&reader, log)?;
    let published = PublishedLogs::of(&reader, &settings.ledger.deployment);
    Ok(published.prove(&reader, &origin, seq)?)
}

/// What of a log can be pruned now, under an export in `folder`.
///
/// # Errors
/// [`LedgerError::NotPrunable`], or when the ledger can't be read.
pub fn prunable(settings: &Settings, log: &str, folder: &Path) -> Result<Prefix, LedgerError> {
    let reader = reader(settings)?;
    let origin = origin(&reader, log)?;
    let tenant = tenant_of(&settings.ledger.deployment, &origin);
    let tenant = tenant.ok_or_else(|| LedgerError::NoLog(log.to_owned()))?;
    runtime()?.block_on(not_held(settings, tenant))?;
    Ok(examine(&reader, (&origin, tenant), folder, trust(settings)?, Timestamp::now())?)
}

/// Prunes it; gives the place of the prune record. With a ledger in a file no gateway may serve it.
///
/// # Errors
/// [`LedgerError::Key`] when the ledger is in use, [`LedgerError::NotPrunable`].
pub fn prune(
    settings: &Settings,
    prefix: Prefix,
    approved_by: [&str; 2],
) -> Result<u64, LedgerError> {
    prune::approvers(approved_by)?;
    let mut options = ledger_options(settings)?;
    // A replica of its own name: the gateway's would be taken over and refused.
    "prune".clone_into(&mut options.replica);
    runtime()?.block_on(async {
        let (ledger, _) = Ledger::open(options)?;
        let pruned = prune::prune(&ledger, prefix, approved_by).await;
        // The bytes are only gone from the journal once it is closed.
        ledger.close().await?;
        Ok(pruned?)
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A legal hold on a tenant, or on anybody in it, keeps the whole log: a prefix goes with everybody's records.
async fn not_held(settings: &Settings, tenant: &str) -> Result<(), LedgerError> {
    let Some(directory) = look_at_directory(settings).await? else { return Ok(()) };
    let holds = directory.holds().await;
    directory.close().await;
    match holds?.into_iter().find(|hold| hold.tenant == tenant) {
        None => Ok(()),
        Some(hold) => {
            let since = Timestamp::from_millisecond(hold.since_ms).unwrap_or_default();
            Err(LedgerError::Held(tenant.to_owned(), since.to_string(), hold.by))
        }
    }
}

fn origin(reader: &Reader, log: &str) -> Result<String, LedgerError> {
    reader.origin(log)?.ok_or_else(|| LedgerError::NoLog(log.to_owned()))
}

/// The keys that sign and have signed the deployment's own log: one key signs all logs of a deployment,
/// each under its own name.
///
/// # Errors
/// When the key can't be used, or is not the one that signs now.
pub fn keys(settings: &Settings) -> Result<KeyChain, LedgerError> {
    let name = chain::origin(&settings.ledger.deployment, DEPLOYMENT);
    let key = load_key(&settings.data.ledger_key())?.vkey(&name);
    let no_key = || LedgerError::Read(ReadError::Key { log: name.clone() });
    let key = VerifierKey::parse(&key).map_err(|_| no_key())?;
    let known = match reader(settings) {
        Ok(reader) => reader.keys(&name)?,
        Err(LedgerError::Absent(_)) => None,
        Err(fault) => return Err(fault),
    };
    let known = known.unwrap_or_else(|| KeyChain::new(key.clone()));
    if *known.current() == key { Ok(known) } else { Err(no_key()) }
}

/// Replaces the key by a new one. With a ledger in a file no gateway may serve it; with `fence` other
/// replicas of one in PostgreSQL may, and stop taking calls.
///
/// # Errors
/// [`LedgerError::NotRotated`].
pub fn rotate(settings: &Settings, fence: bool) -> Result<Rotated, LedgerError> {
    let mut options = ledger_options(settings)?;
    // As for pruning.
    "key-rotate".clone_into(&mut options.replica);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(rotate::rotate(options, fence))?)
}

/// Whom an auditor has to believe to check exports and proofs of this ledger: to be handed over once,
/// and kept where the operator can't change it.
///
/// # Errors
/// When the key can't be used.
pub fn trust(settings: &Settings) -> Result<Policy, LedgerError> {
    policy(settings, true)
}

/// The same with the key that signs now alone, or with `all` that have signed.
///
/// # Errors
/// When the key can't be used.
pub fn policy(settings: &Settings, all: bool) -> Result<Policy, LedgerError> {
    // One key signs all logs; `portcullis-verify` believes it for each of this deployment.
    let keys = keys(settings)?;
    let most = if all { usize::MAX } else { 1 };
    let policy = Policy::of_logs(keys.newest_first().take(most).cloned());
    let watch = watch(settings);
    Ok(policy.watched_by(&watch.witnesses, watch.quorum))
}

/// The witnesses of the configuration, as policies of auditors have them.
fn watch(settings: &Settings) -> Watch {
    let watched = &settings.ledger.witness;
    if watched.policy == WitnessPolicy::None {
        return Watch::default();
    }
    let witnesses = watched.witnesses.iter().map(|witness| Witness {
        name: witness.name.clone(),
        key: witness.key.clone(),
        url: Some(witness.url.clone()),
    });
    Watch { witnesses: witnesses.collect(), quorum: watched.quorum }
}
