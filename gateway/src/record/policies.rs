//! Records about the rules themselves: which set came into force, which was refused and why.

use std::collections::BTreeMap;

use portcullis_audit::{CallFields, DEPLOYMENT, Entry, Kind, Ledger, PolicyRef};
use uuid::Uuid;

use crate::in_force::{InForce, Proof};

/// A refusal's words in a record are cut here: the log has the rest.
const WORDS: usize = 2000;

/// Stores the set by its digest and records that it comes into force; durable when it returns.
///
/// # Errors
/// What the ledger said.
pub async fn policies_loaded(ledger: &Ledger, loaded: &InForce) -> Result<(), String> {
    let digest = loaded.rulebook.digest();
    ledger
        .store_policy_set(*digest.as_bytes(), loaded.rulebook.policy_texts().to_vec())
        .await
        .map_err(|fault| fault.to_string())?;
    let (solver, why) = match &loaded.proof {
        Proof::Proved { solver } | Proof::Receipt { solver } => (solver.as_str(), ""),
        Proof::Unproved { why } => ("", why.as_str()),
    };
    let invariants = loaded.rulebook.invariants_digest();
    let note = [
        ("action", "policies_loaded"),
        ("proof", loaded.proof.word()),
        ("invariants", invariants.as_str()),
        ("solver", solver),
        ("why", why),
    ];
    admin(ledger, Some(("loaded", digest.to_string())), note).await
}

/// Records that a set was refused and which one stays in force; durable when it returns.
///
/// # Errors
/// What the ledger said.
pub async fn policies_refused(
    ledger: &Ledger,
    kept: Option<String>,
    fault: &impl std::fmt::Display,
) -> Result<(), String> {
    let words: String = fault.to_string().chars().take(WORDS).collect();
    let note = [("action", "policies_refused"), ("why", words.as_str())];
    admin(ledger, Some(("kept", kept.unwrap_or_default())), note).await
}

/// Appends an admin record to the deployment's own log; durable when it returns.
pub(super) async fn admin<const N: usize>(
    ledger: &Ledger,
    policies: Option<(&str, String)>,
    note: [(&str, &str); N],
) -> Result<(), String> {
    let note: BTreeMap<String, String> = note
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let pol = policies.map(|(decision, bundle)| PolicyRef {
        decision: decision.to_owned(),
        rules: Vec::new(),
        bundle,
    });
    let entry = Entry {
        tenant: DEPLOYMENT.to_owned(),
        kind: Kind::Admin,
        op: Uuid::now_v7(),
        reference: None,
        fields: CallFields { pol, note, ..CallFields::default() },
        body: None,
    };
    ledger.append(entry).await.map(|_| ()).map_err(|fault| fault.to_string())
}
