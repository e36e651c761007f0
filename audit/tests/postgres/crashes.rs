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

/// A moment that nobody chose: 2 to 200 ms after the child's first promise.
fn random_moment() -> Duration {
    let random = Uuid::new_v4().into_bytes();
    Duration::from_millis(2 + (u64::from(random[0]) * 256 + u64::from(random[1])) % 199)
}

/// All that the child promised until it was killed at such a moment.
fn promises_until_a_random_moment(child: Child) -> Vec<(String, u64)> {
    let Child { mut process, lines, .. } = child;
    let (first, began) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut promised = Vec::new();
        for line in lines.map_while(Result::ok) {
            // Not what the test runner says, and not a last line that the kill cut off.
            let Some(promise) = parse(&line) else { continue };
            promised.push(promise);
            let _ = first.send(());
        }
        promised
    });
    began.recv().unwrap();
    std::thread::sleep(random_moment());
    process.kill().unwrap();
    process.wait().unwrap();
    reader.join().unwrap()
}

/// How many of these are there.
async fn count(house: &House, promised: &[(String, u64)]) -> i64 {
    let logs: Vec<String> = promised.iter().map(|(log, _)| log.clone()).collect();
    let seqs: Vec<i64> = promised.iter().map(|(_, seq)| i64::try_from(*seq).unwrap()).collect();
    let there = "SELECT count(*) FROM unnest($1::text[], $2::bigint[]) AS promised (origin, seq)
                 JOIN logs USING (origin)
                 JOIN records r ON r.log = logs.id AND r.seq = promised.seq";
    let there = sqlx::query_scalar(there).bind(logs).bind(seqs);
    there.fetch_one(&mut house.raw().await).await.unwrap()
}

/// `PORTCULLIS_LEDGER_ROUNDS` says how often: 1,000 times in `tests/soak`, a few times here.
#[tokio::test(flavor = "multi_thread")]
async fn kill_dash_nine_at_random_moments_loses_nothing_acknowledged() {
    let rounds = std::env::var("PORTCULLIS_LEDGER_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds: usize = rounds.unwrap_or(5);
    let (house, mut times, mut kept) = (House::new(), Vec::new(), 0);
    for round in 1..=rounds {
        let child = spawn_child(&house, "a", Duration::from_secs(10), "");
        let promised = promises_until_a_random_moment(child);
        kept += promised.len();
        let begun = Instant::now();
        let (ledger, opened) = house.open("a");
        times.push(begun.elapsed());
        assert!(opened.orphans_closed <= 4 + 4, "{opened:?}");
        ledger.close().await.unwrap();
        let there = count(&house, &promised).await;
        assert_eq!(there, i64::try_from(promised.len()).unwrap(), "round {round}: {promised:?}");
        if round % 100 == 0 || round == rounds {
            let report = house.whole();
            assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "one stayed open");
            times.sort_unstable();
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
