//! Reads an export folder and checks every log of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::bodies;
use super::check::Checker;
use super::counts::Kept;
use super::head::{SignedHead, own_policy};
use super::log_report::{Anchor, LogReport, Voucher};
use super::report::{Report, Verdict};
use super::trust::Trust;
use crate::chain::{self, Hash};
use crate::entry::DEPLOYMENT;
use crate::export::{INDEX_TITLE, INDEX_TITLE_OF_ONE};
use crate::fault::{Fault, FaultKind, printable};
use crate::note::{Checkpoint, SignedNote, VerifierKey};
use crate::policy::Policy;
use crate::promise::Promise;
use crate::session_seq::Counted;
use crate::tiles::hash_tiles;

/// Largest file that is read: a full bundle of the longest records, with room.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// How the work is done; changes no answer.
pub struct Effort<'a> {
    /// Threads that hash and read records.
    pub threads: usize,
    /// Told the number of records that were checked and that of all, now and then.
    pub progress: &'a mut dyn FnMut(u64, u64),
}

/// Verifies an export. Never panics, whatever the bytes.
#[must_use]
pub fn verify(folder: &Path, trust: &Trust) -> Report {
    verify_with(folder, trust, Effort { threads: 1, progress: &mut |_, _| {} })
}

/// Verifies an export with several threads and tells how far it is.
#[must_use]
pub fn verify_with(folder: &Path, trust: &Trust, effort: Effort<'_>) -> Report {
    let mut logs = Vec::new();
    let verdict = match check_folder(folder, trust, effort, &mut logs) {
        Ok(()) if logs.iter().all(|log| log.records == 0) => Verdict::Empty,
        Ok(()) => Verdict::Whole,
        Err(verdict) => verdict,
    };
    Report { verdict, logs, trusted_keys: trust.policy.is_some() }
}

fn check_folder(
    folder: &Path,
    trust: &Trust,
    effort: Effort<'_>,
    logs: &mut Vec<LogReport>,
) -> Result<(), Verdict> {
    if !folder.is_dir() {
        return Err(Verdict::Absent(format!("there is no folder `{}`", folder.display())));
    }
    if std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_none()) {
        return Err(Verdict::Absent(format!("`{}` has no file", folder.display())));
    }
    let export = Export { folder, trust };
    no_links(folder)?;
    let index = export.index()?;
    let listed = index.heads;
    if !index.of_one && !listed.is_empty() && listed.iter().all(|head| is_tenants(&head.origin)) {
        let why = "the deployment's own log is missing, which vouches for the others";
        return Err(fault(DEPLOYMENT, None, FaultKind::Deleted, why).into());
    }
    trust.is_of_these(&listed)?;
    let mut anchors = Anchors::of_seen(&trust.seen)?;
    let (mut done, all) =
        (0, listed.iter().fold(0, |all: u64, head| all.saturating_add(head.size)));
    for head in anchors.first_in(&listed) {
        let mut progress = |of_log| (effort.progress)(u64::saturating_add(done, of_log), all);
        let effort =
            Effort { threads: effort.threads, progress: &mut |of_log, _| progress(of_log) };
        let report = export.check_log(head, anchors.of(&head.origin), effort)?;
        done = u64::saturating_add(done, report.records);
        anchors.take(&report);
        logs.push(report);
    }
    anchors.none_left(index.of_one)?;
    export.nothing_unlisted(&listed)
}

/// Heads that the deployment's log vouches for, by the log that they are of.
#[derive(Default)]
struct Anchors(BTreeMap<String, Vec<Anchor>>);

impl Anchors {
    /// What the auditor has seen; whether it was signed is checked with the log's own key.
    fn of_seen(seen: &[(String, String)]) -> Result<Self, Verdict> {
        let mut anchors = Self::default();
        for (name, note) in seen {
            let head = SignedNote::parse(note).and_then(|note| Checkpoint::parse(note.text()));
            let head = head.map_err(|why| Verdict::Unreadable(format!("`{name}`: {why}")))?;
            let by = Voucher::Seen(name.clone());
            anchors.0.entry(head.origin.clone()).or_default().push(Anchor { head, by });
        }
        Ok(anchors)
    }

