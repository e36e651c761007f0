//! What a session tried and failed at a moment ago: for feedback to a model, never for a decision about rights.
//!
//! Kept in this process only: a replica that dies forgets how often a model tried, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use serde_json::Value;

use super::{Attempt, taxonomy};
use crate::answer::Told;
use crate::refusal::Refusal;

/// How long a failure counts. A turn of a conversation is over by then.
const TURN: Duration = Duration::from_secs(300);
/// Sessions, and tools of sessions, that are kept; beyond that the oldest are forgotten.
const KEPT: u64 = 50_000;

/// Names a session of one user: one key or service token may act for many, whose failures are their own.
#[must_use]
pub fn turn_of(session: &str, user: &str) -> String {
    format!("{session}\n{user}")
}

/// The latest failures of all sessions.
#[derive(Debug)]
pub struct Turns {
    /// Each code with when it was met last.
    failed: Cache<String, Vec<(&'static str, Instant)>>,
    attempts: Cache<(String, String), u32>,
    unknown: AtomicU64,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            failed: Cache::builder().max_capacity(KEPT).time_to_live(TURN).build(),
            attempts: Cache::builder().max_capacity(KEPT).time_to_live(TURN).build(),
            unknown: AtomicU64::new(0),
        }
    }
}

impl Turns {
    /// Codes of the taxonomy with which calls of this session ([`turn_of`]) failed lately.
    #[must_use]
    pub fn failed(&self, session: &str) -> Vec<&'static str> {
        let met = self.failed.get(session).unwrap_or_default();
        met.into_iter().filter(|(_, at)| at.elapsed() < TURN).map(|(code, _)| code).collect()
    }

    /// How many calls named an app or a function that is not there, since start.
    #[must_use]
    pub fn unknown_functions(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Keeps how a call ended, and counts it where its arguments did not fit.
    pub fn ended(&self, session: &str, tool: &str, told: &mut Result<Told, Refusal>) {
        let code = match told {
            Ok(Told::Done(value)) => {
                self.fitted(session, tool);
                error_code(value)
            }
            // The app was asked and failed, or nobody knows.
            Ok(Told::Refused(refusal)) => {
                self.fitted(session, tool);
                Some(refusal.code())
            }
            Ok(_) => return self.fitted(session, tool),
            Err(Refusal::InvalidArguments(feedback)) => {
                let attempt = self.count(session, tool);
                let (outcome, count) = (attempt.outcome(), attempt.number - 1);
                tracing::info!(%tool, outcome, retry_count = count, "validation_retry_outcome");
                feedback.attempt = Some(attempt);
                None
            }
            Err(
                Refusal::UnknownApp(_) | Refusal::UnknownFunction(_) | Refusal::UnknownAppRoute(_),
            ) => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(asked = %tool, "UNKNOWN_FUNCTION(will-reject)");
                None
            }
            Err(_) => None,
        };
        let code = code.or_else(|| told.as_ref().err().map(Refusal::code));
        if let Some(entry) = code.and_then(taxonomy::published) {
            self.failed.entry_by_ref(session).and_upsert_with(|known| {
                let mut codes = known.map(|known| known.into_value()).unwrap_or_default();
                codes.retain(|(code, at)| *code != entry.code && at.elapsed() < TURN);
                codes.push((entry.code, Instant::now()));
                codes
            });
        }
    }

    fn fitted(&self, session: &str, tool: &str) {
        if let Some(tries) = self.attempts.remove(&(session.to_owned(), tool.to_owned())) {
            let outcome = "success";
            tracing::info!(%tool, outcome, retry_count = tries, "validation_retry_outcome");
        }
    }

    fn count(&self, session: &str, tool: &str) -> Attempt {
        let key = (session.to_owned(), tool.to_owned());
        let counted = self
            .attempts
            .entry(key)
            .and_upsert_with(|known| known.map_or(1, |known| known.into_value().saturating_add(1)));
        Attempt::of(counted.into_value())
    }
}

/// The code of an app's own failure (wire-contract.md section 8); one without a code has the published one.
fn error_code(value: &[u8]) -> Option<&'static str> {
    let value: Value = serde_json::from_slice(value).ok()?;
    if value.get("status")?.as_str()? != "error" {
        return None;
    }
    let code = value.get("error_code").and_then(Value::as_str).unwrap_or("EXT_UNSTRUCTURED_ERROR");
    taxonomy::published(code).map(|entry| entry.code)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn invalid() -> Result<Told, Refusal> {
        Err(Refusal::InvalidArguments(Vec::new().into()))
    }

    fn attempt(told: &Result<Told, Refusal>) -> Attempt {
        match told {
            Err(Refusal::InvalidArguments(feedback)) => feedback.attempt.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn attempts_of_one_tool_by_one_session_are_counted_until_one_fits() {
        let turns = Turns::default();
        let seen: Vec<Attempt> = (0..4)
            .map(|_| {
                let mut told = invalid();
                turns.ended("s", "notes/create_note", &mut told);
                attempt(&told)
            })
            .collect();
        assert_eq!(seen.iter().map(|a| a.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(seen.iter().map(|a| a.left).collect::<Vec<_>>(), [2, 1, 0, 0]);
        let (mut other, mut elsewhere) = (invalid(), invalid());
        turns.ended("s", "notes/delete_note", &mut other);
        turns.ended("t", "notes/create_note", &mut elsewhere);
        assert_eq!((attempt(&other).number, attempt(&elsewhere).number), (1, 1));
        turns.ended("s", "notes/create_note", &mut Ok(Told::Done(Bytes::from_static(b"{}"))));
        let mut again = invalid();
        turns.ended("s", "notes/create_note", &mut again);
        assert_eq!(attempt(&again).number, 1);
    }

    #[test]
    fn failures_are_known_by_their_published_codes_to_their_session_only() {
        let turns = Turns::default();
        let unknown = || Refusal::OutcomeUnknown(String::new());
        turns.ended("s", "a/b", &mut Ok(Told::Refused(unknown())));
        turns.ended("s", "a/b", &mut Err(unknown()));
        turns.ended("s", "a/b", &mut Err(Refusal::ConfirmationExpired));
        let failed = br#"{"status":"error","error":"no"}"#;
        turns.ended("s", "a/b", &mut Ok(Told::Done(Bytes::from_static(failed))));
        assert_eq!(turns.failed("s"), ["BACKEND_TIMEOUT", "EXT_UNSTRUCTURED_ERROR"]);
        assert_eq!(turns.failed("t"), [""; 0]);
    }
}
