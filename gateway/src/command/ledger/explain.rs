//! `portcullis ledger explain`: one record on one page, without opening what is sealed.

use std::process::ExitCode;

use portcullis_audit::{Query, ReadError, Reader, RecordRow};
use portcullis_policies::RecordedSet;
use serde_json::json;

use super::super::print;
use crate::config::Settings;
use crate::ledgers::{self, LedgerError};

/// Prints the record at a place; exit code 1 when there is none.
pub(super) fn run(
    settings: &Settings,
    log: &str,
    seq: u64,
    json: bool,
) -> Result<ExitCode, LedgerError> {
    let reader = ledgers::reader(settings)?;
    let query =
        Query { log: Some(log.to_owned()), from: Some(seq), to: Some(seq), ..Query::default() };
    let Some(row) = reader.rows(&query)?.into_iter().next() else {
        if let Some(origin) = reader.origin(log)?
            && seq < reader.pruned(&origin)?
        {
            return Err(ReadError::Pruned { log: origin, seq }.into());
        }
        print::error(format_args!(
            "there is no record {seq} in `{log}`; `portcullis ledger show --log {log}` shows what there is"
        ));
        return Ok(ExitCode::FAILURE);
    };
    let others = reader.rows(&Query { op: Some(row.record.op), ..Query::default() })?;
    let rules = rules(&reader, &row)?;
    if json {
        let rules: Vec<_> =
            rules.iter().map(|(id, reason)| json!({ "rule": id, "reason": reason })).collect();
        let all: Vec<_> = others.iter().filter_map(|row| row.to_json().ok()).collect();
        print::json(&json!({ "record": row.to_json().ok(), "rules": rules, "operation": all }));
    } else {
        print_page(&row, &rules, &others);
    }
    Ok(ExitCode::SUCCESS)
}

/// Rules that decided, with the reasons that they had in the set that decided.
fn rules(reader: &Reader, row: &RecordRow) -> Result<Vec<(String, String)>, LedgerError> {
    let mut digest = [0; 32];
    let known = hex::decode_to_slice(row.text(&["pol", "bundle"]), &mut digest).is_ok();
    let texts = if known { reader.policy_set(&digest)? } else { None };
    let set = texts.and_then(|texts| RecordedSet::from_texts(&texts).ok());
    let reason =
        |id: &str| set.as_ref().and_then(|set| set.reason(id)).unwrap_or_default().to_owned();
    Ok(row.rules().into_iter().map(|id| (id.to_owned(), reason(id))).collect())
}

fn print_page(row: &RecordRow, rules: &[(String, String)], others: &[RecordRow]) {
    let record = &row.record;
    let line = |what: &str, value: &str| {
        if !value.is_empty() {
            print::line(format_args!("{what:<14}{value}"));
        }
    };
    line("record", &format!("{} {} ({})", record.log, record.seq, record.kind.as_str()));
    line("time", &record.ts);
    line("operation", &record.op.to_string());
    line("who", row.text(&["who", "subject"]));
    line("session", row.text(&["who", "session"]));
    line("tool", &joined(row, ["tool", "server"], "/", ["tool", "name"]));
    line("decision", row.text(&["pol", "decision"]));
    for (id, reason) in rules {
        line("rule", &format!("{id}: {reason}"));
    }
    line("policy set", row.text(&["pol", "bundle"]));
    line("result", &joined(row, ["res", "status"], " ", ["res", "error"]));
    for secret in secrets(others) {
        line("secret", &secret);
    }
    if let Some(change) = row.key_change() {
        line("key", &format!("{} takes over, by its own word and the old key's", change.new.id()));
        line("new key", &change.new.to_string());
        line("old key", &change.old.to_string());
    }
    line("arguments", &committed(row, "in"));
    line("answer", &others.iter().map(|row| committed(row, "out")).collect::<String>());
    let notes = notes(row);
    // A statement that counts is told above, in words.
    let said = |key: &str| key == "statement" && row.key_change().is_some();
    for (key, value) in notes.into_iter().filter(|(key, _)| !said(key)) {
        line(&key, &value);
    }
    line("leaf", &hex::encode(row.leaf));
    print::line("\nAll records of this operation:");
    for other in others {
        print::line(format_args!("{}  {}", other.record.log, other.line()));
    }
    if !row.text(&["pol", "bundle"]).is_empty() {
        print::line(format_args!("\nWhy: portcullis policy explain --op {}", record.op));
    }
}

/// Which secret in which version was used for what, over all records of the operation.
fn secrets(others: &[RecordRow]) -> Vec<String> {
    let mut used = Vec::new();
    for record in others.iter().filter_map(|row| row.to_json().ok()) {
        let list = record.pointer("/record/sec").and_then(serde_json::Value::as_array).cloned();
        for secret in list.unwrap_or_default() {
            let text =
                |key: &str| secret.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
            let shown =
                format!("{} version {} ({})", text("name"), text("version"), text("purpose"));
            if !used.contains(&shown) {
                used.push(shown);
            }
        }
    }
    used
}

/// A payload that is not in the record: its length, and the commitment that binds it.
fn committed(row: &RecordRow, key: &str) -> String {
    let (length, commitment) = (row.text(&[key, "n"]), row.text(&[key, "c"]));
    if commitment.is_empty() {
        return String::new();
    }
    format!("{length} bytes, committed to by {commitment}")
}

/// What the record says beside its fixed fields: channel, confirmation, what an operator did.
fn notes(row: &RecordRow) -> Vec<(String, String)> {
    let note = row.to_json().ok().and_then(|all| all.pointer("/record/note").cloned());
    let note = note.as_ref().and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
    note.into_iter()
        .map(|(key, value)| (key, value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn joined(row: &RecordRow, first: [&str; 2], between: &str, second: [&str; 2]) -> String {
    let parts = [row.text(&first), row.text(&second)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}
