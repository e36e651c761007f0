//! One batch: lock, gather, insert in one statement, commit.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::raw_sql;

use super::error::PgError;
use super::rows::{hash, int, size_of};
use super::{Client, PostgresStore};
use crate::chain::Hash;
use crate::head_file::Head;
use crate::rotate::REPLACED;
use crate::store::{LogRow, Mark, Row};

/// In every intent, and in no other record: in a value its quotes would be escaped.
const INTENT: &[u8] = br#""kind":"intent""#;

/// A log whose head this batch holds.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) id: i64,
    pub(crate) size: u64,
    pub(crate) leaf: Hash,
}

/// What the batch will insert: columns, as `unnest` takes them.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The transaction has begun and the lease was looked at.
    begun: bool,
    logs: Vec<i64>,
    seqs: Vec<i64>,
    ops: Vec<Vec<u8>>,
    prevs: Vec<Vec<u8>>,
    leaves: Vec<Vec<u8>>,
    records: Vec<Vec<u8>>,
    heads: BTreeMap<i64, (i64, Vec<u8>)>,
    bodies: (Vec<i64>, Vec<i64>, Vec<Vec<u8>>),
    policy_sets: (Vec<Vec<u8>>, Vec<Vec<u8>>),
    marks: BTreeMap<i64, (i64, Vec<u8>, i64)>,
}

impl PostgresStore {
    /// Forgets what an earlier batch gathered.
    pub(crate) fn begin(&mut self) {
        self.pending = Pending::default();
    }

    /// Begins the transaction, makes the logs of `new` that are not there, and locks the heads.
    /// The heads come in ascending order, so that two replicas never wait for each other.
    pub(crate) fn lock(
        &mut self,
        ids: Vec<i64>,
        new: &[LogRow],
    ) -> Result<(Vec<LogRow>, Vec<Locked>), PgError> {
        self.awake()?;
        let new = new.to_vec();
        let who = (self.epoch, self.vkey.clone());
        let rotates = self.next_vkey.is_some();
        let locked = self.client.call(move |conn| {
            Box::pin(async move {
                raw_sql("BEGIN").execute(&mut *conn).await?;
                if rotates {
                    all_logs_are_here(conn, ids.len()).await?;
                }
                let made = if new.is_empty() { Vec::new() } else { make(conn, new).await? };
                let mut ids = ids;
                ids.extend(made.iter().map(|row| row.id));
                let heads = lock(conn, who, ids).await?;
                Ok((made, heads))
            })
        });
        if locked.is_err() {
            self.rollback();
        }
        self.pending.begun = locked.is_ok();
        locked
    }

    pub(crate) fn insert(&mut self, row: &Row<'_>) {
        let pending = &mut self.pending;
        pending.logs.push(row.log);
        pending.seqs.push(int(row.seq));
        pending.ops.push(row.op.to_vec());
        pending.prevs.push(row.prev.to_vec());
        pending.leaves.push(row.leaf.to_vec());
        pending.records.push(row.record.to_vec());
        pending.heads.insert(row.log, (int(row.seq + 1), row.leaf.to_vec()));
    }

    /// Bytes of the intents of an operation in a log, this batch included, and of records whose
    /// bytes are gone. The head of the log is locked, so that no other replica adds one meanwhile.
    pub(crate) fn intents(&mut self, log: i64, op: &[u8; 16]) -> Result<Vec<Vec<u8>>, PgError> {
        let op = op.to_vec();
        let pending = &self.pending;
        let rows = pending.logs.iter().zip(&pending.ops).zip(&pending.records);
        let same = rows.filter(|((l, o), record)| {
            (**l, *o) == (log, &op) && memchr::memmem::find(record, INTENT).is_some()
        });
        let mut found: Vec<Vec<u8>> = same.map(|(_, record)| record.clone()).collect();
        let durable: Vec<Vec<u8>> = self.client.call(move |conn| {
            let select = sqlx::query_scalar(
                "SELECT record FROM records WHERE op = $1 AND log = $2
                 AND (record = ''::bytea OR position($3 IN record) > 0)",
            );
            let select = select.bind(op).bind(log).bind(INTENT);
            Box::pin(async move { Ok(select.fetch_all(conn).await?) })
        })?;
        found.extend(durable);
        Ok(found)
    }

    pub(crate) fn insert_body(&mut self, log: i64, seq: u64, body: &[u8]) {
        let (logs, seqs, bodies) = &mut self.pending.bodies;
        logs.push(log);
        seqs.push(int(seq));
        bodies.push(body.to_vec());
    }

    pub(crate) fn insert_policy_set(&mut self, digest: &Hash, text: &[u8]) {
        let (digests, texts) = &mut self.pending.policy_sets;
        digests.push(digest.to_vec());
        texts.push(text.to_vec());
    }

    pub(crate) fn set_mark(&mut self, log: i64, mark: &Mark) {
        let mark = (int(mark.seq), mark.leaf.to_vec(), int(mark.low));
        self.pending.marks.insert(log, mark);
    }

