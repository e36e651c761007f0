//! What the verifier found, for people, scripts and exit codes.

use std::fmt::Write as _;

use serde_json::json;

use super::bodies::DisclosedReport;
use super::counts::KeptReport;
use super::log_report::LogReport;
use crate::fault::{Fault, FaultKind, printable};

/// The answer. Absent, empty, torn and forged are never confused (style.md A8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every record is as it was logged.
    Whole,
    /// A record, head or tile is not as it was logged.
    Forged(Fault),
    /// A file is missing or ends in the middle.
    Torn(Fault),
    /// There is nothing to verify.
    Absent(String),
    /// There is a ledger, and it has no record.
    Empty,
    /// The operating system did not let the verifier read.
    Unreadable(String),
}

impl Verdict {
    /// One word for scripts.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Forged(_) => "forged",
            Self::Torn(_) => "torn",
            Self::Absent(_) => "absent",
            Self::Empty => "empty",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// 0 whole, 1 forged, 3 torn, 4 absent, 5 empty, 6 unreadable; 2 is the shell's usage error.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Forged(_) => 1,
            Self::Torn(_) => 3,
            Self::Absent(_) => 4,
            Self::Empty => 5,
            Self::Unreadable(_) => 6,
        }
    }
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Self {
        if fault.kind == FaultKind::Torn { Self::Torn(fault) } else { Self::Forged(fault) }
    }
}

/// What was verified and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// The logs that were found whole, in order; all of them when the verdict is whole.
    pub logs: Vec<LogReport>,
    /// True when the keys came from the caller and not from the folder itself.
    pub trusted_keys: bool,
}

impl Report {
    /// The same as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let (fault, why) = match &self.verdict {
            Verdict::Forged(fault) | Verdict::Torn(fault) => (Some(fault_json(fault)), None),
            Verdict::Absent(why) | Verdict::Unreadable(why) => (None, Some(why)),
            Verdict::Whole | Verdict::Empty => (None, None),
        };
        json!({
            "verdict": self.verdict.as_str(),
            "fault": fault,
            "why": why,
            "trusted_keys": self.trusted_keys,
            "records": self.records(),
            "logs": self.logs.iter().map(log_json).collect::<Vec<_>>(),
        })
    }

    /// The same for people; several lines, no colour.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = match &self.verdict {
            Verdict::Whole => {
                let (records, logs) = (self.records(), self.logs.len());
                format!("whole: {records} records in {logs} logs\n")
            }
            Verdict::Forged(fault) => {
                format!("FORGED: {fault}\n  To explain: {}.\n", fault.kind.explanation())
            }
            Verdict::Torn(fault) => {
                format!("TORN: {fault}\n  To explain: {}.\n", fault.kind.explanation())
            }
            Verdict::Absent(why) => format!("absent: {why}\n"),
            Verdict::Empty => "empty: there is a ledger, and it has no record\n".to_owned(),
            Verdict::Unreadable(why) => format!("unreadable: {why}\n"),
        };
        for log in &self.logs {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  {:<40} {:>8} records  {:>8} intents ({} closed, {} recovered as unknown, {} open)",
                log.origin, log.records, log.intents, log.outcomes, log.recovered, log.open
            );
            if !log.signed_by.is_empty() {
                let _ = writeln!(text, "    whole from {}", span(log));
            } else if log.clock_backwards > 0 {
                let _ = writeln!(text, "    {}", went_back(log));
            }
            for change in &log.keys {
                let (seq, id, ts) = (change.seq, change.key.id(), &change.ts);
                let _ = writeln!(text, "    from record {seq} on its key is {id} ({ts})");
            }
            log.disclosed.iter().for_each(|disclosed| text.push_str(&fits(disclosed)));
            log.kept_answers.iter().for_each(|kept| text.push_str(&answers(kept)));
        }
        if !self.trusted_keys && !self.logs.is_empty() {
            text.push_str(
                "  keys: from the folder itself; give --vkey to check against your own\n",
            );
        }
        text
    }

    /// Number of records in the logs that were found whole.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.logs.iter().fold(0, |all, log| all.saturating_add(log.records))
    }
}

fn went_back(log: &LogReport) -> String {
    format!("the clock went back {} times", log.clock_backwards)
}

/// What was found whole, and who vouches for it.
fn span(log: &LogReport) -> String {
    let witnesses = log.witnessed_by.iter().map(|(name, at)| format!("{name} at {}", time(*at)));
    let witnesses: Vec<String> = witnesses.collect();
    let witnesses = if witnesses.is_empty() { "nobody".to_owned() } else { witnesses.join(", ") };
    let range = match log.records.checked_sub(1) {
        Some(last) => format!("record {} to {last}", log.pruned),
        None => "its begin, no record".to_owned(),
    };
    let signers = log.signed_by.join(", ");
    let (erased, pruned) = (log.erased, log.pruned);
    let mut said = format!(
        "{range}, signed by {signers}, witnessed by {witnesses}, {erased} erased, {pruned} pruned"
    );
    if log.counted > 0 {
        let (counted, counts) = (log.counted, log.counts);
        let _ = write!(said, ", {counted} numbered in {counts} counts of sessions, none missing");
    }
    // Order is by place, so these are flags and no faults.
    if log.clock_backwards > 0 {
        let _ = write!(said, "; {}", went_back(log));
    }
    if log.is_ahead_of_witnesses() {
        let _ = write!(said, "; a record claims {}, later than any witness saw it", log.latest_ts);
    }
    said
}

