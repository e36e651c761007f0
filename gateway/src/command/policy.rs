//! `portcullis policy`: checks, tests and proves the rules, and tells why a call is decided as it is.

mod check;
mod error;
mod explain;
mod past;
mod prove;
mod replay;
mod show;
mod subject;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use self::error::PolicyError;
pub(super) use self::past::Archive;
use self::subject::Place;
use super::{Deployment, block_on, print};

/// Arguments of `portcullis policy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Rules come from --dir, else from the configuration, else from the binary.
Tools come from the apps of the configuration, else from tools/*.json of --dir, else from the binary's examples.")]
pub struct PolicyArgs {
    #[command(flatten)]
    deployment: Deployment,
    /// A folder with rules/, and maybe invariants/, cases/ and tools/
    #[arg(long, value_name = "FOLDER", global = true)]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Syntax, strict validation, annotations, and what rules cannot see
    Check,
    /// Run the cases of cases/*.json; no case at all is a failure
    Test,
    /// Prove that every invariant holds and that no rule can fail (needs cvc5)
    Prove(prove::ProveArgs),
    /// Why a recorded call was decided as it was, or how a call would be decided now
    Explain(explain::ExplainArgs),
    /// Run recorded decisions again, on the recorded rules or against a candidate set
    Replay(replay::ReplayArgs),
}

/// Runs `portcullis policy`. Exit codes: 0 all is well, 1 something is not, 2 wrong usage.
#[must_use]
pub fn run(args: PolicyArgs) -> ExitCode {
    let settings = match args.deployment.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let configured = args.deployment.config.is_some();
    let place = Place { settings, configured, dir: args.dir, json: args.json };
    match block_on(act(&place, args.verb)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) if place.json => {
            print::json(&fault.to_json());
            ExitCode::FAILURE
        }
        Err(fault) => print::fault(fault),
    }
}

async fn act(place: &Place, verb: Verb) -> Result<bool, PolicyError> {
    match verb {
        Verb::Check => check::run(place).await,
        Verb::Test => test::run(place).await,
        Verb::Prove(args) => prove::run(place, &args).await,
        Verb::Explain(args) => explain::run(place, &args).await,
        Verb::Replay(args) => replay::run(place, &args).await,
    }
}
