//! The primary dies under load and its standby takes over, behind the same address.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use portcullis_audit::chain::Hash;
use portcullis_audit::{Appended, OpenError, Unavailable};

/// A primary, its standby, and the address of whichever of them is in charge: a folder that leads to
/// the socket of one or of the other.
struct Pair {
    folder: tempfile::TempDir,
    primary: Server,
    standby: Server,
}

impl Pair {
    /// `settings` are those of the primary.
    fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let primary = Server::start();
        let standby = primary.standby();
        standby.up(&[]);
        if !settings.is_empty() {
            primary.down("fast");
            primary.up(settings);
        }
        let pair = Self { folder, primary, standby };
        pair.lead_to(&pair.primary);
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lead_to(&self, server: &Server) {
        // Renamed into place: at no moment does the address lead nowhere.
        symlink(server.path(), self.path("next")).unwrap();
        std::fs::rename(self.path("next"), self.path("server")).unwrap();
    }

    fn url(&self) -> String {
        let path = self.path("server").to_str().unwrap().replace('/', "%2F");
        format!("postgres://postgres@{path}/postgres")
    }

    fn options(&self, replica: &str) -> LedgerOptions {
        LedgerOptions {
            postgres: Some(Postgres::new(&self.url())),
            replica: replica.to_owned(),
            publish_every: Duration::from_millis(200),
            ..LedgerOptions::new(self.path(replica), "test", self.path("log.key"))
        }
    }

    async fn raw(&self, sql: &str) -> Vec<(String,)> {
        let mut conn = sqlx::PgConnection::connect(&self.url()).await.unwrap();
        sqlx::raw_sql("SET search_path = portcullis_ledger").execute(&mut conn).await.unwrap();
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap()
    }

    /// Waits until the standby has received what there is.
    async fn streams(&self, state: &str) {
        for _ in 0..600 {
            let states = self.raw("SELECT sync_state FROM pg_stat_replication").await;
            if states.iter().any(|(found,)| found == state) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no standby is {state}");
    }

    fn fail_over(&self) {
        self.primary.kill();
        self.standby.promote();
        self.lead_to(&self.standby);
    }

    fn whole(&self) {
        let report = verify_ledger(&Reader::of(&self.options("a")).unwrap());
        assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    }
}

/// What callers were promised.
type Promised = Arc<Mutex<Vec<Appended>>>;

/// Appends until told to stop, and notes every promise.
async fn load(ledger: Ledger, tenant: String, stop: Arc<AtomicBool>, promised: Promised) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(receipt) = ledger.intent(intent(&tenant)).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        promised.lock().unwrap().push(receipt.record().clone());
        let done = outcome(&tenant, receipt.op(), receipt.reference());
        if let Ok(appended) = ledger.outcome(done).await {
            promised.lock().unwrap().push(appended);
        }
    }
}

