//! kill -9 of a child that appends, and what the next start finds.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use portcullis_audit::verify::{Verdict, verify_ledger};

const FOLDER: &str = "PORTCULLIS_TEST_CHILD_FOLDER";
const JOURNAL: &str = "PORTCULLIS_TEST_CHILD_JOURNAL";

/// Not a test of its own: what the child of the tests below runs until it is killed. It prints
/// the place of every record that it was promised.
#[test]
#[ignore = "run by the crash tests as their child"]
fn child_appends_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
    let mut options = LedgerOptions { publish_every: Duration::from_millis(20), ..options };
    if let Ok(bytes) = std::env::var(JOURNAL) {
        options.journal = bytes.parse().unwrap();
    }
    let (ledger, _) = Ledger::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..4 {
            tasks.spawn(append_for_ever(ledger.clone(), format!("imp_t_{}", task % 2)));
        }
        // Ends only by a panic, which must end the child too.
        tasks.join_next().await.unwrap().unwrap();
    });
}

async fn append_for_ever(ledger: Ledger, tenant: String) {
    loop {
        let receipt = ledger.intent(intent(&tenant)).await.unwrap();
        println!("ack {} {}", receipt.log(), receipt.seq());
        let done = outcome(&tenant, receipt.op(), receipt.reference());
        let appended = ledger.outcome(done).await.unwrap();
        println!("ack {} {}", appended.log, appended.seq);
    }
}

fn spawn_child(house: &House, failpoints: &str) -> Child {
    child(house).env("FAILPOINTS", failpoints).spawn().unwrap()
}

fn child(house: &House) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crashes::child_appends_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, house.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The same child, with what it writes to the files of `root` written down.
pub(super) struct Watched<'a> {
    pub(super) library: &'a Path,
    pub(super) root: &'a Path,
    pub(super) journal: &'a Path,
}

impl Watched<'_> {
    /// Its ledger's journal begins anew beyond so many bytes, if any are said.
    pub(super) fn spawn(&self, house: &House, begins_anew: Option<u64>) -> Child {
        let mut child = child(house);
        child.envs(begins_anew.map(|bytes| (JOURNAL, bytes.to_string())));
        child.env("LD_PRELOAD", self.library).env("SHIM_ROOT", self.root);
        child.env("SHIM_JOURNAL", self.journal).spawn().unwrap()
    }
}

/// Reads the child's promises, kills it after `count` of them, and returns all that it printed.
fn promises(mut child: Child, count: usize) -> Vec<(String, u64)> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let parse = |line: String| {
        let mut words = line.strip_prefix("ack ")?.split(' ');
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    let mut all: Vec<_> = lines.by_ref().filter_map(parse).take(count).collect();
    child.kill().unwrap();
    all.extend(lines.filter_map(parse));
    child.wait().unwrap();
    all
}

pub(super) fn nothing_promised_is_lost(house: &House, promised: &[(String, u64)]) {
    let (ledger, opened) = house.open();
    tokio::runtime::Runtime::new().unwrap().block_on(ledger.close()).unwrap();
    let rows = house.reader().rows(&everything()).unwrap();
    for (log, seq) in promised {
        let there = rows.iter().any(|row| row.record.log == *log && row.record.seq == *seq);
        assert!(there, "acknowledged record {seq} of `{log}` is gone");
    }
    let report = verify_ledger(&house.reader());
    let expected = if rows.is_empty() { Verdict::Empty } else { Verdict::Whole };
    assert_eq!(report.verdict, expected);
    let open: u64 = report.logs.iter().map(|log| log.open).sum();
    assert_eq!(open, 0, "an orphan stayed open");
    assert!(opened.orphans_closed <= 4 + 4, "{opened:?}");
}

#[test]
fn kill_dash_nine_loses_nothing_acknowledged_and_leaves_no_orphan_open() {
    let house = House::new();
    for round in 0..8 {
        let promised = promises(spawn_child(&house, ""), 3 + round * 17);
        assert!(!promised.is_empty());
        nothing_promised_is_lost(&house, &promised);
    }
}

/// A moment that nobody chose: 2 to 200 ms after the child's first promise.
fn random_moment() -> Duration {
    let random = Uuid::new_v4().into_bytes();
    Duration::from_millis(2 + (u64::from(random[0]) * 256 + u64::from(random[1])) % 199)
}

/// All that the child promised until it was killed at such a moment behind its first promise, and behind the
/// first time that this is so.
pub(super) fn promises_until_a_random_moment(
    mut child: Child,
    is_so: impl Fn() -> bool,
) -> Vec<(String, u64)> {
    let stdout = child.stdout.take().unwrap();
    let (first, began) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Some(line) = line.strip_prefix("ack ") else { continue };
            let Some((log, seq)) = line.split_once(' ') else { continue };
            let Ok(seq) = seq.parse() else { continue }; // cut off by the kill
            all.push((log.to_owned(), seq));
            let _ = first.send(());
        }
        all
    });
    began.recv().unwrap();
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never is");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(random_moment());
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// `PORTCULLIS_LEDGER_ROUNDS` says how often: 1,000 times in `tests/soak`, a few times here.
#[test]
fn kill_dash_nine_at_random_moments_loses_nothing_acknowledged() {
    let rounds = std::env::var("PORTCULLIS_LEDGER_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds: usize = rounds.unwrap_or(10);
    let (house, mut times, mut kept) = (House::new(), Vec::new(), 0);
    for round in 1..=rounds {
        let promised = promises_until_a_random_moment(spawn_child(&house, ""), || true);
        kept += promised.len();
        let start = std::time::Instant::now();
        let (ledger, _) = house.open();
        times.push(start.elapsed());
        tokio::runtime::Runtime::new().unwrap().block_on(ledger.close()).unwrap();
        let conn = house.raw();
        let there = "SELECT count(*) FROM records r JOIN logs l ON l.id = r.log
                     WHERE l.origin = ?1 AND r.seq = ?2";
        let mut there = conn.prepare(there).unwrap();
        for (log, seq) in promised {
            let count: u64 = there.query_row((&log, seq), |row| row.get(0)).unwrap();
            assert_eq!(count, 1, "acknowledged record {seq} of `{log}` is gone in round {round}");
        }
        if round % 100 == 0 || round == rounds {
            let report = verify_ledger(&house.reader());
            assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
            assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0);
            times.sort();
            println!(
                "{round} rounds, {kept} records promised and there; time to recover p50 {:?}, max {:?}",
                times[times.len() / 2],
                times[times.len() - 1]
            );
        }
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn every_crash_point_of_the_writer_loses_nothing_acknowledged() {
    for point in [
        "ledger_before_write",
        "ledger_after_write_before_commit",
        "ledger_after_commit_before_reply",
        "publish_before_rename",
        "publish_before_sign",
    ] {
        let house = House::new();
        for passes in [0, 1, 2, 5, 9, 23] {
            let child = spawn_child(&house, &format!("{point}={passes}*off->return"));
            let promised = promises(child, usize::MAX);
            nothing_promised_is_lost(&house, &promised);
        }
    }
}
