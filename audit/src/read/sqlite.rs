//! Reading the SQLite file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, ToSql, params};
use uuid::Uuid;

use super::LogHead;
use crate::chain::Hash;
use crate::error::ReadError;
use crate::store::sqlite::{self, first};
use crate::store::{LogRow, Stored, Wanted};

/// A read-only connection to the file.
#[derive(Debug)]
pub(super) struct File(Connection);

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.pragma_update(None, "trusted_schema", 0)?;
        Ok(Self(conn))
    }

    pub(super) fn logs(&self) -> Result<Vec<LogRow>, ReadError> {
        Ok(sqlite::logs(&self.0)?)
    }

    pub(super) fn heads(&self) -> Result<Vec<LogHead>, ReadError> {
        self.logs()?.into_iter().map(|row| self.head(row)).collect()
    }

    fn head(&self, row: LogRow) -> Result<LogHead, ReadError> {
        let last = self.0.query_row(
            "SELECT seq, leaf FROM records WHERE log = ?1 ORDER BY seq DESC LIMIT 1",
            [row.id],
            |found| Ok((found.get::<_, u64>(0)?, found.get(1)?)),
        );
        let (size, leaf) = last.optional()?.map_or((0, row.genesis), |(seq, leaf)| (seq + 1, leaf));
        Ok(LogHead { origin: row.origin, vkey: row.vkey, size, leaf })
    }

    /// The newest records that fit, newest first.
    pub(super) fn select(&self, wanted: Wanted) -> Result<Vec<Stored>, ReadError> {
        let Wanted { log, op, from, to, limit } = wanted;
        let op = op.map(Uuid::into_bytes);
        let mut given: Vec<(&str, &dyn ToSql)> =
            vec![(":from", &from), (":to", &to), (":limit", &limit)];
        let mut sql = "SELECT l.origin, r.seq, r.leaf, r.record FROM records r
             JOIN logs l ON l.id = r.log WHERE r.seq BETWEEN :from AND :to AND r.record <> x''"
            .to_owned();
        // Only what narrows goes into the text, so that SQLite sees which index fits.
        if log.is_some() {
            sql.push_str(" AND r.log = :log");
            given.push((":log", &log));
        }
        if op.is_some() {
            sql.push_str(" AND r.op = :op");
            given.push((":op", &op));
        }
        sql.push_str(" ORDER BY r.pos DESC LIMIT :limit");
        let mut select = self.0.prepare(&sql)?;
        let found = select.query_map(given.as_slice(), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<Stored>>>()?)
    }

    pub(super) fn body(&self, origin: &str, seq: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let body = self.0.query_row(
            "SELECT b.body FROM bodies b JOIN records r ON r.pos = b.pos
             JOIN logs l ON l.id = r.log WHERE l.origin = ?1 AND r.seq = ?2",
            params![origin, seq],
            first,
        );
        Ok(body.optional()?)
    }

    /// The first record of a range whose body is gone, although its bytes name one. The word can't stand
    /// in a value: its quotes would be escaped there.
    pub(super) fn lost_body(&self, log: i64, from: u64, to: u64) -> Result<Option<u64>, ReadError> {
        let sql = "SELECT min(seq) FROM records r WHERE log = ?1 AND seq >= ?2 AND seq < ?3
                   AND instr(record, CAST('\"blob\":\"' AS BLOB))
                   AND NOT EXISTS (SELECT 1 FROM bodies b WHERE b.pos = r.pos)";
        Ok(self.0.query_row(sql, params![log, from, to], first)?)
    }

    /// What SQLite finds wrong with its own file, its indices included; none when all is well.
    pub(super) fn damage(&self) -> Result<Option<String>, ReadError> {
        let said: String = self.0.query_row("PRAGMA integrity_check(1)", [], first)?;
        Ok((said != "ok").then_some(said))
    }

    pub(super) fn pruned(&self, log: i64) -> Result<u64, ReadError> {
        Ok(sqlite::pruned(&self.0, log)?)
    }

    pub(super) fn leaf_at(&self, pos: u64) -> Result<Option<Hash>, ReadError> {
        let sql = "SELECT leaf FROM records WHERE pos = ?1";
        Ok(self.0.query_row(sql, [pos], first).optional()?)
    }

    pub(super) fn policy_set(&self, digest: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        let text =
            self.0.query_row("SELECT text FROM policy_sets WHERE digest = ?1", [digest], first);
        Ok(text.optional()?)
    }

    pub(super) fn at_one_moment<T>(
        &self,
        work: impl FnOnce() -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let view = self.0.unchecked_transaction()?;
        let result = work();
        view.finish()?;
        result
    }

    pub(super) fn each<E: From<rusqlite::Error>>(
        &self,
        log: i64,
        each: impl FnMut(u64, Hash, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        sqlite::each_from(&self.0, log, 0, each)
    }
}
