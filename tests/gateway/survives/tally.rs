//! Holds what clients and upstream know against the ledger of a gateway that was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use harness::{Seen, Value, Verified, text};

use super::load::{Acknowledged, What};

/// What became of all rounds at one place.
#[derive(Debug)]
pub(crate) struct Tally {
    place: String,
    rounds: u32,
    acknowledged: usize,
    effects: usize,
    orphans: usize,
    recoveries: Vec<Duration>,
    /// One line for each thing that is not as it must be.
    pub(crate) faults: BTreeSet<String>,
}

/// What the ledger says of one operation.
#[derive(Debug, Default)]
struct Story {
    decided: bool,
    intents: usize,
    outcomes: usize,
    recovered_as_unknown: usize,
    recovered_otherwise: usize,
}

impl Tally {
    /// The head of the table whose lines [`fmt::Display`] gives.
    pub(crate) const HEAD: &str = "place                               rounds  answers  effects  lost  orphans closed  recovery median / worst";

    pub(crate) fn of(place: &str, rounds: u32) -> Self {
        Self {
            place: place.to_owned(),
            rounds,
            acknowledged: 0,
            effects: 0,
            orphans: 0,
            recoveries: Vec::new(),
            faults: BTreeSet::new(),
        }
    }

    pub(crate) fn nothing_lost(&self) -> bool {
        self.faults.is_empty()
    }

    /// From the start of the process to its first answer.
    pub(crate) fn recovered(&mut self, took: Duration) {
        self.recoveries.push(took);
    }

    pub(crate) fn verified(&mut self, verified: &Verified) {
        if !verified.whole {
            self.faults.insert(format!("the ledger is not whole: {}", verified.said));
        }
    }

    /// Nothing acknowledged is missing, nothing was done without an intent, nothing is left open.
    pub(crate) fn check(&mut self, ledger: &[Value], known: &[Acknowledged], effects: &[Seen]) {
        let stories = stories(ledger);
        for Acknowledged { op, what } in known {
            if !stories.get(op.as_str()).is_some_and(|story| story.keeps(*what)) {
                self.faults.insert(format!("acknowledged as {what:?}, but not there: {op}"));
            }
        }
        for effect in effects {
            let op = effect.header("x-portcullis-op");
            if stories.get(op).is_none_or(|story| story.intents != 1) {
                self.faults.insert(format!("an effect without an intent: {op}"));
            }
        }
        for (op, story) in &stories {
            if !story.is_closed() {
                self.faults.insert(format!("not closed exactly once: {op} {story:?}"));
            }
        }
        self.orphans = stories.values().map(|story| story.recovered_as_unknown).sum();
        (self.acknowledged, self.effects) = (known.len(), effects.len());
    }
}

impl Story {
    fn keeps(&self, what: What) -> bool {
        match what {
            What::Read => self.intents == 1,
            What::Done => self.intents == 1 && self.outcomes == 1,
            What::Decided => self.decided,
        }
    }

    fn is_closed(&self) -> bool {
        self.outcomes + self.recovered_as_unknown == self.intents && self.recovered_otherwise == 0
    }
}

fn stories(ledger: &[Value]) -> BTreeMap<&str, Story> {
    let mut stories = BTreeMap::<&str, Story>::new();
    for record in ledger {
        let story = stories.entry(text(record, "/op")).or_default();
        match (text(record, "/kind"), text(record, "/res/status")) {
            ("decision", _) => story.decided = true,
            ("intent", _) => story.intents += 1,
            ("outcome", _) => story.outcomes += 1,
            ("recover", "unknown") => story.recovered_as_unknown += 1,
            ("recover", _) => story.recovered_otherwise += 1,
            _ => {}
        }
    }
    stories
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.recoveries.clone();
        times.sort_unstable();
        let millis = |at: usize| times.get(at).map_or(0, Duration::as_millis);
        write!(
            f,
            "{:<34}  {:>6}  {:>7}  {:>7}  {:>4}  {:>14}  {:>6} ms / {} ms",
            self.place,
            self.rounds,
            self.acknowledged,
            self.effects,
            self.faults.len(),
            self.orphans,
            millis(times.len() / 2),
            millis(times.len().saturating_sub(1)),
        )
    }
}
