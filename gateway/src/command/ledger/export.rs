//! `portcullis ledger export`: a folder that anybody can verify, with what some records commit to when
//! that is to be shown.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portcullis_audit::Exported;
use serde_json::json;

use super::super::policy::PolicyError;
use super::super::{block_on, print};
use super::disclose::{Archived, Field, Shown, Subject};
use crate::config::Settings;
use crate::ledgers::{self, LedgerError};

pub(super) const EXAMPLES: &str = "\
A record holds no arguments, no answer and no entities: it commits to them. By --disclose the folder also gets,
in bodies/, the keys of these commitments, field by field, of the named records only; portcullis-verify checks
each against its record. What was erased stays closed. What was disclosed is noted in the deployment's log.
Without --disclose the folder is the same as ever.

--fields capsule discloses what the rules were asked, so that the decision can be run again. It holds in clear the
values of the arguments (context.input), the real ids of the principal and of the target's owner, and the caller's
address; so it is only disclosed when it is named.

Examples:
  portcullis ledger export --to export/
  portcullis ledger export --to for-acme/ --log acme
  portcullis ledger export --to case-12/ --log acme --disclose acme:4711 --fields in,out,capsule
  portcullis ledger export --to case-13/ --disclose 0199d0c1-6c1f-7cc2-9d52-8f6a27a6a3c0
  portcullis-verify --payload acme:4711:in=arguments.json case-13/";

/// Arguments of `portcullis ledger export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only this log, a tenant or `deployment`: for somebody who may see no other
    #[arg(long)]
    log: Option<String>,
    /// The folder; it must not exist
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Also disclose what a record commits to, or the records of an operation; repeat it for more
    #[arg(long, value_name = "TENANT:SEQ|OP", group = "disclosed")]
    disclose: Vec<Subject>,
    /// Also disclose what all its records commit to
    #[arg(long, group = "disclosed")]
    disclose_all: bool,
    /// These fields: `in` (key of the arguments), `out` (key of the answer), `capsule` (all that the rules were
    /// asked, in clear: argument values, real ids, the caller's address)
    #[arg(long, value_enum, value_delimiter = ',', requires = "disclosed", default_values_t = Field::UNLESS_NAMED)]
    fields: Vec<Field>,
}

/// Exports, and discloses.
pub(super) fn run(settings: &Settings, args: &ExportArgs, json: bool) -> ExitCode {
    match export(settings, args, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => print::fault(fault),
    }
}

fn export(settings: &Settings, args: &ExportArgs, json: bool) -> Result<(), PolicyError> {
    if args.disclose.is_empty() && !args.disclose_all {
        let exported = written(settings, args)?;
        say(args, &exported, None, json);
        return Ok(());
    }
    block_on(async {
        // Keys that are not here are found before anything is written.
        let mut archive = Archived::open(settings).await?;
        let exported = written(settings, args)?;
        let shown =
            archive.disclose(&args.to, &exported.heads, &args.disclose, &args.fields).await?;
        say(args, &exported, Some(&shown), json);
        Ok(())
    })
}

fn written(settings: &Settings, args: &ExportArgs) -> Result<Exported, LedgerError> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("records {bar:30} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let exported = ledgers::export(settings, args.log.as_deref(), &args.to, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    Ok(exported)
}

fn say(args: &ExportArgs, exported: &Exported, shown: Option<&Shown>, as_json: bool) {
    let (records, logs, left) = (exported.records(), exported.heads.len(), exported.left);
    let folder = args.to.display();
    if as_json {
        let mut said = json!({ "folder": args.to, "records": records, "logs": logs, "left": left });
        if let (Some(said), Some(shown)) = (said.as_object_mut(), shown) {
            said.insert("disclosed".to_owned(), json!(shown));
        }
        print::json(&said);
        return;
    }
    print::line(format_args!(
        "{records} records of {logs} logs in {folder}; verify them with: portcullis-verify {folder}"
    ));
    if left > 0 {
        print::line(format_args!(
            "{left} newer records are not in it: no head is signed over them yet, which a running gateway \
             does each second, and a stopped one when it starts"
        ));
    }
    if let Some(shown) = shown {
        shown.say(&args.to);
    }
}
