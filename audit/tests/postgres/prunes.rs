//! Retention in PostgreSQL: the same as in a file, beside replicas that go on.

use super::*;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use portcullis_audit::note::VerifierKey;
use portcullis_audit::policy::Policy;
use portcullis_audit::prune::{examine, prune};
use portcullis_audit::verify::{Trust, verify};
use portcullis_audit::{export, load_key};

const LOG: &str = "test/t/t1";

async fn fill(ledger: &Ledger, pairs: usize) {
    for _ in 0..pairs {
        let receipt = ledger.intent(intent("t1")).await.unwrap();
        ledger.outcome(outcome("t1", receipt.op(), receipt.reference())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_pruned_while_another_replica_appends_and_all_that_stays_verifies() {
    let house = House::new();
    let (one, _) = house.open("a");
    let (other, _) = house.open("b");
    fill(&one, 300).await;
    // A head over them is signed by the one of the two that publishes.
    let key = load_key(&house.path("log.key")).unwrap();
    let policy = Policy::of_logs([VerifierKey::parse(&key.vkey("test/deployment")).unwrap()]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let folder = house.path("export");
    export(&house.reader(), &key, "test", &folder).unwrap();

    let late = Timestamp::now().to_zoned(TimeZone::UTC).checked_add(8.years()).unwrap().timestamp();
    let prefix = examine(&house.reader(), (LOG, "t1"), &folder, policy.clone(), late).unwrap();
    assert_eq!((prefix.until(), prefix.records()), (512, 512));
    let going_on = tokio::spawn(async move {
        fill(&other, 50).await;
        other
    });
    prune(&one, prefix, ["ana", "ben"]).await.unwrap();
    let other = going_on.await.unwrap();
    house.whole();
    assert_eq!(house.reader().pruned(LOG).unwrap(), 512);
    let rows = house.reader().rows(&everything()).unwrap();
    assert!(rows.iter().all(|row| row.record.log != LOG || row.record.seq >= 512));

    let mut raw = house.raw().await;
    let bytes = "SELECT sum(length(record)) FROM records WHERE seq < 512
                 AND log = (SELECT id FROM logs WHERE origin = 'test/t/t1')";
    let bytes: i64 = sqlx::query_scalar(bytes).fetch_one(&mut raw).await.unwrap();
    assert_eq!(bytes, 0);
    for sql in [
        "UPDATE records SET record = '' WHERE seq = 520",
        "UPDATE records SET record = 'x' WHERE seq = 3",
        "UPDATE records SET record = '', leaf = 'x' WHERE seq = 3",
        "DELETE FROM records WHERE seq = 3",
        "UPDATE prunes SET until = 520",
        "DELETE FROM prunes",
        "TRUNCATE prunes",
        "INSERT INTO prunes (log, until, seq) SELECT log, 520, 560 FROM prunes",
    ] {
        let refused = sqlx::query(sql).execute(&mut raw).await;
        assert!(refused.is_err(), "{sql}");
    }
    drop(raw);

    // Both end and start again over what is gone.
    one.close().await.unwrap();
    other.close().await.unwrap();
    let (again, _) = house.open("a");
    fill(&again, 1).await;
    again.close().await.unwrap();
    house.whole();
    let after = house.path("after");
    export(&house.reader(), &key, "test", &after).unwrap();
    let report = verify(&after, &Trust { policy: Some(policy), ..Trust::default() });
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    assert!(report.to_text().contains("512 pruned"), "{}", report.to_text());
}
