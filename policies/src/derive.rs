//! How a verdict follows from rulings: AskFirst is derived, not annotated.

use std::collections::BTreeSet;

use crate::engine::Ruling;
use crate::verdict::{Confirmation, VerdictKind};

/// A verdict without its proof, and the ruling on the question as it was asked.
pub(crate) struct Derived {
    pub(crate) kind: VerdictKind,
    pub(crate) ruling: Ruling,
    /// Roles as each of which another person has to approve.
    pub(crate) approvals: Vec<String>,
    /// What failed while asking again with a confirmation.
    pub(crate) errors_when_confirmed: Vec<(String, String)>,
}

/// Asks as it stands; when that is denied, asks again as if it were confirmed, then as if somebody else had approved it,
/// then as if somebody had as every role that a rule names.
///
/// One ruling when it is allowed, three when it is not and no rule names roles of approvers. A ruling with an error in it
/// allows nothing, and an error on the question as it stands is not asked about again: no confirmation mends a rule that
/// fails.
pub(crate) fn derive(
    stands: &Confirmation,
    roles: &BTreeSet<String>,
    mut ask: impl FnMut(&Confirmation) -> Ruling,
) -> Derived {
    let mut derived = Derived {
        kind: VerdictKind::Refuse,
        ruling: ask(stands),
        approvals: Vec::new(),
        errors_when_confirmed: Vec::new(),
    };
    if derived.ruling.allows() {
        derived.kind = VerdictKind::Permit;
        return derived;
    }
    if !derived.ruling.errors.is_empty() {
        return derived;
    }
    let own = (Confirmation::own(), VerdictKind::AskFirst);
    let other = (approved(stands.approved_as.clone()), VerdictKind::AskOther);
    let all = (approved(&stands.approved_as | roles), VerdictKind::AskOther);
    let mut asked = Vec::with_capacity(4);
    asked.push(stands.clone());
    for (confirmation, kind) in [own, other, all] {
        if asked.contains(&confirmation) {
            continue;
        }
        let confirmed = ask(&confirmation);
        if confirmed.allows() {
            derived.kind = kind;
            derived.approvals = fewest(confirmation.approved_as, &mut ask);
            return derived;
        }
        derived.errors_when_confirmed.extend(confirmed.errors);
        asked.push(confirmation);
    }
    derived
}

fn approved(approved_as: BTreeSet<String>) -> Confirmation {
    Confirmation { given: true, by_other: true, approved_as }
}

/// Leaves out one role after another, as long as the others are enough.
fn fewest(
    mut enough: BTreeSet<String>,
    ask: &mut impl FnMut(&Confirmation) -> Ruling,
) -> Vec<String> {
    for role in enough.clone() {
        let mut fewer = enough.clone();
        fewer.remove(&role);
        if ask(&approved(fewer.clone())).allows() {
            enough = fewer;
        }
    }
    enough.into_iter().collect()
}