    /// The deployment's log comes first: the others are held against what it says.
    fn first_in<'a>(&self, listed: &'a [Checkpoint]) -> Vec<&'a Checkpoint> {
        let mut listed: Vec<&Checkpoint> = listed.iter().collect();
        listed.sort_by_key(|head| is_tenants(&head.origin));
        listed
    }

    fn take(&mut self, report: &LogReport) {
        for anchor in report.anchored.iter().filter(|_| !is_tenants(&report.origin)) {
            self.0.entry(anchor.head.origin.clone()).or_default().push(anchor.clone());
        }
    }

    fn of(&mut self, origin: &str) -> Vec<Anchor> {
        self.0.remove(origin).unwrap_or_default()
    }

    /// A log that is vouched for must be there.
    fn none_left(self, of_one: bool) -> Result<(), Verdict> {
        match self.0.into_iter().next() {
            None => Ok(()),
            // Whoever brings a checkpoint along says so; of a log that is not here nobody can tell.
            Some((origin, anchors)) if of_one || anchors.iter().all(Anchor::is_only_seen) => {
                let by = anchors.first().map(ToString::to_string).unwrap_or_default();
                let why = format!("{by} is of `{origin}`, which is not in this export");
                Err(Verdict::Unreadable(printable(&why)))
            }
            Some((origin, anchors)) => {
                let by = anchors.first().map(ToString::to_string).unwrap_or_default();
                let why = format!("the whole log is missing; {by} vouches for it");
                Err(fault(&origin, None, FaultKind::Deleted, &why).into())
            }
        }
    }
}

/// An export has no links; with one, a folder could go round in circles.
fn no_links(folder: &Path) -> Result<(), Verdict> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let kind = entry.file_type().map_err(|error| unreadable(&folder, &error))?;
            if kind.is_symlink() {
                let why = io::Error::other("it is a link; an export has none");
                return Err(unreadable(&entry.path(), &why));
            }
            if kind.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

fn is_tenants(origin: &str) -> bool {
    origin.split_once('/').is_some_and(|(_, within)| within.starts_with("t/"))
}

/// What the signed list says.
struct Index {
    heads: Vec<Checkpoint>,
    /// It is of one log, and says nothing of the others.
    of_one: bool,
}

pub(super) struct Export<'a> {
    folder: &'a Path,
    pub(super) trust: &'a Trust,
}

