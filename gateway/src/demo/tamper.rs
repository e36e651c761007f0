//! What the calls left in the ledger, and what a verifier says of it: as it is, and with one byte
//! changed in a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_audit::verify::{Report, Trust, Verdict, verify};
use portcullis_audit::{Query, Reader, RecordRow};
use serde::Serialize;

use super::{DemoError, OTHER, OWNER};
use crate::gateway::Gateway;
use crate::{admin, ledgers};

/// Rows that are shown of each tenant's log.
const SHOWN: u64 = 40;

/// The ledger rows and both verdicts.
#[derive(Debug)]
pub struct Ledgers {
    /// The newest records of the two tenants' logs, in order.
    pub rows: Vec<Row>,
    /// Whether the ledger as it is verifies as whole.
    pub whole: bool,
    /// What the verifier says of it.
    pub verdict: String,
    /// Whether the changed byte was found.
    pub tampered_found: bool,
    /// What the verifier says of the changed copy.
    pub tampered_verdict: String,
}

impl Ledgers {
    /// Whether both verdicts are the expected ones.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.whole && self.tampered_found
    }
}

/// One record as the show prints it.
#[derive(Debug, Serialize)]
pub struct Row {
    log: String,
    seq: u64,
    kind: String,
    what: String,
    decision: String,
    rules: Vec<String>,
    leaf: String,
}

impl Row {
    /// The cells of the table.
    #[must_use]
    pub fn cells(&self) -> Vec<String> {
        vec![
            self.log.clone(),
            self.seq.to_string(),
            self.kind.clone(),
            self.what.clone(),
            self.decision.clone(),
            self.rules.join(","),
            self.leaf.chars().take(12).collect(),
        ]
    }

    fn of(row: &RecordRow) -> Self {
        let joined = |paths: &[&[&str]], between: &str| {
            let texts = paths.iter().map(|path| row.text(path));
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(between)
        };
        let tool = joined(&[&["tool", "server"], &["tool", "name"]], "/");
        let what = joined(&[&["note", "action"], &["note", "asked"]], " ");
        let what = if tool.is_empty() { what } else { tool };
        Self {
            log: row.record.log.clone(),
            seq: row.record.seq,
            kind: row.record.kind.as_str().to_owned(),
            what,
            decision: joined(&[&["pol", "decision"], &["res", "status"], &["res", "error"]], " "),
            rules: row.rules().into_iter().map(str::to_owned).collect(),
            leaf: hex::encode(row.leaf),
        }
    }
}

/// Exports, verifies, changes one byte of a copy, verifies that.
///
/// # Errors
/// When the ledger can't be read, exported or copied.
pub(super) async fn show(gateway: &Arc<Gateway>, dir: &Path) -> Result<Ledgers, DemoError> {
    admin::carry_once(&gateway.directory, &gateway.ledger).await.map_err(DemoError::Export)?;
    let settings = gateway.settings.clone();
    let dir = dir.to_owned();
    let shown = tokio::task::spawn_blocking(move || {
        let reader = ledgers::reader(&settings).map_err(export_fault)?;
        let rows = newest_rows(&reader)?;
        let (whole, copy) = (dir.join("export"), dir.join("export-with-one-byte-changed"));
        ledgers::export(&settings, None, &whole, &mut |_, _| {}).map_err(export_fault)?;
        ledgers::export(&settings, None, &copy, &mut |_, _| {}).map_err(export_fault)?;
        change_one_byte(&copy)?;
        Ok(verdicts(rows, &verify(&whole, &Trust::default()), &verify(&copy, &Trust::default())))
    });
    shown.await.map_err(export_fault)?
}

fn verdicts(rows: Vec<Row>, whole: &Report, changed: &Report) -> Ledgers {
    let first_line = |report: &Report| report.to_text().lines().next().unwrap_or("").to_owned();
    Ledgers {
        rows,
        whole: whole.verdict == Verdict::Whole,
        verdict: first_line(whole),
        tampered_found: matches!(&changed.verdict, Verdict::Forged(fault) if fault.seq.is_some()),
        tampered_verdict: first_line(changed),
    }
}

fn newest_rows(reader: &Reader) -> Result<Vec<Row>, DemoError> {
    let mut rows = Vec::new();
    for tenant in [OWNER, OTHER] {
        let query = Query { log: Some(tenant.to_owned()), limit: Some(SHOWN), ..Query::default() };
        let found = reader.rows(&query).map_err(export_fault)?;
        // Who was made in the directory is of no interest here; the calls are.
        rows.extend(
            found
                .iter()
                .filter(|row| row.record.kind != portcullis_audit::Kind::Admin)
                .map(Row::of),
        );
    }
    Ok(rows)
}

/// Changes one letter in the middle of the first tenant's records.
fn change_one_byte(export: &Path) -> Result<(), DemoError> {
    let entries = first_file(&export.join("t").join(OWNER).join("tile/entries"))?;
    let mut bytes = fs::read(&entries)?;
    let middle = bytes.len() / 2;
    let place = (middle..bytes.len()).find(|at| bytes.get(*at).is_some_and(u8::is_ascii_digit));
    if let Some(byte) = place.and_then(|at| bytes.get_mut(at)) {
        *byte = if *byte == b'7' { b'8' } else { b'7' };
    }
    Ok(fs::write(&entries, bytes)?)
}

fn first_file(dir: &Path) -> Result<PathBuf, DemoError> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            return Ok(path);
        }
        if let Ok(found) = first_file(&path) {
            return Ok(found);
        }
    }
    Err(DemoError::Export(format!("no records in {}", dir.display())))
}

fn export_fault(fault: impl std::fmt::Display) -> DemoError {
    DemoError::Export(fault.to_string())
}
