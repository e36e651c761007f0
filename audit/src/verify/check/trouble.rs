//! What is wrong, named with the help of what follows.

use super::Checker;
use crate::chain::Hash;
use crate::fault::{Fault, FaultKind};
use crate::merkle;
use crate::note::Checkpoint;
use crate::record::{NotARecord, Record};

/// A fault whose name depends on what follows.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing that follows changes it.
    Certain(Fault),
    /// The bytes at this place are not those that the head vouches for.
    NotVouched { at: usize, parsed: Result<(), NotARecord> },
    /// The record here does not name the one before; the next one tells which of the two is bad.
    BrokenLink { at: u64, claimed: Hash },
    /// The record here claims a later place; it was swapped if somebody claims this one.
    Ahead { at: u64, claims: u64 },
}

impl Checker {
    /// What a further record says about trouble before it.
    pub(super) fn learn(&self, trouble: Trouble, next: Option<Record>) -> Trouble {
        match trouble {
            Trouble::BrokenLink { at, .. } => {
                // If the next record vouches for this one, the one before was changed.
                let intact = next.is_some_and(|next| next.prev == self.prev);
                let bad = if intact { at - 1 } else { at };
                let why = "its bytes are not those that the next record vouches for".to_owned();
                self.certain(bad, FaultKind::Edited, why)
            }
            Trouble::Ahead { at, claims } if next.is_some_and(|next| next.seq == at) => {
                let why = format!("it stands at the place of record {claims}");
                self.certain(at, FaultKind::Swapped, why)
            }
            other => other,
        }
    }

    /// The fault behind trouble, now that everything was seen.
    pub(super) fn name(&self, trouble: Trouble, head: Option<&Checkpoint>) -> Fault {
        match trouble {
            Trouble::Certain(fault) => fault,
            Trouble::BrokenLink { at, claimed } => self.last_link(at, claimed, head),
            Trouble::Ahead { at, claims } => {
                let why = format!("the next record here claims place {claims}");
                self.fault(Some(at), FaultKind::Deleted, why)
            }
            Trouble::NotVouched { at, parsed } => self.compare_leaves(at, parsed),
        }
    }

    /// The link to the last record is broken and no further record tells which of the two is bad:
    /// if the signed root fits what the last one claims of the one before, that one was changed.
    fn last_link(&self, at: u64, claimed: Hash, head: Option<&Checkpoint>) -> Fault {
        let mut leaves = self.leaves.clone();
        if let Some(before) = leaves.iter_mut().rev().nth(1) {
            *before = claimed;
        }
        let intact = head.is_some_and(|head| head.root == merkle::root(&leaves));
        let bad = if intact { at - 1 } else { at };
        let why = "`prev` is not the leaf hash of the record before".to_owned();
        self.fault(Some(bad), FaultKind::Edited, why)
    }

    /// Tells what was done at `at` by laying the leaves that are here beside the vouched ones.
    fn compare_leaves(&self, at: usize, parsed: Result<(), NotARecord>) -> Fault {
        let vouched = self.vouched.as_deref().unwrap_or_default();
        let here = self.leaves.get(at);
        let Some(logged) = vouched.get(at) else {
            let why = "the signed head knows no record here".to_owned();
            return self.fault(Some(at as u64), FaultKind::Inserted, why);
        };
        let logged_at = here.and_then(|leaf| vouched.iter().position(|one| one == leaf));
        let still_here = self.leaves.contains(logged);
        let (kind, why) = match (logged_at, still_here) {
            (None, false) => {
                let why = "its bytes do not give the leaf hash under the signed head".to_owned();
                (FaultKind::Edited, parsed.err().map_or(why.clone(), |bad| format!("{why}; {bad}")))
            }
            (None, true) => (FaultKind::Inserted, "it was never logged".to_owned()),
            (Some(place), true) if place < at => {
                (FaultKind::Inserted, format!("it is a copy of record {place}"))
            }
            (Some(place), true) => (FaultKind::Swapped, format!("it was logged at place {place}")),
            (Some(place), false) => {
                (FaultKind::Deleted, format!("record {place} stands in its place"))
            }
        };
        self.fault(Some(at as u64), kind, why)
    }

    pub(super) fn certain(&self, at: u64, kind: FaultKind, why: String) -> Trouble {
        Trouble::Certain(self.fault(Some(at), kind, why))
    }

    pub(super) fn fault(&self, seq: Option<u64>, kind: FaultKind, why: String) -> Fault {
        Fault { log: self.report.origin.clone(), seq, kind, why }
    }
}
