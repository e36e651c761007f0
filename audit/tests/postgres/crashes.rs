//! kill -9 of a child that appends, and what the next start finds.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::time::Instant;

use super::*;

const FOLDER: &str = "PORTCULLIS_TEST_PG_FOLDER";
const URL: &str = "PORTCULLIS_TEST_PG_URL";
const REPLICA: &str = "PORTCULLIS_TEST_PG_REPLICA";
const LEASE: &str = "PORTCULLIS_TEST_PG_LEASE_MS";

/// Not a test of its own: what the child of the tests runs until it is killed or refused. It prints
/// the place of every record that it was promised.
#[test]
#[ignore = "run by the crash tests as their child"]
fn child_appends_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (folder, replica) = (PathBuf::from(folder), std::env::var(REPLICA).unwrap());
    let lease = Duration::from_millis(std::env::var(LEASE).unwrap().parse().unwrap());
    let options = LedgerOptions {
        postgres: Some(Postgres::new(&std::env::var(URL).unwrap()).with_lease(lease)),
        replica: replica.clone(),
        ..LedgerOptions::new(folder.join(&replica), "test", folder.join("log.key"))
    };
    let (ledger, _) = Ledger::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..4 {
            tasks.spawn(append_for_ever(ledger.clone(), format!("imp_t_{}", task % 2)));
        }
        let _ = tasks.join_next().await;
        println!("sealed {:?}", ledger.status().sealed);
    });
    std::process::exit(1);
}

async fn append_for_ever(ledger: Ledger, tenant: String) {
    loop {
        let Ok(receipt) = ledger.intent(intent(&tenant)).await else { break };
        println!("ack {} {}", receipt.log(), receipt.seq());
        let done = outcome(&tenant, receipt.op(), receipt.reference());
        let Ok(appended) = ledger.outcome(done).await else { break };
        println!("ack {} {}", appended.log, appended.seq);
    }
    // The reason may come a moment after the refusal.
    for _ in 0..500 {
        if ledger.status().sealed.is_some_and(|why| why.contains("lease")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) struct Child {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    promised: Vec<(String, u64)>,
}

impl Child {
    /// Reads so many promises.
    pub(crate) fn read(&mut self, count: usize) {
        let until = self.promised.len() + count;
        while self.promised.len() < until {
            let Some(line) = self.lines.next() else { break };
            self.promised.extend(parse(&line.unwrap()));
        }
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.process)
    }

    /// Waits for its own end and gives what it said last.
    pub(crate) fn end(mut self) -> String {
        let rest: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        self.process.wait().unwrap();
        rest.into_iter().filter(|line| line.contains("sealed")).collect()
    }

    fn kill(mut self) -> Vec<(String, u64)> {
        self.process.kill().unwrap();
        let rest = self.lines.by_ref().map_while(Result::ok);
        self.promised.extend(rest.filter_map(|line| parse(&line)));
        self.process.wait().unwrap();
        self.promised
    }
}

fn parse(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_once("ack ")?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

pub(crate) fn spawn_child(house: &House, replica: &str, lease: Duration, points: &str) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crashes::child_appends_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, house.folder.path())
        .env(URL, house.server.url())
        .env(REPLICA, replica)
        .env(LEASE, lease.as_millis().to_string())
        .env("FAILPOINTS", points)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    Child { process, lines, promised: Vec::new() }
}

/// One round: the child is killed, the next start finds everything that it was promised.
fn round(house: &House, mut child: Child, count: usize) -> Duration {
    child.read(count);
    let promised = child.kill();
    let begun = Instant::now();
    let (ledger, opened) = house.open("a");
    let recovered = begun.elapsed();
    assert!(opened.orphans_closed <= 4 + 4, "{opened:?}");
    tokio::runtime::Runtime::new().unwrap().block_on(ledger.close()).unwrap();
    let reader = house.reader();
    for (log, seq) in &promised {
        let place =
            Query { log: Some(log.clone()), from: Some(*seq), to: Some(*seq), ..everything() };
        assert_eq!(reader.rows(&place).unwrap().len(), 1, "record {seq} of `{log}` is gone");
    }
    recovered
}

fn rounds(count: usize) {
    let house = House::new();
    let mut times = Vec::new();
    for at in 0..count {
        let child = spawn_child(&house, "a", Duration::from_secs(10), "");
        times.push(round(&house, child, 3 + at * 17 % 200));
        if at % 50 == 49 {
            println!("{} rounds", at + 1);
        }
    }
    let report = house.whole();
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "an orphan stayed open");
    times.sort_unstable();
    println!(
        "{count} kills, {} records, recovered in {:?} (median), {:?} (longest)",
        report.records(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

#[test]
fn kill_dash_nine_loses_nothing_acknowledged_and_leaves_no_orphan_open() {
    rounds(5);
}

#[test]
#[ignore = "an hour or so; 1,000 kills"]
fn a_thousand_kills_lose_nothing_acknowledged() {
    rounds(1_000);
}

#[cfg(feature = "failpoints")]
#[test]
fn every_crash_point_of_the_writer_loses_nothing_acknowledged() {
    let house = House::new();
    for point in [
        "ledger_before_write",
        "ledger_after_write_before_commit",
        "ledger_after_commit_before_reply",
    ] {
        for passes in [0, 3, 9] {
            let points = format!("{point}={passes}*off->return");
            let child = spawn_child(&house, "a", Duration::from_secs(10), &points);
            round(&house, child, usize::MAX);
        }
    }
    let report = house.whole();
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "an orphan stayed open");
}
