//! When each value was last used, written beside it a moment later: a read must not wait for a second
//! database. The ledger has every use; this is for people who look at a page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::directory::{Directory, DirectoryError, SecretPlace, SecretUsed, now_ms};
use crate::gateway::Gateway;

/// How often uses are written down.
const EVERY: Duration = Duration::from_secs(1);
/// Values whose use waits to be written; beyond that the display is behind, and the ledger is not.
const MOST: usize = 10_000;

/// Uses that are not beside their values yet; the last one of each value counts.
#[derive(Debug, Default)]
pub struct SecretUses(Mutex<HashMap<SecretPlace, (i64, String)>>);

impl SecretUses {
    /// A value was lent now, to `by`.
    pub fn note(&self, place: &SecretPlace, by: &str) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST || waiting.contains_key(place) {
            waiting.insert(place.clone(), (now_ms(), by.to_owned()));
        }
    }

    /// Writes down what waits.
    ///
    /// # Errors
    /// When the directory does not answer; what waited is then forgotten here and is in the ledger.
    pub async fn write(&self, directory: &Directory) -> Result<(), DirectoryError> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let used = |(place, (at_ms, by))| SecretUsed { place, at_ms, by };
        directory.note_secrets_used(&waiting.into_iter().map(used).collect::<Vec<_>>()).await
    }
}

/// Writes uses down once a second, until the task is dropped.
pub async fn keep_noting(gateway: Arc<Gateway>) {
    let mut second = tokio::time::interval(EVERY);
    loop {
        second.tick().await;
        if let Err(fault) = gateway.secret_uses.write(&gateway.directory).await {
            tracing::warn!(%fault, "the last use of some secrets is not shown; the ledger has it");
        }
    }
}