impl Export<'_> {
    /// The logs that the signed index lists.
    fn index(&self) -> Result<Index, Verdict> {
        let bad = |kind, why: &str| Verdict::from(fault("index", None, kind, why));
        let note = text(&self.folder.join("index"), "index")?;
        let key = self.index_key(&note)?;
        let signed =
            key.open(&note).map_err(|why| bad(FaultKind::BadCheckpoint, &why.to_string()))?;
        listed_in(signed, &key)
            .ok_or_else(|| bad(FaultKind::BadCheckpoint, "it is signed, but not a list of logs"))
    }

    fn check_log(
        &self,
        listed: &Checkpoint,
        anchors: Vec<Anchor>,
        effort: Effort<'_>,
    ) -> Result<LogReport, Verdict> {
        let origin = listed.origin.as_str();
        let folder = self.log_folder(origin);
        let SignedHead { signed, keys, leaves: vouched } = self.head(&folder, origin)?;
        let (head, key) = (signed.checkpoint, signed.log);
        if head != *listed {
            return Err(bad_head(origin, "the index lists another head").into());
        }
        self.seen_are_signed(&keys)?;
        let promises = self.promises(&keys, head.size)?;
        let mut checker = Checker::new(origin, keys.genesis(), vouched.clone())
            .of_copy()
            .against(anchors)
            .answered(self.answers(origin, &promises))
            .keeping(promises.into_iter().filter(|(_, of)| of.seq < head.size).collect())
            .knowing(keys);
        super::records::read(&folder, &head, &mut checker, effort)?;
        let mut report = checker.finish(Some(&head)).map_err(Verdict::from)?;
        report.signed_by = vec![key.to_string()];
        let counted = signed.cosignatures.into_iter().filter(|one| !one.in_the_future);
        report.witnessed_by = counted.map(|one| (one.witness, one.unix_seconds)).collect();
        match vouched {
            Some(leaves) => {
                check_tiles(&folder, origin, &leaves)?;
                super::proofs::count(&folder, &key, &leaves, &mut report)?;
                let log = bodies::Log { folder: &folder, head: &head, leaves: &leaves };
                report.disclosed = log.check(&self.bodies_folder(origin), &self.trust.payloads)?;
            }
            None => {
                let why = "the hash tiles of level 0 do not give the signed root";
                return Err(fault(origin, None, FaultKind::BadTile, why).into());
            }
        }
        Ok(report)
    }

    /// The numbers that callers of this log were told, in promises and without.
    fn answers(&self, origin: &str, promises: &[(String, Promise)]) -> Vec<Kept> {
        let all = promises.iter().filter(|_| self.trust.keeps_all);
        let promised = all.filter_map(|(name, promise)| {
            let (name, log) = (name.clone(), promise.origin.clone());
            promise.session.map(|at| Kept { name, counted: Counted { log, at }, signed: true })
        });
        let told = self.trust.answers.iter().filter(|kept| kept.counted.log == origin);
        told.cloned().chain(promised).collect()
    }

    /// The key that signs the list of logs. An auditor who has keys of single logs only takes the
    /// folder's: their keys prove nothing about the list.
    fn index_key(&self, note: &str) -> Result<VerifierKey, Verdict> {
        let own = own_policy(self.folder, "index")?;
        let named = own.logs().iter().map(|log| &log.key);
        let named: Vec<&VerifierKey> =
            named.filter(|key| key.name().ends_with("/export")).collect();
        let Some(first) = named.first() else {
            return Err(bad_head("index", "its policy names no key for it").into());
        };
        // The one that signed, if one did.
        let signed = named.iter().find(|key| key.open(note).is_ok());
        let trusted = self.trust.policy.as_ref().and_then(|policy| policy.for_log(first.name()));
        let Some(trusted) = trusted else {
            let deployments = |policy: &Policy| {
                policy.logs().iter().any(|log| log.key.name().ends_with(&format!("/{DEPLOYMENT}")))
            };
            if self.trust.policy.as_ref().is_some_and(deployments) {
                let why = "it is not of the deployment whose key you gave";
                return Err(bad_head("index", why).into());
            }
            return Ok((*signed.unwrap_or(first)).clone());
        };
        let keys: Vec<&VerifierKey> = trusted.logs().iter().map(|log| &log.key).collect();
        if let Some(key) = keys.iter().find(|key| key.open(note).is_ok()) {
            return Ok((*key).clone());
        }
        if let Some(key) = signed
            && let Some(index) = key.open(note).ok().and_then(|text| listed_in(text, key))
            && self.is_handed_over_to(key, &index.heads)?
        {
            return Ok((*key).clone());
        }
        let unsigned = || bad_head("index", "its policy names no key for it").into();
        keys.first().map(|key| (*key).clone()).ok_or_else(unsigned)
    }

    pub(super) fn log_folder(&self, origin: &str) -> PathBuf {
        self.folder.join(within(origin))
    }

    fn bodies_folder(&self, origin: &str) -> PathBuf {
        self.folder.join(crate::disclose::FOLDER).join(within(origin))
    }

    fn nothing_unlisted(&self, listed: &[Checkpoint]) -> Result<(), Verdict> {
        let known: BTreeSet<PathBuf> =
            listed.iter().map(|head| self.log_folder(&head.origin)).collect();
        let mut candidates = vec![self.folder.join(crate::DEPLOYMENT)];
        if let Ok(tenants) = std::fs::read_dir(self.folder.join("t")) {
            candidates.extend(tenants.flatten().map(|tenant| tenant.path()));
        }
        let disclosed = listed.iter().map(|head| self.bodies_folder(&head.origin)).collect();
        bodies::nothing_else(self.folder, &disclosed)?;
        match candidates.into_iter().find(|path| path.exists() && !known.contains(path)) {
            Some(path) => {
                let why = "the signed index does not list it";
                let name = path.display().to_string();
                Err(fault(&name, None, FaultKind::Inserted, why).into())
            }
            None => Ok(()),
        }
    }
}

