//! Work that one of many replicas does at a time.
//!
//! A lease is no lock: a replica whose clock is wrong may work beside another. So only work is leased that
//! harms nobody when it is done twice.

use std::time::Duration;

use super::{Directory, DirectoryError, now_ms};

/// How long a replica that died keeps the others waiting.
const LEASE: Duration = Duration::from_secs(3);

/// The work of carrying changes into the ledger.
pub const CARRY: &str = "carry";

/// What one replica knows of a lease.
#[derive(Debug)]
pub struct Lease {
    name: &'static str,
    holder: String,
    /// Unix milliseconds; until then it is ours without asking.
    ours_until: i64,
}

impl Lease {
    /// A lease that nobody was asked for yet.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, holder: uuid::Uuid::new_v4().to_string(), ours_until: 0 }
    }

    /// Whether the work is ours now. A database of our own has no other replica.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn is_ours(&mut self, directory: &Directory) -> Result<bool, DirectoryError> {
        let now = now_ms();
        if !directory.is_shared() || now < self.ours_until {
            return Ok(true);
        }
        let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let until = now.saturating_add(lease);
        let taken = sqlx::query(
            "UPDATE leases SET holder = $1, until_ms = $2 \
             WHERE name = $3 AND (holder = $4 OR until_ms < $5)",
        )
        .bind(&self.holder)
        .bind(until)
        .bind(self.name)
        .bind(&self.holder)
        .bind(now)
        .execute(directory.pool())
        .await?;
        let ours = taken.rows_affected() > 0;
        // Renewed when half of it is left.
        self.ours_until = if ours { now.saturating_add(lease / 2) } else { 0 };
        Ok(ours)
    }
}
