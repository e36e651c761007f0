//! What a log costs as it grows, and what it costs to check: `cargo bench -p portcullis-audit --bench grows`.
//!
//! A ledger is grown to each of the sizes below (`PORTCULLIS_BENCH_RECORDS` bounds the last). Then, round by
//! round, each of them gets the same number of further records, 64 to a commit, and the CPU time of one is held
//! against that at the smallest: side by side, because this kind of machine is faster in one minute than in the
//! next. Proofs of records all over each log are made from the published tiles and checked. One log is exported
//! and checked by `portcullis-verify` (which also reads every record, follows the chain and pairs intents with
//! outcomes) and by Go's `x/mod/sumdb/tlog` (which only hashes), on the same folder, each in a process of its
//! own.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Failed, cpu_time, median};
use portcullis_audit::note::VerifierKey;
use portcullis_audit::policy::Policy;
use portcullis_audit::{Ledger, LedgerOptions, PublishedLogs, Reader, export, load_key};

const SIZES: [u64; 3] = [1_000, 100_000, 10_000_000];

/// A log of this size is exported and verified.
const VERIFIED: u64 = 500_000;

/// Records that each ledger gets in each round.
const MEASURED: u64 = 10_000;

/// The median of so many rounds counts.
const ROUNDS: usize = 15;

const CALLERS: usize = 128;

const PROOFS: u64 = 200;

const ORIGIN: &str = "bench/t/default";

#[expect(clippy::print_stdout, reason = "a benchmark speaks on stdout")]
fn main() -> Result<(), Failed> {
    let most = std::env::var("PORTCULLIS_BENCH_RECORDS").ok().and_then(|n| n.parse().ok());
    let mut sizes = SIZES.map(|size| size.min(most.unwrap_or(u64::MAX)));
    sizes.sort_unstable();
    let ledgers = sizes.iter().map(|size| Bench::grown(*size)).collect::<Result<Vec<_>, _>>()?;
    let mut costs: Vec<Vec<f64>> = vec![Vec::new(); ledgers.len()];
    for _ in 0..ROUNDS {
        for (ledger, costs) in ledgers.iter().zip(&mut costs) {
            costs.push(ledger.cost()?);
        }
    }
    println!("   records  CPU us/append  of the first  proof p50 ms  proof max ms");
    let mut first = None;
    for ((size, ledger), costs) in sizes.iter().zip(&ledgers).zip(&costs) {
        let cost = median(costs);
        let ratio = cost / *first.get_or_insert(cost);
        let (p50, worst) = ledger.prove(*size)?;
        println!("{size:>10}  {cost:>13.1}  {ratio:>12.2}  {p50:>12.2}  {worst:>12.2}");
    }
    drop(ledgers);
    println!("\n{}", Bench::grown(VERIFIED.min(most.unwrap_or(u64::MAX)))?.verify()?);
    Ok(())
}

struct Bench {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    ledger: Ledger,
}

impl Bench {
    fn new() -> Result<Self, Failed> {
        let folder = tempfile::tempdir_in(".")?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let path = |name| folder.path().join(name);
        let mut options = LedgerOptions::new(path("l.db"), "bench", path("k"));
        // Nobody waits for these, and a disk that writes back gigabytes stalls now and then.
        options.deadline = Duration::from_secs(60);
        let (ledger, _) = Ledger::open(options)?;
        Ok(Self { folder, runtime, ledger })
    }

    /// A ledger of `size` records; progress, since the largest takes minutes.
    #[expect(clippy::print_stderr, reason = "a benchmark says what takes so long")]
    fn grown(size: u64) -> Result<Self, Failed> {
        let (ledger, mut there) = (Self::new()?, 0);
        while there < size {
            let more = (size - there).min(500_000);
            ledger.append(more)?;
            there += more;
            eprintln!("grown to {there} of {size} records");
        }
        ledger.published();
        Ok(ledger)
    }

    /// CPU microseconds of one further record, its tree and its heads included.
    fn cost(&self) -> Result<f64, Failed> {
        let before = cpu_time()?;
        self.append(MEASURED)?;
        self.published();
        Ok((cpu_time()? - before).as_secs_f64() / MEASURED as f64 * 1e6)
    }

    fn append(&self, records: u64) -> Result<(), Failed> {
        self.runtime.block_on(common::append(&self.ledger, CALLERS, usize::try_from(records)?))
    }

    /// Waits until every record is under a signed head.
    fn published(&self) {
        while self.ledger.status().published < self.ledger.status().records {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Median and worst time to make and check the proof of one record, in milliseconds.
    fn prove(&self, size: u64) -> Result<(f64, f64), Failed> {
        self.published();
        let reader = Reader::open(&self.folder.path().join("l.db"))?;
        let logs = PublishedLogs::of(&reader, "bench");
        let key = load_key(&self.folder.path().join("k"))?;
        let policy = Policy::of_logs([VerifierKey::parse(&key.vkey(ORIGIN))?]);
        let mut times = Vec::new();
        for n in 0..PROOFS {
            let (seq, start) = (size / PROOFS * n, Instant::now());
            let proof = logs.prove(&reader, ORIGIN, seq)?;
            proof.verify(proof.extra().unwrap_or_default(), &policy, u64::MAX)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let p50 = median(&times);
        Ok((p50, times.into_iter().fold(0.0, f64::max)))
    }

    fn verify(&self) -> Result<String, Failed> {
        self.published();
        let (folder, key) = (self.folder.path().join("export"), self.folder.path().join("k"));
        let (key, reader) = (load_key(&key)?, Reader::open(&self.folder.path().join("l.db"))?);
        let start = Instant::now();
        let exported = export(&reader, &key, "bench", &folder)?;
        let (records, written) = (exported.records(), start.elapsed().as_secs_f64());
        let ours = |threads: &str| {
            let mut verify = Command::new(env!("CARGO_BIN_EXE_portcullis-verify"));
            verify.args(["--threads", threads]).arg(&folder);
            verify
        };
        let program = go_program(self.folder.path())?;
        let go = || {
            let mut verify = Command::new(&program);
            verify.arg("log").arg(folder.join("t/default")).arg(key.vkey(ORIGIN));
            verify
        };
        // Each once before, so that all find the files in memory; then interleaved.
        let (mut one, mut many, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        run(go())?;
        for _ in 0..5 {
            one.push(run(ours("1"))?);
            many.push(run(ours("2"))?);
            theirs.push(run(go())?);
        }
        let rate = |times: &[f64]| records as f64 / median(times);
        let (one, many, theirs) = (rate(&one), rate(&many), rate(&theirs));
        std::fs::remove_dir_all(&folder)?;
        Ok(format!(
            "{records} records: exported {:.0}/s; verified {one:.0}/s by one thread, {many:.0}/s by two \
             ({:.2} times), Go's tlog {theirs:.0}/s; of Go's {:.2} by one thread, {:.2} by two",
            records as f64 / written,
            many / one,
            one / theirs,
            many / theirs
        ))
    }
}

/// Builds the Go verifier of the tests.
fn go_program(folder: &Path) -> Result<PathBuf, Failed> {
    let program = folder.join("go-verify");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verifiers/go/main.go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(source);
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    run(build)
        .map_err(|why| format!("go: {why}; apt-get install golang-go golang-golang-x-mod-dev"))?;
    Ok(program)
}

/// Seconds that a program takes; an error when it says no.
fn run(mut program: Command) -> Result<f64, Failed> {
    let start = Instant::now();
    let output = program.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(start.elapsed().as_secs_f64())
}
