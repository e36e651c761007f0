use std::time::Instant;

use super::*;
use crate::crashes::{Child, spawn_child};
use portcullis_audit::Unavailable;

#[tokio::test]
async fn the_newest_process_of_a_name_refuses_the_older_and_closes_its_intents() {
    let house = House::new();
    let (old, _) = house.open("a");
    let receipt = old.intent(intent("default")).await.unwrap();
    let (new, opened) = house.open("a");
    assert_eq!(opened.orphans_closed, 1);
    let late = old.outcome(outcome("default", receipt.op(), receipt.reference())).await;
    assert!(
        matches!(&late, Err(Unavailable::Sealed(why)) if why.contains("taken over")),
        "{late:?}"
    );
    assert!(old.intent(intent("default")).await.is_err());
    fill(&new, "default", 1).await;
    let rows = house.reader().rows(&Query { op: Some(receipt.op()), ..Query::default() }).unwrap();
    let kinds: Vec<Kind> = rows.iter().map(|row| row.record.kind).collect();
    assert_eq!(kinds, [Kind::Intent, Kind::Recover]);
    assert_eq!(rows[1].text(&["res", "status"]), "unknown");
    house.whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_slept_past_its_lease_is_refused() {
    let house = House::new();
    let mut child = spawn_child(&house, "asleep", HASTY, "");
    let (awake, _) = house.open_hasty("awake");
    child.read(40);
    child.signal(rustix::process::Signal::STOP);
    // A batch that it had begun is ended by the server, so nobody hangs behind it.
    let begun = Instant::now();
    let mut served = 0;
    while begun.elapsed() < HASTY * 4 || served <= 10 {
        served += usize::from(awake.append(refusal("imp_t_0")).await.is_ok());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < HASTY * 20, "{served} in {:?}", begun.elapsed());
    }
    child.signal(rustix::process::Signal::CONT);
    let said = child.end();
    assert!(said.contains("lease"), "{said}");
    awake.close().await.unwrap();
    let report = house.whole();
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "{}", report.to_text());
    let recovers: Vec<_> = house.reader().rows(&everything()).unwrap();
    let mut closed: Vec<_> = recovers
        .iter()
        .filter(|row| row.record.kind == Kind::Recover)
        .map(|row| row.record.op)
        .collect();
    let all = closed.len();
    closed.sort_unstable();
    closed.dedup();
    assert_eq!(closed.len(), all, "an intent was closed twice");
}

impl Child {
    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }
}

#[tokio::test]
async fn only_one_replica_publishes_and_shows_what_all_wrote() {
    let house = House::new();
    let (one, _) = house.open_hasty("one");
    let (two, _) = house.open_hasty("two");
    fill(&two, "default", 3).await;
    settled(&one, |status| status.records >= 6 && status.published >= 6).await;
    assert!(house.path("one.published/t/default/checkpoint").exists());
    assert!(!house.path("two.published").exists());
    one.close().await.unwrap();
    fill(&two, "default", 3).await;
    settled(&two, |status| status.published >= 12).await;
    two.close().await.unwrap();
    assert!(house.path("two.published/t/default/checkpoint").exists());
    house.whole();
}
