//! Checks a ledger file as it stands: every record against its stored leaf hash, its place and
//! the chain. It knows no signed head, so it finds damage and clumsy hands; an export checked
//! against a head seen before finds the rest.

use std::io;

use super::check::Checker;
use super::log_report::{Anchor, LogReport, Voucher};
use super::report::{Report, Verdict};
use crate::chain;
use crate::error::ReadError;
use crate::fault::{Fault, FaultKind};
use crate::head_file::{self, Noted};
use crate::keys::KeyChain;
use crate::note::{Checkpoint, VerifierKey};
use crate::published::PublishedLogs;
use crate::read::{LogHead, Reader};
use crate::store::beside;

/// Verifies all logs of a ledger: against each other, against the head file, and against what was
/// signed and shown.
#[must_use]
pub fn verify_ledger(reader: &Reader) -> Report {
    let mut logs = Vec::new();
    // Read before the records, of which a running ledger writes more meanwhile.
    let noted = head_file::read(&beside(reader.path(), ".head"));
    let checked = reader.at_one_moment(|| Ok(check_all(reader, noted, &mut logs)));
    let verdict = match checked {
        Err(error) => Verdict::Unreadable(error.to_string()),
        Ok(Err(verdict)) => verdict,
        Ok(Ok(())) if logs.iter().all(|log| log.records == 0) => Verdict::Empty,
        Ok(Ok(())) => Verdict::Whole,
    };
    Report { verdict, logs, trusted_keys: false }
}

fn check_all(
    reader: &Reader,
    noted: io::Result<Noted>,
    logs: &mut Vec<LogReport>,
) -> Result<(), Verdict> {
    let mut all = reader.logs().map_err(unreadable)?;
    // The deployment's log vouches for the others.
    all.sort_by_key(|log| log.origin.contains("/t/"));
    let mut anchors: Vec<Anchor> = Vec::new();
    for log in all {
        let of_this = anchors.iter().filter(|anchor| anchor.head.origin == log.origin);
        let report = check_log(reader, &log, of_this.cloned().collect())?;
        anchors.extend(report.anchored.iter().cloned());
        logs.push(report);
    }
    let here = |anchor: &&Anchor| logs.iter().all(|log| log.origin != anchor.head.origin);
    if let Some(anchor) = anchors.iter().find(here) {
        let why = format!("the whole log is missing; {anchor} vouches for it");
        let (log, kind) = (anchor.head.origin.clone(), FaultKind::Deleted);
        return Err(Fault { log, seq: None, kind, why }.into());
    }
    if reader.is_shared() {
        return Ok(()); // The head files of replicas know only what each was promised.
    }
    let records: u64 = logs.iter().map(|log| log.records).sum();
    compare(reader, noted, records)?;
    // What no record shows: an index that does not find one, a page of something else.
    match reader.damage().map_err(unreadable)? {
        Some(why) => Err(damaged(why)),
        None => Ok(()),
    }
}

/// What was acknowledged must be there.
fn compare(reader: &Reader, noted: io::Result<Noted>, records: u64) -> Result<(), Verdict> {
    let fault =
        |kind, why: String| Err(Fault { log: "all".to_owned(), seq: None, kind, why }.into());
    match noted {
        Err(error) => Err(Verdict::Unreadable(format!("the head file: {error}"))),
        Ok(Noted::Unreadable) => fault(FaultKind::Torn, "the head file is damaged".to_owned()),
        Ok(Noted::Absent) if records > 0 => {
            fault(FaultKind::Torn, format!("there are {records} records, the head file is gone"))
        }
        Ok(Noted::Absent) => Ok(()),
        Ok(Noted::Head(head)) if head.records > records => {
            let why = format!("{} records were acknowledged, here are {records}", head.records);
            fault(FaultKind::Truncated, why)
        }
        Ok(Noted::Head(head)) if head.records > 0 => {
            if reader.leaf_at(head.records).map_err(unreadable)? == Some(head.leaf) {
                return Ok(());
            }
            let why = format!("record number {} is not the one acknowledged", head.records);
            fault(FaultKind::Rewritten, why)
        }
        Ok(Noted::Head(_)) => Ok(()),
    }
}

