//! The SQLite file: connections, schema, statements. Knows rows, not records.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::chain::Hash;
use crate::error::OpenError;
use crate::store::{Cut, LogRow, Mark, Placed, Row};

/// Marks the file as ours (`PRAGMA application_id`): "PCLg".
const APPLICATION_ID: i64 = 0x5043_4c67;

const SCHEMA: &str = include_str!("sqlite.sql");

/// Bytes of a page.
pub(crate) const PAGE: u32 = 4096;

/// The writer's connection.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    conn: Connection,
}

impl SqliteStore {
    /// Opens or creates the file, and refuses a storage that does not keep its promises.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let conn = connect(path)?;
        conn.pragma_update(None, "page_size", PAGE)?;
        let mode: String =
            conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        require("journal_mode", &mode, "wal")?;
        // Checkpoints run on a connection of their own: inline ones are the p99.
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "cache_size", -16_384)?;
        let id: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], first)?;
        if id != APPLICATION_ID && tables > 0 {
            return Err(OpenError::Options(format!(
                "`{}` is a database of something else; give the ledger a file of its own",
                path.display()
            )));
        }
        if tables > 0 {
            same_schema(&conn)?;
        } else {
            // All of it or nothing: half a schema would look like one that was tampered with.
            conn.execute_batch("BEGIN IMMEDIATE")?;
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
            conn.execute_batch(SCHEMA)?;
            conn.execute_batch("COMMIT")?;
        }
        conn.set_prepared_statement_cache_capacity(32);
        Ok(Self { conn })
    }

    /// Counts the runs of the ledger; the epoch of this one.
    pub(crate) fn next_epoch(&self) -> rusqlite::Result<u64> {
        self.conn.query_row(
            "INSERT INTO meta (key, value) VALUES ('epoch', '1')
             ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1
             RETURNING CAST(value AS INTEGER)",
            [],
            first,
        )
    }

    /// Takes the write lock at once: a deferred upgrade fails with BUSY_SNAPSHOT, which no busy
    /// timeout covers.
    pub(crate) fn begin(&self) -> rusqlite::Result<()> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(|_| ())
    }

    /// Returns when the transaction is on disk.
    pub(crate) fn commit(&self) -> rusqlite::Result<()> {
        self.conn.prepare_cached("COMMIT")?.execute([]).map(|_| ())
    }

    pub(crate) fn rollback(&self) {
        if !self.conn.is_autocommit() {
            // The ledger is sealed already; there is nobody left to tell.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    /// Any conflict ends the whole transaction: `OR ROLLBACK` spares SQLite the journal that it
    /// would keep for each statement to undo that one alone, and nobody goes on after an error.
    pub(crate) fn insert(&self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR ROLLBACK INTO records (pos, log, seq, op, prev, leaf, record)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![row.pos, row.log, row.seq, row.op, row.prev, row.leaf, row.record])
            .map(|_| ())
    }

    /// Bytes of the intents of an operation in a log, and of records whose bytes are gone. The word
    /// can't stand in a value: its quotes would be escaped there.
    pub(crate) fn intents(&self, log: i64, op: &[u8; 16]) -> rusqlite::Result<Vec<Vec<u8>>> {
        let mut select = self.conn.prepare_cached(
            "SELECT record FROM records WHERE op = ?1 AND log = ?2
             AND (record = x'' OR instr(record, CAST('\"kind\":\"intent\"' AS BLOB)))",
        )?;
        let rows = select.query_map(params![op, log], first)?;
        rows.collect()
    }

    /// Place, leaf and bytes of the records of an operation in a log, in order.
    pub(crate) fn of_operation(&self, log: i64, op: &[u8; 16]) -> rusqlite::Result<Vec<Placed>> {
        let mut select = self.conn.prepare_cached(
            "SELECT seq, leaf, record FROM records WHERE op = ?1 AND log = ?2 ORDER BY seq",
        )?;
        let rows = select
            .query_map(params![op, log], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    }

    pub(crate) fn insert_body(&self, pos: u64, body: &[u8]) -> rusqlite::Result<()> {
        let mut insert =
            self.conn.prepare_cached("INSERT INTO bodies (pos, body) VALUES (?1, ?2)")?;
        insert.execute(params![pos, body]).map(|_| ())
    }

    pub(crate) fn insert_log(&self, log: &LogRow) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("INSERT INTO logs (id, origin, vkey, genesis) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![log.id, log.origin, log.vkey, log.genesis])
            .map(|_| ())
    }

    pub(crate) fn insert_policy_set(&self, digest: &Hash, text: &[u8]) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("INSERT OR IGNORE INTO policy_sets (digest, text) VALUES (?1, ?2)")?
            .execute(params![digest, text])
            .map(|_| ())
    }

    pub(crate) fn set_mark(&self, log: i64, mark: &Mark) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO marks (log, seq, leaf, low) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (log) DO UPDATE
                 SET seq = excluded.seq, leaf = excluded.leaf, low = excluded.low",
            )?
            .execute(params![log, mark.seq, mark.leaf, mark.low])
            .map(|_| ())
    }

    pub(crate) fn mark(&self, log: i64) -> rusqlite::Result<Option<Mark>> {
        self.conn
            .query_row("SELECT seq, leaf, low FROM marks WHERE log = ?1", [log], |row| {
                Ok(Mark { seq: row.get(0)?, leaf: row.get(1)?, low: row.get(2)? })
            })
            .optional()
    }

    pub(crate) fn logs(&self) -> rusqlite::Result<Vec<LogRow>> {
        logs(&self.conn)
    }

    pub(crate) fn pruned(&self, log: i64) -> rusqlite::Result<u64> {
        pruned(&self.conn, log)
    }

    /// Notes that the records of a log before `cut.until` are pruned by the record `cut.seq`.
    pub(crate) fn insert_prune(&self, log: i64, cut: &Cut) -> rusqlite::Result<()> {
        let mut insert = self
            .conn
            .prepare_cached("INSERT OR IGNORE INTO prunes (log, until, seq) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![log, cut.until, cut.seq]).map(|_| ())
    }

    /// Takes away bytes and bodies of the records from `from` up to `to`, without those to keep,
    /// which are in order.
    pub(crate) fn clear(&self, log: i64, from: u64, to: u64, kept: &[u64]) -> rusqlite::Result<()> {
        let mut body = self.conn.prepare_cached(
            "DELETE FROM bodies WHERE pos = (SELECT pos FROM records WHERE log = ?1 AND seq = ?2)",
        )?;
        let mut record = self.conn.prepare_cached(
            "UPDATE records SET record = x'' WHERE log = ?1 AND seq = ?2 AND record <> x''",
        )?;
        for seq in (from..to).filter(|seq| kept.binary_search(seq).is_err()) {
            body.execute(params![log, seq])?;
            record.execute(params![log, seq])?;
        }
        Ok(())
    }

    /// Number of records, by position.
    pub(crate) fn records(&self) -> rusqlite::Result<u64> {
        self.conn.query_row("SELECT coalesce(max(pos), 0) FROM records", [], first)
    }

    pub(crate) fn leaf_at(&self, pos: u64) -> rusqlite::Result<Option<Hash>> {
        self.conn.query_row("SELECT leaf FROM records WHERE pos = ?1", [pos], first).optional()
    }

    /// Calls `each` with seq, leaf and bytes of the records of a log from `seq` on.
    pub(crate) fn each_from<E: From<rusqlite::Error>>(
        &self,
        log: i64,
        seq: u64,
        each: impl FnMut(u64, Hash, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        each_from(&self.conn, log, seq, each)
    }
}

/// Calls `each` with seq, leaf and bytes of the records of a log from `seq` on.
pub(crate) fn each_from<E: From<rusqlite::Error>>(
    conn: &Connection,
    log: i64,
    seq: u64,
    mut each: impl FnMut(u64, Hash, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut select = conn.prepare_cached(
        "SELECT seq, leaf, record FROM records WHERE log = ?1 AND seq >= ?2 ORDER BY seq",
    )?;
    let mut rows = select.query(params![log, seq])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        each(row.get(0)?, row.get(1)?, bytes)?;
    }
    Ok(())
}

/// How many records from the begin of a log are pruned.
pub(crate) fn pruned(conn: &Connection, log: i64) -> rusqlite::Result<u64> {
    conn.query_row("SELECT coalesce(max(until), 0) FROM prunes WHERE log = ?1", [log], first)
}

/// Every log, in order of creation.
pub(crate) fn logs(conn: &Connection) -> rusqlite::Result<Vec<LogRow>> {
    let mut select = conn.prepare("SELECT id, origin, vkey, genesis FROM logs ORDER BY id")?;
    let rows = select.query_map([], |row| {
        Ok(LogRow { id: row.get(0)?, origin: row.get(1)?, vkey: row.get(2)?, genesis: row.get(3)? })
    })?;
    rows.collect()
}

/// A connection with the settings that every writer of this file has, read back where SQLite
/// would fall silent.
pub(crate) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    // Closing must not move and delete the WAL: when opening finds the ledger torn, the WAL is
    // the evidence, and perhaps the only copy of the records that are missing.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    for (name, value) in
        [("synchronous", 2), ("recursive_triggers", 1), ("secure_delete", 1), ("trusted_schema", 0)]
    {
        conn.pragma_update(None, name, value)?;
        let got: i64 = conn.pragma_query_value(None, name, |row| row.get(0))?;
        require(name, &got.to_string(), &value.to_string())?;
    }
    Ok(conn)
}

/// Refuses a file whose guards were taken away or changed: re-creating them would hide it.
fn same_schema(conn: &Connection) -> Result<(), OpenError> {
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(SCHEMA)?;
    let (expected, found) = (schema_of(&ours)?, schema_of(conn)?);
    match expected.symmetric_difference(&found).next() {
        Some((name, _)) => Err(OpenError::Guard { name: name.clone() }),
        None => Ok(()),
    }
}

fn schema_of(conn: &Connection) -> rusqlite::Result<BTreeSet<(String, Option<String>)>> {
    let mut select =
        conn.prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn require(pragma: &str, got: &str, wanted: &str) -> Result<(), OpenError> {
    if got == wanted {
        return Ok(());
    }
    Err(OpenError::Storage(format!(
        "`{pragma}` is `{got}` where `{wanted}` was asked for; put the ledger on a local file system"
    )))
}

/// The first column of a row.
pub(crate) fn first<T: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>) -> rusqlite::Result<T> {
    row.get(0)
}
