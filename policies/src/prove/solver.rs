//! The solver: where it is, and one question at a time with a limit.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cedar_policy_symcc::CedarSymCompiler;
use cedar_policy_symcc::solver::LocalSolver;

use super::ProveError;

/// The limit of one question, unless it is changed.
const LIMIT: Duration = Duration::from_secs(30);

/// A cvc5 on this host.
#[derive(Debug, Clone)]
pub struct Solver {
    path: PathBuf,
    limit: Duration,
    /// The first line of what it says about itself.
    pub version: String,
}

impl Solver {
    /// Looks for cvc5: the file that the environment variable `CVC5` names, else `cvc5` in `PATH`.
    ///
    /// `None` when there is none, or when it does not say its version.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os("CVC5").map(PathBuf::from);
        Self::at(&named.or_else(|| in_path(&std::env::var_os("PATH")?))?)
    }

    /// The cvc5 at this path; `None` when it does not say its version.
    pub fn at(path: &Path) -> Option<Self> {
        let output = std::process::Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()
            .filter(|o| o.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next()?.trim();
        let version = line.strip_prefix("This is ").unwrap_or(line).to_owned();
        version.contains("cvc5").then_some(Self { path: path.to_owned(), limit: LIMIT, version })
    }

    /// The same solver with another limit for one question.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The limit of one question.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Starts the process; it dies when the value is dropped.
    pub(super) fn start(&self) -> Result<CedarSymCompiler<LocalSolver>, ProveError> {
        let limit = format!("--tlimit-per={}", self.limit.as_millis());
        let mut command = tokio::process::Command::new(&self.path);
        command.args(["--lang", "smt", &limit]).kill_on_drop(true);
        let process = LocalSolver::from_command(&mut command)
            .map_err(|e| ProveError::Solver(e.to_string()))?;
        CedarSymCompiler::new(process).map_err(|e| ProveError::Solver(e.to_string()))
    }
}

fn in_path(path: &OsString) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join("cvc5")).find(|file| file.is_file())
}
