//! Ledger appends in PostgreSQL against raw group commits of the same size, interleaved in one run:
//! `cargo bench -p portcullis-audit --bench postgres`. A private server, its defaults (`fsync`,
//! `synchronous_commit` and `full_page_writes` on).
//!
//! "raw" is one table with one `bytea` of the record's size and nothing else, one statement and one commit
//! for each batch, on one connection; its batches have the size that the ledger's commits really had. The
//! ledger locks the heads of its logs, keeps two unique indexes and one more, and guards what it inserts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot run should stop")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "the server is that of the tests")]

mod common;
#[path = "../tests/postgres/server.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod server;

use std::time::Instant;

use common::Failed;
use portcullis_audit::{Ledger, LedgerOptions, Postgres};
use sqlx::{Connection as _, PgConnection};

const ROUNDS: usize = 7;

/// Records in a commit, and records that one round writes.
const SIZES: [(usize, usize); 4] = [(1, 300), (8, 2_400), (64, 12_800), (256, 25_600)];

#[expect(clippy::print_stdout, reason = "a benchmark speaks on stdout")]
fn main() -> Result<(), Failed> {
    let server = server::Server::start();
    let folder = tempfile::tempdir_in(".")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let path = |name| folder.path().join(name);
    let options = LedgerOptions {
        postgres: Some(Postgres::new(&server.url())),
        ..LedgerOptions::new(path("a"), "bench", path("k"))
    };
    let (ledger, _) = Ledger::open(options)?;
    runtime.block_on(async {
        common::append(&ledger, 1, 1).await?;
        let mut raw = Raw::open(&server.url()).await?;
        println!("record {} B, medians of {ROUNDS} interleaved rounds", raw.row.len());
        println!(
            "{:>11} {:>13} {:>10} {:>6}",
            "rows/commit", "ledger rows/s", "raw rows/s", "of raw"
        );
        for (batch, records) in SIZES {
            let (mut commits, mut ours, mut theirs, mut ratios) =
                <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
            for _ in 0..ROUNDS {
                let callers = if batch == 1 { 1 } else { batch * 2 };
                let (from, start) = (raw.last().await?, Instant::now());
                common::append(&ledger, callers, records).await?;
                let took = start.elapsed().as_secs_f64();
                let each = records as f64 / raw.commits_since(from).await? as f64;
                let start = Instant::now();
                raw.run(each.round() as usize, records).await?;
                let raw_took = start.elapsed().as_secs_f64();
                commits.push(each);
                ours.push(records as f64 / took);
                theirs.push(records as f64 / raw_took);
                ratios.push(raw_took / took);
            }
            println!(
                "{:>11.1} {:>13.0} {:>10.0} {:>6.2}",
                common::median(&commits),
                common::median(&ours),
                common::median(&theirs),
                common::median(&ratios)
            );
        }
        ledger.close().await?;
        Ok(())
    })
}

struct Raw {
    conn: PgConnection,
    row: Vec<u8>,
}

impl Raw {
    async fn open(url: &str) -> Result<Self, Failed> {
        let mut conn = PgConnection::connect(url).await?;
        let row = "SELECT record FROM portcullis_ledger.records ORDER BY pos DESC LIMIT 1";
        let row: Vec<u8> = sqlx::query_scalar(row).fetch_one(&mut conn).await?;
        sqlx::raw_sql(
            "CREATE TABLE raw (id bigint GENERATED ALWAYS AS IDENTITY, row bytea NOT NULL)",
        )
        .execute(&mut conn)
        .await?;
        Ok(Self { conn, row })
    }

    async fn last(&mut self) -> Result<i64, Failed> {
        let last = "SELECT max(pos) FROM portcullis_ledger.records";
        Ok(sqlx::query_scalar(last).fetch_one(&mut self.conn).await?)
    }

    /// All records of one commit carry the same `mono.ns`.
    async fn commits_since(&mut self, from: i64) -> Result<i64, Failed> {
        let count = "SELECT count(DISTINCT convert_from(record, 'UTF8')::jsonb -> 'mono' ->> 'ns')
                     FROM portcullis_ledger.records WHERE pos > $1";
        Ok(sqlx::query_scalar(count).bind(from).fetch_one(&mut self.conn).await?)
    }

    async fn run(&mut self, batch: usize, rows: usize) -> Result<(), Failed> {
        let mut left = rows;
        while left > 0 {
            let now = left.min(batch.max(1));
            left -= now;
            sqlx::query("INSERT INTO raw (row) SELECT * FROM unnest($1::bytea[])")
                .bind(vec![self.row.clone(); now])
                .execute(&mut self.conn)
                .await?;
        }
        Ok(())
    }
}
