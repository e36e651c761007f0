//! `portcullis ledger`: show, find, explain, verify, export, prune, and the witness of other ledgers.

mod disclose;
mod explain;
mod export;
mod key;
mod prune;
mod witness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_audit::verify::verify_ledger;
use portcullis_audit::{Query, ReadError, RecordRow};
use uuid::Uuid;

use super::{Deployment, print};
use crate::config::Settings;
use crate::ledgers::{self, LedgerError};

/// Arguments of `portcullis ledger`.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    #[command(flatten)]
    deployment: Deployment,
    /// One JSON object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// The newest records of a log, or of all
    Show {
        /// A tenant, or `deployment`
        #[arg(long)]
        log: Option<String>,
        /// First place
        #[arg(long)]
        from: Option<u64>,
        /// Last place
        #[arg(long)]
        to: Option<u64>,
        /// At most so many, the newest
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// All records of one operation
    Find {
        /// The operation id, as the header `x-portcullis-op` gave it
        op: Uuid,
    },
    /// One record on one page: who, what, decision, reasons, outcome
    Explain {
        /// Its place in the log
        seq: u64,
        /// A tenant, or `deployment`
        #[arg(long)]
        log: String,
    },
    /// Prove one record: a file that anybody can check alone with `portcullis-verify --proof`
    Proof {
        /// Its place in the log
        seq: u64,
        /// A tenant, or `deployment`
        #[arg(long)]
        log: String,
        /// Where the proof goes; printed where this is absent
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// The keys that an auditor needs to check exports and proofs; to be handed over once
    #[command(after_help = key::POLICY)]
    Policy {
        /// The keys that were replaced too, the newest first
        #[arg(long)]
        all: bool,
    },
    /// Check every record of the ledger on this machine
    Verify,
    /// Write a folder that anybody can verify with `portcullis-verify`
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    /// Take away the bytes of records that have expired, under an export that has them
    #[command(after_help = prune::EXAMPLES)]
    Prune(prune::PruneArgs),
    /// The verifier keys of the logs, to give to auditors and witnesses; and their rotation
    Key(key::KeyArgs),
    /// Watch the logs of others from outside: cosign that they only grow
    #[command(after_help = witness::EXAMPLES)]
    Witness(witness::WitnessArgs),
}

/// Runs the command.
#[must_use]
pub fn run(args: LedgerArgs) -> ExitCode {
    // It stands on another machine, and knows of no deployment.
    if let LedgerCommand::Witness(witness) = args.command {
        return witness::run(witness, args.json);
    }
    let settings = match args.deployment.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match act(&settings, args.command, args.json) {
        Ok(code) => code,
        Err(fault) => print::fault(fault),
    }
}

fn act(settings: &Settings, command: LedgerCommand, json: bool) -> Result<ExitCode, LedgerError> {
    match command {
        LedgerCommand::Show { log, from, to, limit } => {
            show(settings, &Query { log, from, to, limit: Some(limit), ..Query::default() }, json)
        }
        LedgerCommand::Find { op } => {
            show(settings, &Query { op: Some(op), ..Query::default() }, json)
        }
        LedgerCommand::Explain { seq, log } => explain::run(settings, &log, seq, json),
        LedgerCommand::Proof { seq, log, to } => proof(settings, &log, seq, to.as_deref(), json),
        LedgerCommand::Policy { all } => {
            print::line(ledgers::policy(settings, all)?.to_string().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        LedgerCommand::Verify => verify(settings, json),
        LedgerCommand::Export(args) => Ok(export::run(settings, &args, json)),
        LedgerCommand::Prune(prune) => prune::run(settings, &prune, json),
        LedgerCommand::Key(key) => key::run(settings, &key, json),
        // Ran before there were settings.
        LedgerCommand::Witness(witness) => Ok(witness::run(witness, json)),
    }
}

fn show(settings: &Settings, query: &Query, json: bool) -> Result<ExitCode, LedgerError> {
    let rows = ledgers::reader(settings)?.rows(query)?;
    for row in &rows {
        print_row(row, json);
    }
    if rows.is_empty() && !json {
        print::error("no record fits; `portcullis ledger show` without options shows the newest");
    }
    Ok(if rows.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print_row(row: &RecordRow, json: bool) {
    match row.to_json() {
        Ok(value) if json => print::json(&value),
        _ => print::line(format_args!("{}  {}", row.record.log, row.line())),
    }
}

fn verify(settings: &Settings, json: bool) -> Result<ExitCode, LedgerError> {
    let report = verify_ledger(&ledgers::reader(settings)?);
    if json {
        print::json(&report.to_json());
    } else {
        print::line(report.to_text().trim_end());
    }
    Ok(ExitCode::from(report.verdict.exit_code()))
}

fn proof(
    settings: &Settings,
    log: &str,
    seq: u64,
    to: Option<&Path>,
    json: bool,
) -> Result<ExitCode, LedgerError> {
    let text = ledgers::prove(settings, log, seq)?.to_string();
    match to {
        Some(path) => {
            std::fs::write(path, &text)
                .map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
            if json {
                print::json(&serde_json::json!({ "file": path, "log": log, "seq": seq }));
            } else {
                print::line(format_args!(
                    "{file}; check it with: portcullis-verify --proof {file} --policy POLICY \
                     (POLICY: what `portcullis ledger policy` prints)",
                    file = path.display()
                ));
            }
        }
        None if json => print::json(&serde_json::json!({ "log": log, "seq": seq, "proof": text })),
        None => print::line(text.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}
