//! Checkpoints of one log that a witness has seen lately, cosigned or refused: two of one size with
//! different roots prove that the log has forked.

use std::collections::BTreeMap;

use portcullis_audit::fork::ForkProof;
use portcullis_audit::note::{SignedNote, VerifierKey};

/// Checkpoints that are remembered of a log, the largest ones.
const REMEMBERED: usize = 256;

/// Signed notes by their size.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<u64, String>);

impl Seen {
    /// Takes a note that one of `keys` signed, and compares it with the one of its size.
    pub(super) fn take(
        &mut self,
        keys: &[VerifierKey],
        size: u64,
        note: &str,
    ) -> Option<ForkProof> {
        if let Some(before) = self.0.get(&size) {
            let proofs = keys.iter().map(|key| ForkProof::find(key, before, note));
            return proofs.filter_map(Result::ok).flatten().next();
        }
        self.0.insert(size, note.to_owned());
        if self.0.len() > REMEMBERED {
            self.0.pop_first();
        }
        None
    }
}

/// The note with the signatures of its log only: what others signed is theirs to show.
pub(super) fn of_its_log(note: &str, origin: &str) -> String {
    let Ok(signed) = SignedNote::parse(note) else { return note.to_owned() };
    let lines = note.strip_prefix(signed.text()).and_then(|rest| rest.strip_prefix('\n'));
    let lines = lines.unwrap_or_default().split_inclusive('\n').zip(signed.signatures());
    let own = lines.filter(|(_, signature)| signature.name == origin).map(|(line, _)| line);
    format!("{}\n{}", signed.text(), own.collect::<String>())
}
