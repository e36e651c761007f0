//! Power loss: what was written and not synced is there, gone, or there in part.
//!
//! The library of `power.c`, preloaded into a child, writes down what the child writes and syncs. When the
//! child is killed the kernel still has all of it; this takes back what a disk may not have.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::crashes::{Watched, nothing_promised_is_lost, promises_until_a_random_moment};
use super::restarted::{SHORT, of_journal};
use super::*;

/// What a disk writes in one piece.
const SECTOR: usize = 512;

/// The library, built once.
pub(super) fn library() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ledger/power.c");
        let mut build = Command::new("gcc");
        build.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("power.so"));
        let done = build.arg(source).args(["-ldl", "-lpthread"]).status();
        assert!(done.is_ok_and(|done| done.success()), "missing: gcc\n  apt-get install gcc");
        folder
    });
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| folder.path().join("power.so"))
}

enum Event {
    /// Offset, size of the file before, old bytes, new bytes.
    Write(u64, u64, Vec<u8>, Vec<u8>),
    /// Size before and after, the bytes that were cut off.
    Cut(u64, u64, Vec<u8>),
}

/// What was done to each file since it was synced last.
fn unsynced(journal: &Path) -> BTreeMap<PathBuf, Vec<Event>> {
    let mut bytes = Vec::new();
    File::open(journal).unwrap().read_to_end(&mut bytes).unwrap();
    let (mut rest, mut files): (&[u8], BTreeMap<_, Vec<Event>>) = (&bytes, BTreeMap::new());
    // What the kill cut off in the journal had not been written to the file yet.
    while let Some(event) = next(&mut rest) {
        match event {
            (path, None) => drop(files.remove(&path)),
            (path, Some(event)) => files.entry(path).or_default().push(event),
        }
    }
    files
}

fn next(rest: &mut &[u8]) -> Option<(PathBuf, Option<Event>)> {
    let line = line(rest)?;
    let (what, path) = line.split_once(' ')?;
    let path = PathBuf::from(path);
    if what == "S" {
        return Some((path, None));
    }
    let numbers: Vec<u64> = self::line(rest)?.split(' ').map(|n| n.parse().unwrap()).collect();
    let [one, two, three] = numbers[..] else { return None };
    let event = if what == "W" {
        let old = two.saturating_sub(one).min(three);
        Event::Write(one, two, take(rest, old)?, take(rest, three)?)
    } else {
        Event::Cut(one, two, take(rest, three)?)
    };
    Some((path, Some(event)))
}

fn line(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8(rest[..end].to_vec()).unwrap();
    *rest = &rest[end + 1..];
    Some(line)
}

fn take(rest: &mut &[u8], length: u64) -> Option<Vec<u8>> {
    let (taken, after) = rest.split_at_checked(usize::try_from(length).unwrap())?;
    *rest = after;
    Some(taken.to_vec())
}

/// Takes back what was not synced, but for the sectors that `survives` says the disk wrote all the same.
fn lose_power(journal: &Path, mut survives: impl FnMut() -> bool) -> usize {
    let mut lost = 0;
    for (path, events) in unsynced(journal) {
        // A file that was renamed or taken away since has no old name to put anything back to.
        let Ok(file) = OpenOptions::new().write(true).open(&path) else { continue };
        for event in events.iter().rev() {
            match event {
                Event::Write(at, before, old, _) => {
                    file.write_all_at(old, *at).unwrap();
                    file.set_len(*before).unwrap();
                }
                Event::Cut(before, after, tail) => {
                    file.set_len(*before).unwrap();
                    file.write_all_at(tail, *after).unwrap();
                }
            }
        }
        for event in &events {
            match event {
                Event::Write(at, _, _, new) => {
                    for (index, sector) in new.chunks(SECTOR).enumerate() {
                        if survives() {
                            file.write_all_at(sector, *at + (index * SECTOR) as u64).unwrap();
                        } else {
                            lost += 1;
                        }
                    }
                }
                Event::Cut(_, after, _) => {
                    if survives() {
                        file.set_len(*after).unwrap();
                    }
                }
            }
        }
    }
    lost
}

/// `PORTCULLIS_LEDGER_ROUNDS` says how often; a few times here.
#[test]
fn a_power_loss_at_random_moments_loses_nothing_acknowledged() {
    let rounds = std::env::var("PORTCULLIS_LEDGER_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds: u64 = rounds.unwrap_or(15);
    let (mut lost, mut kept, mut anew) = (0, 0, 0);
    for round in 0..rounds {
        let house = House::new();
        let short = (round % 2 == 0).then_some(SHORT);
        // Twice in the same folder: the second finds what recovery made of the first.
        for _ in 0..2 {
            let journal = house.path("journal");
            let _ = std::fs::remove_file(&journal);
            let watched =
                Watched { library: library(), root: house.folder.path(), journal: &journal };
            let child = watched.spawn(&house, short);
            let wal = || std::fs::read(house.path("ledger.db-wal")).unwrap_or_default();
            let began_anew = || short.is_none() || of_journal(&wal()).0 > 0;
            let promised = promises_until_a_random_moment(child, began_anew);
            kept += promised.len();
            anew += usize::from(short.is_some() && of_journal(&wal()).0 > 0);
            // Nothing unsynced survives; all of it; or some of it.
            let mut random = 0x9e37_79b9_u64.wrapping_mul(round + 1);
            lost += lose_power(&journal, || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match round % 3 {
                    0 => false,
                    1 => (random >> 33).is_multiple_of(2),
                    _ => !(random >> 33).is_multiple_of(8),
                }
            });
            let _ = std::fs::remove_file(house.path("ledger.db-shm"));
            nothing_promised_is_lost(&house, &promised);
        }
    }
    println!(
        "{rounds} rounds: {lost} sectors lost, {kept} records promised and there; {anew} times of {} the \
         short journal had begun anew",
        rounds.div_ceil(2) * 2
    );
    assert!(lost > 0 && kept > 0 && anew > 0, "{lost} {kept} {anew}: it tried nothing");
}

/// A test of the test: were a write promised before it is synced, this would find it.
#[test]
fn a_promise_without_a_sync_would_be_found() {
    let house = House::new();
    let (journal, file) = (house.path("journal"), house.path("ledger.x"));
    let shell = format!("printf kept >{0}; sync {0}; printf lost >>{0}", file.display());
    let status = Command::new("sh")
        .args(["-c", &shell])
        .env("LD_PRELOAD", library())
        .env("SHIM_ROOT", house.path("ledger"))
        .env("SHIM_JOURNAL", &journal)
        .status();
    assert!(status.unwrap().success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "keptlost");
    lose_power(&journal, || false);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}
