//! `portcullis ledger key`: whom auditors and witnesses must believe, and how that key is replaced.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_audit::keys::KeyChain;
use portcullis_audit::note::VerifierKey;
use portcullis_audit::rotate::Rotated;
use serde_json::json;

use super::super::print;
use crate::config::Settings;
use crate::ledgers::{self, LedgerError};

pub(super) const ROTATE: &str = "\
Each log gets a record by which the old key and the new one say, both signed, that the new one takes
over; from there on the new key signs all heads. Whoever has the old key follows it in an export, and
for a single proof by the proof of that record (`portcullis-verify --key-record`); `portcullis ledger
policy` then prints the new key, and with `--all` both. Witnesses must be told before the gateway starts
again: their protocol knows no rotation.

  1. stop the gateway; with PostgreSQL, all its replicas
  2. portcullis ledger key rotate
  3. give the new key to every witness, before the old one (the command prints how), restart them
  4. with PostgreSQL, put the new key file on the machines of the other replicas
  5. start the gateway

Killed half-way, the same command goes on, and so does the start of a gateway.";

pub(super) const POLICY: &str = "\
What is printed names the key that signs now. It is all that an auditor needs for an export and for a single
proof made since the key took over; an auditor who has it from before goes on with what he has, and follows
the log's own `key` records.

With --all it names the keys that were replaced too. They are for single proofs that were made before: such a
proof alone does not say which key was in force, so `portcullis-verify --proof` wants those of the `key`
records as well (--key-record). Whoever took a replaced key can sign with it for ever: hand out no more keys
than are needed.";

/// Arguments of `portcullis ledger key`.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: Option<KeyCommand>,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Replace the key that signs the logs by a new one
    #[command(after_help = ROTATE)]
    Rotate {
        /// Go on although other replicas run: they stop taking calls and have to be restarted
        #[arg(long)]
        fence: bool,
    },
}

/// Runs the command.
pub(super) fn run(
    settings: &Settings,
    args: &KeyArgs,
    as_json: bool,
) -> Result<ExitCode, LedgerError> {
    match args.command {
        Some(KeyCommand::Rotate { fence }) => {
            said(settings, &ledgers::rotate(settings, fence)?, as_json);
        }
        None => show(settings, &ledgers::keys(settings)?, as_json),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the key of the deployment's log; all its logs are signed by it, each under its own name.
/// A script gets that key alone; a person and `--json` see the older ones too.
fn show(settings: &Settings, keys: &KeyChain, as_json: bool) {
    let (deployment, vkey) = (&settings.ledger.deployment, keys.current());
    if as_json {
        let vkey = vkey.to_string();
        let all: Vec<_> = spans(keys)
            .iter()
            .map(|span| {
                json!({ "vkey": span.key.to_string(), "since": span.since, "since_record": span.record,
                        "until": span.until })
            })
            .collect();
        print::json(&json!({ "deployment": deployment, "vkey": vkey, "keys": all }));
        return;
    }
    print::line(vkey);
    if !print::is_terminal() {
        return;
    }
    if !keys.changes().is_empty() {
        print::line("\nkey       since                        until");
        for span in spans(keys) {
            let until = span.until.unwrap_or("now");
            print::line(format_args!("{:<10}{:<29}{until}", span.key.id(), span.since));
        }
    }
    print::line("\nA witness of all logs of this deployment, on another machine:");
    print::line(format_args!("  {}", witness(deployment, keys.newest_first())));
}

/// A key and the time in which it signed, by the records that say so.
struct Span<'a> {
    key: &'a VerifierKey,
    since: &'a str,
    record: Option<u64>,
    until: Option<&'a str>,
}

/// The newest first.
fn spans(keys: &KeyChain) -> Vec<Span<'_>> {
    let changes = keys.changes();
    let ends = changes.iter().map(|change| Some(change.ts.as_str())).chain([None]);
    let first = Span { key: keys.birth(), since: "the first record", record: None, until: None };
    let later = changes.iter().map(|change| Span {
        key: &change.key,
        since: &change.ts,
        record: Some(change.seq),
        until: None,
    });
    let all = std::iter::once(first).chain(later).zip(ends);
    let mut spans: Vec<Span<'_>> = all.map(|(span, until)| Span { until, ..span }).collect();
    spans.reverse();
    spans
}

/// How a witness is told.
fn witness<'a>(deployment: &str, keys: impl Iterator<Item = &'a VerifierKey>) -> String {
    let pairs: Vec<String> =
        keys.map(|key| format!("--deployment {deployment} --key '{key}'")).collect();
    format!("portcullis ledger witness --folder DIR {}", pairs.join(" "))
}

fn said(settings: &Settings, rotated: &Rotated, as_json: bool) {
    let Rotated { old, new, logs, retired } = rotated;
    if as_json {
        print::json(&json!({
            "old": old.to_string(), "vkey": new.to_string(), "logs": logs, "retired": retired,
            "resumed": logs.is_none(),
        }));
        return;
    }
    match logs {
        Some(logs) => print::line(format_args!(
            "key {} has taken over from {} in {logs} logs",
            new.id(),
            old.id()
        )),
        None => print::line(format_args!(
            "key {} has taken over from {}, which an earlier call began",
            new.id(),
            old.id()
        )),
    }
    print::line(
        "\nBefore the gateway starts, back the new key up (`portcullis vault backup`): older backups do not have it,",
    );
    print::line(format_args!(
        "and restart every witness with both keys, the new one first, later with that alone:\n  {}",
        witness(&settings.ledger.deployment, [new, old].into_iter())
    ));
    print::line(
        "Auditors can follow from the key that they have; `portcullis ledger policy` prints the new one.",
    );
    print::line(format_args!(
        "The old key file is {}; nothing needs it any more, so it can be destroyed.",
        retired.display()
    ));
}
