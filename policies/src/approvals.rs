//! As which roles others may have to approve: found in the rules, not annotated.
//!
//! `context.confirmation.approvedAs` holds the roles as which other people approved a call, each person as one role. A
//! rule that reads it names its roles as text, so the text of such rules is all that a question can be asked with.
//!
//! INVARIANT: what is asked for is enough, and no role of it can be left out
//! (`what_is_asked_for_is_enough_and_no_more`).

use std::collections::BTreeSet;

use cedar_policy_core::ast::{ExprKind, Literal, Policy};

/// The most roles of one layer that are tried; each costs a ruling when a call is asked about, and none otherwise.
const MAX_ROLES: usize = 32;

/// Text that stands in rules which read `approvedAs`: its roles are among it.
pub(crate) fn roles_in<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    for policy in policies {
        let condition = policy.condition();
        let reads = condition.subexpressions().any(|part| {
            matches!(part.expr_kind(), ExprKind::GetAttr { attr, .. } if attr.as_str() == "approvedAs")
        });
        if !reads {
            continue;
        }
        for part in condition.subexpressions() {
            match part.expr_kind() {
                ExprKind::Lit(Literal::String(text)) if roles.len() < MAX_ROLES => {
                    roles.insert(text.to_string());
                }
                _ => {}
            }
        }
    }
    roles
}
