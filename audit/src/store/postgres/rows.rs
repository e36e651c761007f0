//! Reading: logs, heads, records, leaves, on any connection.

use super::Client;
use super::error::PgError;
use crate::chain::Hash;
use crate::store::{Cut, LogRow, Placed, Stored, Wanted};

/// Records in one answer.
const PAGE: i64 = 1024;

/// Leaves in one answer.
const LEAVES: i64 = 65_536;

/// PostgreSQL's integers are signed; a place beyond them does not exist.
pub(super) fn int(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn size_of(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

pub(super) fn hash(bytes: &[u8]) -> Result<Hash, PgError> {
    Hash::try_from(bytes).map_err(|_| PgError::Refused("a stored hash has not 32 bytes".into()))
}

/// Every log with the size and leaf of its head, in order of creation.
pub(crate) fn heads(client: &Client) -> Result<Vec<(LogRow, u64, Hash)>, PgError> {
    type Found = (i64, String, String, Vec<u8>, i64, Vec<u8>);
    let found: Vec<Found> = client.call(|conn| {
        Box::pin(async move {
            let heads = "SELECT id, origin, vkey, genesis, size, leaf
                         FROM logs JOIN heads ON heads.log = logs.id ORDER BY id";
            Ok(sqlx::query_as(heads).fetch_all(conn).await?)
        })
    })?;
    let head = |(id, origin, vkey, genesis, size, leaf): Found| {
        let row = LogRow { id, origin, vkey, genesis: hash(&genesis)? };
        Ok((row, size_of(size), hash(&leaf)?))
    };
    found.into_iter().map(head).collect()
}

/// Every log, in order of creation.
pub(crate) fn logs(client: &Client) -> Result<Vec<LogRow>, PgError> {
    Ok(heads(client)?.into_iter().map(|(row, ..)| row).collect())
}

/// Calls `each` with seq, leaf and bytes of the records of a log from `seq` on.
pub(crate) fn each_from<E: From<PgError>>(
    client: &Client,
    log: i64,
    seq: u64,
    mut each: impl FnMut(u64, Hash, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = int(seq);
    loop {
        let page: Vec<(i64, Vec<u8>, Vec<u8>)> = client.call(move |conn| {
            Box::pin(async move {
                let page = "SELECT seq, leaf, record FROM records
                            WHERE log = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
                let page = sqlx::query_as(page).bind(log).bind(from).bind(PAGE);
                Ok(page.fetch_all(conn).await?)
            })
        })?;
        let Some((last, ..)) = page.last() else { return Ok(()) };
        from = last.saturating_add(1);
        for (seq, leaf, record) in &page {
            each(size_of(*seq), hash(leaf)?, record)?;
        }
    }
}

/// Calls `each` with the stored leaf hashes of a log from `from` up to `to`, in order.
pub(crate) fn each_leaf(
    client: &Client,
    log: i64,
    from: u64,
    to: u64,
    mut each: impl FnMut(Hash),
) -> Result<(), PgError> {
    let (mut from, to) = (int(from), int(to));
    while from < to {
        let page: Vec<(i64, Vec<u8>)> = client.call(move |conn| {
            Box::pin(async move {
                let page = "SELECT seq, leaf FROM records
                            WHERE log = $1 AND seq >= $2 AND seq < $3 ORDER BY seq LIMIT $4";
                let page = sqlx::query_as(page).bind(log).bind(from).bind(to).bind(LEAVES);
                Ok(page.fetch_all(conn).await?)
            })
        })?;
        let Some((last, _)) = page.last() else { break };
        from = last.saturating_add(1);
        for (_, leaf) in &page {
            each(hash(leaf)?);
        }
    }
    Ok(())
}

/// The newest records that fit, newest first.
pub(crate) fn select(client: &Client, wanted: Wanted) -> Result<Vec<Stored>, PgError> {
    let Wanted { log, op, from, to, limit } = wanted;
    let op = op.map(|op| op.as_bytes().to_vec());
    let found: Vec<(String, i64, Vec<u8>, Vec<u8>)> = client.call(move |conn| {
        Box::pin(async move {
            let select = "SELECT l.origin, r.seq, r.leaf, r.record
                          FROM records r JOIN logs l ON l.id = r.log
                          WHERE r.seq BETWEEN $1 AND $2 AND r.record <> ''
                            AND ($3::bigint IS NULL OR r.log = $3)
                            AND ($4::bytea IS NULL OR r.op = $4)
                          ORDER BY r.pos DESC LIMIT $5";
            // Planned with the values, so that what does not narrow does not cost.
            let select = sqlx::query_as(select).persistent(false);
            let select = select.bind(int(from)).bind(int(to)).bind(log).bind(op).bind(int(limit));
            Ok(select.fetch_all(conn).await?)
        })
    })?;
    let stored = |(log, seq, leaf, record): (String, i64, Vec<u8>, Vec<u8>)| {
        Ok((log, size_of(seq), hash(&leaf)?, record))
    };
    found.into_iter().map(stored).collect()
}

/// Place, leaf and bytes of the records of an operation in a log, in order.
pub(crate) fn of_operation(
    client: &Client,
    log: i64,
    op: &[u8; 16],
) -> Result<Vec<Placed>, PgError> {
    let op = op.to_vec();
    let found: Vec<(i64, Vec<u8>, Vec<u8>)> = client.call(move |conn| {
        Box::pin(async move {
            let select = "SELECT seq, leaf, record FROM records
                          WHERE op = $1 AND log = $2 ORDER BY seq";
            Ok(sqlx::query_as(select).bind(op).bind(log).fetch_all(conn).await?)
        })
    })?;
    let placed =
        |(seq, leaf, record): (i64, Vec<u8>, Vec<u8>)| Ok((size_of(seq), hash(&leaf)?, record));
    found.into_iter().map(placed).collect()
}

/// The sealed body beside a record.
pub(crate) fn bodies(client: &Client, origin: &str, seq: u64) -> Result<Option<Vec<u8>>, PgError> {
    let (origin, seq) = (origin.to_owned(), int(seq));
    client.call(move |conn| {
        Box::pin(async move {
            let body = "SELECT b.body FROM bodies b JOIN logs l ON l.id = b.log
                        WHERE l.origin = $1 AND b.seq = $2";
            Ok(sqlx::query_scalar(body).bind(origin).bind(seq).fetch_optional(conn).await?)
        })
    })
}

/// The first record of a range whose body is gone, although its bytes name one. The word can't stand in
/// a value: its quotes would be escaped there.
pub(crate) fn lost_body(
    client: &Client,
    log: i64,
    (from, to): (u64, u64),
) -> Result<Option<u64>, PgError> {
    client.call(move |conn| {
        Box::pin(async move {
            let first = "SELECT min(r.seq) FROM records r
                         WHERE r.log = $1 AND r.seq >= $2 AND r.seq < $3
                           AND position('\"blob\":\"'::bytea IN r.record) > 0
                           AND NOT EXISTS (
                               SELECT 1 FROM bodies b WHERE b.log = r.log AND b.seq = r.seq)";
            let first = sqlx::query_scalar(first).bind(log).bind(int(from)).bind(int(to));
            let first: Option<i64> = first.fetch_one(conn).await?;
            Ok(first.map(size_of))
        })
    })
}

/// The text of a policy set.
pub(crate) fn policy_set(client: &Client, digest: &Hash) -> Result<Option<Vec<u8>>, PgError> {
    let digest = digest.to_vec();
    client.call(move |conn| {
        Box::pin(async move {
            let text = "SELECT text FROM policy_sets WHERE digest = $1";
            Ok(sqlx::query_scalar(text).bind(digest).fetch_optional(conn).await?)
        })
    })
}

/// Whether this verifier key is the one that signs.
pub(crate) fn key_is_in_force(client: &Client, vkey: &str) -> Result<bool, PgError> {
    let vkey = vkey.to_owned();
    client.call(move |conn| {
        Box::pin(async move {
            let found = "SELECT EXISTS (SELECT 1 FROM meta WHERE key = 'vkey' AND value = $1)";
            Ok(sqlx::query_scalar(found).bind(vkey).fetch_one(conn).await?)
        })
    })
}

/// How many records from the begin of a log are pruned.
pub(crate) fn pruned(client: &Client, log: i64) -> Result<u64, PgError> {
    client.call(move |conn| {
        Box::pin(async move {
            let until = "SELECT coalesce(max(until), 0) FROM prunes WHERE log = $1";
            Ok(size_of(sqlx::query_scalar(until).bind(log).fetch_one(conn).await?))
        })
    })
}

/// Notes that the records of a log before `cut.until` are pruned by the record `cut.seq`.
pub(crate) fn insert_prune(client: &Client, log: i64, cut: &Cut) -> Result<(), PgError> {
    let (until, seq) = (int(cut.until), int(cut.seq));
    client.call(move |conn| {
        Box::pin(async move {
            let insert = "INSERT INTO prunes (log, until, seq) VALUES ($1, $2, $3)
                          ON CONFLICT (log, until) DO NOTHING";
            let insert = sqlx::query(insert).bind(log).bind(until).bind(seq);
            Ok(insert.execute(conn).await.map(drop)?)
        })
    })
}

/// Takes away bytes and bodies of the records from `from` up to `to`, without those to keep.
pub(crate) fn clear(
    client: &Client,
    log: i64,
    (from, to): (u64, u64),
    kept: Vec<u64>,
) -> Result<(), PgError> {
    let kept: Vec<i64> = kept.into_iter().map(int).collect();
    client.call(move |conn| {
        Box::pin(async move {
            let clear = "WITH gone AS (
                             DELETE FROM bodies
                             WHERE log = $1 AND seq >= $2 AND seq < $3 AND seq <> ALL($4))
                         UPDATE records SET record = ''
                         WHERE log = $1 AND seq >= $2 AND seq < $3 AND seq <> ALL($4)
                           AND record <> ''";
            let clear = sqlx::query(clear).bind(log).bind(int(from)).bind(int(to)).bind(kept);
            Ok(clear.execute(conn).await.map(drop)?)
        })
    })
}

/// Begins one unchanging view for all that is read until [`end_view`].
pub(crate) fn begin_view(client: &Client) -> Result<(), PgError> {
    run(client, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
}

/// Ends the view.
pub(crate) fn end_view(client: &Client) -> Result<(), PgError> {
    run(client, "COMMIT")
}

fn run(client: &Client, sql: &'static str) -> Result<(), PgError> {
    client.call(move |conn| {
        Box::pin(async move { Ok(sqlx::raw_sql(sql).execute(conn).await.map(drop)?) })
    })
}
