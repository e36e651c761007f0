//! What an app's code keeps for one of its users: cached values, for five minutes at most, and the sections
//! of its skeleton (wire-contract.md 5.8). In Redis where there is one, in this process otherwise; either
//! may lose it.
//!
//! It decides nothing: the door runs the same seven steps as every other, and the value is no argument.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;

use crate::replicas::Redis;

/// Bytes that one process keeps; beyond that the least used go.
const MAX_BYTES: u64 = 64 << 20;

/// How long a section lasts that nobody refreshes.
pub const SECTION_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Longest section (wire-contract.md 5.8).
pub const MAX_SECTION: usize = 64 << 10;

/// Where one value is: tenant, app, user and name, none of which holds a blank.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place(String);

impl Place {
    /// The place of a name of an app's code for a user.
    #[must_use]
    pub fn new(tenant: &str, app: &str, user: &str, name: &str) -> Self {
        Self(format!("{tenant} {app} {user} {name}"))
    }
}

/// Redis did not answer.
#[derive(Debug, thiserror::Error)]
#[error("what apps keep cannot be reached")]
pub struct Away;

/// All that apps keep.
pub struct Cached {
    redis: Option<Arc<Redis>>,
    here: moka::sync::Cache<Place, Kept>,
}

#[derive(Clone)]
struct Kept {
    value: Bytes,
    life: Duration,
}

struct Life;

impl Expiry<Place, Kept> for Life {
    fn expire_after_create(&self, _: &Place, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.life)
    }

    fn expire_after_update(
        &self,
        _: &Place,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.life)
    }
}

impl Cached {
    /// Nothing is kept yet.
    #[must_use]
    pub fn new(redis: Option<Arc<Redis>>) -> Self {
        let size = |place: &Place, kept: &Kept| {
            u32::try_from(place.0.len() + kept.value.len()).unwrap_or(u32::MAX)
        };
        let here = moka::sync::Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(size)
            .expire_after(Life)
            .build();
        Self { redis, here }
    }

    /// What is kept there. A Redis that is away keeps nothing.
    pub async fn get(&self, place: &Place) -> Option<Bytes> {
        let Some(redis) = &self.redis else { return self.here.get(place).map(|kept| kept.value) };
        let key = redis.name("cached", &place.0);
        let got = redis.ask(async |mut connection| {
            redis::cmd("GET").arg(&key).query_async::<Option<Vec<u8>>>(&mut connection).await
        });
        got.await.flatten().map(Bytes::from)
    }

    /// Keeps something for a time; a Redis that is away loses it.
    pub async fn set(&self, place: Place, value: Bytes, life: Duration) {
        let Some(redis) = &self.redis else {
            self.here.insert(place, Kept { value, life });
            return;
        };
        let key = redis.name("cached", &place.0);
        let set = redis.ask(async |mut connection| {
            let mut set = redis::cmd("SET");
            set.arg(&key).arg(&value[..]).arg("EX").arg(life.as_secs().max(1));
            set.query_async::<()>(&mut connection).await
        });
        set.await;
    }

    /// Forgets what is there.
    ///
    /// # Errors
    /// When that is not certain.
    pub async fn delete(&self, place: &Place) -> Result<(), Away> {
        let Some(redis) = &self.redis else {
            self.here.invalidate(place);
            return Ok(());
        };
        let key = redis.name("cached", &place.0);
        let deleted = redis.ask(async |mut connection| {
            redis::cmd("DEL").arg(&key).query_async::<()>(&mut connection).await
        });
        deleted.await.ok_or(Away)
    }
}

impl std::fmt::Debug for Cached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cached({} values here)", self.here.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_lasts_as_long_as_it_was_last_said_to() {
        let cached = Cached::new(None);
        let place = Place::new("t", "notes", "u", "m k");
        let value = Bytes::from_static(b"{}");
        cached.set(place.clone(), value.clone(), Duration::from_secs(60)).await;
        assert_eq!(cached.get(&place).await, Some(value.clone()));
        assert_eq!(cached.get(&Place::new("t", "notes", "v", "m k")).await, None);
        cached.set(place.clone(), value, Duration::from_millis(30)).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(cached.get(&place).await, None, "the later word counts");
        cached.set(place.clone(), Bytes::new(), Duration::from_secs(60)).await;
        cached.delete(&place).await.unwrap();
        assert_eq!(cached.get(&place).await, None);
    }
}
