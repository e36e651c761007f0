//! Rotation of the key that signs: who has one key follows to the next, and nobody else brings one in.

mod forged;

use super::*;
use portcullis_audit::note::{Checkpoint, LogKey, VerifierKey};
use portcullis_audit::policy::Policy;
use portcullis_audit::rotate::{NotRotated, Rotated, rotate};
use portcullis_audit::verify::{Report, Trust, Verdict, verify, verify_ledger};
use portcullis_audit::{Fault, FaultKind, OpenError};

const DEPLOYMENTS: &str = "test/deployment";

fn named(key: &VerifierKey, origin: &str) -> VerifierKey {
    VerifierKey::of_public(origin, *key.public()).unwrap()
}

fn believing(keys: &[&VerifierKey]) -> Trust {
    Trust::in_keys(keys.iter().map(|key| named(key, DEPLOYMENTS)))
}

fn whole(report: &Report) {
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
}

fn forged(report: Report) -> Fault {
    match report.verdict {
        Verdict::Forged(fault) => fault,
        other => panic!("{other:?}"),
    }
}

async fn rotated(house: &House) -> Rotated {
    rotate(house.options(), false).await.unwrap()
}

/// A ledger of three logs, whose key was replaced in between.
async fn written() -> (House, Rotated) {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 3).await;
    fill(&ledger, "imp_t_x", 2).await;
    ledger.close().await.unwrap();
    let rotated = rotated(&house).await;
    (house, rotated)
}

/// The head that is shown of a log, and the key of these that signed it.
fn shown<'a>(house: &House, within: &str, keys: &[&'a VerifierKey]) -> (u64, &'a VerifierKey) {
    let path = house.path("ledger.db.published").join(within).join("checkpoint");
    let note = std::fs::read_to_string(path).unwrap();
    let origin = format!("test/{within}");
    let opened = keys.iter().filter_map(|key| {
        Checkpoint::open(&note, &named(key, &origin)).ok().map(|head| (head.size, *key))
    });
    let opened: Vec<_> = opened.collect();
    assert_eq!(opened.len(), 1, "{note}");
    opened[0]
}

#[tokio::test]
async fn after_a_rotation_no_head_is_signed_by_the_old_key() {
    let (house, Rotated { old, new, logs, retired }) = written().await;
    assert_eq!(logs, Some(3));
    assert!(retired.exists() && !house.path("log.key.next").exists());
    for within in ["t/default", "t/imp_t_x", "deployment"] {
        let chain = house.reader().keys(&format!("test/{within}")).unwrap().unwrap();
        assert_eq!(
            (chain.birth().public(), chain.current().public()),
            (old.public(), new.public())
        );
        let place = chain.changes()[0].seq;
        match within {
            "t/default" => assert_eq!(place, 6),
            "t/imp_t_x" => assert_eq!(place, 4),
            // After what the ledger noted there by itself.
            _ => assert!(place >= 1),
        }
        let (size, key) = shown(&house, within, &[&old, &new]);
        assert!(size > place && key == &new, "{within}: {size}");
    }
    let (ledger, opened) = house.open();
    assert_eq!((opened.logs, opened.orphans_closed), (3, 0));
    fill(&ledger, "default", 2).await;
    // Begun under the new key.
    fill(&ledger, "imp_t_new", 1).await;
    ledger.close().await.unwrap();
    let report = verify_ledger(&house.reader());
    whole(&report);
    let changes = report.logs.iter().map(|log| log.keys.len());
    assert_eq!(changes.sum::<usize>(), 3, "{}", report.to_text());
    assert!(report.to_text().contains(&new.id()), "{}", report.to_text());
}

#[tokio::test]
async fn whoever_believes_one_key_follows_it_to_those_that_come_after() {
    let (house, Rotated { old: first, new: second, .. }) = written().await;
    let before = house.export("between");
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    fill(&ledger, "imp_t_new", 1).await;
    ledger.close().await.unwrap();
    let Rotated { old, new: third, .. } = rotated(&house).await;
    assert_eq!(old, second);
    let after = house.export("after");
    for keys in [
        vec![&first],
        vec![&second],
        vec![&third],
        vec![&first, &third],
        vec![&third, &second, &first],
    ] {
        let trust = believing(&keys);
        // The log that began later has never had the first key.
        if keys == [&first] {
            let fault = forged(verify(&after, &trust));
            assert_eq!(fault.log, "test/t/imp_t_new", "{fault}");
            continue;
        }
        whole(&verify(&after, &trust));
    }
    whole(&verify(&after, &Trust::default()));
    for key in [&first, &second] {
        whole(&verify(&before, &believing(&[key])));
    }
    // One that comes later says nothing of what was before it ... in an export of that time.
    let fault = forged(verify(&before, &believing(&[&third])));
    assert!(matches!(fault.kind, FaultKind::BadCheckpoint | FaultKind::Resigned), "{fault}");
    let stranger = LogKey::from_seed(&[9; 32]).unwrap().vkey(DEPLOYMENTS);
    let stranger = VerifierKey::parse(&stranger).unwrap();
    let fault = forged(verify(&after, &believing(&[&stranger])));
    assert!(matches!(fault.kind, FaultKind::BadCheckpoint | FaultKind::Resigned), "{fault}");

    // The policy that goes with it names all, the one that signs first.
    let policy = Policy::parse(&std::fs::read_to_string(after.join("t/default/policy")).unwrap());
    let policy = policy.unwrap();
    let keys: Vec<_> = policy.logs().iter().map(|log| log.key.public()).collect();
    assert_eq!(keys, [third.public(), second.public(), first.public()]);
}

