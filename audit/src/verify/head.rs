//! By whose word the head of an exported log counts: a key that the auditor believes signed it, or one
//! that such a key has handed over to, as a `key` record under that very head says.

use std::io;
use std::path::Path;

use super::folder::{Export, bad_head, bytes, fault, text, unreadable};
use super::report::Verdict;
use crate::chain::{self, Hash};
use crate::entry::Kind;
use crate::fault::{Fault, FaultKind};
use crate::keys::KeyChain;
use crate::merkle;
use crate::note::{Checkpoint, SignedNote, VerifierKey};
use crate::policy::{Evaluation, NotTrusted, Policy};
use crate::promise::Promise;
use crate::record::Record;
use crate::tiles::{WIDTH, bundle_width, tile_path};
use crate::tlog_proof::TlogProof;

/// The head of a log, and what makes it one.
pub(super) struct SignedHead {
    /// Who signed and who cosigned it.
    pub(super) signed: Evaluation,
    /// The keys that the log has had; the last of them signed.
    pub(super) keys: KeyChain,
    /// Leaf hashes of all records; `None` when the tiles don't give the root.
    pub(super) leaves: Option<Vec<Hash>>,
}

impl Export<'_> {
    /// The head of a log, signed and cosigned as the policy wants it.
    pub(super) fn head(&self, folder: &Path, origin: &str) -> Result<SignedHead, Verdict> {
        let policy = self.policy(folder, origin)?;
        let note = text(&folder.join("checkpoint"), origin)?;
        // The auditor's machine may have no right clock: a cosignature of the future is told, and
        // it does not make a record untrue.
        let (signed, believed) = match policy.evaluate(&note, u64::MAX) {
            Ok(signed) => (signed, true),
            Err(NotTrusted::Unsigned) => {
                let own = signed_by_another(folder, origin, &note, &policy);
                let unsigned = || bad_head(origin, &NotTrusted::Unsigned.to_string());
                (own.ok_or_else(unsigned)?, false)
            }
            Err(why) => return Err(bad_head(origin, &why.to_string()).into()),
        };
        if signed.checkpoint.origin != origin {
            return Err(bad_head(origin, "it is the head of another log").into());
        }
        let tiles = read_tiles(folder, &signed.checkpoint)?;
        let leaves = (merkle::root(&tiles) == signed.checkpoint.root).then_some(tiles);
        let keys = keys(folder, &signed, leaves.as_deref())?;
        let handed_over = || policy.logs().iter().any(|log| keys.knows(log.key.public()));
        if !believed && !handed_over() {
            let why = "a key signed it that you do not believe: that of the folder itself";
            return Err(fault(origin, None, FaultKind::Resigned, why).into());
        }
        if !signed.quorum {
            let count = signed.cosignatures.len();
            let why = format!("{count} witnesses of the policy cosigned it, which is no quorum");
            return Err(fault(origin, None, FaultKind::NotWitnessed, &why).into());
        }
        Ok(SignedHead { signed, keys, leaves })
    }

    /// Whether a key that the auditor does not name signs the heads of a log that is listed here, by
    /// the word of one that the auditor names.
    pub(super) fn is_handed_over_to(
        &self,
        key: &VerifierKey,
        listed: &[Checkpoint],
    ) -> Result<bool, Verdict> {
        let tenants = |head: &&Checkpoint| head.origin.contains("/t/");
        let of_deployment = listed.iter().find(|head| !tenants(head));
        let Some(head) = of_deployment.or(listed.first()) else { return Ok(false) };
        match self.head(&self.log_folder(&head.origin), &head.origin) {
            Ok(head) => Ok(head.signed.log.public() == key.public()),
            Err(Verdict::Forged(fault)) if fault.kind == FaultKind::BadKey => Err(fault.into()),
            Err(_) => Ok(false),
        }
    }

    /// A checkpoint that somebody brings along vouches for nothing unless the log's key signed it.
    pub(super) fn seen_are_signed(&self, keys: &KeyChain) -> Result<(), Verdict> {
        for (name, note) in &self.trust.seen {
            let said = SignedNote::parse(note).and_then(|note| Checkpoint::parse(note.text()));
            let said = said.map_err(|why| Verdict::Unreadable(format!("`{name}`: {why}")))?;
            let of_this_log = said.origin == keys.birth().name();
            if of_this_log && let Err(why) = Checkpoint::open(note, keys.at(said.size)) {
                return Err(Verdict::Unreadable(format!("`{name}`: {why}")));
            }
        }
        Ok(())
    }

    /// What this log promised; a promise that its key did not sign is nobody's word.
    pub(super) fn promises(
        &self,
        keys: &KeyChain,
        size: u64,
    ) -> Result<Vec<(String, Promise)>, Verdict> {
        let origin = keys.birth().name();
        let of_this = |(_, note): &&(String, String)| Promise::origin_of(note) == Some(origin);
        let ours = self.trust.promises.iter().filter(of_this);
        let open = |(name, note): &(String, String)| {
            let unreadable = |why: String| Verdict::Unreadable(format!("`{name}`: {why}"));
            let first = Promise::open(note, keys.current());
            // The key that signed when the record was written.
            let earlier = keys.newest_first().skip(1).find_map(|key| {
                let promise = Promise::open(note, key).ok()?;
                (keys.at(promise.seq.saturating_add(1)) == key).then_some(promise)
            });
            let promise = match earlier {
                Some(promise) => promise,
                None => first.map_err(|why| unreadable(why.to_string()))?,
            };
            if promise.seq >= size && !self.trust.keeps_all {
                let seq = promise.seq;
                let why = format!("`{name}` is of record {seq}, which is newer than this export");
                return Err(Verdict::Unreadable(why));
            }
            Ok((name.clone(), promise))
        };
        ours.map(open).collect()
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
}

