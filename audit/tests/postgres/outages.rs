use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::*;
use portcullis_audit::Unavailable;
use rustix::process::Signal;

/// What a caller may wait at most: its deadline, and some for a busy machine.
const PATIENCE: Duration = Duration::from_secs(4);

/// Appends until told to stop; every answer comes in time.
async fn load(ledger: Ledger, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> u64 {
    let mut refused = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = ledger.intent(intent("default")).await;
        assert!(begun.elapsed() < PATIENCE, "a call hung for {:?}", begun.elapsed());
        match answer {
            Ok(receipt) => {
                let out = outcome("default", receipt.op(), receipt.reference());
                let begun = Instant::now();
                let _ = ledger.outcome(out).await;
                assert!(begun.elapsed() < PATIENCE, "an outcome hung for {:?}", begun.elapsed());
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(Unavailable::Deadline | Unavailable::Sealed(_) | Unavailable::Full) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    refused
}

/// The server is away for so long under load, on two replicas.
async fn survives(outage: Duration, away: impl Fn(&House), back: impl Fn(&House)) {
    let house = House::new();
    let replicas = [house.open("a").0, house.open("b").0];
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for replica in &replicas {
        for _ in 0..4 {
            clients.spawn(load(replica.clone(), Arc::clone(&stop), Arc::clone(&done)));
        }
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    away(&house);
    tokio::time::sleep(outage).await;
    let before = done.load(Ordering::Relaxed);
    assert!(replicas.iter().all(|replica| replica.status().sealed.is_some()));
    back(&house);
    let up = Instant::now();
    for replica in &replicas {
        settled(replica, |status| status.sealed.is_none()).await;
    }
    println!("resumed {:?} after the server was up", up.elapsed());
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.store(true, Ordering::Relaxed);
    let mut refused = 0;
    while let Some(client) = clients.join_next().await {
        refused += client.unwrap();
    }
    let after = done.load(Ordering::Relaxed);
    assert!(after > before && refused > 0, "{before} {after} {refused}");
    for replica in replicas {
        replica.close().await.unwrap();
    }
    let report = house.whole();
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "{}", report.to_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stopped_under_load_refuses_in_time_and_service_resumes_by_itself() {
    let back = |house: &House| house.server.up(&[]);
    survives(Duration::from_secs(3), |house| house.server.down("fast"), back).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute; longer than a lease"]
async fn a_server_stopped_for_longer_than_a_lease_resumes_by_itself() {
    let back = |house: &House| house.server.up(&[]);
    survives(Duration::from_secs(12), |house| house.server.down("immediate"), back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_under_load_refuses_in_time_and_service_resumes_by_itself() {
    let stop = |house: &House| house.server.signal(Signal::STOP);
    let go_on = |house: &House| house.server.signal(Signal::CONT);
    survives(Duration::from_secs(7), stop, go_on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_somebody_holds_hangs_nobody() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    fill(&ledger, "default", 1).await;
    let mut conn = house.raw().await;
    sqlx::raw_sql("BEGIN; SELECT * FROM heads FOR UPDATE").execute(&mut conn).await.unwrap();
    let begun = Instant::now();
    assert_eq!(ledger.intent(intent("default")).await.map(|_| ()), Err(Unavailable::Deadline));
    assert!(begun.elapsed() < PATIENCE);
    sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.unwrap();
    settled(&ledger, |status| status.sealed.is_none()).await;
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    let report = house.whole();
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_made_again_and_nothing_is_lost() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = tokio::spawn(load(ledger.clone(), Arc::clone(&stop), Arc::clone(&done)));
    let mut conn = house.raw().await;
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE application_name = 'portcullis-ledger'";
        sqlx::raw_sql(cut).execute(&mut conn).await.unwrap();
    }
    settled(&ledger, |status| status.sealed.is_none()).await;
    let before = done.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    client.await.unwrap();
    assert!(done.load(Ordering::Relaxed) > before);
    ledger.close().await.unwrap();
    let report = house.whole();
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "{}", report.to_text());
}

/// Transactions that meet at one head would fail each other there (40001), and a replica seals after some.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_serializes_by_default_fails_nobody() {
    let house = House::new();
    house.server.down("fast");
    house.server.up(&["default_transaction_isolation=serializable"]);
    let replicas = ["a", "b", "c"].map(|name| house.open(name).0);
    let mut clients = tokio::task::JoinSet::new();
    for ledger in replicas.iter().cycle().take(12) {
        let ledger = ledger.clone();
        clients.spawn(async move { fill(&ledger, "default", 20).await });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    for ledger in replicas {
        assert_eq!(ledger.status().sealed, None);
        ledger.close().await.unwrap();
    }
    let of_default = Query { log: Some("default".into()), ..everything() };
    assert_eq!(house.reader().rows(&of_default).unwrap().len(), 12 * 20 * 2);
    house.whole();
}
