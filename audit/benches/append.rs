//! Ledger appends against raw SQLite with rows of the same size, interleaved in one run.
//!
//! `cargo bench -p portcullis-audit`. The ledger gathers its batches by itself, so the bench keeps
//! twice as many callers as a batch shall hold: half of them wait while the other half is written.
//! How many records a commit really held is counted in the ledger (all records of one commit carry
//! the same `mono.ns`), and the raw side then writes commits of exactly that size. Both sides run
//! WAL with `synchronous=FULL`; "raw" is one table with one blob and nothing else: no chain, no
//! index, no guard. Rates and the ratio are medians of the rounds.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use portcullis_audit::{
    CallFields, Commitment, Entry, Kind, Ledger, LedgerOptions, PolicyRef, ToolRef, Who,
};
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
    let raw = Raw::open(&folder.path().join("raw.db"), row)?;

    println!("record {row} B, WAL, synchronous=FULL, medians of {ROUNDS} interleaved rounds");
    println!(
        "{:>12} {:>13} {:>12} {:>6} {:>14} {:>14}",
        "rows/commit", "ledger rows/s", "raw rows/s", "ratio", "CPU us/record", "raw CPU us/row"
    );
    for (batch, records) in SIZES {
        let mut size = Size::default();
        for _ in 0..ROUNDS {
            size.round(batch, records, &runtime, &ledger, &path, &raw)?;
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
    ours: Vec<f64>,
    theirs: Vec<f64>,
    ratios: Vec<f64>,
    cpu: Duration,
    raw_cpu: Duration,
    records: usize,
}

impl Size {
    fn round(
        &mut self,
        batch: usize,
        records: usize,
        runtime: &tokio::runtime::Runtime,
        ledger: &Ledger,
        path: &Path,
        raw: &Raw,
    ) -> Result<(), Failed> {
        let commits = Commits::open(path)?;
        let callers = if batch == 1 { 1 } else { batch * 2 };
        let (ours, cpu) = timed(|| runtime.block_on(append(ledger, callers, records)))?;
        let per_commit = records as f64 / commits.since()? as f64;
        let (theirs, raw_cpu) = timed(|| raw.run(per_commit.round() as usize, records))?;
        self.per_commit.push(per_commit);
        self.ours.push(records as f64 / ours.as_secs_f64());
        self.theirs.push(records as f64 / theirs.as_secs_f64());
        self.ratios.push(theirs.as_secs_f64() / ours.as_secs_f64());
        self.cpu += cpu;
        self.raw_cpu += raw_cpu;
        self.records += records;
        Ok(())
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = |cpu: Duration| cpu.as_secs_f64() / self.records as f64 * 1e6;
        write!(
            f,
            "{:>12.1} {:>13.0} {:>12.0} {:>6.2} {:>14.1} {:>14.1}",
            median(&self.per_commit),
            median(&self.ours),
            median(&self.theirs),
            median(&self.ratios),
            each(self.cpu),
            each(self.raw_cpu)
        )
    }
}

/// Appends `records`, from so many callers at a time, each of which waits for its answer.
async fn append(ledger: &Ledger, callers: usize, records: usize) -> Result<(), Failed> {
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let ledger = ledger.clone();
        let share = records / callers + usize::from(caller < records % callers);
        tasks.spawn(async move {
            for _ in 0..share {
                ledger.append(entry()).await?;
            }
            Ok::<(), portcullis_audit::Unavailable>(())
        });
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
    row: Vec<u8>,
}

impl Raw {
    fn open(path: &Path, row: usize) -> Result<Self, Failed> {
        let conn = rusqlite::Connection::open(path)?;
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB NOT NULL)",
        )?;
        Ok(Self { conn, row: vec![7; row] })
    }

    fn run(&self, batch: usize, rows: usize) -> Result<(), Failed> {
        let mut left = rows;
        while left > 0 {
            let now = left.min(batch.max(1));
            left -= now;
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for _ in 0..now {
                let mut insert = self.conn.prepare_cached("INSERT INTO rows (row) VALUES (?1)")?;
                insert.execute([&self.row])?;
            }
            self.conn.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
}

type Failed = Box<dyn std::error::Error>;

/// Wall and CPU time of some work.
fn timed(work: impl FnOnce() -> Result<(), Failed>) -> Result<(Duration, Duration), Failed> {
    let (start, before) = (Instant::now(), cpu_time()?);
    work()?;
    Ok((start.elapsed(), cpu_time()?.saturating_sub(before)))
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

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
