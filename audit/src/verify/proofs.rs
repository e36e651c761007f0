//! The proofs of an export: what an auditor may pass on alone.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::folder::{fault, text, unreadable};
use super::log_report::LogReport;
use super::report::Verdict;
use crate::chain::{self, Hash};
use crate::entry::Kind;
use crate::fault::FaultKind;
use crate::note::VerifierKey;
use crate::policy::Policy;
use crate::record::Record;
use crate::tlog_proof::TlogProof;

/// What was pruned, but for the certificates among it, each of which is proved in the folder. Their leaves
/// are under the head already, so their proofs need the log's signature and no witness.
pub(super) fn count(
    folder: &Path,
    key: &VerifierKey,
    leaves: &[Hash],
    report: &mut LogReport,
) -> Result<(), Verdict> {
    let policy = Policy::of_logs([key.clone()]);
    let proved = certificates(folder, &report.origin, &policy, leaves)?;
    let pruned = proved.range(..report.pruned);
    report.certificates = pruned.clone().count() as u64;
    report.erased += pruned.filter(|(_, kind)| **kind == Kind::Erase).count() as u64;
    report.lost_certificate().map_or(Ok(()), |fault| Err(fault.into()))
}

/// Every proof in a log's folder must prove the record that it carries, as one of `leaves`. Gives the
/// certificates among them, by place: of what was pruned they are kept here and nowhere else.
fn certificates(
    folder: &Path,
    origin: &str,
    policy: &Policy,
    leaves: &[Hash],
) -> Result<BTreeMap<u64, Kind>, Verdict> {
    let folder = folder.join("proofs");
    let files = match std::fs::read_dir(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(&folder, &error)),
    };
    let mut certificates = BTreeMap::new();
    for file in files {
        let path = file.map_err(|error| unreadable(&folder, &error))?.path();
        let (index, kind) = proved(&text(&path, origin)?, policy, leaves).map_err(|why| {
            let why = format!("`{}`: {why}", path.display());
            fault(origin, None, FaultKind::BadProof, &why)
        })?;
        if let Some(kind) = kind.filter(|kind| kind.is_certificate()) {
            certificates.insert(index, kind);
        }
    }
    Ok(certificates)
}

/// Place and kind of the record in a proof.
fn proved(text: &str, policy: &Policy, leaves: &[Hash]) -> Result<(u64, Option<Kind>), String> {
    let proof = TlogProof::parse(text).map_err(|why| why.to_string())?;
    let record = proof.extra().unwrap_or_default();
    let proved = proof.verify(record, policy, u64::MAX).map_err(|why| why.to_string())?;
    let here = usize::try_from(proved.index).ok().and_then(|index| leaves.get(index));
    if here != Some(&chain::leaf(record)) {
        return Err("it is not of a record of this log".to_owned());
    }
    Ok((proved.index, Record::parse(record).ok().map(|record| record.kind)))
}
