//! Ledger appends against raw SQLite with rows of the same size, interleaved in one run.
//!
//! `cargo bench -p portcullis-audit`. The ledger gathers its batches by itself, so the bench keeps
//! twice as many callers as a batch shall hold: half of them wait while the other half is written.
//! How many records a commit really held is counted in the ledger (all records of one commit carry
//! the same `mono.ns`), and the raw sides then write commits of exactly that size. All run WAL with
//! `synchronous=FULL`. "raw" is one table with one blob of the record's size and nothing else: no
//! chain, no index, no guard; the aim is judged by it. "table" has the ledger's columns and indexes,
//! so that a record can be found again, and still no chain and no guard; it says how much of the
//! distance is SQLite's own. Rates and ratios are medians of the rounds.

mod common;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Failed, append, cpu_time, median};
use portcullis_audit::{Ledger, LedgerOptions};
use uuid::Uuid;

const ROUNDS: usize = 7;

/// Records in a commit, and records that one round writes.
const SIZES: [(usize, usize); 4] = [(1, 1_000), (8, 6_000), (64, 25_600), (256, 51_200)];

#[expect(clippy::print_stdout, reason = "a benchmark speaks on stdout")]
fn main() -> Result<(), Failed> {
    let folder = tempfile::tempdir_in(".")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let path = folder.path().join("l.db");
    let options = LedgerOptions::new(path.clone(), "bench", folder.path().join("k"));
    let (ledger, _) = Ledger::open(options)?;
    runtime.block_on(append(&ledger, 1, 1))?;
    let row = Commits::open(&path)?.row_size()?;
    let raw = Raw::open(&folder.path().join("raw.db"), RAW, row)?;
    let table = Raw::open(&folder.path().join("table.db"), TABLE, row)?;

    println!("record {row} B, WAL, synchronous=FULL, medians of {ROUNDS} interleaved rounds");
    println!(
        "{:>11} {:>13} {:>10} {:>12} {:>6} {:>8} {:>13} {:>10} {:>12}",
        "rows/commit",
        "ledger rows/s",
        "raw rows/s",
        "table rows/s",
        "of raw",
        "of table",
        "CPU us/record",
        "raw us/row",
        "table us/row"
    );
    for (batch, records) in SIZES {
        let mut size = Size::default();
        for _ in 0..ROUNDS {
            size.round(batch, records, &runtime, &ledger, &path, [&raw, &table])?;
        }
        println!("{size}");
        std::io::stdout().flush()?;
    }
    runtime.block_on(ledger.close())?;
    Ok(())
}

/// What the rounds of one size gave.
#[derive(Default)]
struct Size {
    per_commit: Vec<f64>,
    ours: Side,
    theirs: [Side; 2],
    ratios: [Vec<f64>; 2],
}

/// Rates of one side, and what it cost.
#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    cpu: Duration,
    rows: usize,
}

impl Side {
    fn add(&mut self, rows: usize, (wall, cpu): (Duration, Duration)) {
        self.rates.push(rows as f64 / wall.as_secs_f64());
        self.cpu += cpu;
        self.rows += rows;
    }

    fn us_per_row(&self) -> f64 {
        self.cpu.as_secs_f64() / self.rows as f64 * 1e6
    }
}

impl Size {
    fn round(
        &mut self,
        batch: usize,
        records: usize,
        runtime: &tokio::runtime::Runtime,
        ledger: &Ledger,
        path: &Path,
        raw: [&Raw; 2],
    ) -> Result<(), Failed> {
        let commits = Commits::open(path)?;
        let callers = if batch == 1 { 1 } else { batch * 2 };
        let ours = timed(|| runtime.block_on(append(ledger, callers, records)))?;
        let per_commit = records as f64 / commits.since()? as f64;
        self.per_commit.push(per_commit);
        self.ours.add(records, ours);
        for ((raw, side), ratios) in raw.iter().zip(&mut self.theirs).zip(&mut self.ratios) {
            let theirs = timed(|| raw.run(per_commit.round() as usize, records))?;
            side.add(records, theirs);
            ratios.push(theirs.0.as_secs_f64() / ours.0.as_secs_f64());
        }
        Ok(())
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [raw, table] = &self.theirs;
        let [of_raw, of_table] = &self.ratios;
        write!(
            f,
            "{:>11.1} {:>13.0} {:>10.0} {:>12.0} {:>6.2} {:>8.2} {:>13.1} {:>10.1} {:>12.1}",
            median(&self.per_commit),
            median(&self.ours.rates),
            median(&raw.rates),
            median(&table.rates),
            median(of_raw),
            median(of_table),
            self.ours.us_per_row(),
            raw.us_per_row(),
            table.us_per_row()
        )
    }
}

