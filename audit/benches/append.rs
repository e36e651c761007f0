//! Ledger appends against raw SQLite with rows of the same size, interleaved in one run.
//!
//! `cargo bench -p portcullis-audit`. Prints rows/s and their ratio at batches of 1, 8, 64 and
//! 256, and the CPU time of one record. Both sides run WAL with `synchronous=FULL`; "raw" is one
//! table with one blob and nothing else: no chain, no index, no guard.

use std::io::Write as _;
use std::time::{Duration, Instant};

use portcullis_audit::{
    CallFields, Commitment, Entry, Kind, Ledger, LedgerOptions, PolicyRef, Query, Reader, ToolRef,
    Who,
};
use uuid::Uuid;

const ROUNDS: usize = 5;

#[expect(clippy::print_stdout, reason = "a benchmark speaks on stdout")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir_in(".")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let options = LedgerOptions::new(folder.path().join("l.db"), "bench", folder.path().join("k"));
    let (ledger, _) = Ledger::open(options)?;
    runtime.block_on(append(&ledger, 1))?;
    let reader = Reader::open(&folder.path().join("l.db"))?;
    let row = reader.rows(&Query::default())?.pop().map_or(900, |row| row.bytes.len());
    let raw = Raw::open(&folder.path().join("raw.db"), row)?;

    println!("record {row} B, WAL, synchronous=FULL, best of {ROUNDS} interleaved rounds");
    println!(
        "{:>6} {:>12} {:>12} {:>7} {:>14} {:>11}",
        "batch", "ledger rows/s", "raw rows/s", "ratio", "CPU us/record", "raw CPU us"
    );
    for batch in [1, 8, 64, 256] {
        let commits = if batch == 1 { 300 } else { 100 };
        let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
        let (mut cpu, mut raw_cpu) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            let before = cpu_time()?;
            theirs = theirs.min(timed(|| raw.run(batch, commits))?.as_secs_f64());
            raw_cpu = raw_cpu.min((cpu_time()? - before).as_secs_f64());
            let before = cpu_time()?;
            ours =
                ours.min(timed(|| runtime.block_on(run(&ledger, batch, commits)))?.as_secs_f64());
            cpu = cpu.min((cpu_time()? - before).as_secs_f64());
        }
        let rows = (batch * commits) as f64;
        println!(
            "{batch:>6} {:>12.0} {:>12.0} {:>7.2} {:>14.1} {:>11.1}",
            rows / ours,
            rows / theirs,
            theirs / ours,
            cpu / rows * 1e6,
            raw_cpu / rows * 1e6
        );
        std::io::stdout().flush()?;
    }
    runtime.block_on(ledger.close())?;
    Ok(())
}

async fn run(ledger: &Ledger, batch: usize, commits: usize) -> Result<(), Failed> {
    for _ in 0..commits {
        append(ledger, batch).await?;
    }
    Ok(())
}

/// One batch, each record from a task of its own, as callers do.
async fn append(ledger: &Ledger, batch: usize) -> Result<(), Failed> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..batch {
        let ledger = ledger.clone();
        tasks.spawn(async move { ledger.append(entry()).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn entry() -> Entry {
    let fields = CallFields {
        who: Who { subject: Some("p_4f1c9a7e".into()), session_seq: Some(7), ..Who::default() },
        tool: Some(ToolRef {
            server: "notes".into(),
            name: "delete_note".into(),
            schema: "ab".repeat(32),
        }),
        pol: Some(PolicyRef {
            decision: "permit".into(),
            rules: vec!["rbac.scope".into(), "tenant.same".into()],
            bundle: "cd".repeat(32),
        }),
        input: Commitment::of("in", br#"{"id":7}"#).ok(),
        ..CallFields::default()
    };
    let (tenant, op) = ("default".to_owned(), Uuid::now_v7());
    Entry { tenant, kind: Kind::Decision, op, reference: None, fields, body: None }
}

struct Raw {
    conn: rusqlite::Connection,
    row: Vec<u8>,
}

impl Raw {
    fn open(path: &std::path::Path, row: usize) -> Result<Self, Failed> {
        let conn = rusqlite::Connection::open(path)?;
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB NOT NULL)",
        )?;
        Ok(Self { conn, row: vec![7; row] })
    }

    fn run(&self, batch: usize, commits: usize) -> Result<(), Failed> {
        for _ in 0..commits {
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for _ in 0..batch {
                self.conn
                    .prepare_cached("INSERT INTO rows (row) VALUES (?1)")?
                    .execute([&self.row])?;
            }
            self.conn.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
}

type Failed = Box<dyn std::error::Error>;

fn timed(work: impl FnOnce() -> Result<(), Failed>) -> Result<Duration, Failed> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// User and system time of this process, from `/proc/self/stat` (clock ticks of 10 ms).
fn cpu_time() -> Result<Duration, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