fn check_log(
    reader: &Reader,
    log: &LogHead,
    mut anchors: Vec<Anchor>,
) -> Result<LogReport, Verdict> {
    let genesis = chain::genesis(&log.origin, &log.vkey);
    let mut checker = Checker::new(&log.origin, genesis, None);
    if let Ok(birth) = VerifierKey::parse(&log.vkey) {
        checker = checker.following(KeyChain::new(birth));
    }
    // A bad one is named by the walk below, unless something before it is bad already.
    let keys = reader.keys(&log.origin).map_err(bad_keys);
    anchors.extend(keys.as_ref().ok().and_then(Option::as_ref).and_then(|k| shown(reader, log, k)));
    checker = checker.against(anchors);
    let walked = reader.each(&log.origin, |seq, leaf, bytes| {
        let fault = |seq, kind, why: &str| {
            let (log, why) = (log.origin.clone(), why.to_owned());
            Stop::Fault(Fault { log, seq: Some(seq), kind, why })
        };
        if seq != checker.taken() {
            return Err(fault(checker.taken(), FaultKind::Deleted, "the record is not here"));
        }
        if bytes.is_empty() {
            checker.pass(leaf);
            return Ok(());
        }
        if chain::leaf(bytes) != leaf {
            let why = "its bytes do not give the leaf hash stored with it";
            return Err(fault(seq, FaultKind::Edited, why));
        }
        checker.step(bytes);
        Ok(())
    });
    match walked {
        Ok(()) => {
            let report = checker.finish(None)?;
            keys?;
            if let Some(fault) = report.lost_certificate() {
                return Err(fault.into());
            }
            lost_body(reader, log)?;
            Ok(report)
        }
        Err(Stop::Fault(fault)) => Err(fault.into()),
        Err(Stop::Storage(error)) => Err(unreadable(error)),
    }
}

/// A record stays whole without the sealed body that it names; what it is about is gone.
fn lost_body(reader: &Reader, log: &LogHead) -> Result<(), Verdict> {
    let Some(seq) = reader.lost_body(log).map_err(unreadable)? else { return Ok(()) };
    let (log, why) = (log.origin.clone(), "the sealed body that it names is not here".to_owned());
    Err(Fault { log, seq: Some(seq), kind: FaultKind::Torn, why }.into())
}

/// A key record that does not count is a fault of the log, and not of the disk.
fn bad_keys(error: ReadError) -> Verdict {
    match error {
        ReadError::Record { log, seq, why } => {
            Fault { log, seq: Some(seq), kind: FaultKind::BadKey, why }.into()
        }
        error => unreadable(error),
    }
}

/// The checkpoint that is shown beside the ledger, when the log's key signed it.
fn shown(reader: &Reader, log: &LogHead, keys: &KeyChain) -> Option<Anchor> {
    let deployment = log.origin.split('/').next().unwrap_or_default();
    let shown = PublishedLogs::of(reader, deployment).head(&log.origin).ok()??;
    let head = Checkpoint::open(&shown.note, keys.at(shown.head.size)).ok()?;
    // One that was shown since this look began is of records that are not in it.
    let by = Voucher::Seen("shown beside the ledger".to_owned());
    (head.size <= log.size).then_some(Anchor { head, by })
}

enum Stop {
    Fault(Fault),
    Storage(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Storage(error)
    }
}

/// A damaged database file is torn, not merely unreadable.
fn unreadable(error: ReadError) -> Verdict {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let corrupt = matches!(&error, ReadError::Storage(error)
        if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)));
    if corrupt { damaged(error.to_string()) } else { Verdict::Unreadable(error.to_string()) }
}

fn damaged(why: String) -> Verdict {
    Fault { log: "all".to_owned(), seq: None, kind: FaultKind::Torn, why }.into()
}
