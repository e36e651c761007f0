//! Attack 21: disks that fail, turn read-only, or whose quota is used up. What fails is what the library of
//! `power.c` lets fail in a child, but for the file system that turns read-only, which is a real one.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::power::library;
use super::*;
use portcullis_audit::Unavailable;
use portcullis_audit::verify::{Verdict, verify_ledger};
use rustix::io::Errno;

const FOLDER: &str = "PORTCULLIS_TEST_FAILING_DISK";

/// Runs a test as a child on a disk of which the file `fails` says what fails.
fn child(house: &House, test: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("LD_PRELOAD", library())
        .env("SHIM_ROOT", house.folder.path())
        .env("SHIM_FAILS", fails(house))
        .env(FOLDER, house.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn fails(house: &House) -> PathBuf {
    house.path("fails")
}

fn said_by(mut child: Child) -> Vec<String> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success(), "{said:?}");
    said
}

/// It starts again, everything that was promised is there, and nothing is open.
fn goes_on(house: &House, promised: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (ledger, _) = house.open();
    runtime.block_on(fill(&ledger, "after", 1));
    runtime.block_on(ledger.close()).unwrap();
    let report = verify_ledger(&house.reader());
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "{}", report.to_text());
    let rows = house.reader().rows(&Query { log: Some("t1".into()), ..everything() }).unwrap();
    assert!(rows.len() >= promised, "{promised} of {}", rows.len());
}

/// The disk says so at every write or at every sync; nobody asks it twice.
#[test]
fn a_write_or_a_sync_that_fails_acknowledges_nothing_and_a_restart_goes_on() {
    let [eio, read_only] = [Errno::IO, Errno::ROFS].map(Errno::raw_os_error);
    for (deed, errno) in [("sync", eio), ("write", eio), ("sync", read_only), ("write", read_only)]
    {
        let house = House::new();
        std::fs::write(house.path("next"), format!("{deed} {errno}")).unwrap();
        let said = said_by(child(&house, "disk_fails::child_meets_a_failing_disk"));
        let count = |what: &str| said.iter().filter(|line| line.contains(what)).count();
        assert_eq!((count("ack "), count("refused: the ledger is sealed")), (11, 4), "{said:?}");
        std::fs::remove_file(fails(&house)).unwrap();
        goes_on(&house, 11);
    }
}

/// Not a test of its own: what the child of the test above runs.
#[tokio::test]
#[ignore = "run by the tests of failing disks as their child"]
async fn child_meets_a_failing_disk() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
    let (ledger, _) = Ledger::open(options).unwrap();
    let admitted = ledger.intent(intent("t1")).await.unwrap();
    println!("ack {}", admitted.seq());
    for _ in 0..10 {
        println!("ack {}", ledger.intent(intent("t1")).await.unwrap().seq());
    }
    std::fs::rename(folder.join("next"), folder.join("fails")).unwrap();
    let done = outcome("t1", admitted.op(), admitted.reference());
    println!("refused: {}", ledger.outcome(done).await.unwrap_err());
    for _ in 0..3 {
        println!("refused: {}", ledger.intent(intent("t1")).await.unwrap_err());
    }
    assert!(ledger.status().sealed.is_some());
    assert!(ledger.close().await.is_err(), "it does not end as if all were well");
}

/// Not a test of its own: what the child of the tests below runs, from an empty folder.
#[tokio::test]
#[ignore = "run by the tests of failing disks as their child"]
async fn child_lives_with_what_fails() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
    let options = LedgerOptions { reserve: 64 * 1024, ..options };
    let Ok((ledger, _)) = Ledger::open(options) else { return };
    for _ in 0..3 {
        let Ok(receipt) = ledger.intent(intent("t1")).await else { continue };
        println!("ack {}", receipt.seq());
        let done = outcome("t1", receipt.op(), receipt.reference());
        if let Ok(appended) = ledger.outcome(done).await {
            println!("ack {}", appended.seq);
        }
    }
    // Well or not.
    let _ = ledger.close().await;
    println!("closed");
}

