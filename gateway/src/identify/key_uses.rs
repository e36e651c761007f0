//! When API keys were last used: written at most once a minute for each key, beside the call.

use std::time::Duration;

use crate::directory::Directory;

/// As exact as the time of a last use is.
const EVERY: Duration = Duration::from_secs(60);
/// Keys whose last minute is remembered; a key that was forgotten is written once more.
const MAX_KEYS: u64 = 50_000;

pub(crate) struct KeyUses(moka::sync::Cache<String, ()>);

impl std::fmt::Debug for KeyUses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyUses({})", self.0.entry_count())
    }
}

impl KeyUses {
    pub(crate) fn new() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(MAX_KEYS).time_to_live(EVERY).build())
    }

    /// Notes a use of a key; no call waits for it.
    pub(crate) fn note(&self, directory: &Directory, key: &str) {
        if self.0.contains_key(key) {
            return;
        }
        self.0.insert(key.to_owned(), ());
        let (directory, key) = (directory.clone(), key.to_owned());
        tokio::spawn(async move {
            if let Err(fault) = directory.note_key_use(&key).await {
                tracing::warn!(%fault, "the last use of an API key could not be noted");
            }
        });
    }
}
