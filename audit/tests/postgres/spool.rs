//! Outcomes that are late because PostgreSQL is away or somebody holds a head.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child as Process, ChildStdout, Command, Stdio};

use super::*;

const FOLDER: &str = "PORTCULLIS_TEST_PG_SPOOL_FOLDER";
const URL: &str = "PORTCULLIS_TEST_PG_SPOOL_URL";

/// Not a test of its own: has an intent, and its outcome when it is told to, and lives until it is killed.
#[test]
#[ignore = "run by the tests below as their child"]
fn child_spools_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions {
        postgres: Some(Postgres::new(&std::env::var(URL).unwrap()).with_lease(HASTY)),
        replica: "a".to_owned(),
        deadline: Duration::from_secs(1),
        ..LedgerOptions::new(folder.join("a"), "test", folder.join("log.key"))
    };
    let (ledger, _) = Ledger::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let receipt = loop {
            if let Ok(receipt) = ledger.intent(intent("default")).await {
                break receipt;
            }
        };
        println!("admitted {}", receipt.seq());
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let done = outcome("default", receipt.op(), receipt.reference());
        assert!(ledger.outcome(done).await.is_err(), "it is not late");
        settled(&ledger, |status| status.spooled == 1).await;
        println!("spooled");
        std::thread::park();
    });
}

struct Child {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    fn spawn(house: &House) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::child_spools_until_killed", "--ignored", "--nocapture"])
            .env(FOLDER, house.folder.path())
            .env(URL, house.server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The rest of the line that begins so.
    fn says(&mut self, word: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.split_once(word)?.1.to_owned()));
        said.unwrap_or_else(|| panic!("the child never said `{word}`"))
    }

    fn spool(mut self) {
        self.spool_and_live();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn spool_and_live(&mut self) {
        writeln!(self.process.stdin.take().unwrap()).unwrap();
        self.says("spooled");
    }
}

fn files(house: &House) -> Vec<String> {
    let all = std::fs::read_dir(house.folder.path()).unwrap();
    let names = all.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("a.spool-")).collect()
}

fn closers(house: &House, seq: u64) -> Vec<Kind> {
    let rows = house.reader().rows(&everything()).unwrap().into_iter().map(|row| row.record);
    let closers = rows.filter(|it| it.log == "test/t/default" && it.reference == Some(seq));
    closers.map(|it| it.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_came_while_the_server_was_away_survives_its_process() {
    let house = House::new();
    let mut child = Child::spawn(&house);
    let seq: u64 = child.says("admitted ").parse().unwrap();
    house.server.down("fast");
    child.spool();
    assert_eq!(files(&house).len(), 1);
    house.server.up(&[]);
    let (ledger, opened) = house.open("a");
    assert_eq!((opened.outcomes_recovered, opened.orphans_closed), (1, 0));
    assert_eq!((ledger.status().sealed, ledger.status().kept_aside), (None, 0));
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    assert_eq!(closers(&house, seq), [Kind::Outcome]);
    assert_eq!(files(&house), [] as [String; 0]);
    house.whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_whose_intent_another_replica_closed_is_kept_aside() {
    let house = House::new();
    let mut child = Child::spawn(&house);
    let seq: u64 = child.says("admitted ").parse().unwrap();
    let mut conn = house.raw().await;
    sqlx::raw_sql("BEGIN; SELECT * FROM heads FOR UPDATE").execute(&mut conn).await.unwrap();
    child.spool();
    sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.unwrap();
    let (other, _) = house.open_hasty("b");
    for _ in 0..3_000 {
        if !closers(&house, seq).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (ledger, opened) = house.open("a");
    assert_eq!((opened.outcomes_recovered, opened.orphans_closed), (0, 0));
    assert_eq!((ledger.status().sealed, ledger.status().kept_aside), (None, 1));
    ledger.close().await.unwrap();
    other.close().await.unwrap();
    assert_eq!(closers(&house, seq), [Kind::Recover], "what is said once stays said");
    let files = files(&house);
    assert!(files.len() == 1 && files[0].ends_with(".aside"), "{files:?}");
    house.whole();
}

/// Another replica that shares the folder of replica `a`, as replicas do that share their data folder.
fn beside_a(house: &House, replica: &str) -> Ledger {
    let mut options = LedgerOptions { replica: replica.to_owned(), ..house.options("a") };
    options.postgres = Some(Postgres::new(&house.server.url()).with_lease(HASTY));
    Ledger::open(options).unwrap().0
}

async fn closed(house: &House, seq: u64) -> Vec<Kind> {
    for _ in 0..3_000 {
        if !closers(house, seq).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    closers(house, seq)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_appends_what_the_dead_one_spooled_in_their_folder() {
    let house = House::new();
    let mut child = Child::spawn(&house);
    let seq: u64 = child.says("admitted ").parse().unwrap();
    // It runs already when the other one begins to spool.
    let other = beside_a(&house, "b");
    let mut conn = house.raw().await;
    sqlx::raw_sql("BEGIN; SELECT * FROM heads FOR UPDATE").execute(&mut conn).await.unwrap();
    child.spool();
    sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.unwrap();
    assert_eq!(closed(&house, seq).await, [Kind::Outcome]);
    assert_eq!(other.status().kept_aside, 0);
    other.close().await.unwrap();
    let (ledger, opened) = house.open("a");
    assert_eq!((opened.outcomes_recovered, opened.orphans_closed), (0, 0));
    ledger.close().await.unwrap();
    assert_eq!(files(&house), [] as [String; 0]);
    house.whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_reads_what_its_predecessor_holds_that_still_lives() {
    let house = House::new();
    let mut child = Child::spawn(&house);
    let seq: u64 = child.says("admitted ").parse().unwrap();
    house.server.down("fast");
    child.spool_and_live();
    // It must not write its outcome itself when the server is back.
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child.process),
        rustix::process::Signal::STOP,
    )
    .unwrap();
    house.server.up(&[]);
    let (ledger, opened) = house.open("a");
    assert_eq!((opened.outcomes_recovered, opened.orphans_closed), (1, 0));
    child.process.kill().unwrap();
    child.process.wait().unwrap();
    ledger.close().await.unwrap();
    assert_eq!(closers(&house, seq), [Kind::Outcome]);
    house.whole();
}