/// Counts commits in the ledger's own records, since it was opened.
struct Commits {
    conn: rusqlite::Connection,
    from: i64,
}

impl Commits {
    fn open(path: &Path) -> Result<Self, Failed> {
        let conn = rusqlite::Connection::open(path)?;
        let from = conn.query_row("SELECT max(pos) FROM records", [], |row| row.get(0))?;
        Ok(Self { conn, from })
    }

    fn since(&self) -> Result<i64, Failed> {
        let sql = "SELECT count(DISTINCT json_extract(CAST(record AS TEXT), '$.mono.ns'))
                   FROM records WHERE pos > ?1";
        Ok(self.conn.query_row(sql, [self.from], |row| row.get(0))?)
    }

    fn row_size(&self) -> Result<usize, Failed> {
        let sql = "SELECT length(record) FROM records WHERE pos = ?1";
        Ok(self.conn.query_row(sql, [self.from], |row| row.get(0))?)
    }
}

struct Raw {
    conn: rusqlite::Connection,
    insert: &'static str,
    row: Vec<u8>,
}

/// Table and insert of the two raw sides; `?1` is the record, `?2` the number of the row.
type Shape = (&'static str, &'static str);

const RAW: Shape = (
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB NOT NULL)",
    "INSERT INTO rows (row) VALUES (?1)",
);

/// A new op for each row, as the callers of the ledger make one.
const TABLE: Shape = (
    "CREATE TABLE rows (pos INTEGER PRIMARY KEY, log INTEGER NOT NULL, seq INTEGER NOT NULL,
         op BLOB NOT NULL, prev BLOB NOT NULL, leaf BLOB NOT NULL, record BLOB NOT NULL);
     CREATE UNIQUE INDEX rows_log_seq ON rows (log, seq);
     CREATE INDEX rows_op ON rows (op)",
    "INSERT INTO rows (pos, log, seq, op, prev, leaf, record)
     VALUES (?2, 1, ?2, ?3, ?4, ?4, ?1)",
);

impl Raw {
    fn open(path: &Path, (table, insert): Shape, row: usize) -> Result<Self, Failed> {
        let conn = rusqlite::Connection::open(path)?;
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        conn.execute_batch(table)?;
        Ok(Self { conn, insert, row: vec![7; row] })
    }

    fn run(&self, batch: usize, rows: usize) -> Result<(), Failed> {
        let mut at: i64 =
            self.conn
                .query_row("SELECT coalesce(max(rowid), 0) FROM rows", [], |row| row.get(0))?;
        let mut left = rows;
        while left > 0 {
            let now = left.min(batch.max(1));
            left -= now;
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for _ in 0..now {
                at += 1;
                self.insert(at)?;
            }
            self.conn.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    fn insert(&self, at: i64) -> Result<(), Failed> {
        let mut insert = self.conn.prepare_cached(self.insert)?;
        if insert.parameter_count() == 1 {
            insert.execute([&self.row])?;
        } else {
            let op = Uuid::now_v7();
            insert.execute(rusqlite::params![self.row, at, op.as_bytes(), [7_u8; 32]])?;
        }
        Ok(())
    }
}

/// Wall and CPU time of some work.
fn timed(work: impl FnOnce() -> Result<(), Failed>) -> Result<(Duration, Duration), Failed> {
    let (start, before) = (Instant::now(), cpu_time()?);
    work()?;
    Ok((start.elapsed(), cpu_time()?.saturating_sub(before)))
}