/// What is promised while the write or sync of this number fails, alone or with all that follow, is there
/// when the disk is whole again. Gives how much was promised.
fn lives_with(which: &str, turn: usize, errno: Errno) -> usize {
    let house = House::new();
    let fails_so = format!("{which} {turn} {}", errno.raw_os_error());
    std::fs::write(fails(&house), &fails_so).unwrap();
    let said = said_by(child(&house, "disk_fails::child_lives_with_what_fails"));
    std::fs::remove_file(fails(&house)).unwrap();
    let ack = |line: &String| line.split_once("ack ")?.1.parse::<u64>().ok();
    let promised: Vec<u64> = said.iter().filter_map(ack).collect();
    let opened = Ledger::open(house.options());
    let (ledger, _) = opened.unwrap_or_else(|error| panic!("{fails_so}: {error}"));
    tokio::runtime::Runtime::new().unwrap().block_on(ledger.close()).unwrap();
    let report = verify_ledger(&house.reader());
    assert!(
        matches!(report.verdict, Verdict::Whole | Verdict::Empty),
        "{fails_so}: {}",
        report.to_text()
    );
    assert_eq!(report.logs.iter().map(|log| log.open).sum::<u64>(), 0, "{fails_so}");
    let rows = house.reader().rows(&Query { log: Some("t1".into()), ..everything() }).unwrap();
    for seq in &promised {
        assert!(rows.iter().any(|row| row.record.seq == *seq), "{fails_so}: {seq} is gone");
    }
    promised.len()
}

/// Every `step`th write or sync of a short life fails.
fn each_turn_fails(step: usize) {
    let (mut end, mut promised) = (1, 0);
    // All six are promised when what fails is beyond the last.
    while promised < 6 {
        promised = lives_with("from", end, Errno::IO);
        end += step;
        assert!(end < 2_000, "it never lives through");
    }
    for errno in [Errno::IO, Errno::NOSPC] {
        for turn in (1..end).step_by(step) {
            lives_with("once", turn, errno);
        }
    }
    println!("writes and syncs 1 to {end}, every {step}");
}

#[test]
fn whichever_write_or_sync_fails_nothing_acknowledged_is_lost() {
    each_turn_fails(29);
}

#[test]
#[ignore = "minutes; every single write and sync"]
fn whichever_write_or_sync_fails_of_all_nothing_acknowledged_is_lost() {
    each_turn_fails(1);
}

/// A quota is a disk that is full for us alone. None that is real: the kernels that tests run on mostly
/// have none built in, so a write fails as it would.
#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    let house = House::new();
    let said = said_by(child(&house, "disk_fails::child_meets_a_quota"));
    let count = |what: &str| said.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("outcome "), count("full"), count("resumed")), (50, 1, 1), "{said:?}");
    std::fs::remove_file(fails(&house)).unwrap();
    goes_on(&house, 100);
    let query = Query { log: Some("deployment".into()), ..everything() };
    let rows = house.reader().rows(&query).unwrap();
    let kinds = [Kind::Seal, Kind::Recover];
    for kind in kinds {
        let said = rows
            .iter()
            .any(|row| row.record.kind == kind && row.text(&["note", "why"]) == "disk_full");
        assert!(said, "no record says {kind:?}");
    }
}