    /// Returns when the batch is on disk; its last position and leaf, when it has a record.
    pub(crate) fn commit(&mut self) -> Result<Option<Head>, PgError> {
        if !self.pending.begun {
            self.lock(Vec::new(), &[])?;
        }
        let pending = std::mem::take(&mut self.pending);
        let who = (self.epoch, self.vkey.clone());
        let next_vkey = self.next_vkey.take();
        let last = self.client.call(move |conn| {
            Box::pin(async move {
                let last = write(conn, pending, who.clone()).await?;
                if let Some(next) = next_vkey {
                    put_in_force(conn, who.1, next).await?;
                }
                Ok(last)
            })
        });
        if last.is_err() {
            self.rollback();
            return last;
        }
        // A commit whose answer does not come may have taken effect; the caller looks it up.
        commit(&self.client).map_err(|error| PgError::Lost(error.to_string()))?;
        last
    }

    /// Ends what may be under way; a connection that cannot is dropped.
    pub(crate) fn rollback(&mut self) {
        self.pending = Pending::default();
        let _ = self.client.call(|conn| {
            Box::pin(async move { Ok(raw_sql("ROLLBACK").execute(conn).await.map(|_| ())?) })
        });
    }
}

fn commit(client: &Client) -> Result<(), PgError> {
    client.call(|conn| {
        Box::pin(async move { Ok(raw_sql("COMMIT").execute(conn).await.map(|_| ())?) })
    })
}

/// Makes logs that may be made by another replica at this moment, and says how they stand.
async fn make(conn: &mut PgConnection, mut new: Vec<LogRow>) -> Result<Vec<LogRow>, PgError> {
    // A rotation gives every log a record, so none may begin meanwhile.
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
        .bind(LOGS_LOCK)
        .execute(&mut *conn)
        .await?;
    new.sort_by(|one, two| one.origin.cmp(&two.origin));
    let origins: Vec<String> = new.iter().map(|row| row.origin.clone()).collect();
    let vkeys: Vec<String> = new.iter().map(|row| row.vkey.clone()).collect();
    let geneses: Vec<Vec<u8>> = new.iter().map(|row| row.genesis.to_vec()).collect();
    sqlx::query(
        "WITH made AS (
            INSERT INTO logs (origin, vkey, genesis)
            SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])
            ON CONFLICT (origin) DO NOTHING RETURNING id, genesis)
         INSERT INTO heads (log, size, leaf) SELECT id, 0, genesis FROM made",
    )
    .bind(origins.clone())
    .bind(vkeys)
    .bind(geneses)
    .execute(&mut *conn)
    .await?;
    let rows: Vec<(i64, String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT id, origin, vkey, genesis FROM logs WHERE origin = ANY($1) ORDER BY origin",
    )
    .bind(origins)
    .fetch_all(conn)
    .await?;
    let mut made = Vec::with_capacity(rows.len());
    for (id, origin, vkey, genesis) in rows {
        made.push(LogRow { id, origin, vkey, genesis: hash(&genesis)? });
    }
    let same = |(made, new): (&LogRow, &LogRow)| {
        (&made.origin, &made.vkey, made.genesis) == (&new.origin, &new.vkey, new.genesis)
    };
    if made.len() != new.len() || !made.iter().zip(&new).all(same) {
        return Err(PgError::Refused("another replica began a log under another key".to_owned()));
    }
    Ok(made)
}

async fn lock(
    conn: &mut PgConnection,
    (epoch, vkey): (i64, String),
    ids: Vec<i64>,
) -> Result<Vec<Locked>, PgError> {
    type Found = (Option<i64>, bool, bool, Option<i64>, Option<i64>, Option<Vec<u8>>);
    let wanted = ids.len();
    let found: Vec<Found> = sqlx::query_as(
        "WITH mine AS MATERIALIZED (
            SELECT taken, until > clock_timestamp() AS live FROM epochs WHERE epoch = $1 FOR SHARE),
         held AS MATERIALIZED (
            SELECT log, size, leaf FROM heads WHERE log = ANY($2) ORDER BY log FOR UPDATE)
         SELECT mine.taken, mine.live,
             EXISTS (SELECT 1 FROM meta WHERE key = 'vkey' AND value = $3),
             held.log, held.size, held.leaf
         FROM mine LEFT JOIN held ON true",
    )
    .bind(epoch)
    .bind(ids)
    .bind(vkey)
    .fetch_all(conn)
    .await?;
    match found.first() {
        Some((Some(by), ..)) => return Err(taken_over(*by)),
        Some((None, _, false, ..)) => return Err(key_replaced()),
        Some((None, true, ..)) => {}
        Some((None, false, ..)) => return Err(ran_out()),
        None => return Err(PgError::Fenced("its lease is not there any more".to_owned())),
    }
    let mut locked = Vec::with_capacity(found.len());
    for row in found {
        if let (_, _, _, Some(id), Some(size), Some(leaf)) = row {
            locked.push(Locked { id, size: size_of(size), leaf: hash(&leaf)? });
        }
    }
    if locked.len() != wanted {
        return Err(PgError::Refused("the head of a log is not there any more".to_owned()));
    }
    Ok(locked)
}

