//! `portcullis-verify`: checks a ledger export offline.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use portcullis_audit::note::VerifierKey;
use portcullis_audit::verify::{Report, Trust, Verdict, verify};

/// Checks that a ledger export is as it was written, without trusting whoever made it.
///
/// Recomputes every leaf hash from the record bytes, follows the chain from each log's first
/// record, rebuilds the Merkle trees, and compares them with the signed heads. Names the first
/// record that is not as it was logged, and what was done to it.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// The folder that `portcullis ledger export` wrote.
    folder: PathBuf,

    /// Verifier key that you have from elsewhere (`name+id+key`). Repeat it for more logs.
    /// Without one the keys in the folder are taken, which shows only that it hangs together.
    #[arg(long = "vkey", value_parser = parse_key)]
    keys: Vec<VerifierKey>,

    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Exit status:
  0  whole: every record is as it was logged
  1  forged: a record, head or tile was changed; the first one is named
  2  the command line is wrong
  3  torn: a file is missing or ends in the middle
  4  absent: there is nothing to verify
  5  empty: there is a ledger without a record
  6  unreadable: a file could not be read

Examples:
  portcullis ledger export /tmp/export && portcullis-verify /tmp/export
  portcullis-verify --json /tmp/export | jq .fault
  portcullis-verify --vkey \"$(cat key-from-last-year)\" /tmp/export";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = verify(&arguments.folder, &Trust { keys: arguments.keys });
    let text = if arguments.json {
        format!("{}\n", report.to_json())
    } else {
        coloured(&report, std::io::stdout().is_terminal())
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(report.verdict.exit_code()),
        // The answer did not arrive, so no script may take it for "whole".
        Err(_) => ExitCode::from(6),
    }
}

fn coloured(report: &Report, terminal: bool) -> String {
    let text = report.to_text();
    let Some((first, rest)) = text.split_once('\n').filter(|_| terminal) else { return text };
    let colour = if report.verdict == Verdict::Whole { 32 } else { 31 };
    format!("\u{1b}[1;{colour}m{first}\u{1b}[0m\n{rest}")
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text.trim()).map_err(|_| {
        "not a verifier key; it looks like `name+01234567+AQID...`, see `policy` in an export"
            .to_owned()
    })
}
