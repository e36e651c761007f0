//! Where the publisher reads leaves: on a connection of its own.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use crate::chain::Hash;
use crate::error::OpenError;
use crate::store::StoreError;
use crate::store::postgres::{self, Client};

/// The leaves of all logs.
#[derive(Debug)]
pub(crate) enum Leaves {
    Sqlite(Connection),
    /// With the verifier key that signs, as the database names it.
    Postgres(Client, String),
}

impl Leaves {
    /// Those of the SQLite file at `path`.
    pub(crate) fn of_file(path: &Path) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(Self::Sqlite(conn))
    }

    /// Whether others append to the same logs.
    pub(crate) const fn are_shared(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }

    /// Calls `each` with the stored leaf hashes of a log from `from` up to `to`, in order.
    pub(crate) fn each(
        &self,
        log: i64,
        from: u64,
        to: u64,
        mut each: impl FnMut(Hash),
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(conn) => {
                let mut select = conn.prepare_cached(
                    "SELECT leaf FROM records
                     WHERE log = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq",
                )?;
                let mut rows = select.query(params![log, from, to])?;
                while let Some(row) = rows.next()? {
                    each(row.get(0)?);
                }
                Ok(())
            }
            Self::Postgres(client, _) => {
                connected(client)?;
                Ok(postgres::each_leaf(client, log, from, to, each)?)
            }
        }
    }

    /// Whether the key that signs here has not been replaced by somebody else meanwhile.
    pub(crate) fn key_is_in_force(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(true),
            Self::Postgres(client, vkey) => {
                connected(client)?;
                Ok(postgres::key_is_in_force(client, vkey)?)
            }
        }
    }
}

/// Connects anew when the connection was lost.
fn connected(client: &Client) -> Result<(), StoreError> {
    let lost = |error| matches!(error, crate::store::PgError::Lost(_));
    if client.call(|_| Box::pin(async { Ok(()) })).is_err_and(lost) {
        client.connect()?;
    }
    Ok(())
}
