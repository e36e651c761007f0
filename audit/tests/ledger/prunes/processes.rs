//! A prune by a process that is killed, and records of one whose clock is wrong.

use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "PORTCULLIS_TEST_PRUNER_FOLDER";

/// Not a test of its own: what the child of the test below runs until it is killed.
#[tokio::test]
#[ignore = "run by the crash test as its child"]
async fn child_prunes_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
    let reader = Reader::open(&folder.join("ledger.db")).unwrap();
    let key = portcullis_audit::load_key(&folder.join("log.key")).unwrap();
    let key = VerifierKey::parse(&key.vkey("test/deployment")).unwrap();
    let export = folder.join("export");
    let prefix = examine(&reader, (LOG, "t1"), &export, Policy::of_logs([key]), years(2)).unwrap();
    let (ledger, _) = Ledger::open(options).unwrap();
    prune(&ledger, prefix, APPROVERS).await.unwrap();
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn killed_at_any_step_it_goes_on_and_records_one_prune() {
    for point in ["prune_before_cut=return", "prune_midway=return", "prune_midway=1*off->return"] {
        let house = House::new();
        written(&house, 1300).await;
        let export = house.export("export");
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "prunes::processes::child_prunes_until_killed", "--ignored"])
            .env(FOLDER, house.folder.path())
            .env("FAILPOINTS", point)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "{point}: it was killed");
        let report = verify_ledger(&house.reader());
        whole(&report);
        let (ledger, _) = house.open();
        ledger.close().await.unwrap();
        whole(&verified(&house, &house.export("between")));

        // Not under another export, and not before its time.
        let another = examined(&house, &house.export("another"), years(2));
        assert!(matches!(another, Err(NotPrunable::Export(_))), "{point}: {another:?}");
        let early = examined(&house, &export, Timestamp::now());
        assert!(early.is_err() || point.contains("off"), "{point}: {early:?}");
        let prefix = examined(&house, &export, years(2)).unwrap();
        assert!(prefix.is_recorded() && prefix.until() == 2560, "{point}: {prefix:?}");
        let ledger = open_to_prune(&house);
        prune(&ledger, prefix, APPROVERS).await.unwrap();
        ledger.close().await.unwrap();
        assert!(!files_contain(&house, MARK), "{point}");
        let report = verify_ledger(&house.reader());
        whole(&report);
        let rows = house.reader().rows(&everything()).unwrap();
        let prunes = rows.iter().filter(|row| row.record.kind == Kind::Prune).count();
        assert_eq!(prunes, 1, "{point}");
        assert_eq!(house.reader().pruned(LOG).unwrap(), 2560, "{point}");
    }
}

/// Records of a past that never was must not go before those that were written before them.
#[tokio::test]
async fn a_clock_that_was_set_back_makes_nothing_older() {
    let house = House::new();
    written(&house, 200).await;
    let export = house.export("export");
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    assert!(Path::new(library).exists(), "missing: faketime\n  apt-get install faketime");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "prunes::processes::child_appends_long_ago", "--ignored"])
        .env(FOLDER, house.folder.path())
        .env("LD_PRELOAD", library)
        .env("FAKETIME", "-20y")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let rows = house.reader().rows(&everything()).unwrap();
    assert!(rows.last().unwrap().record.ts < rows[0].record.ts, "it was written long ago");
    let Err(NotPrunable::Nothing(why)) = examined(&house, &export, Timestamp::now()) else {
        panic!("nothing has expired");
    };
    assert!(why.starts_with("record 1 is kept until "), "{why}");
    let after = house.export("after");
    assert_eq!(examined(&house, &after, years(2)).unwrap().until(), 512);
    let almost = Timestamp::now() + 300 * 24.hours();
    assert!(matches!(examined(&house, &after, almost), Err(NotPrunable::Nothing(_))));
}

/// Not a test of its own: what the child of the test above runs, under another clock.
#[tokio::test]
#[ignore = "run by the test of a clock as its child"]
async fn child_appends_long_ago() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
    let (ledger, _) = Ledger::open(options).unwrap();
    fill(&ledger, "t1", 100).await;
    ledger.close().await.unwrap();
}
