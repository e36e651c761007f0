//! The sealed body beside a record: the capsule of its decision and the keys of its commitments.

use portcullis_audit::disclose::CAPSULE;
use portcullis_audit::{Body, CallFields, Commitment};
use portcullis_policies::{Capsule, CapsuleText};
use portcullis_secrets::{Context, Purpose, Scope};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use zeroize::Zeroizing;

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

/// Seals what belongs beside a record, and commits to the capsule in its fields; nothing when there is
/// nothing to keep. `keys` are those of the record's other commitments, and of what its outcome will commit to.
///
/// # Errors
/// [`Refusal::Unavailable`] when the scope key can't be had.
pub(super) async fn seal(
    gateway: &Gateway,
    trail: &Trail,
    fields: &mut CallFields,
    keys: &[(&str, &[u8; 32])],
) -> Result<Option<Body>, Refusal> {
    let Some((tenant, user, app)) = trail.scope() else { return Ok(None) };
    let capsule = trail.capsule();
    if capsule.is_none() && keys.is_empty() {
        return Ok(None);
    }
    let committed = capsule.map(|text| Commitment::of(CAPSULE, text.as_str().as_bytes()));
    let committed = committed.transpose().map_err(unavailable)?;
    let own = committed.as_ref().map(|capsule| (CAPSULE, capsule.key()));
    let keys = keys.iter().copied().chain(own);
    let keys = keys.map(|(name, key)| (name, hex::encode(key))).collect();
    let plain = serde_json::to_vec(&Plain { capsule, keys });
    let plain = Zeroizing::new(plain.map_err(unavailable)?);
    let scope = Scope::new(tenant, user, app).map_err(unavailable)?;
    let context = Context::new(scope, &trail.op().to_string(), Purpose::Capsule);
    let context = context.map_err(unavailable)?;
    let blob = gateway.vault.seal(&context, &plain).await.map_err(unavailable)?;
    if let Some(capsule) = committed {
        fields.note.insert(CAPSULE.to_owned(), hex::encode(capsule.digest()));
    }
    Ok(Some(Body(blob)))
}

/// Opens what [`seal`] kept beside the record of this operation: the text of the capsule, and the keys.
///
/// # Errors
/// When the scope key is gone or another one, or when the body is damaged.
pub async fn open_body(
    vault: &Vault,
    (tenant, user, app): (&str, &str, &str),
    op: Uuid,
    body: &[u8],
) -> Result<Opened, Unopened> {
    let scope = Scope::new(tenant, user, app)?;
    let lease = vault.open(&Context::new(scope, &op.to_string(), Purpose::Capsule)?, body).await?;
    Ok(lease.with(|plain| serde_json::from_slice(plain))?)
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

/// What was sealed beside a record.
#[derive(Deserialize)]
pub struct Opened {
    /// The capsule as it was committed to.
    #[serde(default)]
    pub capsule: Option<Box<RawValue>>,
    keys: Vec<(String, String)>,
}

impl Opened {
    /// The capsule of its decision; `None` when no rule was asked.
    ///
    /// # Errors
    /// When it is not what this program writes.
    pub fn decided(&self) -> Result<Option<Capsule>, Unopened> {
        let capsule = self.capsule.as_ref().map(|text| serde_json::from_str(text.get()));
        Ok(capsule.transpose()?)
    }

    /// The key of a field's commitment.
    #[must_use]
    pub fn key(&self, field: &str) -> Option<Zeroizing<[u8; 32]>> {
        let (_, text) = self.keys.iter().find(|(name, _)| name == field)?;
        let mut key = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(text, key.as_mut_slice()).ok()?;
        Some(key)
    }
}

pub(super) fn unavailable(fault: impl std::fmt::Display) -> Refusal {
    tracing::error!(%fault, "a record's body could not be sealed");
    Refusal::Unavailable("vault".to_owned())
}
