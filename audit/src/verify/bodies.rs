//! What an export discloses of records, held against what the records commit to.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{bytes, fault, unreadable};
use super::report::Verdict;
use crate::chain::{self, Hash};
use crate::disclose::{Disclosure, FOLDER};
use crate::fault::{FaultKind, printable};
use crate::note::{Checkpoint, decimal};
use crate::tiles::{WIDTH, bundle_width, entries, entries_path};

/// The payload of a field that the auditor has from elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Brought {
    /// For reports, such as a file.
    pub name: String,
    /// A tenant, or `deployment`.
    pub tenant: String,
    /// Place of the record.
    pub seq: u64,
    /// `in`, `out` or `capsule`.
    pub field: String,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// Without the payload.
impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brought").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is disclosed of one log's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisclosedReport {
    /// Records of which something is.
    pub records: u64,
    /// Fields whose payload is what its record commits to.
    pub fit: u64,
    /// Fields of which only the key is here, so that a payload could be checked.
    pub keys_alone: u64,
}

/// An exported log: where it is, and what its head vouches for.
pub(super) struct Log<'a> {
    pub(super) folder: &'a Path,
    pub(super) head: &'a Checkpoint,
    pub(super) leaves: &'a [Hash],
}

impl Log<'_> {
    fn bad(&self, seq: Option<u64>, why: &str) -> Verdict {
        fault(&self.head.origin, seq, FaultKind::BadDisclosure, why).into()
    }

    /// Checks every file of `bodies` that is of this log.
    pub(super) fn check(
        &self,
        bodies: &Path,
        brought: &[Brought],
    ) -> Result<Option<DisclosedReport>, Verdict> {
        let tenant = self.head.origin.rsplit('/').next().unwrap_or_default();
        let mut awaited: Vec<&Brought> =
            brought.iter().filter(|one| one.tenant == tenant).collect();
        let mut report = DisclosedReport::default();
        let mut last = None;
        for seq in self.disclosed(bodies)? {
            let path = bodies.join(format!("{seq}.json"));
            let text = bytes(&path).map_err(|error| unreadable(&path, &error))?;
            let record = self.record(seq, &mut last)?;
            let mut used = BTreeSet::new();
            let checked = Disclosure::parse(&text, &self.head.origin, seq).and_then(|of| {
                used.extend(of.fields.iter().map(|one| one.field.clone()));
                let payload = |field: &str| {
                    let here = awaited.iter().find(|one| one.seq == seq && one.field == field);
                    here.map(|one| one.bytes.as_slice())
                };
                of.check(&record, payload)
            });
            let checked = checked.map_err(|why| self.bad(Some(seq), &why))?;
            awaited.retain(|one| one.seq != seq || !used.contains(&one.field));
            report.records += 1;
            report.fit += checked.fit;
            report.keys_alone += checked.keys_alone;
        }
        match awaited.first() {
            Some(one) => {
                let (field, seq) = (&one.field, one.seq);
                let why = format!(
                    "`{}` is the payload of `{field}` of record {seq}, of which no key is disclosed",
                    one.name
                );
                Err(Verdict::Unreadable(printable(&why)))
            }
            None => Ok((report.records > 0).then_some(report)),
        }
    }

    /// The places of which something is disclosed, in order.
    fn disclosed(&self, bodies: &Path) -> Result<BTreeSet<u64>, Verdict> {
        let files = match std::fs::read_dir(bodies) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(unreadable(bodies, &error)),
        };
        let mut places = BTreeSet::new();
        for file in files {
            let file = file.map_err(|error| unreadable(bodies, &error))?;
            let name = file.file_name();
            let place = name.to_str().and_then(|name| decimal(name.strip_suffix(".json")?));
            let Some(place) = place else {
                let why = format!("`{}` is not the file of a record", file.path().display());
                return Err(self.bad(None, &printable(&why)));
            };
            if place >= self.head.size {
                return Err(
                    self.bad(Some(place), "something is disclosed of a record that is not here")
                );
            }
            places.insert(place);
        }
        Ok(places)
    }

    /// The bytes of a record that was found whole. Places come in order, so the `last` bundle is kept for
    /// the next record.
    fn record(&self, seq: u64, last: &mut Option<(u64, Vec<u8>)>) -> Result<Vec<u8>, Verdict> {
        let (width, index) = (WIDTH as u64, seq / WIDTH as u64);
        let bundle = match last.take() {
            Some((of, bundle)) if of == index => bundle,
            _ => self.bundle(seq, index)?,
        };
        let (_, bundle) = last.insert((index, bundle));
        let within = usize::try_from(seq % width).unwrap_or(usize::MAX);
        let record = entries(bundle).nth(within).and_then(Result::ok).unwrap_or_default();
        let leaf = usize::try_from(seq).ok().and_then(|seq| self.leaves.get(seq));
        if leaf != Some(&chain::leaf(record)) {
            return Err(self.bad(Some(seq), "its record changed while it was read"));
        }
        Ok(record.to_vec())
    }

    /// The bundle with this index, for the record at this place.
    fn bundle(&self, seq: u64, index: u64) -> Result<Vec<u8>, Verdict> {
        let path = self.folder.join(entries_path(index, bundle_width(self.head.size, index)));
        match bytes(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = "its record was pruned, so nothing here says what it committed to";
                Err(self.bad(Some(seq), why))
            }
            read => read.map_err(|error| unreadable(&path, &error)),
        }
    }
}

/// Nothing stands beside the disclosures of the logs that are listed.
pub(super) fn nothing_else(folder: &Path, logs: &BTreeSet<PathBuf>) -> Result<(), Verdict> {
    let bodies = folder.join(FOLDER);
    let mut known: BTreeSet<PathBuf> = [bodies.join("README"), bodies.join("t")].into();
    known.extend(logs.iter().cloned());
    for folder in [bodies.clone(), bodies.join("t")] {
        let Ok(files) = std::fs::read_dir(&folder) else { continue };
        for file in files {
            let path = file.map_err(|error| unreadable(&folder, &error))?.path();
            if !known.contains(&path) {
                let why = "it is of no log that the signed index lists";
                let name = path.display().to_string();
                return Err(fault(&name, None, FaultKind::BadDisclosure, why).into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::push_entry;

    #[test]
    fn one_bundle_is_read_once_for_all_of_its_records_and_never_taken_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<Vec<u8>> = (0..300_u32).map(|at| at.to_be_bytes().to_vec()).collect();
        let leaves: Vec<Hash> = records.iter().map(|record| chain::leaf(record)).collect();
        let head = Checkpoint { origin: "d/t/t".to_owned(), size: 300, root: [0; 32] };
        let path = |index: u64| folder.path().join(entries_path(index, bundle_width(300, index)));
        for (index, records) in (0..).zip(records.chunks(WIDTH)) {
            let mut bundle = Vec::new();
            records.iter().for_each(|record| push_entry(&mut bundle, record).unwrap());
            std::fs::create_dir_all(path(index).parent().unwrap()).unwrap();
            std::fs::write(path(index), bundle).unwrap();
        }
        let (log, mut last) = (Log { folder: folder.path(), head: &head, leaves: &leaves }, None);
        assert_eq!(log.record(3, &mut last).unwrap(), records[3]);
        std::fs::remove_file(path(0)).unwrap();
        for seq in [4, 255, 256, 299] {
            assert_eq!(log.record(seq as u64, &mut last).unwrap(), records[seq], "{seq}");
        }
        assert!(log.record(5, &mut last).is_err(), "only the last one is kept");
    }
}