/// What is disclosed, all of which fits: the first that does not is a fault.
fn fits(disclosed: &DisclosedReport) -> String {
    let DisclosedReport { records, fit, keys_alone } = disclosed;
    let mut said = String::new();
    if *fit > 0 {
        let _ = writeln!(said, "    {fit} fields of {records} records disclosed, all fit");
    }
    if *keys_alone > 0 {
        let _ = writeln!(
            said,
            "    of {keys_alone} fields only the key is here: give what they hold by --payload TENANT:SEQ:FIELD=FILE"
        );
    }
    said
}

/// Answers without a record yet, and records without an answer, that are named in text.
const NAMED: usize = 20;

/// What became of what a caller kept.
fn answers(kept: &KeptReport) -> String {
    let mut said = format!("    of the answers that you kept, {} are here", kept.here);
    if kept.pruned > 0 {
        let _ = write!(said, ", {} are of what was pruned", kept.pruned);
    }
    let _ = writeln!(said, ", {} are newer than this export", kept.newer.len());
    for name in kept.newer.iter().take(NAMED) {
        let _ = writeln!(
            said,
            "      newer, or left out at the end (ask for a later export): {}",
            printable(name)
        );
    }
    said.push_str(&unproved(&kept.unproved));
    let others = (kept.others.len() as u64).saturating_add(kept.unnamed);
    if others > 0 {
        let _ = writeln!(
            said,
            "    and {others} records of the same sessions of which you kept no answer (no answer tells the \
             number of a sign-in, refresh or sign-out, nor the first of two when a call failed after its \
             intent; any other was lost or not kept, or somebody else called):"
        );
    }
    for one in kept.others.iter().take(NAMED) {
        let (at, kind, op) = (one.at, one.kind.as_str(), one.op);
        let _ = writeln!(
            said,
            "      number {} since record {}: record {}, {kind}, op {op}",
            at.number, at.since, one.seq
        );
    }
    if others > NAMED as u64 {
        said.push_str("      and so on; --json names more\n");
    }
    said
}

/// Bare numbers that are not here, which anybody can write down.
fn unproved(names: &[String]) -> String {
    let mut said = String::new();
    if !names.is_empty() {
        let count = names.len();
        let _ = writeln!(
            said,
            "    {count} numbers that you say that you were told are not here; unsigned, so it proves \
             nothing to others (the promise of the same answer would):"
        );
    }
    for name in names.iter().take(NAMED) {
        let _ = writeln!(said, "      {}", printable(name));
    }
    if names.len() > NAMED {
        said.push_str("      and so on; --json names all\n");
    }
    said
}

fn kept_json(kept: &KeptReport) -> serde_json::Value {
    let others = kept.others.iter().map(|one| {
        json!({ "number": one.at.number, "since": one.at.since, "seq": one.seq,
                "kind": one.kind.as_str(), "op": one.op.to_string() })
    });
    json!({
        "here": kept.here,
        "newer": kept.newer,
        "pruned": kept.pruned,
        "unproved": kept.unproved,
        "without_answer": others.collect::<Vec<_>>(),
        "without_answer_unnamed": kept.unnamed,
    })
}

fn time(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

fn fault_json(fault: &Fault) -> serde_json::Value {
    let explain = fault.kind.explanation();
    json!({ "explain": explain, "log": fault.log, "seq": fault.seq, "kind": fault.kind.as_str(), "why": fault.why })
}

fn log_json(log: &LogReport) -> serde_json::Value {
    json!({
        "origin": log.origin,
        "records": log.records,
        "root": hex::encode(log.root),
        "intents": log.intents,
        "outcomes": log.outcomes,
        "recovered": log.recovered,
        "open": log.open,
        "erased": log.erased,
        "pruned": log.pruned,
        "signed_by": log.signed_by,
        "keys": log.keys.iter()
            .map(|change| json!({ "since": change.seq, "ts": change.ts, "vkey": change.key.to_string() }))
            .collect::<Vec<_>>(),
        "witnessed_by": log.witnessed_by.iter()
            .map(|(name, at)| json!({ "witness": name, "time": time(*at) }))
            .collect::<Vec<_>>(),
        "clock_backwards": log.clock_backwards,
        "latest_ts": log.latest_ts,
        "session_counts": log.counts,
        "session_counted": log.counted,
        "disclosed": log.disclosed.map(|of| json!({
            "records": of.records, "fit": of.fit, "keys_alone": of.keys_alone,
        })),
        "kept_answers": log.kept_answers.as_ref().map(kept_json),
        "ahead_of_witnesses": log.is_ahead_of_witnesses(),
    })
}
