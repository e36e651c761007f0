//! PostgreSQL, shared by any number of replicas. A batch locks the head rows of its logs, takes size
//! and leaf from there, inserts everything in one statement, and commits.
//!
//! INVARIANT: no two replicas extend the same head (`three_replicas_leave_one_contiguous_history`).
//! INVARIANT: who lost its lease writes nothing more (`a_replica_that_slept_past_its_lease_is_refused`).

mod batch;
pub(crate) mod client;
mod epochs;
mod error;
mod rows;
mod schema;
mod transport;

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;

pub(crate) use batch::Locked;
use batch::Pending;
pub(crate) use client::Client;
use client::{READER_PATIENCE, WRITER_PATIENCE};
pub(crate) use error::PgError;
pub(crate) use rows::{
    begin_view, bodies, clear, each_from, each_leaf, end_view, heads, insert_prune,
    key_is_in_force, logs, lost_body, of_operation, policy_set, pruned, select,
};
pub use transport::{TLS_HELP, Transport};

use crate::chain::Hash;
use crate::error::{OpenError, ReadError};
use crate::head_file::Head;
use crate::store::Mark;

/// How long a start waits for its turn among others that start.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The writer's connection and its standing among the replicas.
#[derive(Debug)]
pub(crate) struct PostgresStore {
    client: Client,
    pending: Pending,
    /// This run of this replica.
    epoch: i64,
    lease: Duration,
    /// When the lease is to be renewed.
    renew_at: Instant,
    /// Since when the connection stands without interruption.
    connected_at: Instant,
    /// When this thread was last seen awake.
    awake_at: Instant,
    /// Whether this replica signs and shows.
    publishes: bool,
    /// The verifier key that must be in force for this replica to write.
    vkey: String,
    /// The one that this replica's next batch puts in its place.
    next_vkey: Option<String>,
}

/// Connects to `url` as the writer does.
pub(crate) fn open(url: &str, lease: Duration) -> Result<(PostgresStore, bool), OpenError> {
    let options = options_of(url)?.options([
        ("search_path", "portcullis_ledger"),
        // A replica that stands still must not hold the others up with the heads that it locked.
        ("lock_timeout", "2s"),
        ("statement_timeout", "4s"),
        ("idle_in_transaction_session_timeout", "3s"),
        // The locked head serializes; under a stricter default those who wait for it would fail.
        ("default_transaction_isolation", "read committed"),
    ]);
    let client = Client::open(options, WRITER_PATIENCE)?;
    client.call(|conn| Box::pin(schema::keeps_promises(conn)))?;
    let made = ensured(&client)?.made()?;
    let now = Instant::now();
    let store = PostgresStore {
        client,
        pending: Pending::default(),
        epoch: 0,
        lease,
        renew_at: now,
        connected_at: now,
        awake_at: now,
        publishes: false,
        vkey: String::new(),
        next_vkey: None,
    };
    Ok((store, made))
}

/// Makes or compares the tables. Many replicas may start at once, and they do so one after the other.
fn ensured(client: &Client) -> Result<schema::Schema, PgError> {
    let begun = Instant::now();
    loop {
        match client.call(|conn| Box::pin(schema::ensure(conn))) {
            Err(PgError::Busy(_)) if begun.elapsed() < START_PATIENCE => {
                client.call(|conn| {
                    Box::pin(
                        async move { Ok(sqlx::raw_sql("ROLLBACK").execute(conn).await.map(drop)?) },
                    )
                })?;
            }
            ensured => return ensured,
        }
    }
}

/// Connects to `url` for reading.
pub(crate) fn open_reader(url: &str) -> Result<Client, OpenError> {
    let options = options_of(url)?
        .options([("search_path", "portcullis_ledger"), ("default_transaction_read_only", "on")]);
    Ok(Client::open(options, READER_PATIENCE)?)
}

/// Whether there are tables of a ledger at all.
pub(crate) fn is_there(client: &Client) -> Result<bool, ReadError> {
    let there = client.call(|conn| {
        Box::pin(async move {
            let there = "SELECT to_regclass('portcullis_ledger.records') IS NOT NULL";
            Ok(sqlx::query_scalar(there).fetch_one(conn).await?)
        })
    })?;
    Ok(there)
}