async fn more_than(promised: &Promised, count: usize) {
    let begun = Instant::now();
    while promised.lock().unwrap().len() <= count {
        assert!(begun.elapsed() < Duration::from_secs(60), "no service");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn loses_nothing(settings: &[&str]) {
    let pair = Pair::start(settings);
    pair.streams("sync").await;
    let replicas = ["a", "b"].map(|name| Ledger::open(pair.options(name)).unwrap().0);
    let (stop, promised) = (Arc::new(AtomicBool::new(false)), Promised::default());
    let mut clients = tokio::task::JoinSet::new();
    for (at, ledger) in replicas.iter().cycle().take(8).enumerate() {
        let tenant = format!("imp_t_{}", at % 3);
        clients.spawn(load(ledger.clone(), tenant, Arc::clone(&stop), Arc::clone(&promised)));
    }
    more_than(&promised, 200).await;
    let (before, down) = (promised.lock().unwrap().len(), Instant::now());
    tokio::task::block_in_place(|| pair.fail_over());
    let at_failover = promised.lock().unwrap().len();
    more_than(&promised, at_failover).await;
    println!("{before} records before the primary died, service again {:?} after", down.elapsed());
    more_than(&promised, at_failover + 200).await;
    stop.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    for ledger in replicas {
        ledger.close().await.unwrap();
    }
    pair.whole();
    let rows = Reader::of(&pair.options("a")).unwrap().rows(&everything()).unwrap();
    let there: BTreeMap<(String, u64), Hash> =
        rows.iter().map(|row| ((row.record.log.clone(), row.record.seq), row.leaf)).collect();
    let promised = promised.lock().unwrap();
    for Appended { log, seq, leaf, .. } in promised.iter() {
        let found = there.get(&(log.clone(), *seq));
        assert_eq!(found, Some(leaf), "acknowledged record {seq} of `{log}`");
    }
    println!("{} records promised, all of them there", promised.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_waited_for_takes_over_and_nothing_acknowledged_is_lost() {
    loses_nothing(&["synchronous_standby_names=walreceiver", "synchronous_commit=remote_apply"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_has_flushed_is_enough() {
    loses_nothing(&["synchronous_standby_names=walreceiver", "synchronous_commit=on"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lost_acknowledged_records_is_refused_by_name() {
    let pair = Pair::start(&[]);
    pair.streams("async").await;
    let (running, _) = Ledger::open(pair.options("a")).unwrap();
    fill(&running, "default", 5).await;
    caught_up(&pair).await;
    // Away, it receives nothing of what follows.
    tokio::task::block_in_place(|| pair.standby.down("fast"));
    fill(&running, "default", 5).await;
    // Who signs would notice too, in words of its own.
    settled(&running, |status| status.published == status.records).await;
    tokio::task::block_in_place(|| {
        pair.primary.kill();
        pair.standby.up(&[]);
        pair.standby.promote();
        pair.lead_to(&pair.standby);
    });
    let held = |status: &Status| {
        let sealed = status.sealed.clone().unwrap_or_default();
        sealed.contains("log `test/t/default` is not the one that was acknowledged")
    };
    settled(&running, held).await;
    let refused = running.intent(intent("default")).await;
    assert!(refused.is_err(), "{refused:?}");
    let sealed = running.status().sealed.unwrap();
    assert!(sealed.contains("here are 10 records of the 20"), "{sealed}");
    drop(running);
    // Nor does it start on it: what was promised to this replica is noted beside it.
    let refused = Ledger::open(pair.options("a")).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Torn { why } if why.contains("acknowledged to this replica")),
        "{refused}"
    );
}

/// Waits until the standby has all that the primary has.
async fn caught_up(pair: &Pair) {
    let lag = "SELECT (replay_lsn = pg_current_wal_flush_lsn())::text FROM pg_stat_replication";
    for _ in 0..600 {
        if pair.raw(lag).await.first().is_some_and(|(same,)| same == "true") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the standby does not catch up");
}

/// How long a caller waits for its receipt, and how long a standby is away.
const AWAY: Duration = Duration::from_secs(3);

/// A ledger whose callers wait for no longer than the standby is away.
fn impatient(pair: &Pair) -> Ledger {
    Ledger::open(LedgerOptions { deadline: AWAY, ..pair.options("a") }).unwrap().0
}

/// What was refused while the standby was away: on disk here and there, and closed as unknown. Then
/// there is service again, by itself.
async fn refused_and_closed(pair: &Pair, ledger: Ledger, op: Uuid) {
    settled(&ledger, |status| status.sealed.is_none()).await;
    fill(&ledger, "default", 2).await;
    caught_up(pair).await;
    ledger.close().await.unwrap();
    pair.whole();
    let reader = Reader::of(&pair.options("a")).unwrap();
    let rows = reader.rows(&Query { op: Some(op), ..everything() }).unwrap();
    let kinds: Vec<Kind> = rows.iter().map(|row| row.record.kind).collect();
    assert!(kinds.is_empty() || kinds == [Kind::Intent, Kind::Recover], "{kinds:?}");
    let report = verify_ledger(&reader);
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "{}", report.to_text());
}

/// The commit is on the primary's disk, and that is not enough for a receipt.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_standby_no_intent_is_acknowledged_and_with_it_service_resumes() {
    use rustix::process::Signal;
    let pair = Pair::start(&["synchronous_standby_names=walreceiver", "synchronous_commit=on"]);
    pair.streams("sync").await;
    let ledger = impatient(&pair);
    fill(&ledger, "default", 2).await;
    pair.standby.signal(Signal::STOP);
    let wanted = intent("default");
    let op = wanted.op;
    let answer = ledger.intent(wanted).await.map(drop);
    assert_eq!(answer, Err(Unavailable::Deadline), "nobody but the primary has it");
    pair.standby.signal(Signal::CONT);
    refused_and_closed(&pair, ledger, op).await;
}

/// With `remote_apply` it is not enough either that the standby has it and does not show it yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_has_not_applied_a_record_has_not_acknowledged_it_where_that_is_wanted() {
    let pair = Pair::start(&["synchronous_standby_names=walreceiver"]);
    pair.streams("sync").await;
    let mut standby = sqlx::PgConnection::connect(&pair.standby.url()).await.unwrap();
    let ledger = impatient(&pair);
    fill(&ledger, "default", 2).await;
    sqlx::raw_sql("SELECT pg_wal_replay_pause()").execute(&mut standby).await.unwrap();
    fill(&ledger, "default", 1).await;
    sqlx::raw_sql("SELECT pg_wal_replay_resume()").execute(&mut standby).await.unwrap();
    ledger.close().await.unwrap();

    let mut primary = sqlx::PgConnection::connect(&pair.url()).await.unwrap();
    for sql in ["ALTER SYSTEM SET synchronous_commit = remote_apply", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(sql).execute(&mut primary).await.unwrap();
    }
    while pair.raw("SHOW synchronous_commit").await != [("remote_apply".to_owned(),)] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ledger = impatient(&pair);
    fill(&ledger, "default", 2).await;
    sqlx::raw_sql("SELECT pg_wal_replay_pause()").execute(&mut standby).await.unwrap();
    let asked = intent("default");
    let op = asked.op;
    let answer = ledger.intent(asked).await.map(drop);
    assert_eq!(answer, Err(Unavailable::Deadline), "the standby does not show it");
    sqlx::raw_sql("SELECT pg_wal_replay_resume()").execute(&mut standby).await.unwrap();
    refused_and_closed(&pair, ledger, op).await;
}

/// A connection that is cut while its commit waits for the standby leaves the commit done on the
/// primary alone; to find it there proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_cut_off_its_standby_is_not_acknowledged_when_it_is_found_again() {
    use rustix::process::Signal;
    let pair = Pair::start(&["synchronous_standby_names=walreceiver", "synchronous_commit=on"]);
    pair.streams("sync").await;
    let ledger = impatient(&pair);
    fill(&ledger, "default", 2).await;
    pair.standby.signal(Signal::STOP);
    let asked = intent("default");
    let op = asked.op;
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.intent(asked).await.map(drop) }
    });
    let cut = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
               WHERE application_name = 'portcullis-ledger' AND wait_event = 'SyncRep'";
    let begun = Instant::now();
    while pair.raw(cut).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no commit waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let there = format!("SELECT seq::text FROM records WHERE op = '\\x{}'", op.simple());
    while pair.raw(&there).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the primary does not have it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = waiting.await.unwrap();
    assert_eq!(answer, Err(Unavailable::Deadline), "nobody but the primary has it");
    pair.standby.signal(Signal::CONT);
    refused_and_closed(&pair, ledger, op).await;
}