/// What the folder's own keys make of the head; the witnesses are still those of `policy`.
fn signed_by_another(
    folder: &Path,
    origin: &str,
    note: &str,
    policy: &Policy,
) -> Option<Evaluation> {
    let own = own_policy(folder, origin).ok()?.for_log(origin)?;
    policy.with_logs_of(&own).evaluate(note, u64::MAX).ok()
}

/// The keys of a log by its key records, each of which an export proves in a file of its own, so that
/// they are known before the records are read. The last one must have signed the head.
fn keys(folder: &Path, signed: &Evaluation, leaves: Option<&[Hash]>) -> Result<KeyChain, Verdict> {
    let (origin, signer) = (signed.checkpoint.origin.as_str(), &signed.log);
    let records = key_records(folder, leaves)?;
    let bad = |seq, why: String| Verdict::from(fault(origin, Some(seq), FaultKind::BadKey, &why));
    let keys = KeyChain::of_records(origin, &records);
    let keys = keys.map_err(|(seq, why)| bad(seq, why.to_string()))?;
    let keys = keys.unwrap_or_else(|| KeyChain::new(signer.clone()));
    let in_force = keys.at(signed.checkpoint.size);
    if in_force == signer {
        return Ok(keys);
    }
    let seq = keys.changes().last().map_or(0, |change| change.seq);
    let why = if keys.knows(signer.public()) {
        format!("it took the key {} out of force, which signed the head after it", signer.id())
    } else {
        format!("it brings in the key {}, the head is signed by {}", in_force.id(), signer.id())
    };
    Err(bad(seq, why))
}

/// The key records that have a proof in the folder and stand under the head, in their order. What is no
/// proof of anything is told when all proofs are checked.
fn key_records(folder: &Path, leaves: Option<&[Hash]>) -> Result<Vec<Record>, Verdict> {
    let proofs = folder.join("proofs");
    let files = match std::fs::read_dir(&proofs) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&proofs, &error)),
    };
    let mut records = Vec::new();
    for file in files {
        let path = file.map_err(|error| unreadable(&proofs, &error))?.path();
        let bytes = bytes(&path).map_err(|error| unreadable(&path, &error))?;
        let proof = String::from_utf8(bytes).ok().and_then(|text| TlogProof::parse(&text).ok());
        let Some(proof) = proof else { continue };
        let record = proof.extra().unwrap_or_default();
        let is_here = leaves.is_none_or(|leaves| {
            let leaf = usize::try_from(proof.index()).ok().and_then(|at| leaves.get(at));
            leaf == Some(&chain::leaf(record))
        });
        match Record::parse(record) {
            Ok(record) if is_here && record.kind == Kind::Key && record.seq == proof.index() => {
                records.push(record);
            }
            _ => {}
        }
    }
    records.sort_by_key(|record| record.seq);
    Ok(records)
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

/// The policy in the folder.
pub(super) fn own_policy(folder: &Path, log: &str) -> Result<Policy, Verdict> {
    let policy = Policy::parse(&text(&folder.join("policy"), log)?);
    policy.map_err(|why: crate::policy::BadPolicy| -> Verdict {
        let fault: Fault = bad_head(log, &format!("its policy: {why}"));
        fault.into()
    })
}
