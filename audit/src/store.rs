//! Where the records are: a SQLite file, or a PostgreSQL database that several replicas share.
//! Knows rows, not records.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::canonical::{self, Value};
use crate::chain::Hash;
use crate::entry::ToolRef;
use crate::head_file::Head;

pub(crate) mod postgres;
pub(crate) mod sqlite;

pub(crate) use postgres::{PgError, PostgresStore};
pub(crate) use sqlite::SqliteStore;

/// Where the files beside the ledger file are.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A log as the database knows it.
#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    pub(crate) id: i64,
    pub(crate) origin: String,
    pub(crate) vkey: String,
    pub(crate) genesis: Hash,
}

/// A record's row, ready to be inserted.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) pos: u64,
    pub(crate) log: i64,
    pub(crate) seq: u64,
    pub(crate) op: &'a [u8; 16],
    pub(crate) prev: &'a Hash,
    pub(crate) leaf: &'a Hash,
    pub(crate) record: &'a [u8],
}

/// What narrows a look for records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) log: Option<i64>,
    pub(crate) op: Option<Uuid>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) limit: u64,
}

/// A record as it is stored: origin, seq, leaf, bytes.
pub(crate) type Stored = (String, u64, Hash, Vec<u8>);

/// A record at its place: seq, leaf, bytes.
pub(crate) type Placed = (u64, Hash, Vec<u8>);

/// Up to where a log is known to be good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) leaf: Hash,
    /// No intent below is open.
    pub(crate) low: u64,
}

/// How far a log's records are pruned, and the record that says so.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) until: u64,
    pub(crate) seq: u64,
    /// Records before `until` that stay, in order.
    pub(crate) kept: Vec<u64>,
}

/// What a storage says when it cannot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Postgres(#[from] PgError),
}

/// The writer's connection.
#[derive(Debug)]
pub(crate) enum Store {
    Sqlite(SqliteStore),
    Postgres(Box<PostgresStore>),
}

impl Store {
    /// Begins a batch. With PostgreSQL the transaction begins when the heads are locked.
    pub(crate) fn begin(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.begin()?,
            Self::Postgres(store) => store.begin(),
        }
        Ok(())
    }

    /// Returns when the batch is on disk. PostgreSQL says where its last record came to stand.
    pub(crate) fn commit(&mut self) -> Result<Option<Head>, StoreError> {
        match self {
            Self::Sqlite(store) => store.commit().map(|()| None).map_err(StoreError::from),
            Self::Postgres(store) => store.commit().map_err(StoreError::from),
        }
    }

    pub(crate) fn rollback(&mut self) {
        match self {
            Self::Sqlite(store) => store.rollback(),
            Self::Postgres(store) => store.rollback(),
        }
    }

    pub(crate) fn insert(&mut self, row: &Row<'_>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.insert(row)?,
            Self::Postgres(store) => store.insert(row),
        }
        Ok(())
    }

    /// Whether a log has an intent of this operation for this tool, this batch included. What the
    /// bytes do not say any more, because they are pruned, counts as one.
    pub(crate) fn intends(
        &mut self,
        log: i64,
        op: &Uuid,
        tool: &ToolRef,
    ) -> Result<bool, StoreError> {
        let intents = match self {
            Self::Sqlite(store) => store.intents(log, op.as_bytes())?,
            Self::Postgres(store) => store.intents(log, op.as_bytes())?,
        };
        Ok(intents.iter().any(|record| is_for(record, tool)))
    }

    /// Place, leaf and bytes of the durable records of an operation in a log, in order.
    pub(crate) fn of_operation(&self, log: i64, op: &Uuid) -> Result<Vec<Placed>, StoreError> {
        match self {
            Self::Sqlite(store) => Ok(store.of_operation(log, op.as_bytes())?),
            Self::Postgres(store) => {
                Ok(postgres::of_operation(store.client(), log, op.as_bytes())?)
            }
        }
    }

    pub(crate) fn insert_body(
        &mut self,
        row: (u64, i64, u64),
        body: &[u8],
    ) -> Result<(), StoreError> {
        let (pos, log, seq) = row;
        match self {
            Self::Sqlite(store) => store.insert_body(pos, body)?,
            Self::Postgres(store) => store.insert_body(log, seq, body),
        }
        Ok(())
    }

    pub(crate) fn insert_log(&mut self, log: &LogRow) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => Ok(store.insert_log(log)?),
            // Locking the heads makes the logs; one that is not there now was not locked.
            Self::Postgres(_) => Err(PgError::Refused("a log without a locked head".into()).into()),
        }
    }

    pub(crate) fn insert_policy_set(
        &mut self,
        digest: &Hash,
        text: &[u8],
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.insert_policy_set(digest, text)?,
            Self::Postgres(store) => store.insert_policy_set(digest, text),
        }
        Ok(())
    }

    /// Notes a cut durably; only then bytes may go.
    pub(crate) fn insert_prune(&self, log: i64, cut: &Cut) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => Ok(store.insert_prune(log, cut)?),
            Self::Postgres(store) => Ok(postgres::insert_prune(store.client(), log, cut)?),
        }
    }

    /// Takes away, durably, bytes and bodies of the records from `from` up to `to`, without those to
    /// keep.
    pub(crate) fn clear(
        &self,
        log: i64,
        from: u64,
        to: u64,
        kept: &[u64],
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => {
                store.begin()?;
                store.clear(log, from, to, kept)?;
                Ok(store.commit()?)
            }
            Self::Postgres(store) => {
                Ok(postgres::clear(store.client(), log, (from, to), kept.to_vec())?)
            }
        }
    }

    pub(crate) fn set_mark(&mut self, log: i64, mark: &Mark) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.set_mark(log, mark)?,
            Self::Postgres(store) => store.set_mark(log, mark),
        }
        Ok(())
    }
}

fn is_for(record: &[u8], tool: &ToolRef) -> bool {
    let Ok(value) = canonical::parse(record) else { return true };
    let says = |key| value.get("tool").and_then(|it| it.get(key)).and_then(Value::text);
    says("server").unwrap_or_default() == tool.server
        && says("name").unwrap_or_default() == tool.name
}
