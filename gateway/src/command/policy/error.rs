//! What can stop a policy command, sorted by who can mend it.

use std::path::PathBuf;

use portcullis_policies::{ProveError, ReplayError, RuleErrors};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::apps::AppsError;
use crate::deployment_keys::DeploymentKeyError;
use crate::directory::DirectoryError;
use crate::ledgers::LedgerError;
use crate::record::Unopened;

/// Why a policy command gives no answer.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(in crate::command) enum PolicyError {
    /// The rules have mistakes; all of them are listed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rules(#[from] RuleErrors),
    /// A file of the author can't be read.
    #[error("{what} cannot be read from {}: {source}", path.display())]
    #[diagnostic(help("a policies folder holds rules/, and maybe invariants/, cases/ and tools/"))]
    Read { what: &'static str, path: PathBuf, source: std::io::Error },
    /// The answer can't be written.
    #[error("{} cannot be written: {source}", path.display())]
    #[diagnostic(help("name a folder that exists and that you may write to"))]
    Write { path: PathBuf, source: std::io::Error },
    /// A file of tools is wrong.
    #[error("{file} does not list tools: {why}")]
    #[diagnostic(help(
        "write a JSON array of objects with `name` (app/function), `action_type` and `input_schema`"
    ))]
    Tools { file: String, why: serde_json::Error },
    /// A configured app's own files are wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apps(#[from] AppsError),
    /// No solver on this host.
    #[error("there is no solver{0}")]
    #[diagnostic(help(
        "apt-get install cvc5, or name the executable by `solver` under [policies] or by the variable CVC5"
    ))]
    NoSolver(String),
    /// The solver gave no answer, which is never taken for a proof.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The asker's own words can't be used.
    #[error("{what}")]
    #[diagnostic(help("{help}"))]
    Usage { what: String, help: String },
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The ledger.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger has no such operation.
    #[error("the ledger holds no record of operation {0}")]
    #[diagnostic(help(
        "take the id from the header `x-portcullis-op` of the answer, or from `portcullis ledger show --json`; \
         name the deployment by --config"
    ))]
    NoRecord(Uuid),
    /// No rule was asked about it.
    #[error("no rule was asked about operation {op}: it ended before, as {ended}")]
    #[diagnostic(help("`portcullis ledger find {op}` shows its records"))]
    NothingAsked { op: Uuid, ended: String },
    /// A key of the deployment is not here.
    #[error("{what} is not there: {}", path.display())]
    #[diagnostic(help("run this where the deployment's keys are, with its --config"))]
    NoKey { what: &'static str, path: PathBuf },
    /// A key of the deployment can't be used.
    #[error("the deployment's keys cannot be used: {0}")]
    #[diagnostic(help("run this with the key file that belongs to this data folder"))]
    Keys(String),
    /// The directory knows nobody of the record's pseudonym.
    #[error("nobody in the directory has the pseudonym {0} of this record")]
    #[diagnostic(help(
        "the person was erased, or this is another deployment's directory; the record itself stays verifiable"
    ))]
    Nobody(String),
    /// What is sealed beside the record stays closed.
    #[error("the sealed decision of operation {op} cannot be opened: {source}")]
    #[diagnostic(help(
        "its scope key was erased, or the key file is another one; verify the ledger with `portcullis ledger verify`"
    ))]
    Sealed { op: Uuid, source: Unopened },
    /// The ledger does not keep the policy set that it names.
    #[error("the ledger does not hold the policy set {0}")]
    #[diagnostic(help("verify the ledger with `portcullis ledger verify`"))]
    NoPolicySet(String),
    /// A recorded decision can't be run again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl PolicyError {
    /// `{ok: false, error, help, mistakes}` for scripts.
    pub(super) fn to_json(&self) -> Value {
        let mistakes = match self {
            Self::Rules(errors) => errors.to_json(),
            _ => json!([]),
        };
        let help = miette::Diagnostic::help(self).map(|help| help.to_string());
        json!({ "ok": false, "error": self.to_string(), "help": help, "mistakes": mistakes })
    }

    pub(in crate::command) fn usage(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), help: help.into() }
    }
}

impl From<DeploymentKeyError> for PolicyError {
    fn from(fault: DeploymentKeyError) -> Self {
        Self::Keys(fault.to_string())
    }
}
