//! The sealed body beside a record: the capsule of its decision and the keys of its commitments.

use portcullis_audit::{Body, Commitment};
use portcullis_policies::Capsule;
use portcullis_secrets::{Context, Purpose, Scope};
use serde::Serialize;

use super::Trail;
use crate::gateway::Gateway;
use crate::refusal::Refusal;

#[derive(Serialize)]
struct Plain<'a> {
    /// Everything needed to run the decision again.
    #[serde(skip_serializing_if = "Option::is_none")]
    capsule: Option<&'a Capsule>,
    /// Field name and key (hex): who has the key can check the payload, who has not learns nothing.
    keys: Vec<(&'a str, String)>,
}

/// Seals what belongs beside a record; nothing when there is nothing to keep.
///
/// # Errors
/// [`Refusal::Unavailable`] when the scope key can't be had.
pub(super) fn seal(
    gateway: &Gateway,
    trail: &Trail,
    commitments: &[(&str, &Commitment)],
) -> Result<Option<Body>, Refusal> {
    let Some((tenant, user, app)) = trail.scope() else { return Ok(None) };
    if trail.capsule().is_none() && commitments.is_empty() {
        return Ok(None);
    }
    let keys = commitments.iter().map(|(name, of)| (*name, hex::encode(of.key()))).collect();
    let plain = serde_json::to_vec(&Plain { capsule: trail.capsule(), keys });
    let plain = zeroize::Zeroizing::new(plain.map_err(unavailable)?);
    let scope = Scope::new(tenant, user, app).map_err(unavailable)?;
    let context = Context::new(scope, &trail.op().to_string(), Purpose::Capsule);
    let context = context.map_err(unavailable)?;
    gateway.vault.seal(&context, &plain).map(|blob| Some(Body(blob))).map_err(unavailable)
}

pub(super) fn unavailable(fault: impl std::fmt::Display) -> Refusal {
    tracing::error!(%fault, "a record's body could not be sealed");
    Refusal::Unavailable("vault".to_owned())
}
