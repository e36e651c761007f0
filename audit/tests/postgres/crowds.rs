//! Attack 14: 16 threads x 8 processes x 2 replicas on one log.
//!
//! Read as: two machines that each run a replica set of the gateway. Every process is a replica of its own to
//! the ledger (it has a name, an epoch and a lease), so that 2 x 8 processes with 16 threads each write
//! to the one log of one tenant, while somebody verifies it over and over. An append is one call that
//! waits for its receipt.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use super::*;

const MACHINES: usize = 2;
const PROCESSES: usize = 8;
const THREADS: usize = 16;

const FOLDER: &str = "PORTCULLIS_TEST_CROWD_FOLDER";
const URL: &str = "PORTCULLIS_TEST_CROWD_URL";
const REPLICA: &str = "PORTCULLIS_TEST_CROWD_REPLICA";
const PAIRS: &str = "PORTCULLIS_TEST_CROWD_PAIRS";

fn said(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// One process of the crowd with its files in `folder`.
fn options(folder: &std::path::Path, url: &str, replica: &str) -> LedgerOptions {
    LedgerOptions {
        postgres: Some(Postgres::new(url).with_lease(Duration::from_secs(120))),
        replica: replica.to_owned(),
        // Longer than any machine needs: nobody is refused for being slow.
        deadline: Duration::from_secs(120),
        ..LedgerOptions::new(folder.join(replica), "test", folder.join("log.key"))
    }
}

/// Not a test of its own: what each process of the tests below runs. It prints every promise.
#[test]
#[ignore = "run by the tests of crowds as their child"]
fn child_of_a_crowd() {
    if std::env::var_os(FOLDER).is_none() {
        return;
    }
    let (folder, pairs) = (PathBuf::from(said(FOLDER)), said(PAIRS).parse().unwrap());
    let (ledger, _) = Ledger::open(options(&folder, &said(URL), &said(REPLICA))).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let ledger = ledger.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(append(&ledger, pairs))
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(ledger.close()).unwrap();
}

async fn append(ledger: &Ledger, pairs: usize) {
    for _ in 0..pairs {
        let receipt = ledger.intent(intent("default")).await.unwrap();
        println!("ack {}", receipt.seq());
        let done = outcome("default", receipt.op(), receipt.reference());
        println!("ack {}", ledger.outcome(done).await.unwrap().seq);
    }
}

fn child(house: &House, replica: &str, pairs: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crowds::child_of_a_crowd", "--ignored", "--nocapture"])
        .env(FOLDER, house.folder.path())
        .env(URL, house.server.url())
        .env(REPLICA, replica)
        .env(PAIRS, pairs.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Every thread of every process writes so many intents with their outcomes.
fn a_crowd_appends(pairs: usize) {
    let house = House::new();
    // So that the key and the tables are there: one makes them, as one operator does.
    let (first, _) =
        Ledger::open(options(house.folder.path(), &house.server.url(), "first")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(&first, "default", 1));
    runtime.block_on(first.close()).unwrap();

    let names = (0..MACHINES).flat_map(|at| (0..PROCESSES).map(move |p| format!("m{at}-p{p}")));
    let children: Vec<Child> = names.map(|name| child(&house, &name, pairs)).collect();
    let readers: Vec<_> =
        children.into_iter().map(|it| std::thread::spawn(|| promised(it))).collect();
    // No false break: whatever they are at, what is there is whole.
    let mut looks = 0;
    while readers.iter().any(|reader| !reader.is_finished()) {
        house.whole();
        looks += 1;
    }
    let mut all = BTreeSet::from([0, 1]);
    for reader in readers {
        for seq in reader.join().unwrap() {
            assert!(all.insert(seq), "place {seq} was promised twice");
        }
    }
    let wanted = 2 + (MACHINES * PROCESSES * THREADS * pairs * 2) as u64;
    assert!(all.iter().copied().eq(0..wanted), "a place is missing, or there are more");
    let report = house.whole();
    let log = report.logs.iter().find(|log| log.origin == "test/t/default").unwrap();
    assert_eq!((log.records, log.open, log.recovered), (wanted, 0, 0), "{}", report.to_text());
    println!("{wanted} records by {MACHINES} x {PROCESSES} x {THREADS}, looked at {looks} times");
}

fn promised(mut child: Child) -> Vec<u64> {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    let acks = text.lines().filter_map(|line| line.split_once("ack ")?.1.parse().ok());
    acks.collect()
}

#[test]
fn a_crowd_of_processes_leaves_one_contiguous_log_without_a_fork() {
    a_crowd_appends(2);
}

#[test]
#[ignore = "minutes; 2 x 8 processes x 16 threads x 400 appends"]
fn a_crowd_of_processes_leaves_one_contiguous_log_of_100_000_records() {
    a_crowd_appends(200);
}
