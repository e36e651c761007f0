//! Checks a ledger file as it stands: every record against its stored leaf hash, its place and
//! the chain. It knows no signed head, so it finds damage and clumsy hands; an export checked
//! against a head seen before finds the rest.

use super::check::{Checker, LogReport};
use super::report::{Report, Verdict};
use crate::chain;
use crate::error::ReadError;
use crate::fault::{Fault, FaultKind};
use crate::head_file::{self, Noted};
use crate::read::{LogHead, Reader};
use crate::store::beside;

/// Verifies all logs of a ledger file.
#[must_use]
pub fn verify_ledger(reader: &Reader) -> Report {
    let mut logs = Vec::new();
    let checked = reader.at_one_moment(|| Ok(check_all(reader, &mut logs)));
    let verdict = match checked {
        Err(error) => Verdict::Unreadable(error.to_string()),
        Ok(Err(verdict)) => verdict,
        Ok(Ok(())) if logs.iter().all(|log| log.records == 0) => Verdict::Empty,
        Ok(Ok(())) => Verdict::Whole,
    };
    Report { verdict, logs, trusted_keys: false }
}

fn check_all(reader: &Reader, logs: &mut Vec<LogReport>) -> Result<(), Verdict> {
    for log in reader.logs().map_err(unreadable)? {
        logs.push(check_log(reader, &log)?);
    }
    let records: u64 = logs.iter().map(|log| log.records).sum();
    let noted = head_file::read(&beside(reader.path(), ".head"));
    match noted {
        Ok(Noted::Head(head)) if head.records > records => Err(Fault {
            log: "all".to_owned(),
            seq: None,
            kind: FaultKind::Truncated,
            why: format!("{} records were acknowledged, here are {records}", head.records),
        }
        .into()),
        _ => Ok(()),
    }
}

fn check_log(reader: &Reader, log: &LogHead) -> Result<LogReport, Verdict> {
    let genesis = chain::genesis(&log.origin, &log.vkey);
    let mut checker = Checker::new(&log.origin, genesis, None);
    let walked = reader.each(&log.origin, |seq, leaf, bytes| {
        let fault = |seq, kind, why: &str| {
            let (log, why) = (log.origin.clone(), why.to_owned());
            Stop::Fault(Fault { log, seq: Some(seq), kind, why })
        };
        if seq != checker.taken() {
            return Err(fault(checker.taken(), FaultKind::Deleted, "the record is not here"));
        }
        if chain::leaf(bytes) != leaf {
            let why = "its bytes do not give the leaf hash stored with it";
            return Err(fault(seq, FaultKind::Edited, why));
        }
        checker.step(bytes);
        Ok(())
    });
    match walked {
        Ok(()) => checker.finish(None).map_err(Verdict::from),
        Err(Stop::Fault(fault)) => Err(fault.into()),
        Err(Stop::Storage(error)) => Err(unreadable(error)),
    }
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
    if corrupt {
        let (log, why) = ("all".to_owned(), error.to_string());
        return Fault { log, seq: None, kind: FaultKind::Torn, why }.into();
    }
    Verdict::Unreadable(error.to_string())
}
