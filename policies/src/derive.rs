//! How a verdict follows from rulings: AskFirst is derived, not annotated.

use crate::engine::Ruling;
use crate::verdict::{Confirmation, VerdictKind};

/// A verdict without its proof, and the ruling on the question as it was asked.
pub(crate) struct Derived {
    pub(crate) kind: VerdictKind,
    pub(crate) ruling: Ruling,
    /// What failed while asking again with a confirmation.
    pub(crate) errors_when_confirmed: Vec<(String, String)>,
}

/// Asks as it stands; when that is denied, asks again as if it were confirmed, then as if somebody else had.
///
/// At most three rulings, and only one when it is allowed. A ruling with an error in it allows nothing, and an error on
/// the question as it stands is not asked about again: no confirmation mends a rule that fails.
pub(crate) fn derive(stands: Confirmation, mut ask: impl FnMut(Confirmation) -> Ruling) -> Derived {
    let ruling = ask(stands);
    let mut derived =
        Derived { kind: VerdictKind::Refuse, ruling, errors_when_confirmed: Vec::new() };
    if derived.ruling.allows() {
        derived.kind = VerdictKind::Permit;
        return derived;
    }
    if !derived.ruling.errors.is_empty() {
        return derived;
    }
    let own = (Confirmation { given: true, by_other: false }, VerdictKind::AskFirst);
    let other = (Confirmation { given: true, by_other: true }, VerdictKind::AskOther);
    for (confirmation, kind) in [own, other] {
        if at_most(confirmation, stands) {
            continue;
        }
        let confirmed = ask(confirmation);
        if confirmed.allows() {
            derived.kind = kind;
            return derived;
        }
        derived.errors_when_confirmed.extend(confirmed.errors);
    }
    derived
}

/// True when the confirmation adds nothing to what is there already.
fn at_most(confirmation: Confirmation, stands: Confirmation) -> bool {
    (!confirmation.given || stands.given) && (!confirmation.by_other || stands.by_other)
}
