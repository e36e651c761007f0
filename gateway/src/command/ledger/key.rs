//! `portcullis ledger key`: whom auditors and witnesses must believe, and nobody else.

use std::process::ExitCode;

use portcullis_audit::chain::origin;
use portcullis_audit::{DEPLOYMENT, load_key};
use serde_json::json;

use super::super::print;
use crate::config::Settings;
use crate::ledgers::LedgerError;

/// Prints the key of the deployment's log; all its logs are signed by it, each under its own name.
pub(super) fn run(settings: &Settings, as_json: bool) -> Result<ExitCode, LedgerError> {
    let deployment = &settings.ledger.deployment;
    let key = load_key(&settings.data.ledger_key())?;
    let vkey = key.vkey(&origin(deployment, DEPLOYMENT));
    if as_json {
        print::json(&json!({ "deployment": deployment, "vkey": vkey }));
        return Ok(ExitCode::SUCCESS);
    }
    print::line(format_args!("{vkey}"));
    if print::is_terminal() {
        print::line(format_args!(
            "\nA witness of all logs of this deployment, on another machine:\n  \
             portcullis ledger witness --folder DIR --deployment {deployment} --key '{vkey}'"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
