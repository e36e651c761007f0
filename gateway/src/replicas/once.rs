//! What counts once: in Redis over all replicas, where there is one; in this process otherwise.
//!
//! INVARIANT: when it is not known whether something was used before, it does not count: with a Redis that
//! is away nothing does (`call_tokens::count_once_over_replicas_and_not_at_all_without_their_redis`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Redis;

/// Names that one process remembers; beyond that nothing more counts until some are over.
const MAX_NAMES: usize = 500_000;

/// Whether something may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// For the first time, now.
    First,
    /// It was used before.
    Again,
    /// That can't be known now.
    Unknown,
}

/// The guard against replays.
#[derive(Debug)]
pub struct Once {
    redis: Option<Arc<Redis>>,
    used: Mutex<HashMap<String, i64>>,
}

impl Once {
    /// Nothing was used yet.
    #[must_use]
    pub fn new(redis: Option<Arc<Redis>>) -> Self {
        Self { redis, used: Mutex::default() }
    }

    /// Uses a name that is over at `until` (Unix seconds).
    pub async fn use_up(&self, name: &str, until: i64, now: i64) -> Use {
        let Some(redis) = &self.redis else { return self.here(name, until, now) };
        let key = redis.name("once", name);
        let seconds = until.saturating_sub(now).max(1);
        let set = redis.ask(async |mut connection| {
            let mut set = redis::cmd("SET");
            set.arg(&key).arg(1).arg("NX").arg("EX").arg(seconds);
            set.query_async::<Option<String>>(&mut connection).await
        });
        match set.await {
            None => Use::Unknown,
            Some(Some(_)) => Use::First,
            Some(None) => Use::Again,
        }
    }

    fn here(&self, name: &str, until: i64, now: i64) -> Use {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.contains_key(name) {
            return Use::Again;
        }
        if used.len() >= MAX_NAMES {
            used.retain(|_, until| *until > now);
            if used.len() >= MAX_NAMES {
                return Use::Unknown;
            }
        }
        used.insert(name.to_owned(), until);
        Use::First
    }

    /// Forgets what is over.
    pub fn keep_house(&self, now: i64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_used_once_until_it_is_over() {
        let once = Once::new(None);
        assert_eq!(once.use_up("a", 60, 0).await, Use::First);
        assert_eq!(once.use_up("a", 60, 1).await, Use::Again);
        assert_eq!(once.use_up("b", 60, 1).await, Use::First);
        once.keep_house(59);
        assert_eq!(once.use_up("a", 60, 59).await, Use::Again);
        once.keep_house(60);
        assert_eq!(once.here("a", 120, 60), Use::First);
    }
}
