//! Fencing: each run of a replica has an epoch and holds a lease on it. Whoever takes an epoch over
//! marks its row, which waits for a batch of that epoch to end and refuses the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use uuid::Uuid;

use super::batch::{key_replaced, ran_out, taken_over};
use super::error::PgError;
use super::rows::{each_from, logs, size_of};
use super::{PostgresStore, schema};
use crate::entry::Kind;
use crate::record::Record;

/// An intent that its replica can close no more: origin, operation, place.
pub(crate) type Orphan = (String, Uuid, u64);

impl PostgresStore {
    /// Takes a new epoch and, with it, every epoch of the same replica: a replica's name belongs to
    /// the newest process that uses it. Gives the epochs taken over.
    pub(crate) fn take_epoch(&mut self, replica: &str) -> Result<Vec<i64>, PgError> {
        let (replica, lease) = (replica.to_owned(), self.lease.as_secs_f64());
        let (epoch, taken) = self.client.call(move |conn| {
            Box::pin(async move {
                sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
                let epoch: i64 = sqlx::query_scalar(
                    "INSERT INTO epochs (replica, until)
                     VALUES ($1, clock_timestamp() + make_interval(secs => $2)) RETURNING epoch",
                )
                .bind(replica.clone())
                .bind(lease)
                .fetch_one(&mut *conn)
                .await?;
                sqlx::query("INSERT INTO lows (epoch, log, low) SELECT $1, log, size FROM heads")
                    .bind(epoch)
                    .execute(&mut *conn)
                    .await?;
                let dead: Vec<i64> = sqlx::query_scalar(
                    "SELECT epoch FROM epochs WHERE replica = $1 AND taken IS NULL AND NOT closed
                     AND epoch <> $2 ORDER BY epoch FOR UPDATE",
                )
                .bind(replica)
                .bind(epoch)
                .fetch_all(&mut *conn)
                .await?;
                let taken = take(conn, epoch, dead).await?;
                sqlx::raw_sql("COMMIT").execute(conn).await?;
                Ok((epoch, taken))
            })
        })?;
        self.epoch = epoch;
        self.renewed();
        Ok(taken)
    }

    pub(crate) fn epoch(&self) -> u64 {
        size_of(self.epoch)
    }

    /// When the writer must look after its lease at the latest.
    pub(crate) const fn renew_at(&self) -> Instant {
        self.renew_at
    }

    pub(crate) const fn publishes(&self) -> bool {
        self.publishes
    }

    /// Notices that this process stood still for longer than its lease: another one may have taken
    /// over, and what this one believes is old.
    pub(crate) fn awake(&mut self) -> Result<(), PgError> {
        let now = Instant::now();
        if now.duration_since(self.awake_at) > self.lease {
            return Err(ran_out());
        }
        self.awake_at = now;
        Ok(())
    }

    /// Renews the lease, and takes or keeps the one to publish.
    pub(crate) fn renew(&mut self) -> Result<(), PgError> {
        self.awake()?;
        self.prolong(false)?;
        self.claim_publisher()
    }

    /// Renews a lease that may have run out while this replica, awake, waited for a lock.
    pub(crate) fn renew_late(&mut self) -> Result<(), PgError> {
        self.awake()?;
        self.prolong(true)
    }

    /// Connects anew and finds out whether this replica may go on. Its lease may have run out
    /// meanwhile, as everybody's has; what counts is that nobody took it over.
    pub(crate) fn reconnect(&mut self) -> Result<(), PgError> {
        self.awake()?;
        self.publishes = false;
        self.client.connect()?;
        self.client.call(|conn| Box::pin(schema::keeps_promises(conn)))?;
        self.prolong(true)?;
        self.connected_at = Instant::now();
        Ok(())
    }

