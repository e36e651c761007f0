//! What replicas share besides their databases: one Redis.
//!
//! Nothing is kept there that cannot be lost. Every question has a short deadline, and a Redis that did
//! not answer is left alone for a moment: a gateway without its Redis is as fast as one that has none, and
//! counts by itself.
//!
//! INVARIANT: without Redis nothing opens that Redis had closed (`replicas::count_a_limit_together_and_each_by_itself_while_redis_is_away`).

use std::sync::atomic::{AtomicU64, Ordering};
pub mod news;
mod once;

pub use once::{Once, Use};

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, RedisResult, TlsCertificates};

use crate::config::RedisSettings;

/// How long a Redis that did not answer is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two lines of the log about the same trouble.
const QUIET: Duration = Duration::from_secs(10);

/// Why there is no Redis to be asked.
#[derive(Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// The address is not there, or is none. It may hold a password, so it is not shown.
    #[error(
        "`redis.url`: {0}; write `redis://host:port`, `rediss://host:port` over TLS, or `redis+unix:///path` for a socket"
    )]
    Address(String),
    /// The file with its authorities.
    #[error("`redis.ca_file`: {file} cannot be read: {why}")]
    Authorities {
        /// Which file.
        file: String,
        /// What the system said.
        why: String,
    },
}

/// The Redis of this deployment; it need not be there.
pub struct Redis {
    client: Client,
    manager: RwLock<ConnectionManager>,
    deadline: Duration,
    prefix: String,
    state: Mutex<State>,
    faults: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it has not answered.
    away: Option<Instant>,
    /// When it may be asked again.
    ask_again: Option<Instant>,
    /// When the log last said so.
    said: Option<Instant>,
}

impl Redis {
    /// A Redis that is asked when it is needed; whether it is there is not looked at.
    ///
    /// # Errors
    /// When its address is none.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisOpenError> {
        let address =
            settings.url.read().map_err(|why| RedisOpenError::Address(why.to_string()))?;
        // The library's words could hold the address, and so a password.
        let unreadable = |_| RedisOpenError::Address("it is not an address of a Redis".to_owned());
        let client = match &settings.ca_file {
            None => Client::open(address.as_str()).map_err(unreadable)?,
            Some(file) => {
                let certificates = authorities(file)?;
                Client::build_with_tls(address.as_str(), certificates).map_err(unreadable)?
            }
        };
        if tells_its_password(&client) {
            tracing::warn!(
                "the password of Redis goes to another machine in the clear; write `rediss://` in `redis.url`"
            );
        }
        let manager = manager(&client, settings.timeout).map_err(unreadable)?;
        Ok(Self {
            client,
            manager: RwLock::new(manager),
            deadline: settings.timeout,
            prefix: settings.prefix.clone(),
            state: Mutex::default(),
            faults: AtomicU64::new(0),
        })
    }

    /// The name of something of this deployment.
    #[must_use]
    pub fn name(&self, kind: &str, id: &str) -> String {
        format!("{}:{kind}:{id}", self.prefix)
    }

    /// A client for connections of another kind.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks something. None when there is no answer within the deadline, or there was none a moment ago.
    pub async fn ask<T, F>(&self, question: impl FnOnce(ConnectionManager) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let manager = self.may_ask()?;
        match tokio::time::timeout(self.deadline, question(manager)).await {
            Ok(Ok(answer)) => {
                self.is_there();
                Some(answer)
            }
            Ok(Err(fault)) => self.is_away(fault.category()),
            Err(_) => self.is_away("no answer in time"),
        }
    }

    /// Whether it answered when it was last asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state().away.is_none()
    }

    /// How many questions had no answer.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The connection, unless it is to be left alone. Of many who come when the pause is over, one asks.
    fn may_ask(&self) -> Option<ConnectionManager> {
        let mut state = self.state();
        if let Some(ask_again) = state.ask_again {
            if Instant::now() < ask_again {
                return None;
            }
            state.ask_again = Some(Instant::now() + PAUSE);
            drop(state);
            // A connection that hangs would hang on: a fresh one finds out.
            if let Ok(fresh) = manager(&self.client, self.deadline) {
                *self.manager.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
        }
        Some(self.manager.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn is_there(&self) {
        let mut state = self.state();
        state.ask_again = None;
        if let Some(since) = state.away.take() {
            tracing::info!(away = ?since.elapsed(), "Redis answers again; limits count over all replicas");
        }
    }

    fn is_away<T>(&self, why: &str) -> Option<T> {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut state = self.state();
        state.away.get_or_insert(now);
        state.ask_again = Some(now + PAUSE);
        if state.said.is_none_or(|said| said.elapsed() >= QUIET) {
            state.said = Some(now);
            tracing::warn!(why, "Redis does not answer; each replica counts limits by itself");
        }
        None
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn authorities(file: &std::path::Path) -> Result<TlsCertificates, RedisOpenError> {
    let unreadable = |why: std::io::Error| RedisOpenError::Authorities {
        file: file.display().to_string(),
        why: why.to_string(),
    };
    let pem = std::fs::read(file).map_err(unreadable)?;
    Ok(TlsCertificates { client_tls: None, root_cert: Some(pem) })
}

/// Whether whoever listens on the way to it reads its password.
fn tells_its_password(client: &Client) -> bool {
    let info = client.get_connection_info();
    let ConnectionAddr::Tcp(host, _) = info.addr() else { return false };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|a| a.to_canonical().is_loopback());
    !here && info.redis_settings().password().is_some()
}

fn manager(client: &Client, deadline: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(Some(deadline))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_leaves_this_machine_in_the_clear_is_noticed() {
        for (address, tells) in [
            ("redis://:secret@redis.example.org:6379", true),
            ("redis://user:secret@192.0.2.7:6379", true),
            ("redis://redis.example.org:6379", false),
            ("redis://:secret@127.0.0.1:6379", false),
            ("redis://:secret@localhost:6379", false),
            ("redis://:secret@[::1]:6379", false),
            ("rediss://:secret@redis.example.org:6379", false),
            ("redis+unix:///run/redis.sock?pass=secret", false),
        ] {
            assert_eq!(tells_its_password(&Client::open(address).unwrap()), tells, "{address}");
        }
    }
}
