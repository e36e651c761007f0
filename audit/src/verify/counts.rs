//! The numbers of a log's sessions: none may be missing, and none that a caller was promised.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::entry::Kind;
use crate::record::{CountedRecord, Record};
use crate::session_seq::{Counted, SessionSeq};

/// Records of a caller's counts that it kept no answer of and that a report names; more are counted.
const MOST_NAMED: usize = 1000;

/// What a caller kept of one answer, by the name that reports give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// For reports, such as a file and a line.
    pub name: String,
    /// What the answer said.
    pub counted: Counted,
    /// Whether it stands in a promise that the log's key signed; a bare number proves nothing to others.
    pub signed: bool,
}

/// What became of the answers that callers kept, in one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptReport {
    /// Answers whose record is here.
    pub here: u64,
    /// Answers of records that are newer than the export, as far as that can be told.
    pub newer: Vec<String>,
    /// Answers of records that were pruned.
    pub pruned: u64,
    /// Bare numbers that are not here and would be, if they were told: nobody signed them, so they accuse
    /// nobody.
    pub unproved: Vec<String>,
    /// Records of the same counts of which no answer was kept: none says its number (sign-in, refresh,
    /// sign-out, and the first of two records when a call failed after its intent), it got lost, was not
    /// kept, or somebody else called in the session.
    pub others: Vec<Other>,
    /// How many more of them there are than are named.
    pub unnamed: u64,
}

/// A record of which its caller kept no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its number.
    pub at: SessionSeq,
    /// Its place.
    pub seq: u64,
    /// What it is.
    pub kind: Kind,
    /// Its operation, which the answer named.
    pub op: uuid::Uuid,
}

/// The counts of one log, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By the place of their first record.
    counts: HashMap<u64, Count>,
    /// Numbered records so far.
    records: u64,
    /// What callers kept, by count and number, until its record is met: its name, and whether it is signed.
    awaited: BTreeMap<u64, BTreeMap<u64, (String, bool)>>,
    kept: Option<KeptReport>,
}

#[derive(Debug)]
struct Count {
    session: String,
    last: u64,
}

impl Counts {
    /// Holds the log against what callers kept.
    pub(super) fn remember(&mut self, kept: Vec<Kept>) {
        self.kept = (!kept.is_empty()).then(KeptReport::default);
        for Kept { name, counted, signed } in kept {
            let SessionSeq { since, number } = counted.at;
            let numbers = self.awaited.entry(since).or_default();
            // A bare number beside the promise of the same answer takes nothing from it.
            if numbers.get(&number).is_none_or(|(_, signed)| !signed) {
                numbers.insert(number, (name, signed));
            }
        }
    }

    /// Takes the next record's number; `pruned` records from the begin can't be read any more.
    pub(super) fn take(&mut self, record: &Record, pruned: u64) -> Result<(), String> {
        let Some(CountedRecord { session, at }) = &record.counted else { return Ok(()) };
        self.records += 1;
        self.meets(record, *at);
        if (at.number == 1) != (at.since == record.seq) {
            return Err(format!("it is number {} of those since record {}", at.number, at.since));
        }
        let Some(count) = self.counts.get_mut(&at.since) else {
            // Of a count that began among what was pruned, the numbers from here on can be checked.
            if at.number != 1 && at.since >= pruned {
                return Err(format!("it counts since record {}, which begins no count", at.since));
            }
            self.counts.insert(at.since, Count { session: session.clone(), last: at.number });
            return Ok(());
        };
        let (expected, is_same) = (count.last.saturating_add(1), count.session == *session);
        if at.number != expected || !is_same {
            return Err(format!(
                "number {expected} of session `{}`, counted since record {}, is missing: here is number {}{}",
                count.session,
                at.since,
                at.number,
                if is_same { String::new() } else { format!(" of session `{session}`") },
            ));
        }
        count.last = expected;
        Ok(())
    }

    /// Holds the record against what its caller kept.
    fn meets(&mut self, record: &Record, at: SessionSeq) {
        let (Some(awaited), Some(kept)) = (self.awaited.get_mut(&at.since), &mut self.kept) else {
            return;
        };
        if awaited.remove(&at.number).is_some() {
            kept.here += 1;
        } else if kept.others.len() < MOST_NAMED {
            kept.others.push(Other { at, seq: record.seq, kind: record.kind, op: record.op });
        } else {
            kept.unnamed += 1;
        }
    }

    /// What became of what callers kept, once all `size` records were taken, the first `pruned` of which
    /// can't be read. Of a record that was promised and must have been here: its place, as far as it is known,
    /// and why.
    pub(super) fn end(&mut self, size: u64, pruned: u64) -> Result<(), (u64, String)> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        for (since, awaited) in std::mem::take(&mut self.awaited) {
            let last = self.counts.get(&since).map(|count| count.last);
            for (number, (name, signed)) in awaited {
                if since >= size || last.is_some_and(|last| number > last) {
                    kept.newer.push(name);
                } else if since < pruned {
                    kept.pruned += 1;
                } else if !signed {
                    kept.unproved.push(name);
                } else {
                    let why = format!(
                        "the promise `{name}` was number {number} of those counted since this record, \
                         which begins no count"
                    );
                    return Err((since, why));
                }
            }
        }
        Ok(())
    }

    /// Counts, numbered records, and what callers kept.
    pub(super) fn report(&mut self) -> (u64, u64, Option<KeptReport>) {
        (self.counts.len() as u64, self.records, self.kept.take())
    }
}

/// The logs that kept answers are of.
pub(super) fn logs_of(kept: &[Kept]) -> BTreeSet<&str> {
    kept.iter().map(|kept| kept.counted.log.as_str()).collect()
}
