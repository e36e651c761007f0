use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::*;
use portcullis_audit::note::{Checkpoint, VerifierKey};
use portcullis_audit::verify::{Trust, verify};
use portcullis_audit::{InvalidEntry, OpenState, Unavailable};

#[tokio::test]
async fn an_intent_is_in_the_database_before_its_receipt_exists() {
    let house = House::new();
    let (ledger, opened) = house.open("a");
    assert_eq!((opened.state, opened.records), (OpenState::Absent, 0));
    let wanted = intent("default");
    let op = wanted.op;
    let receipt = ledger.intent(wanted).await.unwrap();
    let rows = house.reader().rows(&Query { op: Some(op), ..Query::default() }).unwrap();
    assert_eq!((rows.len(), rows[0].record.seq), (1, receipt.seq()));
    let body = house.reader().body("test/t/default", receipt.seq()).unwrap();
    assert_eq!(body.as_deref(), Some(&b"sealed"[..]));
    ledger.store_policy_set([9; 32], b"permit".to_vec()).await.unwrap();
    ledger.store_policy_set([9; 32], b"other".to_vec()).await.unwrap();
    assert_eq!(house.reader().policy_set(&[9; 32]).unwrap().as_deref(), Some(&b"permit"[..]));
}

#[tokio::test]
async fn a_closed_ledger_is_found_whole_and_its_export_verifies() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    fill(&ledger, "default", 20).await;
    fill(&ledger, "imp_t_x", 2).await;
    ledger.append(Entry { kind: Kind::Admin, ..refusal("deployment") }).await.unwrap();
    ledger.close().await.unwrap();
    house.whole();

    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    portcullis_audit::export(&house.reader(), &key, "test", &house.path("export")).unwrap();
    let report = verify(&house.path("export"), &Trust::default());
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    let shown = house.path("a.published/t/default/checkpoint");
    let vkey = VerifierKey::parse(&key.vkey("test/t/default")).unwrap();
    let head = Checkpoint::open(&std::fs::read_to_string(shown).unwrap(), &vkey).unwrap();
    assert_eq!(head.size, 40);

    let count = |log: &str| {
        house.reader().rows(&Query { log: Some(log.into()), ..everything() }).unwrap().len()
    };
    assert_eq!((count("default"), count("test/t/imp_t_x")), (40, 4));
    let (_ledger, opened) = house.open("a");
    assert_eq!((opened.state, opened.orphans_closed), (OpenState::Whole, 0));
    assert_eq!(opened.records, report.records());
}

#[tokio::test]
async fn an_outcome_closes_only_an_open_intent_of_its_own_operation() {
    let house = House::new();
    let (ledger, _) = house.open("a");
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let refused = Err(Unavailable::Invalid(InvalidEntry::NoSuchIntent));
    let foreign = outcome("default", Uuid::now_v7(), receipt.reference());
    assert_eq!(ledger.outcome(foreign).await, refused);
    let right = || outcome("default", receipt.op(), receipt.reference());
    ledger.outcome(right()).await.unwrap();
    assert_eq!(ledger.outcome(right()).await, refused);
    assert_eq!(ledger.status().sealed, None);
}

/// Longer than any machine needs: who waits in vain has not been refused.
const PATIENT: Duration = Duration::from_secs(60);

/// Two replicas, 32 callers each, one deed.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_done_once_is_begun_once_over_all_replicas() {
    let house = House::new();
    let open = |replica: &str| {
        let options = LedgerOptions { deadline: PATIENT, ..house.options(replica) };
        Ledger::open(options).unwrap().0
    };
    let (one, two) = (open("a"), open("b"));
    for _ in 0..8 {
        let op = Uuid::now_v7();
        let of = || Intent { op, ..intent("default") };
        let crowd = (0..32).flat_map(|_| [one.intent_once(of()), two.intent_once(of())]);
        let told: Vec<_> = futures_util::future::join_all(crowd).await;
        assert_eq!(told.iter().filter(|it| it.is_ok()).count(), 1, "{told:?}");
        let refused = Unavailable::Invalid(InvalidEntry::AlreadyBegun);
        assert!(told.iter().all(|it| it.as_ref().err().is_none_or(|why| *why == refused)));
    }
    one.close().await.unwrap();
    two.close().await.unwrap();
    house.whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_leave_one_contiguous_history() {
    replicas_append(40).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; 3 replicas x 8 clients x 10,000 appends"]
async fn three_replicas_leave_one_contiguous_history_of_240_000_records() {
    replicas_append(5_000).await;
}

/// 3 replicas, 8 clients each, all on the same two logs; each client writes `pairs` intents with
/// their outcomes.
async fn replicas_append(pairs: usize) {
    let house = House::new();
    let replicas: Vec<Ledger> = ["a", "b", "c"].map(|name| house.open(name).0).into();
    let begun = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for replica in &replicas {
        for client in 0..8 {
            let (ledger, tenant) = (replica.clone(), format!("imp_t_{}", client % 2));
            clients.spawn(async move {
                let mut promised = BTreeSet::new();
                for done in 0..pairs {
                    let receipt = ledger.intent(intent(&tenant)).await.unwrap();
                    let out = outcome(&tenant, receipt.op(), receipt.reference());
                    let out = ledger.outcome(out).await.unwrap();
                    promised.insert((receipt.log().to_owned(), receipt.seq()));
                    promised.insert((out.log, out.seq));
                    if done % 1_000 == 999 {
                        println!("{} of {pairs} pairs, {:?}", done + 1, begun.elapsed());
                    }
                }
                promised
            });
        }
    }
    let mut promised = BTreeSet::new();
    while let Some(client) = clients.join_next().await {
        for place in client.unwrap() {
            assert!(promised.insert(place), "one place was promised twice");
        }
    }
    assert_eq!(promised.len(), 3 * 8 * pairs * 2);
    println!("{} records in {:?}", promised.len(), begun.elapsed());
    for replica in replicas {
        replica.close().await.unwrap();
    }
    let report = house.whole();
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0);
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for row in house.reader().rows(&everything()).unwrap() {
        let expected = next.entry(row.record.log.clone()).or_default();
        assert_eq!(row.record.seq, *expected);
        *expected += 1;
        promised.remove(&(row.record.log, row.record.seq));
    }
    assert!(promised.is_empty(), "{} acknowledged records are gone", promised.len());
}

/// Both count for themselves, and each count is named by the place where it began.
#[tokio::test(flavor = "multi_thread")]
async fn one_session_on_two_replicas_is_counted_by_each_without_a_gap() {
    let house = House::new();
    let replicas: Vec<Ledger> = ["a", "b"].map(|name| house.open(name).0).into();
    let mut clients = tokio::task::JoinSet::new();
    for replica in &replicas {
        for _ in 0..4 {
            let ledger = replica.clone();
            clients.spawn(async move { fill(&ledger, "default", 20).await });
        }
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    for replica in replicas {
        replica.close().await.unwrap();
    }
    let mut numbers: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
    for row in house.reader().rows(&everything()).unwrap() {
        if let Some(counted) = &row.record.counted {
            let epoch = row.record.epoch.unwrap();
            numbers.entry((epoch, counted.at.since)).or_default().push(counted.at.number);
        }
    }
    assert_eq!(numbers.values().map(Vec::len).sum::<usize>(), 2 * 4 * 20);
    assert_eq!(numbers.len(), 2, "{:?}", numbers.keys());
    for numbers in numbers.values() {
        assert_eq!(*numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
    house.whole();
}
