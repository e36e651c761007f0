//! The account: which head witnesses are asked for, who cosigned it, and what waits for how long.
//! No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::head::Head;

/// How long one head is asked for while a newer one is shown: longer than a witness has to answer.
const TARGET_STAYS: Duration = Duration::from_secs(3);

/// Into how many steps the time until it is too late is cut when waiting records are counted.
const STEPS: u32 = 16;

/// The account of all logs.
#[derive(Debug)]
pub struct Board {
    quorum: usize,
    max_lag: Duration,
    logs: BTreeMap<String, Log>,
}

#[derive(Debug, Default)]
struct Log {
    target: Option<Target>,
    /// Records under a head that a quorum has cosigned.
    witnessed: u64,
    /// Sizes that were durable, and since when; the oldest first. No time: before this process.
    waiting: VecDeque<(u64, Option<Instant>)>,
}

#[derive(Debug)]
struct Target {
    head: Arc<Head>,
    since: Instant,
    cosigned_by: BTreeSet<usize>,
}

/// What a witness is to be asked next about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// To cosign this head.
    Ask(Arc<Head>),
    /// The shown head has to be read and proposed first.
    Read,
}

/// What is not witnessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lag {
    /// For how long, at the log that waits longest; zero when all is witnessed.
    pub since: Duration,
    /// Whether this is longer than allowed.
    pub too_late: bool,
    /// Whether it waits since before this process began.
    pub since_start: bool,
    /// The log that waits longest.
    pub log: String,
}

/// The reason that callers and operators hear.
impl std::fmt::Display for Lag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.since_start {
            return write!(f, "no quorum of witnesses since the start");
        }
        write!(f, "no quorum of witnesses for {} s", self.since.as_secs())
    }
}

impl Board {
    /// An account without logs.
    #[must_use]
    pub const fn new(quorum: usize, max_lag: Duration) -> Self {
        Self { quorum, max_lag, logs: BTreeMap::new() }
    }

    /// Notes records that were durable before this process began.
    pub fn was_there(&mut self, origin: &str, size: u64) {
        if size > 0 {
            self.log(origin).waiting.push_back((size, None));
        }
    }

    /// Notes that a log has so many durable records at `now`.
    pub fn durable(&mut self, origin: &str, size: u64, now: Instant) {
        let step = self.max_lag / STEPS;
        let log = self.log(origin);
        let known = log.waiting.back().map_or(log.witnessed, |(size, _)| *size);
        if size <= known {
            return;
        }
        let long = log.waiting.len() > 2 * STEPS as usize;
        match log.waiting.back_mut() {
            // Counted from the first of a step: never later than it was.
            Some((last, Some(since))) if long || now.duration_since(*since) < step => *last = size,
            _ => log.waiting.push_back((size, Some(now))),
        }
    }

    /// What to ask the witness `index` about a log that shows `shown` records.
    #[must_use]
    pub fn next(&self, index: usize, origin: &str, shown: u64, now: Instant) -> Next {
        let Some(target) = self.logs.get(origin).and_then(|log| log.target.as_ref()) else {
            return if shown > 0 { Next::Read } else { Next::Nothing };
        };
        let done = target.cosigned_by.len() >= self.quorum;
        let old = now.duration_since(target.since) > TARGET_STAYS;
        if shown > target.head.checkpoint.size && (done || old) {
            Next::Read
        } else if target.cosigned_by.contains(&index) {
            Next::Nothing
        } else {
            Next::Ask(Arc::clone(&target.head))
        }
    }

    /// Makes the head that is shown the one that all are asked for.
    pub fn propose(&mut self, head: Head, now: Instant) {
        let log = self.log(&head.checkpoint.origin);
        let size = log.target.as_ref().map_or(0, |target| target.head.checkpoint.size);
        if log.target.is_none() || size < head.checkpoint.size {
            let (head, cosigned_by) = (Arc::new(head), BTreeSet::new());
            log.target = Some(Target { head, since: now, cosigned_by });
        }
    }

    /// Notes that the witness `index` has cosigned a head.
    pub fn cosigned(&mut self, index: usize, head: &Head) {
        let quorum = self.quorum;
        let log = self.log(&head.checkpoint.origin);
        let Some(target) = log.target.as_mut().filter(|target| *target.head == *head) else {
            return; // Too late: another head is asked for by now.
        };
        target.cosigned_by.insert(index);
        if target.cosigned_by.len() >= quorum {
            log.witnessed = log.witnessed.max(head.checkpoint.size);
            let witnessed = log.witnessed;
            log.waiting.retain(|(size, _)| *size > witnessed);
        }
    }

    /// What is not witnessed at `now`, of the log that waits longest.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Lag {
        let waiting =
            self.logs.iter().filter_map(|(origin, log)| Some((origin, log.waiting.front()?)));
        let lags = waiting.map(|(origin, (_, since))| {
            let age = since.map(|since| now.duration_since(since));
            Lag {
                since: age.unwrap_or(self.max_lag),
                too_late: age.is_none_or(|age| age > self.max_lag),
                since_start: age.is_none(),
                log: origin.clone(),
            }
        });
        lags.max_by_key(|lag| (lag.too_late, lag.since)).unwrap_or_default()
    }

    fn log(&mut self, origin: &str) -> &mut Log {
        self.logs.entry(origin.to_owned()).or_default()
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