    fn prolong(&mut self, late: bool) -> Result<(), PgError> {
        let (epoch, lease, vkey) = (self.epoch, self.lease.as_secs_f64(), self.vkey.clone());
        let state: Option<(Option<i64>, bool, bool)> = self.client.call(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE epochs SET until = clock_timestamp() + make_interval(secs => $2)
                     WHERE epoch = $1 AND taken IS NULL AND ($3 OR until > clock_timestamp())",
                )
                .bind(epoch)
                .bind(lease)
                .bind(late)
                .execute(&mut *conn)
                .await?;
                let state = "SELECT taken, until > clock_timestamp(), EXISTS (
                                 SELECT 1 FROM meta WHERE key = 'vkey' AND value = $2)
                             FROM epochs WHERE epoch = $1";
                Ok(sqlx::query_as(state).bind(epoch).bind(vkey).fetch_optional(conn).await?)
            })
        })?;
        match state {
            Some((Some(by), ..)) => return Err(taken_over(by)),
            Some((None, _, false)) => return Err(key_replaced()),
            Some((None, true, true)) => self.renewed(),
            Some((None, false, true)) => return Err(ran_out()),
            None => return Err(PgError::Fenced("its lease is not there any more".to_owned())),
        }
        Ok(())
    }

    /// Names of the other replicas that have the ledger open.
    pub(crate) fn live_others(&self) -> Result<Vec<String>, PgError> {
        let epoch = self.epoch;
        self.client.call(move |conn| {
            Box::pin(async move {
                let live = "SELECT DISTINCT replica FROM epochs
                            WHERE taken IS NULL AND NOT closed AND until > clock_timestamp()
                              AND epoch <> $1 ORDER BY replica";
                Ok(sqlx::query_scalar(live).bind(epoch).fetch_all(conn).await?)
            })
        })
    }

    fn renewed(&mut self) {
        self.awake_at = Instant::now();
        self.renew_at = self.awake_at + self.lease / 3;
    }

    pub(crate) fn claim_publisher(&mut self) -> Result<(), PgError> {
        let (epoch, lease) = (self.epoch, self.lease.as_secs_f64());
        self.publishes = self.client.call(move |conn| {
            Box::pin(async move {
                let claimed = sqlx::query(
                    "INSERT INTO publisher (epoch, until)
                     VALUES ($1, clock_timestamp() + make_interval(secs => $2))
                     ON CONFLICT (one) DO UPDATE
                     SET epoch = excluded.epoch, until = excluded.until
                     WHERE publisher.epoch = excluded.epoch
                        OR publisher.until < clock_timestamp()
                        OR EXISTS (SELECT 1 FROM epochs WHERE epochs.epoch = publisher.epoch
                                   AND (taken IS NOT NULL OR closed))",
                )
                .bind(epoch)
                .bind(lease)
                .execute(conn)
                .await?;
                Ok(claimed.rows_affected() == 1)
            })
        })?;
        Ok(())
    }

    /// Takes over the epochs of others whose leases ran out. Not before this replica itself was
    /// connected for the length of a lease: when the server was away, everybody's ran out, and the
    /// others are about to renew theirs.
    pub(crate) fn take_dead(&mut self) -> Result<Vec<i64>, PgError> {
        if self.connected_at.elapsed() < self.lease {
            return Ok(Vec::new());
        }
        let epoch = self.epoch;
        self.client.call(move |conn| {
            Box::pin(async move {
                sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
                let dead: Vec<i64> = sqlx::query_scalar(
                    // Those too that this one took over and did not come to close.
                    "SELECT epoch FROM epochs WHERE NOT closed AND epoch <> $1
                     AND (taken = $1 OR (taken IS NULL AND until < clock_timestamp()))
                     ORDER BY epoch FOR UPDATE SKIP LOCKED",
                )
                .bind(epoch)
                .fetch_all(&mut *conn)
                .await?;
                let taken = take(conn, epoch, dead).await?;
                sqlx::raw_sql("COMMIT").execute(conn).await?;
                Ok(taken)
            })
        })
    }

    /// The intents of dead epochs that nobody closed. Read after the epochs were taken, so that
    /// they cannot grow.
    pub(crate) fn orphans_of(&self, epochs: &[i64]) -> Result<Vec<Orphan>, PgError> {
        let dead: BTreeSet<Option<u64>> =
            epochs.iter().map(|&epoch| u64::try_from(epoch).ok()).collect();
        let lows = self.lows(epochs)?;
        let mut orphans = Vec::new();
        for row in logs(&self.client)? {
            // A log that an epoch has no note of was begun after it.
            let of_each = |epoch: &i64| lows.get(&(*epoch, row.id)).copied().unwrap_or(0);
            let from = epochs.iter().map(of_each).min().unwrap_or(0);
            let mut open = BTreeMap::new();
            each_from(&self.client, row.id, from, |seq, _, bytes| {
                if bytes.is_empty() {
                    return Ok(()); // Pruned, and so not open.
                }
                let record = Record::parse(bytes).map_err(|why| {
                    PgError::Refused(format!("record {seq} of `{}`: {why}", row.origin))
                })?;
                match (record.kind, record.reference) {
                    (Kind::Intent, _) if dead.contains(&record.epoch) => {
                        open.insert(seq, record.op);
                    }
                    (Kind::Outcome | Kind::Recover, Some(intent)) => drop(open.remove(&intent)),
                    _ => {}
                }
                Ok::<(), PgError>(())
            })?;
            orphans.extend(open.into_iter().map(|(seq, op)| (row.origin.clone(), op, seq)));
        }
        Ok(orphans)
    }

    fn lows(&self, epochs: &[i64]) -> Result<BTreeMap<(i64, i64), u64>, PgError> {
        let epochs = epochs.to_vec();
        let found: Vec<(i64, i64, i64)> = self.client.call(move |conn| {
            Box::pin(async move {
                let lows = "SELECT epoch, log, low FROM lows WHERE epoch = ANY($1)";
                Ok(sqlx::query_as(lows).bind(epochs).fetch_all(conn).await?)
            })
        })?;
        Ok(found.into_iter().map(|(epoch, log, low)| ((epoch, log), size_of(low))).collect())
    }

    /// Notes that nothing of these epochs is open any more.
    pub(crate) fn close_epochs(&self, epochs: Vec<i64>) -> Result<(), PgError> {
        self.client.call(move |conn| {
            Box::pin(async move {
                sqlx::query("UPDATE epochs SET closed = true WHERE epoch = ANY($1)")
                    .bind(epochs.clone())
                    .execute(&mut *conn)
                    .await?;
                let lows = "DELETE FROM lows WHERE epoch = ANY($1)";
                sqlx::query(lows).bind(epochs).execute(conn).await?;
                Ok(())
            })
        })
    }

    /// Lets go of the lease; `open` says that intents of this epoch are left for others to close.
    pub(crate) fn release(&self, open: bool) -> Result<(), PgError> {
        let epoch = self.epoch;
        self.client.call(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE epochs SET until = clock_timestamp(), closed = NOT $2 AND NOT EXISTS (
                        SELECT 1 FROM epochs other WHERE other.taken = $1 AND NOT other.closed)
                     WHERE epoch = $1 AND taken IS NULL",
                )
                .bind(epoch)
                .bind(open)
                .execute(&mut *conn)
                .await?;
                sqlx::query("UPDATE publisher SET until = clock_timestamp() WHERE epoch = $1")
                    .bind(epoch)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
    }
}

/// Marks `dead` epochs, and those that they had taken and not closed, as taken by `epoch`.
async fn take(
    conn: &mut sqlx::postgres::PgConnection,
    epoch: i64,
    dead: Vec<i64>,
) -> Result<Vec<i64>, PgError> {
    if dead.is_empty() {
        return Ok(dead);
    }
    let taken = sqlx::query_scalar(
        "UPDATE epochs SET taken = $1
         WHERE NOT closed AND (epoch = ANY($2) OR taken = ANY($2)) RETURNING epoch",
    );
    Ok(taken.bind(epoch).bind(dead).fetch_all(conn).await?)
}
