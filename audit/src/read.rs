//! Reading a ledger without being able to write it: for `ledger show`, `find`, `explain`, export.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, ToSql, params};
use uuid::Uuid;

use crate::canonical::Value;
use crate::chain::Hash;
use crate::entry::DEPLOYMENT;
use crate::error::ReadError;
use crate::record::Record;
use crate::store::{self, LogRow, first};

/// SQLite's largest integer.
const LAST: u64 = u64::MAX >> 1;

/// A read-only connection; may stand beside a running writer.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    path: PathBuf,
}

/// Which records are wanted. Empty fields do not narrow.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Origin of the log, or the tenant whose log it is, or `deployment`.
    pub log: Option<String>,
    /// Operation id.
    pub op: Option<Uuid>,
    /// First place.
    pub from: Option<u64>,
    /// Last place.
    pub to: Option<u64>,
    /// At most so many, the newest of those that fit; 100 when not said.
    pub limit: Option<u64>,
}

/// A log and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Its name.
    pub origin: String,
    /// The verifier key of its heads.
    pub vkey: String,
    /// Number of records.
    pub size: u64,
    /// Leaf hash of the last record; the genesis of an empty log.
    pub leaf: Hash,
}

/// A record as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// Leaf hash that was stored with it.
    pub leaf: Hash,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The same, read.
    pub record: Record,
}

impl RecordRow {
    /// The text at a path of members, `""` when there is none: `text(&["who", "subject"])`.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> &str {
        path.iter()
            .try_fold(&self.record.value, |value, key| value.get(key))
            .and_then(Value::text)
            .unwrap_or_default()
    }

    /// Ids of the determining policies.
    #[must_use]
    pub fn rules(&self) -> Vec<&str> {
        match self.record.value.get("pol").and_then(|pol| pol.get("rule")) {
            Some(Value::List(rules)) => rules.iter().filter_map(Value::text).collect(),
            _ => Vec::new(),
        }
    }

    /// For `--json`: the record with its leaf hash beside it.
    ///
    /// # Errors
    /// Never for a row that a [`Reader`] made: its bytes were parsed.
    pub fn to_json(&self) -> serde_json::Result<serde_json::Value> {
        let record: serde_json::Value = serde_json::from_slice(&self.bytes)?;
        Ok(serde_json::json!({ "leaf": hex::encode(self.leaf), "record": record }))
    }

    /// For people: one aligned line with place, time, kind, subject, tool (or what was done, of an
    /// admin record), decision and result.
    #[must_use]
    pub fn line(&self) -> String {
        let what = match (self.text(&["tool", "server"]), self.text(&["tool", "name"])) {
            ("", "") => ["action", "asked", "subject", "target"]
                .map(|key| self.text(&["note", key]))
                .into_iter()
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
            (server, name) => format!("{server}/{name}"),
        };
        let said = [self.text(&["pol", "decision"]), self.text(&["res", "status"])];
        let said: Vec<&str> = said.into_iter().filter(|word| !word.is_empty()).collect();
        format!(
            "{:>6}  {}  {:<10} {:<20} {:<32} {} {}",
            self.record.seq,
            self.record.ts,
            self.record.kind.as_str(),
            self.text(&["who", "subject"]),
            what,
            said.join(" "),
            self.rules().join(","),
        )
        .trim_end()
        .to_owned()
    }
}

impl Reader {
    /// Opens the ledger file for reading.
    ///
    /// # Errors
    /// [`ReadError::Absent`] when there is none, [`ReadError::Storage`] otherwise.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        if !path.exists() {
            return Err(ReadError::Absent(path.to_owned()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.pragma_update(None, "trusted_schema", 0)?;
        Ok(Self { conn, path: path.to_owned() })
    }

    /// The ledger file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every log with its head, in order of creation.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn logs(&self) -> Result<Vec<LogHead>, ReadError> {
        store::logs(&self.conn)?.into_iter().map(|row| self.head(row)).collect()
    }

