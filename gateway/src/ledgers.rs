//! The ledger of a deployment from outside the gateway: for `portcullis ledger` and the demo.

use std::path::{Path, PathBuf};

use portcullis_audit::policy::Witness;
use portcullis_audit::{Exported, OpenError, ReadError, Reader, Watch, export_watched, load_key};

use crate::config::{Settings, WitnessPolicy};

/// Why the ledger can't be read or exported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LedgerError {
    /// There is none.
    #[error("there is no ledger at `{}`", .0.display())]
    #[diagnostic(help(
        "name the deployment by --config; `portcullis serve` makes its ledger at the first start"
    ))]
    Absent(PathBuf),
    /// The ledger, or the folder of an export.
    #[error(transparent)]
    Read(ReadError),
    /// The key that signs heads.
    #[error(transparent)]
    Key(#[from] OpenError),
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
    Ok(Reader::open(&settings.data.ledger_db())?)
}

/// Writes all logs into a folder that anybody can verify; its heads are signed.
///
/// # Errors
/// When the ledger can't be read, the folder not written, or the key not used.
pub fn export(settings: &Settings, folder: &Path) -> Result<Exported, LedgerError> {
    let key = load_key(&settings.data.ledger_key())?;
    let deployment = &settings.ledger.deployment;
    Ok(export_watched(&reader(settings)?, &key, deployment, folder, &watch(settings))?)
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
    Watch {
        witnesses: witnesses.collect(),
        quorum: watched.quorum,
        ledger: Some(settings.data.ledger_db()),
    }
}
