//! `portcullis ledger prune`: take away what has expired, under an export that covers it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use portcullis_audit::prune::{NotPrunable, Prefix};
use serde_json::{Value, json};

use super::super::print;
use crate::config::Settings;
use crate::ledgers::{self, LedgerError};

pub(super) const EXAMPLES: &str = "\
In this order; nothing else is accepted:
  portcullis ledger export --to 2033-01
  portcullis-verify --policy POLICY 2033-01      on another machine, by somebody else
  portcullis ledger prune --log acme --export 2033-01 --dry-run
  portcullis ledger prune --log acme --export 2033-01 --approved-by ana --approved-by ben

What goes are the bytes of the oldest records, as far as each of them has expired: 1y for a call that
only reads, 7y for one that changes something, never for what is about secrets, on hold or a certificate
of an erasure. Leaf hashes stay, so all heads and proofs still verify. Where there are witnesses, a quorum
must have cosigned the heads of the export, and their clocks say what has expired. With a ledger in a file
the gateway must be stopped for the last step; with PostgreSQL it may serve, and what went is in its dead rows
until VACUUM and in archived WAL. What is on hold keeps everything after it in its log: records about secrets,
and the deployment's log, which vouches for the others. Who approved is what they say of themselves.";

/// Arguments of `portcullis ledger prune`.
#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// A tenant, or `deployment`
    #[arg(long)]
    log: String,
    /// An export that has the records that go; keep it
    #[arg(long, value_name = "FOLDER")]
    export: PathBuf,
    /// Who approved it; two different people
    #[arg(long, value_name = "NAME", required_unless_present = "dry_run")]
    approved_by: Vec<String>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

/// Prunes.
///
/// # Errors
/// [`LedgerError`].
pub(super) fn run(
    settings: &Settings,
    args: &PruneArgs,
    as_json: bool,
) -> Result<ExitCode, LedgerError> {
    let prefix = ledgers::prunable(settings, &args.log, &args.export)?;
    let mut said = summary(&args.log, &prefix);
    if args.dry_run {
        say(&said, "would go", as_json);
        return Ok(ExitCode::SUCCESS);
    }
    let [one, two] = args.approved_by.as_slice() else {
        return Err(NotPrunable::Approvers.into());
    };
    let seq = ledgers::prune(settings, prefix, [one, two])?;
    if let Some(said) = said.as_object_mut() {
        said.insert("recorded_at".to_owned(), json!(seq));
    }
    say(&said, "are gone", as_json);
    Ok(ExitCode::SUCCESS)
}

fn summary(log: &str, prefix: &Prefix) -> Value {
    json!({
        "log": log,
        "until": prefix.until(),
        "records": prefix.records(),
        "class": prefix.class().as_str(),
        "export": hex::encode(prefix.export()),
        "resumed": prefix.is_recorded(),
    })
}

fn say(said: &Value, what: &str, as_json: bool) {
    if as_json {
        print::json(said);
        return;
    }
    let word = |key: &str| said.get(key).map(ToString::to_string).unwrap_or_default();
    print::line(format_args!(
        "{} records of {} {what}: all before record {}, the longest class {}",
        word("records"),
        word("log").trim_matches('"'),
        word("until"),
        word("class").trim_matches('"'),
    ));
    if let Some(seq) = said.get("recorded_at") {
        print::line(format_args!("recorded as record {seq}; keep the export that it names"));
    }
}