    /// The records that `query` asks for, oldest first.
    ///
    /// # Errors
    /// [`ReadError`]; a stored record that is not in the format is an error, not a gap.
    pub fn rows(&self, query: &Query) -> Result<Vec<RecordRow>, ReadError> {
        let log = match &query.log {
            Some(name) => match self.log_id(name)? {
                Some(id) => Some(id),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let op = query.op.map(Uuid::into_bytes);
        let (from, to) = (query.from.unwrap_or(0), query.to.unwrap_or(u64::MAX).min(LAST));
        let limit = query.limit.unwrap_or(100).min(LAST);
        let mut wanted: Vec<(&str, &dyn ToSql)> =
            vec![(":from", &from), (":to", &to), (":limit", &limit)];
        let mut sql = "SELECT l.origin, r.seq, r.leaf, r.record FROM records r
             JOIN logs l ON l.id = r.log WHERE r.seq BETWEEN :from AND :to"
            .to_owned();
        // Only what narrows goes into the text, so that SQLite sees which index fits.
        if log.is_some() {
            sql.push_str(" AND r.log = :log");
            wanted.push((":log", &log));
        }
        if op.is_some() {
            sql.push_str(" AND r.op = :op");
            wanted.push((":op", &op));
        }
        sql.push_str(" ORDER BY r.pos DESC LIMIT :limit");
        let mut select = self.conn.prepare(&sql)?;
        let found = select.query_map(wanted.as_slice(), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        let mut rows = Vec::new();
        for found in found {
            let (log, seq, leaf, bytes): (String, u64, Hash, Vec<u8>) = found?;
            let record = Record::parse(&bytes).map_err(|why| ReadError::Record {
                log,
                seq,
                why: why.to_string(),
            })?;
            rows.push(RecordRow { leaf, bytes, record });
        }
        rows.reverse();
        Ok(rows)
    }

    /// The sealed body beside a record, if it has one.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn body(&self, origin: &str, seq: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let body = self.conn.query_row(
            "SELECT b.body FROM bodies b JOIN records r ON r.pos = b.pos
             JOIN logs l ON l.id = r.log WHERE l.origin = ?1 AND r.seq = ?2",
            params![origin, seq],
            first,
        );
        Ok(body.optional()?)
    }

    /// The text of a policy set that was stored under its digest.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn policy_set(&self, digest: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        let text =
            self.conn.query_row("SELECT text FROM policy_sets WHERE digest = ?1", [digest], first);
        Ok(text.optional()?)
    }

    /// Runs `work` on one unchanging view of the ledger.
    pub(crate) fn at_one_moment<T>(
        &self,
        work: impl FnOnce() -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let view = self.conn.unchecked_transaction()?;
        let result = work();
        view.finish()?;
        result
    }

    /// Calls `each` with the stored place, leaf and bytes of every record of a log, in order.
    pub(crate) fn each<E: From<rusqlite::Error>>(
        &self,
        origin: &str,
        each: impl FnMut(u64, Hash, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT id FROM logs WHERE origin = ?1";
        let id: i64 = self.conn.query_row(sql, [origin], first)?;
        store::each_from(&self.conn, id, 0, each)
    }

    /// Origin of the log behind an origin, a tenant, or `deployment`.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn origin(&self, name: &str) -> Result<Option<String>, ReadError> {
        let id = self.log_id(name)?;
        let row = store::logs(&self.conn)?.into_iter().find(|row| Some(row.id) == id);
        Ok(row.map(|row| row.origin))
    }

    /// The log behind an origin, a tenant, or `deployment`.
    fn log_id(&self, name: &str) -> Result<Option<i64>, ReadError> {
        let tenant = format!("/t/{name}");
        let fits = |row: &LogRow| {
            row.origin == name
                || row.origin.ends_with(&tenant)
                || (name == DEPLOYMENT && row.origin.ends_with("/deployment"))
        };
        Ok(store::logs(&self.conn)?.into_iter().find(fits).map(|row| row.id))
    }

    fn head(&self, row: LogRow) -> Result<LogHead, ReadError> {
        let last = self.conn.query_row(
            "SELECT seq, leaf FROM records WHERE log = ?1 ORDER BY seq DESC LIMIT 1",
            [row.id],
            |found| Ok((found.get::<_, u64>(0)?, found.get(1)?)),
        );
        let (size, leaf) = last.optional()?.map_or((0, row.genesis), |(seq, leaf)| (seq + 1, leaf));
        Ok(LogHead { origin: row.origin, vkey: row.vkey, size, leaf })
    }
}
