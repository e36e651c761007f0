//! Rotation of the key that signs, with other replicas about.

use super::*;
use portcullis_audit::note::{Checkpoint, SignedNote, VerifierKey};
use portcullis_audit::rotate::{NotRotated, rotate};
use portcullis_audit::verify::{Trust, verify};
use portcullis_audit::{OpenError, Unavailable};

const REPLACED: &str = "restart with the new key file";

/// The key of these that signed the head that a replica shows of a log, and its size.
fn shown<'k>(house: &House, replica: &str, keys: [&'k VerifierKey; 2]) -> (u64, &'k VerifierKey) {
    let path = house.path(&format!("{replica}.published/t/default/checkpoint"));
    let note = std::fs::read_to_string(path).unwrap();
    let size = Checkpoint::parse(SignedNote::parse(&note).unwrap().text()).unwrap().size;
    let signed = |key: &&VerifierKey| {
        let key = VerifierKey::of_public("test/t/default", *key.public()).unwrap();
        Checkpoint::open(&note, &key).is_ok()
    };
    (size, keys.into_iter().find(signed).expect("one of them signed it"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_logs_change_their_key_and_the_replicas_go_on_under_it() {
    let house = House::new();
    let (a, _) = house.open("a");
    let (b, _) = house.open("b");
    fill(&a, "default", 2).await;
    fill(&b, "imp_t_x", 1).await;
    a.close().await.unwrap();
    b.close().await.unwrap();
    let rotated = rotate(house.options("key-rotate"), false).await.unwrap();
    assert_eq!(rotated.logs, Some(3));
    let (a, _) = house.open("a");
    let (b, _) = house.open("b");
    fill(&a, "default", 1).await;
    fill(&b, "default", 1).await;
    fill(&b, "imp_t_new", 1).await;
    a.close().await.unwrap();
    b.close().await.unwrap();
    house.whole();
    let key = portcullis_audit::load_key(&house.path("log.key")).unwrap();
    let folder = house.path("export");
    // Whichever replica published last shows it all.
    let reader = ["a", "b"].map(|replica| Reader::of(&house.options(replica)).unwrap());
    let folders = reader.iter().zip(["a", "b"]).map(|(reader, replica)| {
        let folder = folder.join(replica);
        portcullis_audit::export(reader, &key, "test", &folder).unwrap();
        folder
    });
    let full = folders.max_by_key(|folder| verify(folder, &Trust::default()).records()).unwrap();
    let report = verify(&full, &Trust::in_keys([rotated.new.clone()]));
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_runs_is_named_and_not_fenced_unawares() {
    let house = House::new();
    let (a, _) = house.open("a");
    fill(&a, "default", 1).await;
    let refused = rotate(house.options("key-rotate"), false).await.unwrap_err();
    assert!(matches!(&refused, NotRotated::Others(names) if *names == ["a"]), "{refused}");
    // It has noticed nothing; and once it is gone, the same call goes on with the key that it made.
    fill(&a, "default", 1).await;
    a.close().await.unwrap();
    let next = std::fs::read(house.path("log.key.next")).unwrap();
    rotate(house.options("key-rotate"), false).await.unwrap();
    assert_eq!(std::fs::read(house.path("log.key")).unwrap(), next);
    house.whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_the_old_key_neither_writes_nor_signs_after_a_rotation() {
    let house = House::new();
    let (a, _) = house.open("a");
    let (idle, _) = house.open_hasty("idle");
    fill(&a, "default", 3).await;
    settled(&a, |status| status.published == status.records).await;
    // Under load, so that batches are in flight when the key changes.
    let load: Vec<_> = (0..4)
        .map(|at| {
            let ledger = a.clone();
            tokio::spawn(async move {
                let tenant = if at == 0 { "default".to_owned() } else { format!("imp_t_{at}") };
                let mut last = 0;
                loop {
                    match ledger.append(refusal(&tenant)).await {
                        Ok(appended) if tenant == "default" => last = appended.seq,
                        Ok(_) => {}
                        Err(why) => return (last, why),
                    }
                }
            })
        })
        .collect();
    let rotated = rotate(house.options("key-rotate"), true).await.unwrap();
    let chain = house.reader().keys("test/t/default").unwrap().unwrap();
    let change = chain.changes()[0].seq;
    for load in load {
        let (last, why) = load.await.unwrap();
        assert!(last < change, "record {last} came after the key record {change}");
        assert!(matches!(&why, Unavailable::Sealed(why) if why.contains(REPLACED)), "{why}");
    }
    let (size, key) = shown(&house, "a", [&rotated.old, &rotated.new]);
    assert!(key == &rotated.old && size <= change, "{size} is over record {change}");
    // Who has nothing to write finds out too.
    settled(&idle, |status| status.sealed.as_ref().is_some_and(|why| why.contains(REPLACED))).await;

    // Started again, with the new key file, it goes on; with a copy of the old one it does not.
    std::fs::copy(&rotated.retired, house.path("old.key")).unwrap();
    let stale = LedgerOptions { signing_key: house.path("old.key"), ..house.options("elsewhere") };
    let refused = Ledger::open(stale).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Key { why, .. } if why.contains("out of force")),
        "{refused}"
    );
    let (again, _) = house.open("a");
    fill(&again, "default", 1).await;
    again.close().await.unwrap();
    drop((a, idle));
    house.whole();
}
