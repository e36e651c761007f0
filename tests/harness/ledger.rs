//! The ledger as an operator and an auditor see it: only through the real commands.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binaries::binary;
use crate::deployment::Deployment;

/// What `portcullis-verify` said of an export.
#[derive(Debug)]
pub struct Verified {
    /// Whether it exited with 0: whole.
    pub whole: bool,
    /// Everything that it printed.
    pub said: String,
}

impl Deployment {
    /// Every record of every log, oldest first, by `portcullis ledger show --json`.
    pub fn records(&self) -> Vec<Value> {
        lines(&self.portcullis(&["ledger", "show", "--json", "--limit", "1000000"]).stdout)
    }

    /// The records of one operation, by `portcullis ledger find`.
    pub fn records_of(&self, op: &str) -> Vec<Value> {
        lines(&self.portcullis(&["ledger", "find", op, "--json"]).stdout)
    }

    /// The records of one operation, once `enough` of them are there: the outcome of a read rides on
    /// the next commit, so it may come after the answer.
    pub async fn settled(&self, op: &str, enough: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let records = self.records_of(op);
            if records.len() >= enough {
                return records;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{op} has only {records:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The record of a change of the directory, once it is there: changes are carried over a moment later.
    pub async fn wait_for_admin(&self, action: &str, target: &str) -> Value {
        let began = Instant::now();
        let is_it = |record: &Value| {
            text(record, "/note/action") == action && text(record, "/note/target") == target
        };
        loop {
            if let Some(record) = self.records().into_iter().find(is_it) {
                return record;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "no record of {action} on {target}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Exports the ledger and runs the auditor's `portcullis-verify` on the export.
    pub fn verify(&self) -> Verified {
        let folder = tempfile::tempdir().expect("a folder for the export");
        let export = folder.path().join("export");
        self.must(&["ledger", "export", "--to", &export.display().to_string()]);
        let output = Command::new(binary("portcullis-verify")).arg(&export).output();
        let output = output.expect("portcullis-verify runs");
        let said = [output.stdout, output.stderr].concat();
        Verified {
            whole: output.status.success(),
            said: String::from_utf8_lossy(&said).into_owned(),
        }
    }
}

/// A text of a record at a JSON pointer, such as `/res/status`; empty when it is not there.
#[must_use]
pub fn text<'a>(record: &'a Value, pointer: &str) -> &'a str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn lines(output: &[u8]) -> Vec<Value> {
    let record = |line: &str| -> Value {
        let mut row: Value = serde_json::from_str(line).expect("a record is JSON");
        row["record"].take()
    };
    String::from_utf8_lossy(output).lines().map(record).collect()
}
