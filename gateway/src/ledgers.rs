//! The ledger of a deployment from outside the gateway: for `portcullis ledger` and the demo.

use std::path::{Path, PathBuf};

use portcullis_audit::{Exported, OpenError, ReadError, Reader, export as write_export, load_key};

use crate::config::Settings;

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
    Ok(write_export(&reader(settings)?, &key, &settings.ledger.deployment, folder)?)
}