/// The folder of a log within an export; `parse_index` let only plain names through.
fn within(origin: &str) -> &str {
    origin.split_once('/').map_or(origin, |(_, rest)| rest)
}

/// The list in a text that `key` signed.
fn listed_in(text: &str, key: &VerifierKey) -> Option<Index> {
    parse_index(text, key.name().strip_suffix("/export").unwrap_or_default())
}

/// Lines of `origin size root` after the title and the count.
fn parse_index(text: &str, deployment: &str) -> Option<Index> {
    let mut lines = text.lines();
    let of_one = match lines.next()? {
        INDEX_TITLE => false,
        INDEX_TITLE_OF_ONE => true,
        _ => return None,
    };
    let count: usize = lines.next()?.strip_prefix("logs ")?.parse().ok()?;
    let heads: Option<Vec<Checkpoint>> = lines.map(|line| listed(line, deployment)).collect();
    let heads = heads.filter(|heads| heads.len() == count && (!of_one || count <= 1))?;
    Some(Index { heads, of_one })
}

fn listed(line: &str, deployment: &str) -> Option<Checkpoint> {
    let mut words = line.split(' ');
    let (origin, size, root) = (words.next()?, words.next()?, words.next()?);
    chain::tenant_of(deployment, origin)?;
    if words.next().is_some() {
        return None;
    }
    let root = Hash::try_from(hex::decode(root).ok()?).ok()?;
    Some(Checkpoint { origin: origin.to_owned(), size: size.parse().ok()?, root })
}

/// Every tile of every level must be what the leaves give.
fn check_tiles(folder: &Path, origin: &str, leaves: &[Hash]) -> Result<(), Verdict> {
    for (path, expected) in hash_tiles(leaves) {
        let full = folder.join(&path);
        let why = match bytes(&full) {
            Ok(found) if found == expected => continue,
            Ok(_) => format!("`{path}` is not what the records give"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = format!("`{path}` is missing");
                return Err(fault(origin, None, FaultKind::Torn, &why).into());
            }
            Err(error) => return Err(unreadable(&full, &error)),
        };
        return Err(fault(origin, None, FaultKind::BadTile, &why).into());
    }
    Ok(())
}

pub(super) fn text(path: &Path, log: &str) -> Result<String, Verdict> {
    let bytes = bytes(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            let why = format!("`{}` is missing", path.display());
            return fault(log, None, FaultKind::Torn, &why).into();
        }
        unreadable(path, &error)
    })?;
    String::from_utf8(bytes)
        .map_err(|_| bad_head(log, &format!("`{}` is not text", path.display())).into())
}

pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // A link may lead to a device without an end, and a pipe never answers.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("the file is larger than any that an export writes"));
    }
    Ok(bytes)
}

pub(super) fn bad_head(log: &str, why: &str) -> Fault {
    fault(log, None, FaultKind::BadCheckpoint, why)
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Verdict {
    Verdict::Unreadable(printable(&format!("`{}`: {error}", path.display())))
}

pub(super) fn fault(log: &str, seq: Option<u64>, kind: FaultKind, why: &str) -> Fault {
    Fault { log: log.to_owned(), seq, kind, why: why.to_owned() }
}