#[tokio::test]
async fn what_was_seen_and_promised_under_the_old_key_still_holds() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 3).await;
    let receipt = ledger.intent(intent("default")).await.unwrap();
    let promise = ledger.promise(receipt.record());
    ledger.outcome(outcome("default", receipt.op(), receipt.reference())).await.unwrap();
    ledger.close().await.unwrap();
    let note = house.path("ledger.db.published/t/default/checkpoint");
    let note = std::fs::read_to_string(note).unwrap();
    let Rotated { old, new, .. } = rotated(&house).await;
    let folder = house.export("after");
    let trust = |note: &str, promise: &str| Trust {
        seen: vec![("seen".to_owned(), note.to_owned())],
        promises: vec![("kept".to_owned(), promise.to_owned())],
        ..believing(&[&old])
    };
    whole(&verify(&folder, &trust(&note, &promise)));

    // The old key has no say about what came after it.
    let seed = std::fs::read(house.path(&format!("log.key.retired-{}", old.id()))).unwrap();
    let retired = LogKey::from_seed(&seed).unwrap();
    let head = Checkpoint { origin: "test/t/default".into(), size: 9, root: [7; 32] };
    let verdict = verify(&folder, &trust(&head.sign(&retired), &promise)).verdict;
    assert!(matches!(verdict, Verdict::Unreadable(_)), "{verdict:?}");
    let late = portcullis_audit::promise::Promise {
        origin: "test/t/default".into(),
        seq: 8,
        leaf: [7; 32],
        session: None,
    };
    let verdict = verify(&folder, &trust(&note, &late.sign(&retired))).verdict;
    assert!(matches!(verdict, Verdict::Unreadable(_)), "{verdict:?}");
    assert_ne!(old, new);
}

