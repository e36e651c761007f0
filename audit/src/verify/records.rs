//! Reads the records of an exported log: several threads hash and parse, one follows the chain.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::check::{Checker, Examined};
use super::folder::{Effort, bytes, unreadable};
use super::report::Verdict;
use crate::note::Checkpoint;
use crate::tiles::{WIDTH, bundle_width, entries, entries_path};

/// Bundles that each thread takes at a time: enough to be worth a thread, and bounded in memory.
const BUNDLES_AT_ONCE: u64 = 16;

/// What a bundle holds.
enum Bundle {
    Whole(Vec<Examined>),
    /// It ends within a record.
    CutOff(Vec<Examined>, String),
    Missing(PathBuf),
    Unreadable(PathBuf, io::Error),
}

/// Hands every record of the log to the checker, in order.
pub(super) fn read(
    folder: &Path,
    head: &Checkpoint,
    checker: &mut Checker,
    effort: Effort<'_>,
) -> Result<(), Verdict> {
    let bundles = head.size.div_ceil(WIDTH as u64);
    let threads = effort.threads.max(1) as u64;
    let mut next = 0;
    while next < bundles {
        let until = bundles.min(next + threads * BUNDLES_AT_ONCE);
        for bundle in examine(folder, head.size, next..until, threads) {
            if !take(bundle, checker)? {
                return Ok(());
            }
        }
        (effort.progress)(checker.taken(), head.size);
        next = until;
    }
    Ok(())
}

/// The bundles of a range, in order.
fn examine(folder: &Path, size: u64, range: Range<u64>, threads: u64) -> Vec<Bundle> {
    if threads == 1 {
        return range.map(|index| read_bundle(folder, size, index)).collect();
    }
    std::thread::scope(|scope| {
        let each = (range.end - range.start).div_ceil(threads).max(1);
        let starts = range.clone().step_by(usize::try_from(each).unwrap_or(usize::MAX));
        let workers: Vec<_> = starts
            .map(|start| {
                let part = start..range.end.min(start + each);
                scope.spawn(move || {
                    part.map(|index| read_bundle(folder, size, index)).collect::<Vec<_>>()
                })
            })
            .collect();
        // A thread that panicked is a bug; the records it had are read again by this one.
        let parts = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        let whole: Option<Vec<Vec<Bundle>>> = parts.map(Result::ok).collect();
        whole.map_or_else(
            || range.clone().map(|index| read_bundle(folder, size, index)).collect(),
            |parts| parts.into_iter().flatten().collect(),
        )
    })
}

fn read_bundle(folder: &Path, size: u64, index: u64) -> Bundle {
    let path = folder.join(entries_path(index, bundle_width(size, index)));
    let bundle = match bytes(&path) {
        Ok(bundle) => bundle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Bundle::Missing(path),
        Err(error) => return Bundle::Unreadable(path, error),
    };
    let mut examined = Vec::with_capacity(WIDTH);
    for entry in entries(&bundle).take(WIDTH + 1) {
        match entry {
            Ok(record) => examined.push(Examined::of(record)),
            Err(cut) => return Bundle::CutOff(examined, cut.to_string()),
        }
    }
    Bundle::Whole(examined)
}

/// False when nothing after this bundle can be read.
fn take(bundle: Bundle, checker: &mut Checker) -> Result<bool, Verdict> {
    match bundle {
        Bundle::Whole(records) => {
            records.into_iter().for_each(|record| checker.take(record));
            Ok(true)
        }
        Bundle::CutOff(records, why) => {
            records.into_iter().for_each(|record| checker.take(record));
            checker.torn(&why);
            Ok(false)
        }
        Bundle::Missing(path) => {
            checker.torn(&format!("the bundle `{}` is missing", path.display()));
            Ok(false)
        }
        Bundle::Unreadable(path, error) => Err(unreadable(&path, &error)),
    }
}