/// The parser's own words might repeat the password, so they are not told.
fn options_of(url: &str) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        OpenError::Options(
            "the address of PostgreSQL is not one; it looks like `postgres://user@host/database`"
                .to_owned(),
        )
    })?;
    if let Some(name) = transport::unknown_parameter(url) {
        return Err(OpenError::Options(format!(
            "the address of PostgreSQL has a parameter `{name}` that the driver does not know"
        )));
    }
    if Transport::of(url, &options) == Transport::Unsaid {
        return Err(OpenError::Options(format!(
            "what is said to PostgreSQL could be read and changed on its way to another machine; \
             {TLS_HELP}"
        )));
    }
    Ok(options.application_name("portcullis-ledger"))
}

/// How what is said to the server at `url` is protected; `None` when it is no address.
pub(crate) fn transport(url: &str) -> Option<Transport> {
    PgConnectOptions::from_str(url).ok().map(|options| Transport::of(url, &options))
}

/// The first parameter of the address `url` that would be left out.
pub(crate) fn unknown_parameter(url: &str) -> Option<&str> {
    transport::unknown_parameter(url)
}

impl PostgresStore {
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// The leaf at a position.
    pub(crate) fn leaf_at(&self, pos: u64) -> Result<Option<Hash>, PgError> {
        let pos = rows::int(pos);
        let leaf: Option<Vec<u8>> = self.client.call(move |conn| {
            Box::pin(async move {
                let leaf = "SELECT leaf FROM records WHERE pos = $1";
                Ok(sqlx::query_scalar(leaf).bind(pos).fetch_optional(conn).await?)
            })
        })?;
        leaf.map(|leaf| rows::hash(&leaf)).transpose()
    }

    /// Up to where a log was vouched for. What is open is told by the epochs.
    pub(crate) fn mark(&self, log: i64) -> Result<Option<Mark>, PgError> {
        let mark: Option<(i64, Vec<u8>)> = self.client.call(move |conn| {
            Box::pin(async move {
                let mark = "SELECT seq, leaf FROM marks WHERE log = $1";
                Ok(sqlx::query_as(mark).bind(log).fetch_optional(conn).await?)
            })
        })?;
        let mark = mark.map(|(seq, leaf)| {
            let seq = rows::size_of(seq);
            Ok(Mark { seq, leaf: rows::hash(&leaf)?, low: seq })
        });
        mark.transpose()
    }

    /// A replica signs one vkey and one deployment name in one database; the first decides.
    pub(crate) fn belongs_to(
        &mut self,
        deployment: &str,
        vkey: &str,
    ) -> Result<Option<String>, PgError> {
        vkey.clone_into(&mut self.vkey);
        let ours = vec![deployment.to_owned(), vkey.to_owned()];
        let found: Vec<(String, String)> = self.client.call(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO meta (key, value)
                     SELECT * FROM unnest(ARRAY['deployment', 'vkey'], $1::text[])
                     ON CONFLICT DO NOTHING",
                )
                .bind(ours)
                .execute(&mut *conn)
                .await?;
                Ok(sqlx::query_as("SELECT key, value FROM meta").fetch_all(conn).await?)
            })
        })?;
        let other = found.into_iter().find(|(key, value)| match key.as_str() {
            "deployment" => value != deployment,
            "vkey" => value != vkey,
            _ => false,
        });
        Ok(other.map(|(key, _)| key))
    }

    /// Lets the next batch put another key in force.
    pub(crate) fn rotate_to(&mut self, vkey: String) {
        self.next_vkey = Some(vkey);
    }

    /// The position of a record, if it stands where this replica put it. Waits for a commit that may still be
    /// under way on the connection of before: that one holds the head. Then for the standby, where there is
    /// one to wait for: a commit whose connection was cut while it waited is done without it. To lock the head
    /// is written down too, behind that commit, so the standby has both when it has this one.
    pub(crate) fn holds(&self, log: i64, seq: u64, leaf: Hash) -> Result<Option<Head>, PgError> {
        let seq = rows::int(seq);
        self.client.call(move |conn| {
            Box::pin(async move {
                sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
                sqlx::query("SELECT 1 FROM heads WHERE log = $1 FOR UPDATE")
                    .bind(log)
                    .execute(&mut *conn)
                    .await?;
                let found: Option<(i64, Vec<u8>)> =
                    sqlx::query_as("SELECT pos, leaf FROM records WHERE log = $1 AND seq = $2")
                        .bind(log)
                        .bind(seq)
                        .fetch_optional(&mut *conn)
                        .await?;
                sqlx::raw_sql("COMMIT").execute(conn).await?;
                let found = found.filter(|(_, found)| *found == leaf);
                Ok(found.map(|(pos, _)| Head { records: rows::size_of(pos), leaf }))
            })
        })
    }
}