#[tokio::test]
async fn a_start_with_the_old_key_or_with_another_is_refused_and_says_which() {
    let (house, Rotated { retired, .. }) = written().await;
    let current = std::fs::read(house.path("log.key")).unwrap();
    let refused = |house: &House| match Ledger::open(house.options()) {
        Err(OpenError::Key { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    std::fs::write(house.path("log.key"), std::fs::read(&retired).unwrap()).unwrap();
    let why = refused(&house);
    assert!(why.contains("took this key out of force"), "{why}");
    std::fs::write(house.path("log.key"), [9; 32]).unwrap();
    let why = refused(&house);
    assert!(why.contains("begun under another key"), "{why}");
    std::fs::remove_file(house.path("log.key")).unwrap();
    let why = refused(&house);
    assert!(why.contains("restore it from a backup"), "{why}");
    // Nor is a list of logs signed by a key that is out of force.
    let old = LogKey::from_seed(&std::fs::read(&retired).unwrap()).unwrap();
    let export = portcullis_audit::export(&house.reader(), &old, "test", &house.path("export"));
    assert!(matches!(export, Err(portcullis_audit::ReadError::Key { .. })), "{export:?}");
    std::fs::write(house.path("log.key"), current).unwrap();
    std::fs::set_permissions(
        house.path("log.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    house.open().0.close().await.unwrap();
}

#[tokio::test]
async fn what_was_signed_last_is_remembered_across_both_keys() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 2).await;
    ledger.close().await.unwrap();
    let files = ["ledger.db", "ledger.db.head", "log.key"];
    let yesterday = files.map(|name| std::fs::read(house.path(name)).unwrap());
    rotated(&house).await;
    // Yesterday's ledger, and yesterday's key with it.
    std::fs::remove_dir_all(house.path("ledger.db.published")).unwrap();
    for (name, bytes) in files.iter().zip(yesterday) {
        for rest in ["-wal", "-shm"] {
            std::fs::remove_file(house.path(&format!("{name}{rest}"))).ok();
        }
        std::fs::write(house.path(name), bytes).unwrap();
    }
    let refused = Ledger::open(house.options()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Torn { why } if why.contains("were signed")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_ledger_in_use_or_without_a_log_keeps_its_key() {
    let house = House::new();
    let (ledger, _) = house.open();
    let refused = rotate(house.options(), false).await.unwrap_err();
    assert!(matches!(refused, NotRotated::Open(OpenError::Locked { .. })), "{refused}");
    ledger.close().await.unwrap();
    let refused = rotate(house.options(), false).await.unwrap_err();
    assert!(matches!(refused, NotRotated::NoLog), "{refused}");
    let (ledger, _) = house.open();
    let by_hand = ledger.append(Entry { kind: Kind::Key, ..refusal("default") }).await;
    assert!(by_hand.is_err(), "only a rotation writes key records");
    ledger.close().await.unwrap();
}

fn key(seed: u8) -> LogKey {
    LogKey::from_seed(&[seed; 32]).unwrap()
}

fn vkey(seed: u8) -> VerifierKey {
    VerifierKey::parse(&key(seed).vkey(DEPLOYMENTS)).unwrap()
}

#[tokio::test]
async fn a_rotation_that_was_only_begun_goes_on_with_the_key_that_it_made() {
    let house = House::new();
    let (ledger, _) = house.open();
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    let next = house.path("log.key.next");
    std::fs::write(&next, [7; 32]).unwrap();
    std::fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // A start in between changes nothing.
    let (ledger, _) = house.open();
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    assert!(next.exists());
    let Rotated { new, .. } = rotated(&house).await;
    assert_eq!(new, vkey(7));
    whole(&verify(&house.export("after"), &believing(&[&vkey(7)])));
}

#[cfg(feature = "failpoints")]
mod killed {
    use super::*;
    use std::process::{Command, Stdio};

    const FOLDER: &str = "PORTCULLIS_TEST_ROTATE_FOLDER";

    /// Not a test of its own: what is killed.
    #[tokio::test]
    #[ignore = "run by the test below as its child"]
    async fn child_rotates() {
        let Some(folder) = std::env::var_os(FOLDER) else { return };
        let folder = PathBuf::from(folder);
        let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
        let publish_every = Duration::from_secs(3_600);
        rotate(LedgerOptions { publish_every, ..options }, false).await.unwrap();
    }

    fn kill(house: &House, point: &str) {
        let name = "keys::killed::child_rotates";
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored"])
            .env(FOLDER, house.folder.path())
            .env("FAILPOINTS", format!("{point}=return"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(!done.unwrap().success(), "{point} was not reached");
    }

    /// Each step twice: gone on with by a start, and by the same call.
    #[tokio::test]
    async fn killed_at_any_step_it_goes_on_and_no_head_is_told_in_two_ways() {
        for (point, is_written) in [
            ("rotate_after_next", Some(false)),
            // Passed also by the records that the ledger writes by itself when it is opened.
            ("ledger_before_write", Some(false)),
            ("ledger_after_write_before_commit", Some(false)),
            ("ledger_after_commit_before_reply", None),
            ("rotate_after_records", Some(true)),
            ("rotate_before_install", Some(true)),
            ("rotate_before_rename", Some(true)),
            ("publish_before_rename", None),
            ("publish_before_sign", None),
        ] {
            for start_first in [true, false] {
                killed_at(point, is_written, start_first).await;
            }
        }
    }

    async fn killed_at(point: &str, is_written: Option<bool>, start_first: bool) {
        let house = House::new();
        let (ledger, _) = house.open();
        fill(&ledger, "default", 2).await;
        fill(&ledger, "imp_t_x", 1).await;
        ledger.close().await.unwrap();
        let chain = || house.reader().keys(DEPLOYMENTS).unwrap().unwrap();
        let (old, next) = (chain().birth().clone(), house.path("log.key.next"));
        kill(&house, point);
        let written = chain().changes().len() == 1;
        assert!(is_written.is_none_or(|is_written| is_written == written), "{point}: {written}");
        let mut goes_on = written && next.exists();
        if start_first {
            let (ledger, _) = house.open();
            fill(&ledger, "default", 1).await;
            ledger.close().await.unwrap();
            assert!(!(goes_on && next.exists()), "{point}: the start puts the new key in force");
            goes_on = false;
        }
        whole(&verify_ledger(&house.reader()));
        let Rotated { new, logs, .. } = rotated(&house).await;
        // What a start has brought to its end is over: this was another rotation then.
        assert_eq!(logs.is_none(), goes_on, "{point}");
        assert_eq!(chain().current(), &new, "{point}");
        assert!(!next.exists(), "{point}");
        let folder = house.export("after");
        whole(&verify(&folder, &believing(&[&old])));
        whole(&verify_ledger(&house.reader()));
    }
}
