//! Reading a ledger without being able to write it: for `ledger show`, `find`, `explain`, export.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::canonical::{self, Value};
use crate::chain::{Hash, leaf};
use crate::entry::{DEPLOYMENT, Kind};
use crate::error::ReadError;
use crate::keys::{KeyChain, KeyStatement, operation};
use crate::ledger::{LedgerOptions, Postgres};
use crate::note::VerifierKey;
use crate::record::Record;
use crate::store::postgres::{self, Client};
use crate::store::{LogRow, PgError, Wanted};

mod sqlite;

/// SQLite's largest integer.
const LAST: u64 = u64::MAX >> 1;

/// Records that are looked at in one go, which must end before patience does.
const AT_ONCE: usize = 65_536;

/// A read-only connection; may stand beside a running writer.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    path: PathBuf,
}

#[derive(Debug)]
enum Source {
    Sqlite(sqlite::File),
    Postgres(Client),
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
    /// Everything that it says.
    value: Value,
}

impl RecordRow {
    /// The text at a path of members, `""` when there is none: `text(&["who", "subject"])`.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> &str {
        path.iter()
            .try_fold(&self.value, |value, key| value.get(key))
            .and_then(Value::text)
            .unwrap_or_default()
    }

    /// Ids of the determining policies.
    #[must_use]
    pub fn rules(&self) -> Vec<&str> {
        match self.value.get("pol").and_then(|pol| pol.get("rule")) {
            Some(Value::List(rules)) => rules.iter().filter_map(Value::text).collect(),
            _ => Vec::new(),
        }
    }

    /// What a key record says, when both keys signed it.
    #[must_use]
    pub fn key_change(&self) -> Option<KeyStatement> {
        KeyStatement::open(self.record.key_statement()?, &self.record.log).ok()
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
            _ if self.record.kind == Kind::Key => match self.key_change() {
                Some(change) => format!("{} -> {}", change.old.id(), change.new.id()),
                None => "not signed by both keys".to_owned(),
            },
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
        Ok(Self { source: Source::Sqlite(sqlite::File::open(path)?), path: path.to_owned() })
    }

    /// Opens a ledger in PostgreSQL for reading.
    ///
    /// # Errors
    /// [`ReadError::Absent`] when there is none, [`ReadError::Postgres`] otherwise.
    pub fn open_postgres(at: &Postgres) -> Result<Self, ReadError> {
        let client = postgres::open_reader(at.url())
            .map_err(|error| ReadError::Postgres(error.to_string()))?;
        if !postgres::is_there(&client)? {
            return Err(ReadError::Absent(PathBuf::from("PostgreSQL")));
        }
        Ok(Self { source: Source::Postgres(client), path: PathBuf::new() })
    }

    /// Opens the ledger that these options would open.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::open_postgres`].
    pub fn of(options: &LedgerOptions) -> Result<Self, ReadError> {
        match &options.postgres {
            Some(at) => Ok(Self { path: options.path.clone(), ..Self::open_postgres(at)? }),
            None => Self::open(&options.path),
        }
    }

    /// The ledger file; empty for PostgreSQL.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every log with its head, in order of creation.
    ///
    /// # Errors
    /// [`ReadError::Storage`], [`ReadError::Postgres`].
    pub fn logs(&self) -> Result<Vec<LogHead>, ReadError> {
        match &self.source {
            Source::Sqlite(file) => file.heads(),
            Source::Postgres(client) => {
                let heads = postgres::heads(client)?.into_iter();
                let head = |(row, size, leaf): (LogRow, u64, Hash)| LogHead {
                    origin: row.origin,
                    vkey: row.vkey,
                    size,
                    leaf,
                };
                Ok(heads.map(head).collect())
            }
        }
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
        let wanted = Wanted {
            log,
            op: query.op,
            from: query.from.unwrap_or(0),
            to: query.to.unwrap_or(u64::MAX).min(LAST),
            limit: query.limit.unwrap_or(100).min(LAST),
        };
        let found = match &self.source {
            Source::Sqlite(file) => file.select(wanted)?,
            Source::Postgres(client) => postgres::select(client, wanted)?,
        };
        let mut rows = Vec::with_capacity(found.len());
        for (log, seq, leaf, bytes) in found.into_iter().rev() {
            let read = Record::parse(&bytes).and_then(|it| Ok((it, canonical::parse(&bytes)?)));
            let (record, value) =
                read.map_err(|why| ReadError::Record { log, seq, why: why.to_string() })?;
            rows.push(RecordRow { leaf, bytes, record, value });
        }
        Ok(rows)
    }

    /// The sealed body beside a record, if it has one.
    ///
    /// # Errors
    /// [`ReadError::Storage`], [`ReadError::Postgres`].
    pub fn body(&self, origin: &str, seq: u64) -> Result<Option<Vec<u8>>, ReadError> {
        match &self.source {
            Source::Sqlite(file) => file.body(origin, seq),
            Source::Postgres(client) => Ok(postgres::bodies(client, origin, seq)?),
        }
    }

    /// The text of a policy set that was stored under its digest.
    ///
    /// # Errors
    /// [`ReadError::Storage`], [`ReadError::Postgres`].
    pub fn policy_set(&self, digest: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        match &self.source {
            Source::Sqlite(file) => file.policy_set(digest),
            Source::Postgres(client) => Ok(postgres::policy_set(client, digest)?),
        }
    }

    /// Runs `work` on one unchanging view of the ledger.
    pub(crate) fn at_one_moment<T>(
        &self,
        work: impl FnOnce() -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        match &self.source {
            Source::Sqlite(file) => file.at_one_moment(work),
            Source::Postgres(client) => {
                postgres::begin_view(client)?;
                let result = work();
                postgres::end_view(client)?;
                result
            }
        }
    }

    /// The keys of a log, by its key records; `None` when there is no such log, or it was begun under
    /// what is no key. Reads those records only, however long the log is.
    ///
    /// # Errors
    /// [`ReadError::Record`] for a key record that does not count.
    pub fn keys(&self, origin: &str) -> Result<Option<KeyChain>, ReadError> {
        let row = self.all()?.into_iter().find(|row| row.origin == origin);
        row.map_or(Ok(None), |row| self.keys_of(&row))
    }

    /// The keys of every log that was begun under a key.
    pub(crate) fn all_keys(&self) -> Result<Vec<KeyChain>, ReadError> {
        self.all()?.iter().filter_map(|row| self.keys_of(row).transpose()).collect()
    }

    fn keys_of(&self, row: &LogRow) -> Result<Option<KeyChain>, ReadError> {
        let origin = row.origin.as_str();
        let Ok(birth) = VerifierKey::parse(&row.vkey) else { return Ok(None) };
        // By the operation alone, which is this log's own: so no index over the whole log tempts.
        let op = Some(operation(origin));
        let query = Query { op, limit: Some(u64::MAX), ..Query::default() };
        let mut keys = KeyChain::new(birth);
        for row in self.rows(&query)? {
            let (log, seq) = (origin.to_owned(), row.record.seq);
            if row.record.kind != Kind::Key || row.record.log != origin {
                continue;
            }
            if leaf(&row.bytes) != row.leaf {
                let why = "its bytes do not give its leaf hash".to_owned();
                return Err(ReadError::Record { log, seq, why });
            }
            keys.take(&row.record).map_err(|why| ReadError::Record {
                log,
                seq,
                why: why.to_string(),
            })?;
        }
        Ok(Some(keys))
    }

    /// How many records from the begin of a log are pruned: their bytes are gone, but for
    /// certificates, and their leaf hashes stay.
    ///
    /// # Errors
    /// [`ReadError::Storage`], [`ReadError::Postgres`].
    pub fn pruned(&self, origin: &str) -> Result<u64, ReadError> {
        let id = self.all()?.into_iter().find(|row| row.origin == origin).map(|row| row.id);
        match (&self.source, id) {
            (_, None) => Ok(0),
            (Source::Sqlite(file), Some(id)) => file.pruned(id),
            (Source::Postgres(client), Some(id)) => Ok(postgres::pruned(client, id)?),
        }
    }

    /// Calls `each` with the stored place, leaf and bytes of every record of a log, in order; a
    /// pruned record has no bytes.
    pub(crate) fn each<E: From<ReadError>>(
        &self,
        origin: &str,
        mut each: impl FnMut(u64, Hash, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let id = self.all()?.into_iter().find(|row| row.origin == origin).map(|row| row.id);
        let Some(id) = id else { return Ok(()) };
        let read = match &self.source {
            Source::Sqlite(file) => {
                file.each(id, |seq, leaf, bytes| each(seq, leaf, bytes).map_err(Stop::Caller))
            }
            Source::Postgres(client) => postgres::each_from(client, id, 0, |seq, leaf, bytes| {
                each(seq, leaf, bytes).map_err(Stop::Caller)
            }),
        };
        read.map_err(|stop| match stop {
            Stop::Caller(error) => error,
            Stop::Storage(error) => error.into(),
        })
    }

    /// The first record of a log whose sealed body is gone, although its bytes name one.
    pub(crate) fn lost_body(&self, log: &LogHead) -> Result<Option<u64>, ReadError> {
        let id = self.all()?.into_iter().find(|row| row.origin == log.origin).map(|row| row.id);
        let Some(id) = id else { return Ok(None) };
        for from in (0..log.size).step_by(AT_ONCE) {
            let to = from.saturating_add(AT_ONCE as u64);
            let lost = match &self.source {
                Source::Sqlite(file) => file.lost_body(id, from, to)?,
                Source::Postgres(client) => postgres::lost_body(client, id, (from, to))?,
            };
            if lost.is_some() {
                return Ok(lost);
            }
        }
        Ok(None)
    }

    /// What SQLite finds wrong with its own file. PostgreSQL looks after its own.
    pub(crate) fn damage(&self) -> Result<Option<String>, ReadError> {
        match &self.source {
            Source::Sqlite(file) => file.damage(),
            Source::Postgres(_) => Ok(None),
        }
    }

    /// Whether several replicas write to it.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self.source, Source::Postgres(_))
    }

    /// Leaf hash of the record at a position over all logs; of SQLite only.
    pub(crate) fn leaf_at(&self, pos: u64) -> Result<Option<Hash>, ReadError> {
        match &self.source {
            Source::Sqlite(file) => file.leaf_at(pos),
            Source::Postgres(_) => Ok(None),
        }
    }

    fn all(&self) -> Result<Vec<LogRow>, ReadError> {
        match &self.source {
            Source::Sqlite(file) => file.logs(),
            Source::Postgres(client) => Ok(postgres::logs(client)?),
        }
    }

    /// Origin of the log behind an origin, a tenant, or `deployment`.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn origin(&self, name: &str) -> Result<Option<String>, ReadError> {
        let id = self.log_id(name)?;
        let row = self.all()?.into_iter().find(|row| Some(row.id) == id);
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
        Ok(self.all()?.into_iter().find(fits).map(|row| row.id))
    }
}

/// Why a walk over a log ended early.
enum Stop<E> {
    Caller(E),
    Storage(ReadError),
}

impl<E> From<rusqlite::Error> for Stop<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl<E> From<PgError> for Stop<E> {
    fn from(error: PgError) -> Self {
        Self::Storage(error.into())
    }
}
