//! Reads the records of an exported log: several threads hash and parse, one follows the chain.

use std::io;
use std::path::{Path, PathBuf};

use super::check::{Checker, Examined};
use super::folder::{Effort, bytes, unreadable};
use super::report::Verdict;
use crate::note::Checkpoint;
use crate::tiles::{WIDTH, bundle_width, entries, entries_path};

/// Bundles that each thread may be ahead of the one that follows the chain: bounded in memory.
const BUNDLES_AHEAD: usize = 16;

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
    let all = head.size.div_ceil(WIDTH as u64);
    let bundles = pruned(folder, head, checker, all)..all;
    let mut follow = |bundle| {
        let goes_on = take(bundle, checker)?;
        (effort.progress)(checker.taken(), head.size);
        Ok::<bool, Verdict>(goes_on)
    };
    if effort.threads <= 1 {
        for index in bundles {
            if !follow(read_bundle(folder, head.size, index))? {
                break;
            }
        }
        return Ok(());
    }
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..effort.threads)
            .map(|first| {
                let (ahead, examined) = std::sync::mpsc::sync_channel(BUNDLES_AHEAD);
                let share = bundles.clone().skip(first).step_by(effort.threads);
                scope.spawn(move || {
                    share
                        .map(|index| read_bundle(folder, head.size, index))
                        .try_for_each(|bundle| ahead.send(bundle))
                });
                examined
            })
            .collect();
        for (index, reader) in bundles.zip(readers.iter().cycle()) {
            // A thread that panicked is a bug, and the scope panics too once this is done.
            let bundle = reader.recv().unwrap_or_else(|_| read_bundle(folder, head.size, index));
            if !follow(bundle)? {
                break;
            }
        }
        Ok(())
    })
}

/// Passes over the bundles from the begin that are not here: they may have been pruned. Gives the first
/// bundle to read. Only when the leaf hashes of all records are here, so that a head that merely claims
/// to be large costs nothing.
fn pruned(folder: &Path, head: &Checkpoint, checker: &mut Checker, all: u64) -> u64 {
    let is_here = |index: &u64| {
        folder
            .join(entries_path(*index, bundle_width(head.size, *index)))
            .symlink_metadata()
            .is_ok()
    };
    let first = if checker.is_vouched() { (0..all).find(is_here).unwrap_or(0) } else { 0 };
    checker.pass_vouched(first * WIDTH as u64);
    first
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
