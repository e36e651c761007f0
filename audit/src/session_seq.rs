//! Numbers of the records of a session, by which a caller sees from its own answers that one is missing.
//!
//! Each record that tells a caller's story, an intent or a decision, of a known session gets the next
//! number; not that of a session of one call ([`crate::Who::once`]), which would be 1 and only push others
//! out of the memory. The numbers are counted for one session, in one log, by one run of one writer: a count
//! begins with number 1 at the place where its first record stands, and that place names it (`since`).
//! So a count needs no state that replicas share, and none outlives its writer: after a restart, or
//! when a session comes back that was forgotten, another one begins, which no verifier takes for a gap.
//!
//! The writer gives the number when it gives the place, and takes it back with the place when a commit
//! fails. So within a count nothing is ever missing, whatever crashed and whoever gave up waiting: a
//! missing number is a record that was taken out.

use std::collections::HashMap;
use std::fmt;

use crate::chain::Hash;

/// Counts that are remembered, over all logs: about 10 MB at most. A session that is forgotten, because
/// as many others were active since, begins a new count.
pub const MOST_COUNTS: usize = 2 * HALF;

/// Counts in a generation; there are two.
const HALF: usize = 32 * 1024;

/// Which record of its session a record is (`who.session_seq` and `who.session_since`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionSeq {
    /// Place in the log of the count's first record, which names the count.
    pub since: u64,
    /// 1 for that record, then one more for each.
    pub number: u64,
}

/// The number of a record, as its caller is told: with the log that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Origin of the log.
    pub log: String,
    /// The number.
    pub at: SessionSeq,
}

/// The value of the header that carries it: `3;since=117;log="acme/t/default"` (RFC 9651).
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};since={};log=\"{}\"", self.at.number, self.at.since, self.log)
    }
}

impl Counted {
    /// Reads the value of the header; nothing for anything that is not exactly one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, rest) = text.trim().split_once(";since=")?;
        let (since, rest) = rest.split_once(";log=\"")?;
        let log = rest.strip_suffix('"')?.to_owned();
        let [number, since] = [number, since].map(crate::note::decimal);
        let at = SessionSeq { since: since?, number: number?.checked_sub(1)? + 1 };
        (!log.contains(['"', '\\'])).then_some(Self { log, at })
    }
}

/// Digest of a session's id: what callers call their sessions may be long.
pub(crate) type SessionKey = Hash;

/// The last number of each session that the writer remembers. Forgets by generations, so that a session
/// that is in use stays, and a lookup costs the same however many there are.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    young: Counts,
    old: Counts,
    /// What each number of the batch at hand replaced, in order.
    replaced: Vec<(Counter, Option<SessionSeq>)>,
}

/// Log and session.
type Counter = (i64, SessionKey);
type Counts = HashMap<Counter, SessionSeq>;

impl Sessions {
    /// The number of a session's next record, which will stand at this place of the log.
    pub(crate) fn next(&mut self, log: i64, session: SessionKey, place: u64) -> SessionSeq {
        let counter = (log, session);
        let last = self.young.get(&counter).or_else(|| self.old.get(&counter)).copied();
        let next = match last {
            Some(last) => SessionSeq { number: last.number.saturating_add(1), ..last },
            None => SessionSeq { since: place, number: 1 },
        };
        if self.young.len() >= HALF && !self.young.contains_key(&counter) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(counter, next);
        self.replaced.push((counter, last));
        next
    }

    /// What was numbered so far is on disk.
    pub(crate) fn keep(&mut self) {
        self.replaced.clear();
    }

    /// Takes back the numbers of a batch that is not on disk.
    pub(crate) fn give_back(&mut self) {
        for (counter, last) in std::mem::take(&mut self.replaced).into_iter().rev() {
            self.old.remove(&counter);
            match last {
                Some(last) => drop(self.young.insert(counter, last)),
                None => drop(self.young.remove(&counter)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(session: usize) -> SessionKey {
        crate::chain::leaf(&session.to_be_bytes())
    }

    proptest! {
        /// Whatever fails and is written again at another place: what stays is numbered without a gap.
        #[test]
        fn numbers_that_were_given_back_are_given_again(
            batches in proptest::collection::vec(
                (proptest::collection::vec(0_usize..4, 1..8), any::<bool>()), 1..40,
            ),
        ) {
            let (mut sessions, mut place) = (Sessions::default(), 0);
            let mut kept: HashMap<usize, Vec<SessionSeq>> = HashMap::new();
            for (batch, commits) in batches {
                let begin = place;
                let mut given = Vec::new();
                for session in batch {
                    given.push((session, sessions.next(1, key(session), place)));
                    place += 1;
                }
                if commits {
                    sessions.keep();
                    given.into_iter().for_each(|(one, at)| kept.entry(one).or_default().push(at));
                } else {
                    sessions.give_back();
                    place = begin + u64::from(place % 3 == 0);
                }
            }
            for numbers in kept.values() {
                for (index, at) in numbers.iter().enumerate() {
                    prop_assert_eq!(at.number, index as u64 + 1);
                    prop_assert_eq!(at.since, numbers[0].since);
                }
            }
        }
    }

    #[test]
    fn who_is_in_use_is_not_forgotten_and_who_comes_back_begins_a_new_count() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.next(1, key(0), 7), SessionSeq { since: 7, number: 1 });
        assert_eq!(sessions.next(1, key(1), 8), SessionSeq { since: 8, number: 1 });
        for other in 2..3 * HALF {
            sessions.next(1, key(other), other as u64 + 7);
            sessions.next(1, key(1), other as u64 + 8);
            sessions.keep();
        }
        assert!(sessions.young.len() + sessions.old.len() <= MOST_COUNTS);
        assert_eq!(sessions.next(1, key(1), 900_000).since, 8);
        let again = SessionSeq { since: 900_001, number: 1 };
        assert_eq!(sessions.next(1, key(0), 900_001), again, "not 2 of the count before");
    }

    #[test]
    fn one_session_is_counted_in_each_log_for_itself() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.next(1, key(0), 7).number, 1);
        assert_eq!(sessions.next(2, key(0), 3), SessionSeq { since: 3, number: 1 });
        assert_eq!(sessions.next(1, key(0), 8), SessionSeq { since: 7, number: 2 });
    }

    #[test]
    fn the_header_reads_back_and_nothing_else_does() {
        let told = Counted {
            log: "d/t/default".to_owned(),
            at: SessionSeq { since: 0, number: u64::MAX },
        };
        assert_eq!(Counted::parse(&told.to_string()), Some(told.clone()));
        let good = "3;since=117;log=\"d/t/x\"";
        assert!(Counted::parse(good).is_some());
        for (from, to) in
            [("3;", "0;"), ("3;", "03;"), ("=117", "=+117"), ("\"", ""), ("x\"", "x\\\"\"")]
        {
            assert_eq!(Counted::parse(&good.replace(from, to)), None, "{to}");
        }
    }
}
