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
use super::log_report::{Anchor, LogReport, Voucher};
use super::report::{Report, Verdict};
use super::trust::Trust;
use crate::chain::{self, Hash};
use crate::entry::DEPLOYMENT;
use crate::export::{INDEX_TITLE, INDEX_TITLE_OF_ONE};
use crate::fault::{Fault, FaultKind, printable};
use crate::merkle;
use crate::note::{Checkpoint, SignedNote, VerifierKey};
use crate::policy::{Evaluation, NotTrusted, Policy};
use crate::promise::Promise;
use crate::session_seq::Counted;
use crate::tiles::{WIDTH, bundle_width, hash_tiles, tile_path};

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

struct Export<'a> {
    folder: &'a Path,
    trust: &'a Trust,
}

impl Export<'_> {
    /// The logs that the signed index lists.
    fn index(&self) -> Result<Index, Verdict> {
        let bad = |kind, why: &str| Verdict::from(fault("index", None, kind, why));
        let key = self.index_key()?;
        let note = text(&self.folder.join("index"), "index")?;
        let signed =
            key.open(&note).map_err(|why| bad(FaultKind::BadCheckpoint, &why.to_string()))?;
        let deployment = key.name().strip_suffix("/export").unwrap_or_default();
        parse_index(signed, deployment)
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
        let signed = self.head(&folder, origin)?;
        let (head, key) = (signed.checkpoint, signed.log);
        if head != *listed {
            return Err(bad_head(origin, "the index lists another head").into());
        }
        self.seen_are_signed(&key)?;
        let tiles = read_tiles(&folder, &head)?;
        let vouched = (merkle::root(&tiles) == head.root).then_some(tiles);
        let genesis = chain::genesis(origin, &key.to_string());
        let promises = self.promises(&key, head.size)?;
        let mut checker = Checker::new(origin, genesis, vouched.clone())
            .of_copy()
            .against(anchors)
            .answered(self.answers(origin, &promises))
            .keeping(promises.into_iter().filter(|(_, of)| of.seq < head.size).collect());
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

    /// The head of a log, signed and cosigned as the policy wants it.
    fn head(&self, folder: &Path, origin: &str) -> Result<Evaluation, Verdict> {
        let policy = self.policy(folder, origin)?;
        let note = text(&folder.join("checkpoint"), origin)?;
        // The auditor's machine may have no right clock: a cosignature of the future is told, and
        // it does not make a record untrue.
        let signed = match policy.evaluate(&note, u64::MAX) {
            Ok(signed) => signed,
            Err(NotTrusted::Unsigned) if self.is_signed_by_another(folder, origin, &note) => {
                let why = "a key signed it that you do not believe: that of the folder itself";
                return Err(fault(origin, None, FaultKind::Resigned, why).into());
            }
            Err(why) => return Err(bad_head(origin, &why.to_string()).into()),
        };
        if signed.checkpoint.origin != origin {
            return Err(bad_head(origin, "it is the head of another log").into());
        }
        if !signed.quorum {
            let count = signed.cosignatures.len();
            let why = format!("{count} witnesses of the policy cosigned it, which is no quorum");
            return Err(fault(origin, None, FaultKind::NotWitnessed, &why).into());
        }
        Ok(signed)
    }

    /// Whether the folder's own policy would believe it.
    fn is_signed_by_another(&self, folder: &Path, origin: &str, note: &str) -> bool {
        let own = text(&folder.join("policy"), origin).ok();
        let own = own.and_then(|text| Policy::parse(&text).ok());
        own.is_some_and(|policy| policy.evaluate(note, u64::MAX).is_ok())
    }

    /// A checkpoint that somebody brings along vouches for nothing unless the log's key signed it.
    fn seen_are_signed(&self, key: &VerifierKey) -> Result<(), Verdict> {
        for (name, note) in &self.trust.seen {
            let of_this_log = note.split('\n').next() == Some(key.name());
            if of_this_log && let Err(why) = Checkpoint::open(note, key) {
                return Err(Verdict::Unreadable(format!("`{name}`: {why}")));
            }
        }
        Ok(())
    }

    /// What this log promised; a promise that its key did not sign is nobody's word.
    fn promises(&self, key: &VerifierKey, size: u64) -> Result<Vec<(String, Promise)>, Verdict> {
        let of_this = |(_, note): &&(String, String)| Promise::origin_of(note) == Some(key.name());
        let ours = self.trust.promises.iter().filter(of_this);
        let open = |(name, note): &(String, String)| {
            let promise = Promise::open(note, key);
            let promise = promise.map_err(|why| Verdict::Unreadable(format!("`{name}`: {why}")))?;
            if promise.seq >= size && !self.trust.keeps_all {
                let seq = promise.seq;
                let why = format!("`{name}` is of record {seq}, which is newer than this export");
                return Err(Verdict::Unreadable(why));
            }
            Ok((name.clone(), promise))
        };
        ours.map(open).collect()
    }

    /// The numbers that callers of this log were told, in promises and without.
    fn answers(&self, origin: &str, promises: &[(String, Promise)]) -> Vec<Kept> {
        let all = promises.iter().filter(|_| self.trust.keeps_all);
        let promised = all.filter_map(|(name, promise)| {
            let (name, log) = (name.clone(), promise.origin.clone());
            promise.session.map(|at| Kept { name, counted: Counted { log, at } })
        });
        let told = self.trust.answers.iter().filter(|kept| kept.counted.log == origin);
        told.cloned().chain(promised).collect()
    }

    /// Whom to believe about a log: the auditor's own policy, else the folder's.
    fn policy(&self, folder: &Path, origin: &str) -> Result<Policy, Verdict> {
        if let Some(policy) = &self.trust.policy {
            let known = policy.for_log(origin);
            return known
                .ok_or_else(|| bad_head(origin, "none of the given keys is for this log").into());
        }
        let known = own_policy(folder, origin)?.for_log(origin);
        known.ok_or_else(|| bad_head(origin, "its policy names no key for it").into())
    }

    /// The key that signs the list of logs. An auditor who has keys of single logs only takes the
    /// folder's: their keys prove nothing about the list.
    fn index_key(&self) -> Result<VerifierKey, Verdict> {
        let own = own_policy(self.folder, "index")?;
        let named = own.logs().iter().map(|log| &log.key);
        let Some(key) = named.into_iter().find(|key| key.name().ends_with("/export")) else {
            return Err(bad_head("index", "its policy names no key for it").into());
        };
        let trusted = self.trust.policy.as_ref().and_then(|policy| policy.for_log(key.name()));
        let trusted = trusted.and_then(|policy| policy.logs().first().map(|log| log.key.clone()));
        let deployments = |policy: &Policy| {
            policy.logs().iter().any(|log| log.key.name().ends_with(&format!("/{DEPLOYMENT}")))
        };
        if trusted.is_none() && self.trust.policy.as_ref().is_some_and(deployments) {
            return Err(bad_head("index", "it is not of the deployment whose key you gave").into());
        }
        Ok(trusted.unwrap_or_else(|| key.clone()))
    }

    fn log_folder(&self, origin: &str) -> PathBuf {
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

/// Leaf hashes as the level 0 tiles give them; short when tiles are missing or damaged.
fn read_tiles(folder: &Path, head: &Checkpoint) -> Result<Vec<Hash>, Verdict> {
    let mut leaves = Vec::new();
    for index in 0..head.size.div_ceil(WIDTH as u64) {
        let path = folder.join(tile_path(0, index, bundle_width(head.size, index)));
        match bytes(&path) {
            Ok(tile) => {
                let hashes = tile.as_chunks::<32>().0;
                leaves.extend(hashes.iter().take(WIDTH));
                if hashes.len() < bundle_width(head.size, index) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    Ok(leaves)
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

/// The policy in the folder.
fn own_policy(folder: &Path, log: &str) -> Result<Policy, Verdict> {
    let policy = Policy::parse(&text(&folder.join("policy"), log)?);
    policy.map_err(|why| bad_head(log, &format!("its policy: {why}")).into())
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

fn bad_head(log: &str, why: &str) -> Fault {
    fault(log, None, FaultKind::BadCheckpoint, why)
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Verdict {
    Verdict::Unreadable(printable(&format!("`{}`: {error}", path.display())))
}

pub(super) fn fault(log: &str, seq: Option<u64>, kind: FaultKind, why: &str) -> Fault {
    Fault { log: log.to_owned(), seq, kind, why: why.to_owned() }
}
