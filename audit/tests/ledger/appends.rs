use std::collections::BTreeMap;

use super::*;
use portcullis_audit::verify::{Verdict, verify_ledger};

#[tokio::test]
async fn an_intent_is_on_disk_before_its_receipt_exists() {
    let house = House::new();
    let (ledger, _) = house.open();
    let wanted = intent("default");
    let op = wanted.op;
    let receipt = ledger.intent(wanted).await.unwrap();
    let rows = house.reader().rows(&Query { op: Some(op), ..Query::default() }).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].record.seq, rows[0].record.op), (receipt.seq(), op));
    assert_eq!((receipt.log(), receipt.call_digest()), ("test/t/default", &[7; 32]));
}

#[tokio::test]
async fn a_queued_outcome_rides_on_and_survives_the_close() {
    let house = House::new();
    let (ledger, _) = house.open();
    let receipt = ledger.intent(intent("default")).await.unwrap();
    ledger.outcome_queued(outcome("default", receipt.op(), receipt.reference())).unwrap();
    ledger.close().await.unwrap();
    let kinds: Vec<Kind> =
        house.reader().rows(&everything()).unwrap().iter().map(|row| row.record.kind).collect();
    assert_eq!(kinds, [Kind::Intent, Kind::Outcome, Kind::Anchor]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_tasks_over_several_tenants_leave_contiguous_logs() {
    let house = House::new();
    let (ledger, _) = house.open();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let ledger = ledger.clone();
            tokio::spawn(async move { fill(&ledger, &format!("imp_t_{}", task % 5), 8).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    ledger.close().await.unwrap();

    let report = verify_ledger(&house.reader());
    assert_eq!(report.verdict, Verdict::Whole);
    let tenants: Vec<_> = report.logs.iter().filter(|log| log.origin.contains("/t/")).collect();
    assert_eq!(tenants.iter().map(|log| log.records).sum::<u64>(), 64 * 8 * 2);
    assert_eq!((tenants.len(), report.logs.len()), (5, 6));
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for row in house.reader().rows(&everything()).unwrap() {
        let expected = next.entry(row.record.log.clone()).or_default();
        assert_eq!(row.record.seq, *expected);
        *expected += 1;
    }
}

#[tokio::test]
async fn a_record_has_commitments_and_neither_payload_nor_key() {
    let house = House::new();
    let (ledger, _) = house.open();
    let secret = Commitment::of("in", b"canary-4711").unwrap();
    let key = *secret.key();
    let mut wanted = intent("default");
    wanted.fields.input = Some(secret);
    let _ = ledger.intent(wanted).await.unwrap();
    let row = house.reader().rows(&everything()).unwrap().remove(0);
    let text = String::from_utf8(row.bytes.clone()).unwrap();
    assert!(!text.contains("canary") && !text.contains(&hex::encode(key)));
    assert!(row.text(&["in", "c"]).len() == 64 && row.text(&["in", "n"]) == "11");
    assert_eq!(row.text(&["in", "blob"]), row.record.op.to_string());
    let body = house.reader().body(&row.record.log, row.record.seq).unwrap();
    assert_eq!(body.as_deref(), Some(&b"sealed"[..]));
}

#[tokio::test]
async fn policy_sets_are_kept_by_digest_and_storing_one_twice_changes_nothing() {
    let house = House::new();
    let (ledger, _) = house.open();
    ledger.store_policy_set([9; 32], b"permit".to_vec()).await.unwrap();
    ledger.store_policy_set([9; 32], b"other".to_vec()).await.unwrap();
    assert_eq!(house.reader().policy_set(&[9; 32]).unwrap().as_deref(), Some(&b"permit"[..]));
    assert_eq!(house.reader().policy_set(&[8; 32]).unwrap(), None);
}

#[tokio::test]
async fn rows_are_found_by_tenant_place_and_operation() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 3).await;
    fill(&ledger, "imp_t_x", 1).await;
    fill(&ledger, "impatox", 1).await; // `_` must not be a wildcard
    ledger.append(Entry { kind: Kind::Admin, ..refusal("deployment") }).await.unwrap();
    let reader = house.reader();
    let count = |query: Query| reader.rows(&query).unwrap().len();
    let of = |log: &str| Query { log: Some(log.into()), ..Query::default() };
    assert_eq!(count(of("default")), 6);
    assert_eq!(count(of("test/t/imp_t_x")), 2);
    assert_eq!(count(of("deployment")), 1);
    assert_eq!(count(Query { from: Some(2), to: Some(3), ..of("default") }), 2);
    assert_eq!(count(Query { limit: Some(1), ..of("default") }), 1);
    let line = reader.rows(&of("default")).unwrap()[0].line();
    assert!(line.contains("intent") && line.contains("notes/delete_note"), "{line}");
}

#[tokio::test]
async fn the_wal_is_kept_short_under_load() {
    let house = House::new();
    let (ledger, _) = house.open();
    for _ in 0..40 {
        for _ in 0..60 {
            let receipt = ledger.intent(intent("default")).await.unwrap();
            ledger.outcome_queued(outcome("default", receipt.op(), receipt.reference())).unwrap();
        }
    }
    assert_eq!(ledger.status().sealed, None);
    ledger.close().await.unwrap();
    let wal = std::fs::metadata(house.path("ledger.db-wal")).map_or(0, |meta| meta.len());
    assert_eq!(wal, 0);
}