pub(super) fn taken_over(by: i64) -> PgError {
    PgError::Fenced(format!("its lease was taken over by epoch {by}; restart to go on"))
}

pub(super) fn ran_out() -> PgError {
    PgError::Fenced("its lease ran out while it stood still; restart to go on".to_owned())
}

pub(super) fn key_replaced() -> PgError {
    PgError::Fenced(REPLACED.to_owned())
}

/// Held shared by who begins a log, and alone by who gives all logs a new key.
const LOGS_LOCK: i64 = 1_346_587_752;

async fn all_logs_are_here(conn: &mut PgConnection, known: usize) -> Result<(), PgError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOGS_LOCK).execute(&mut *conn).await?;
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM logs").fetch_one(conn).await?;
    if usize::try_from(all) == Ok(known) {
        return Ok(());
    }
    Err(PgError::Conflict("a log was begun meanwhile".to_owned()))
}

/// Names the key that signs from this commit on.
async fn put_in_force(conn: &mut PgConnection, old: String, new: String) -> Result<(), PgError> {
    let put = "UPDATE meta SET value = $2 WHERE key = 'vkey' AND value = $1";
    let put = sqlx::query(put).bind(old).bind(new).execute(conn).await?;
    if put.rows_affected() == 1 { Ok(()) } else { Err(key_replaced()) }
}

async fn write(
    conn: &mut PgConnection,
    pending: Pending,
    (epoch, vkey): (i64, String),
) -> Result<Option<Head>, PgError> {
    let (digests, texts) = pending.policy_sets;
    if !digests.is_empty() {
        sqlx::query(
            "INSERT INTO policy_sets (digest, text)
             SELECT DISTINCT ON (d) d, t FROM unnest($1::bytea[], $2::bytea[])
             WITH ORDINALITY AS given (d, t, place) ORDER BY d, place
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(digests)
        .bind(texts)
        .execute(&mut *conn)
        .await?;
    }
    if !pending.marks.is_empty() {
        write_marks(conn, pending.marks, epoch).await?;
    }
    let Some(leaf) = pending.leaves.last().cloned() else { return Ok(None) };
    let (body_logs, body_seqs, bodies) = pending.bodies;
    let head_logs: Vec<i64> = pending.heads.keys().copied().collect();
    let (sizes, leaves): (Vec<i64>, Vec<Vec<u8>>) = pending.heads.into_values().unzip();
    // Begun after the heads were locked, this sees a rotation of the key that held them before.
    let pos: Option<i64> = sqlx::query_scalar(
        "WITH k AS MATERIALIZED (SELECT 1 FROM meta WHERE key = 'vkey' AND value = $14),
         r AS (
            INSERT INTO records (log, seq, op, prev, leaf, record)
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[],
                                 $5::bytea[], $6::bytea[])
            WHERE EXISTS (SELECT 1 FROM k)
            RETURNING pos),
         b AS (
            INSERT INTO bodies (log, seq, body)
            SELECT * FROM unnest($7::bigint[], $8::bigint[], $9::bytea[])
            WHERE EXISTS (SELECT 1 FROM k)),
         h AS (
            UPDATE heads SET size = given.size, leaf = given.leaf, epoch = $13
            FROM unnest($10::bigint[], $11::bigint[], $12::bytea[]) AS given (log, size, leaf)
            WHERE heads.log = given.log AND EXISTS (SELECT 1 FROM k))
         SELECT max(pos) FROM r",
    )
    .bind(pending.logs)
    .bind(pending.seqs)
    .bind(pending.ops)
    .bind(pending.prevs)
    .bind(pending.leaves)
    .bind(pending.records)
    .bind(body_logs)
    .bind(body_seqs)
    .bind(bodies)
    .bind(head_logs)
    .bind(sizes)
    .bind(leaves)
    .bind(epoch)
    .bind(vkey)
    .fetch_one(conn)
    .await?;
    let pos = pos.ok_or_else(key_replaced)?;
    Ok(Some(Head { records: size_of(pos), leaf: hash(&leaf)? }))
}

async fn write_marks(
    conn: &mut PgConnection,
    marks: BTreeMap<i64, (i64, Vec<u8>, i64)>,
    epoch: i64,
) -> Result<(), PgError> {
    let logs: Vec<i64> = marks.keys().copied().collect();
    let (mut seqs, mut leaves, mut lows) = (Vec::new(), Vec::new(), Vec::new());
    for (seq, leaf, low) in marks.into_values() {
        seqs.push(seq);
        leaves.push(leaf);
        lows.push(low);
    }
    sqlx::query(
        "INSERT INTO marks (log, seq, leaf)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])
         ON CONFLICT (log) DO UPDATE SET seq = excluded.seq, leaf = excluded.leaf
         WHERE marks.seq < excluded.seq",
    )
    .bind(logs.clone())
    .bind(seqs)
    .bind(leaves)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO lows (epoch, log, low)
         SELECT $1, * FROM unnest($2::bigint[], $3::bigint[])
         ON CONFLICT (epoch, log) DO UPDATE SET low = excluded.low",
    )
    .bind(epoch)
    .bind(logs)
    .bind(lows)
    .execute(conn)
    .await?;
    Ok(())
}
