//! Finds a scope's key: in the cache, or in the store through the provider, or makes it.
//!
//! Calls that miss the same key at once share one flight to store and provider. A flight belongs to no
//! call: whoever waits drives it, and when nobody waits any more it ends.

use crate::cache::Cache;
use crate::context::Scope;
use crate::provider::{Guarded, KeyRef, ProviderError, ProviderFault};
use crate::scope_key::{KeyState, ScopeKey, ScopeKeyId, WrappedScopeKey};
use crate::single_use::{self, CipherFault, NoRandomness};
use crate::store::{ScopeKeyStore, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use zeroize::Zeroizing;

/// How often a new key is offered to a store that has taken its version away meanwhile.
pub(crate) const ATTEMPTS: usize = 8;

pub(crate) struct Keys {
    pub(crate) provider: Guarded,
    pub(crate) store: Arc<dyn ScopeKeyStore>,
    pub(crate) cache: Cache,
    flights: Mutex<HashMap<Want, WeakShared<Flight>>>,
}

/// Why a scope's key could not be had. Nothing was sealed or opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The store of scope keys did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The provider of the key-encryption key did not answer, or refused.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// Another key-encryption key wrapped it.
    #[error(
        "scope key wrapped under key `{expected}`, and the provider in use is `{have}`: put the right key back"
    )]
    OtherKek {
        /// Provider and key in the row.
        expected: String,
        /// Provider in use, and what it said.
        have: String,
    },
    /// The row is not as it was written, or it was moved from another scope.
    #[error("the stored scope key `{sk_id}` was altered or moved: restore its row from a backup")]
    Altered {
        /// Id in the row.
        sk_id: ScopeKeyId,
    },
    /// There is no such key, or it was destroyed.
    #[error("the scope key `{sk_id}` is gone: it was erased, or the store is not the right one")]
    Gone {
        /// Id that was asked for.
        sk_id: ScopeKeyId,
    },
    /// The key is not in a state that opens.
    #[error(
        "the scope key `{sk_id}` is {state}: it opens nothing; move it back to decrypt_only first"
    )]
    Resting {
        /// Id of the key.
        sk_id: ScopeKeyId,
        /// `pending` or `retired`.
        state: &'static str,
    },
    /// Others kept making keys for the same scope.
    #[error("no key could be made for this scope, others kept changing it: try again")]
    Contended,
    /// No random bytes for a new key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// A length beyond what the cipher takes.
    #[error("the cipher did not take a scope key")]
    Cipher,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Want {
    Active(Scope),
    Id(ScopeKeyId),
}

type Flight = BoxFuture<'static, Result<Arc<ScopeKey>, KeyError>>;

impl Keys {
    pub(crate) fn new(provider: Guarded, store: Arc<dyn ScopeKeyStore>) -> Self {
        Self { provider, store, cache: Cache::default(), flights: Mutex::default() }
    }

    /// The key that seals for a scope; made when there is none. Allocates nothing on a cache hit.
    pub(crate) async fn active(self: &Arc<Self>, scope: &Scope) -> Result<Arc<ScopeKey>, KeyError> {
        match self.cache.active(scope, Instant::now()) {
            Some(key) => Ok(key),
            None => self.flight(Want::Active(scope.clone())).await,
        }
    }

    /// The key with this id, if it may open.
    pub(crate) async fn by_id(self: &Arc<Self>, id: ScopeKeyId) -> Result<Arc<ScopeKey>, KeyError> {
        match self.cache.by_id(id, Instant::now()) {
            Some(key) => Ok(key),
            None => self.flight(Want::Id(id)).await,
        }
    }

    /// Forgets keys now, and lets no flight that has begun bring them back.
    pub(crate) fn purge(&self, gone: impl Fn(&Scope) -> bool) {
        self.flights().clear();
        self.cache.purge(gone);
    }

