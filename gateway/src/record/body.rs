//! The sealed body beside a record: the capsule of its decision and the keys of its commitments.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_audit::disclose::CAPSULE;
use portcullis_audit::{Body, CallFields, Commitment};
use portcullis_policies::{Capsule, CapsuleText};
use portcullis_secrets::{Context, Purpose, Scope};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Trail;
use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::secrets::Vault;

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
    let plain = plain(capsule.map(CapsuleText::as_str), keys);
    let scope = Scope::new(tenant, user, app).map_err(unavailable)?;
    let context = Context::new(scope, &trail.op().to_string(), Purpose::Capsule);
    let context = context.map_err(unavailable)?;
    let blob = gateway.vault.seal(&context, plain.as_bytes()).await.map_err(unavailable)?;
    if let Some(capsule) = committed {
        fields.note.insert(CAPSULE.to_owned(), hex::encode(capsule.digest()));
    }
    Ok(Some(Body(blob)))
}

/// What is sealed, the JSON text of [`Opened`]: everything needed to run the decision again, and field names and keys
/// (base64url): who has the key can check the payload, who has not learns nothing. Names need no escapes.
///
/// It is written into room for all of it: a buffer that grows leaves copies behind that nobody wipes.
fn plain<'a>(
    capsule: Option<&str>,
    keys: impl Iterator<Item = (&'a str, &'a [u8; 32])> + Clone,
) -> Zeroizing<String> {
    let room = keys.clone().map(|(name, _)| name.len() + 64).sum::<usize>();
    let room = room + capsule.map_or(0, str::len) + 32;
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push('{');
    if let Some(capsule) = capsule {
        text.extend(["\"capsule\":", capsule, ","]);
    }
    text.push_str("\"keys\":[");
    for (at, (name, key)) in keys.enumerate() {
        text.extend([if at == 0 { "[\"" } else { ",[\"" }, name, "\",\""]);
        let mut digits = Zeroizing::new([0_u8; 43]);
        // 32 bytes are 43 digits.
        let _ = URL_SAFE_NO_PAD.encode_slice(key, digits.as_mut_slice());
        text.extend(digits.iter().copied().map(char::from));
        text.push_str("\"]");
    }
    text.push_str("]}");
    debug_assert!(serde_json::from_str::<Opened>(&text).is_ok(), "no JSON");
    debug_assert!(text.len() <= room, "it grew");
    text
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
        if text.len() == 2 * key.len() {
            // As earlier versions wrote them.
            hex::decode_to_slice(text, key.as_mut_slice()).ok()?;
            return Some(key);
        }
        let length = URL_SAFE_NO_PAD.decode_slice(text, key.as_mut_slice()).ok()?;
        (length == key.len()).then_some(key)
    }
}

pub(super) fn unavailable(fault: impl std::fmt::Display) -> Refusal {
    tracing::error!(%fault, "a record's body could not be sealed");
    Refusal::Unavailable("vault".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_again() {
        let keys = [("in", [1_u8; 32]), ("out", [255; 32]), (CAPSULE, [0; 32])];
        for capsule in [None, Some("{\"version\":1,\"context\":{\"a\":\"\\u0000\"}}")] {
            for some in 0..=keys.len() {
                let keys = || keys.iter().take(some).map(|(name, key)| (*name, key));
                let opened: Opened = serde_json::from_str(&plain(capsule, keys())).unwrap();
                assert_eq!(opened.capsule.as_ref().map(|text| text.get()), capsule);
                assert_eq!(opened.keys.len(), some);
                for (name, key) in keys() {
                    assert_eq!(*opened.key(name).unwrap(), *key);
                }
            }
        }
    }

    #[test]
    fn keys_as_earlier_versions_wrote_them_are_read_and_no_others() {
        let opened = |digits: &str| -> Opened {
            serde_json::from_str(&format!("{{\"keys\":[[\"in\",\"{digits}\"]]}}")).unwrap()
        };
        assert_eq!(*opened(&"ab".repeat(32)).key("in").unwrap(), [0xab; 32]);
        assert!(opened(&"ab".repeat(32)).key("out").is_none());
        for wrong in ["", "ab", &"zz".repeat(32), &"!".repeat(43), &"A".repeat(44), &"A".repeat(42)]
        {
            assert!(opened(wrong).key("in").is_none(), "{wrong}");
        }
    }
}
