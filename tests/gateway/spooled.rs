//! What an earlier run left beside the ledger because it was not in it.

use harness::Deployment;

#[tokio::test]
async fn what_cannot_be_appended_is_named_counted_and_kept() {
    let mut gate = Deployment::builder().start().await;
    // Whether in order or not: it may not listen for signals yet.
    gate.stop();
    let spool = gate.data().join("ledger.sqlite.spool-0-0");
    std::fs::write(&spool, "not an outcome of this ledger").unwrap();
    gate.restart().await;
    let metrics = gate.get("/metrics").await;
    let metrics = String::from_utf8(metrics.bytes).unwrap();
    assert!(metrics.contains("portcullis_ledger_outcomes_kept_aside 1\n"), "{metrics}");
    assert!(metrics.contains("portcullis_ledger_spooled_outcomes 0\n"), "{metrics}");
    assert!(gate.log().contains("a spooled outcome is refused"), "{}", gate.log());
    assert!(!spool.exists());
    assert!(gate.data().join("ledger.sqlite.spool-0-0.aside").exists());
    assert_eq!(gate.get("/readyz").await.status, 200, "it goes on");
}
