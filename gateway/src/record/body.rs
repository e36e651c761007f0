//! The sealed body beside a record: the capsule of its decision and the keys of its commitments.

use portcullis_audit::{Body, Commitment};
use portcullis_policies::{Capsule, CapsuleText};
use portcullis_secrets::{Context, Purpose, Scope};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Trail;
use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::secrets::Vault;

#[derive(Serialize)]
struct Plain<'a> {
    /// Everything needed to run the decision again.
    #[serde(skip_serializing_if = "Option::is_none")]
    capsule: Option<&'a CapsuleText>,
    /// Field name and key (hex): who has the key can check the payload, who has not learns nothing.
    keys: Vec<(&'a str, String)>,
}

/// Seals what belongs beside a record; nothing when there is nothing to keep.
///
/// # Errors
/// [`Refusal::Unavailable`] when the scope key can't be had.
pub(super) async fn seal(
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
    gateway.vault.seal(&context, &plain).await.map(|blob| Some(Body(blob))).map_err(unavailable)
}

/// Opens what [`seal`] kept beside the record of this operation, and gives the capsule of its
/// decision; `None` when no rule was asked.
///
/// # Errors
/// When the scope key is gone or another one, or when the body is damaged.
pub async fn open_capsule(
    vault: &Vault,
    (tenant, user, app): (&str, &str, &str),
    op: Uuid,
    body: &[u8],
) -> Result<Option<Capsule>, Unopened> {
    let scope = Scope::new(tenant, user, app)?;
    let lease = vault.open(&Context::new(scope, &op.to_string(), Purpose::Capsule)?, body).await?;
    let kept: Kept = lease.with(|plain| serde_json::from_slice(plain))?;
    Ok(kept.capsule)
}

/// Why a sealed body stays closed.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// The record names nobody under whose key it could be sealed.
    #[error(transparent)]
    Context(#[from] portcullis_secrets::InvalidContext),
    /// The vault does not open it.
    #[error(transparent)]
    Vault(#[from] portcullis_secrets::OpenError),
    /// It opened, and is not what this program writes.
    #[error("the sealed body is not what this version writes: {0}")]
    Shape(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Kept {
    capsule: Option<Capsule>,
}

pub(super) fn unavailable(fault: impl std::fmt::Display) -> Refusal {
    tracing::error!(%fault, "a record's body could not be sealed");
    Refusal::Unavailable("vault".to_owned())
}