    /// As [`Keys::purge`], for one key.
    pub(crate) fn purge_key(&self, id: ScopeKeyId) {
        self.flights().clear();
        self.cache.purge_key(id);
    }

    /// Unwraps the key of a row.
    pub(crate) async fn unwrap(&self, row: &WrappedScopeKey) -> Result<ScopeKey, KeyError> {
        if row.kek_provider != self.provider.kind() {
            return Err(self.other_kek(row, "another provider"));
        }
        let altered = KeyError::Altered { sk_id: row.sk_id };
        match self.provider.unwrap(&row.kek(), &row.wrapped, &row.digest()).await {
            Ok(text) => row.key_of(&text).map_err(|CipherFault| altered),
            Err(error) => Err(match error.fault() {
                ProviderFault::WrongKey => self.other_kek(row, &error.to_string()),
                ProviderFault::Altered => altered,
                _ => error.into(),
            }),
        }
    }

    /// Makes a key and its row, and stores neither.
    pub(crate) async fn make(
        &self,
        scope: &Scope,
        version: u32,
        state: KeyState,
    ) -> Result<WrappedScopeKey, KeyError> {
        let sk_id = ScopeKeyId::from_bytes(single_use::random()?);
        let secret = Zeroizing::new(single_use::random()?);
        let key = ScopeKey::new(sk_id, version, scope.clone(), secret)
            .map_err(|CipherFault| KeyError::Cipher)?;
        let wrapped = self.provider.wrap(&key.text(), &key.digest()).await?;
        Ok(key.row(self.provider.kind(), wrapped, state))
    }

    pub(crate) async fn current_kek(&self) -> Result<KeyRef, ProviderError> {
        self.provider.current().await
    }

    /// The flight that brings this key: the one under way, or a new one.
    fn flight(self: &Arc<Self>, want: Want) -> Shared<Flight> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&want).and_then(WeakShared::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.upgrade().is_some());
        let (keys, wanted) = (Arc::clone(self), want.clone());
        let flight = async move { keys.fetch(&wanted).await }.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(want, weak);
        }
        flight
    }

    async fn fetch(&self, want: &Want) -> Result<Arc<ScopeKey>, KeyError> {
        let since = self.cache.moment();
        let row = match want {
            Want::Active(scope) => self.active_row(scope).await?,
            Want::Id(id) => self.row(*id).await?,
        };
        let key = Arc::new(self.unwrap(&row).await?);
        self.cache.insert(&key, row.state == KeyState::Active, Instant::now(), since);
        Ok(key)
    }

    async fn active_row(&self, scope: &Scope) -> Result<WrappedScopeKey, KeyError> {
        let mut found = self.store.active(scope).await?;
        for _ in 0..ATTEMPTS {
            if let Some(row) = found {
                let fits = row.scope == *scope && row.state == KeyState::Active;
                return if fits { Ok(row) } else { Err(KeyError::Altered { sk_id: row.sk_id }) };
            }
            let version = self.store.last_version(scope).await?.saturating_add(1);
            let row = self.make(scope, version, KeyState::Active).await?;
            found = self.store.insert_if_absent(&row).await?;
        }
        Err(KeyError::Contended)
    }

    async fn row(&self, id: ScopeKeyId) -> Result<WrappedScopeKey, KeyError> {
        let row = self.store.by_id(id).await?.ok_or(KeyError::Gone { sk_id: id })?;
        if row.sk_id != id {
            return Err(KeyError::Altered { sk_id: id });
        }
        match row.state {
            state if state.opens() => Ok(row),
            KeyState::Destroyed => Err(KeyError::Gone { sk_id: id }),
            state => Err(KeyError::Resting { sk_id: id, state: state.as_str() }),
        }
    }

    fn other_kek(&self, row: &WrappedScopeKey, why: &str) -> KeyError {
        KeyError::OtherKek {
            expected: format!("{}:{}", row.kek_provider, row.kek()),
            have: format!("{}: {why}", self.provider.kind()),
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Want, WeakShared<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
