//! Unwrapped scope keys for a few minutes, so that sealing on the request path asks nobody.

use crate::context::Scope;
use crate::scope_key::{ScopeKey, ScopeKeyId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// How long an unwrapped key may be used before its key-encryption key is asked again; so a revoked key
/// stops working within this time, and so does everything when the provider is gone.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);

/// How often an unwrapped key may be used before its key-encryption key is asked again.
pub(crate) const USES: u32 = 1 << 20;

/// Keys in memory at most.
pub(crate) const CAPACITY: usize = 4096;

/// A bounded map of unwrapped keys. A key is wiped when the last call that uses it ends.
#[derive(Default)]
pub(crate) struct Cache {
    slots: RwLock<Slots>,
}

struct Slots {
    keys: HashMap<ScopeKeyId, Slot>,
    active: HashMap<Scope, ScopeKeyId>,
    sweep_at: Option<Instant>,
    lifetime: Duration,
    /// Counts the purges: what was read before one must not be remembered after it.
    purges: u64,
}

struct Slot {
    key: Arc<ScopeKey>,
    until: Instant,
    uses: AtomicU32,
}

impl Default for Slots {
    fn default() -> Self {
        let (keys, active) = (HashMap::new(), HashMap::new());
        Self { keys, active, sweep_at: None, lifetime: LIFETIME, purges: 0 }
    }
}

/// What was forgotten before some reading began.
#[derive(Clone, Copy)]
pub(crate) struct Moment(u64);

impl Cache {
    pub(crate) fn active(&self, scope: &Scope, now: Instant) -> Option<Arc<ScopeKey>> {
        let slots = self.read();
        slots.active.get(scope).and_then(|id| slots.live(id, now))
    }

    pub(crate) fn by_id(&self, id: ScopeKeyId, now: Instant) -> Option<Arc<ScopeKey>> {
        self.read().live(&id, now)
    }

    /// Keys that are remembered from now on live so long; never longer than [`LIFETIME`].
    pub(crate) fn keep_for(&self, lifetime: Duration) {
        self.write().lifetime = lifetime.min(LIFETIME);
    }

    /// Taken before the store is read, given to [`Cache::insert`] afterwards.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.read().purges)
    }

    /// Remembers a key, unless something was purged since `since`: the key may be what was purged.
    pub(crate) fn insert(&self, key: &Arc<ScopeKey>, active: bool, now: Instant, since: Moment) {
        let mut slots = self.write();
        if slots.purges != since.0 {
            return;
        }
        if slots.keys.len() >= CAPACITY || slots.sweep_at.is_none_or(|at| now >= at) {
            slots.make_room(now);
        }
        if active {
            slots.active.insert(key.scope().clone(), key.id());
        }
        let until = now + slots.lifetime;
        let slot = Slot { key: Arc::clone(key), until, uses: AtomicU32::new(0) };
        slots.keys.insert(key.id(), slot);
    }

    /// Wipes what has expired.
    pub(crate) fn sweep(&self, now: Instant) {
        self.write().make_room(now);
    }

    /// Forgets at once every key whose scope is wanted gone: it was revoked, rotated or erased.
    pub(crate) fn purge(&self, gone: impl Fn(&Scope) -> bool) {
        let mut slots = self.write();
        slots.purges += 1;
        slots.active.retain(|scope, _| !gone(scope));
        slots.keys.retain(|_, slot| !gone(slot.key.scope()));
    }

    /// Forgets one key at once.
    pub(crate) fn purge_key(&self, id: ScopeKeyId) {
        let mut slots = self.write();
        slots.purges += 1;
        slots.active.retain(|_, active| *active != id);
        slots.keys.remove(&id);
    }

    fn read(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn live(&self, id: &ScopeKeyId, now: Instant) -> Option<Arc<ScopeKey>> {
        let slot = self.keys.get(id).filter(|slot| now < slot.until)?;
        // Two threads may pass the bound together; a few uses more do no harm.
        if slot.uses.load(Ordering::Relaxed) >= USES {
            return None;
        }
        slot.uses.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&slot.key))
    }

    /// Drops what has expired, and, where that is not enough, the half that expires first. Halving keeps
    /// the cost of one insertion constant on average.
    fn make_room(&mut self, now: Instant) {
        self.sweep_at = Some(now + self.lifetime / 5);
        self.keys.retain(|_, slot| now < slot.until);
        if self.keys.len() >= CAPACITY {
            let mut ends: Vec<Instant> = self.keys.values().map(|slot| slot.until).collect();
            let (_, middle, _) = ends.select_nth_unstable(CAPACITY / 2);
            let middle = *middle;
            self.keys.retain(|_, slot| slot.until > middle);
        }
        let keys = &self.keys;
        self.active.retain(|_, id| keys.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn key(number: u32) -> Arc<ScopeKey> {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let scope = Scope::new("t", &number.to_string(), "x").unwrap();
        let id = ScopeKeyId::from_bytes(id);
        Arc::new(ScopeKey::new(id, 1, scope, Zeroizing::new([1; 32])).unwrap())
    }

    #[test]
    fn expired_keys_do_not_stay_in_memory() {
        let (cache, now) = (Cache::default(), Instant::now());
        let key = key(1);
        let watched = Arc::downgrade(&key);
        cache.insert(&key, true, now, cache.moment());
        drop(key);
        cache.sweep(now + LIFETIME);
        assert!(watched.upgrade().is_none());
    }

    #[test]
    fn a_key_is_gone_after_five_minutes() {
        let (cache, now) = (Cache::default(), Instant::now());
        let key = key(1);
        cache.insert(&key, true, now, cache.moment());
        let last = now + LIFETIME - Duration::from_nanos(1);
        assert!(cache.active(key.scope(), last).is_some());
        assert!(cache.active(key.scope(), now + LIFETIME).is_none());
        assert!(cache.by_id(key.id(), now + LIFETIME).is_none());
    }

    #[test]
    fn never_holds_more_than_its_capacity_and_keeps_the_youngest() {
        let (cache, start) = (Cache::default(), Instant::now());
        let count = u32::try_from(CAPACITY).unwrap() * 2 + 5;
        for number in 0..count {
            let now = start + Duration::from_millis(number.into());
            cache.insert(&key(number), true, now, cache.moment());
            let slots = cache.read();
            assert!(slots.keys.len() <= CAPACITY && slots.active.len() <= CAPACITY);
        }
        assert!(cache.by_id(key(count - 1).id(), start).is_some());
        assert!(cache.by_id(key(0).id(), start).is_none());
    }

    #[test]
    fn a_purged_scope_is_gone_and_its_key_is_dropped() {
        let (cache, now) = (Cache::default(), Instant::now());
        let key = key(1);
        let watched = Arc::downgrade(&key);
        cache.insert(&key, true, now, cache.moment());
        cache.purge(|scope| scope.user() == "1");
        drop(key);
        assert!(watched.upgrade().is_none());
    }

    #[test]
    fn what_was_read_before_a_purge_is_not_remembered_after_it() {
        let (cache, now) = (Cache::default(), Instant::now());
        let key = key(1);
        let before = cache.moment();
        cache.purge(|_| true);
        cache.insert(&key, true, now, before);
        assert!(cache.active(key.scope(), now).is_none());
    }

    #[test]
    fn a_key_is_gone_after_its_last_use() {
        let (cache, now) = (Cache::default(), Instant::now());
        let key = key(1);
        cache.insert(&key, true, now, cache.moment());
        let used = (0..=USES).filter(|_| cache.active(key.scope(), now).is_some()).count();
        assert_eq!(used, USES as usize);
    }
}