/// Not a test of its own: what the child of the test above runs.
#[tokio::test]
#[ignore = "run by the tests of failing disks as their child"]
async fn child_meets_a_quota() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let options = LedgerOptions::new(folder.join("ledger.db"), "test", folder.join("log.key"));
    let (ledger, _) = Ledger::open(LedgerOptions { reserve: 2 << 20, ..options }).unwrap();
    let mut admitted = Vec::new();
    for _ in 0..50 {
        admitted.push(ledger.intent(intent("t1")).await.unwrap());
    }
    let quota = |bytes: u64| {
        std::fs::write(folder.join("next"), format!("quota {bytes}")).unwrap();
        std::fs::rename(folder.join("next"), folder.join("fails")).unwrap();
    };
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().metadata().unwrap());
    let taken: u64 = files.map(|file| std::os::unix::fs::MetadataExt::blocks(&file) * 512).sum();
    quota(taken + 64 * 1024);
    let mut more = 0;
    let refused = loop {
        match ledger.intent(intent("t1")).await {
            Ok(_) => more += 1,
            Err(why) => break why,
        }
        assert!(more < 10_000, "the quota is never used up");
    };
    println!("{refused}");
    assert!(matches!(refused, Unavailable::Sealed(_)), "{refused}");
    for receipt in admitted {
        let outcome = outcome("t1", receipt.op(), receipt.reference());
        println!("outcome {}", ledger.outcome(outcome).await.unwrap().seq);
    }
    quota(1 << 30);
    for _ in 0..2000 {
        if ledger.status().sealed.is_none() && ledger.intent(intent("t1")).await.is_ok() {
            println!("resumed");
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ledger.close().await.unwrap();
}

/// An ext4 of its own in a file, unmounted with the test.
struct OwnDisk {
    image: tempfile::NamedTempFile,
    folder: TempDir,
}

impl OwnDisk {
    fn new() -> Self {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(64 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(image.path()).status();
        assert!(
            made.is_ok_and(|made| made.success()),
            "missing: mkfs.ext4\n  apt-get install e2fsprogs"
        );
        let disk = Self { image, folder: tempfile::tempdir().unwrap() };
        disk.mount();
        disk
    }

    fn mount(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop,errors=remount-ro"]).arg(self.image.path());
        let done = mount.arg(self.folder.path()).status();
        assert!(
            done.is_ok_and(|done| done.success()),
            "missing: the right to mount a file; run as root, with loop devices"
        );
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        let done = mount.arg("-o").arg(format!("remount,{how}")).arg(self.folder.path()).status();
        assert!(done.unwrap().success());
    }

    fn unmount(&self) {
        assert!(Command::new("umount").arg(self.folder.path()).status().unwrap().success());
    }

    /// Lets ext4 find an error in itself, after which it writes nothing more.
    fn breaks(&self) {
        let mut find = Command::new("findmnt");
        let found = find.args(["-n", "-o", "SOURCE"]).arg(self.folder.path()).output().unwrap();
        let device = String::from_utf8(found.stdout).unwrap();
        let device = device.trim().trim_start_matches("/dev/");
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }

    fn options(&self) -> LedgerOptions {
        let path = |name: &str| self.folder.path().join(name);
        let options = LedgerOptions::new(path("ledger.db"), "test", path("log.key"));
        LedgerOptions { reserve: 64 * 1024, ..options }
    }
}

impl Drop for OwnDisk {
    fn drop(&mut self) {
        let umount =
            Command::new("umount").arg("-l").arg(self.folder.path()).stderr(Stdio::null()).status();
        drop(umount);
    }
}

#[tokio::test]
async fn a_file_system_that_turns_read_only_seals_and_nothing_acknowledged_is_lost() {
    let disk = OwnDisk::new();
    let (ledger, _) = Ledger::open(disk.options()).unwrap();
    fill(&ledger, "default", 10).await;
    let admitted = ledger.intent(intent("default")).await.unwrap();
    disk.breaks();
    let done = outcome("default", admitted.op(), admitted.reference());
    let withheld = ledger.outcome(done).await;
    assert!(matches!(withheld, Err(Unavailable::Sealed(_))), "{withheld:?}");
    let refused = ledger.intent(intent("default")).await.map(drop);
    assert!(matches!(refused, Err(Unavailable::Sealed(_))), "{refused:?}");
    assert!(ledger.close().await.is_err(), "it does not end as if all were well");

    // Nor does it start before it may write.
    assert!(Ledger::open(disk.options()).is_err());
    disk.unmount();
    disk.mount();
    disk.remount("ro");
    assert!(Ledger::open(disk.options()).is_err());
    disk.remount("rw");
    let (ledger, opened) = Ledger::open(disk.options()).unwrap();
    assert_eq!((opened.records, opened.orphans_closed), (22, 1));
    fill(&ledger, "default", 1).await;
    ledger.close().await.unwrap();
    let report = verify_ledger(&Reader::open(&disk.options().path).unwrap());
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.to_text());
}
