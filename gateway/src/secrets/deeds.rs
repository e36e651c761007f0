//! What is done with secrets once it is permitted and written down.

use portcullis_audit::{IntentReceipt, UsedSecret};
use portcullis_kernel_adapter::{Class, Cleared, Outcome};
use portcullis_secrets::{BlobId, OpenError};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{LentValue, context_of};
use crate::directory::{DirectoryError, NewSecret, StoredSecret};
use crate::dispatch::Dispatched;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::knock::SecretDeed;
use crate::record::{self, Trail};
use crate::resolve::{OwnCall, OwnSecret};

/// How often a change is tried again that somebody else was ahead of.
const TRIES: u32 = 4;
/// What an extension uses a secret for, in records.
const EXTENSION: &str = "extension";
const DAY_MS: i64 = 86_400_000;

/// Carries out a cleared call about secrets.
pub async fn carry_out(
    gateway: &Gateway,
    cleared: Cleared,
    digest: &[u8; 32],
    caller: &Caller,
    trail: &mut Trail,
    own: OwnCall,
) -> Dispatched {
    let receipt = match cleared.spend(trail.op(), digest) {
        Ok(receipt) => receipt,
        Err(fault) => return ended(Outcome::failed(Class::NotTheSameCall, fault)),
    };
    let OwnCall { app, deed, secrets } = own;
    let Some(secret) = secrets.first().filter(|_| deed.name().is_some()) else {
        return ended(list(gateway, &secrets).await);
    };
    let by = caller.extension().map_or_else(|| caller.user_id().to_owned(), ToString::to_string);
    match deed {
        SecretDeed::Get { .. } => lend(gateway, &receipt, trail, secret, app.id.as_str()).await,
        SecretDeed::Set { value, .. } => ended(set(gateway, trail, secret, &value, &by).await),
        SecretDeed::Delete { .. } => ended(delete(gateway, trail, secret, &by).await),
        SecretDeed::Meta { .. } | SecretDeed::List => ended(meta(gateway, secret).await),
    }
}

/// The order matters: the record of the use is durable before the value is opened.
async fn lend(
    gateway: &Gateway,
    receipt: &IntentReceipt,
    trail: &mut Trail,
    secret: &OwnSecret,
    app: &str,
) -> Dispatched {
    let stored = match gateway.directory.secret(&secret.place).await {
        Ok(stored) => stored,
        Err(fault) => return ended(storage(&fault)),
    };
    let Some((stored, sealed)) = stored.and_then(|s| s.sealed.clone().map(|sealed| (s, sealed)))
    else {
        return from_environment(gateway, receipt, trail, secret).await;
    };
    trail.used(used(&stored, EXTENSION));
    if let Err(refusal) = record::secret_use(&gateway.ledger, trail, receipt).await {
        return ended(Outcome::failed(Class::Storage, refusal));
    }
    let Ok(context) = context_of(&secret.place) else {
        return ended(Outcome::failed(Class::Vault, "the secret's place has no context"));
    };
    let id = BlobId { secret: stored.id, version: stored.version };
    match gateway.vault.lend(receipt, &context, id, &sealed).await {
        Ok(lease) => {
            gateway.secret_uses.note(&secret.place, app);
            Dispatched::Lent(LentValue::from_vault(lease))
        }
        Err(fault) => ended(not_opened(&secret.place, &fault)),
    }
}

/// A value of the app that was never set may stand in the gateway's environment (`env_fallback`).
async fn from_environment(
    gateway: &Gateway,
    receipt: &IntentReceipt,
    trail: &mut Trail,
    secret: &OwnSecret,
) -> Dispatched {
    let Some(value) = environment(secret) else {
        return ended(not_set());
    };
    let (name, purpose) = (secret.declared.name.clone(), "extension_environment".to_owned());
    trail.used(UsedSecret { id: "0".repeat(32), name, version: 0, purpose });
    match record::secret_use(&gateway.ledger, trail, receipt).await {
        Ok(()) => Dispatched::Lent(LentValue::from_environment(value)),
        Err(refusal) => ended(Outcome::failed(Class::Storage, refusal)),
    }
}

async fn set(
    gateway: &Gateway,
    trail: &mut Trail,
    secret: &OwnSecret,
    value: &SecretString,
    by: &str,
) -> Outcome {
    for _ in 0..TRIES {
        let stored = match gateway.directory.secret(&secret.place).await {
            Ok(stored) => stored,
            Err(fault) => return storage(&fault),
        };
        let new = match sealed(gateway, secret, stored.as_ref(), value, by).await {
            Ok(new) => new,
            Err(outcome) => return outcome,
        };
        match gateway.directory.set_secret(&new).await {
            Ok(true) => {
                trail.used(named(&new.id, &secret.declared.name, new.version, "set"));
                return done(&json!({ "status": "stored", "version": new.version }));
            }
            Ok(false) => {}
            Err(fault) => return storage(&fault),
        }
    }
    let message = "somebody else changed it at the same moment".to_owned();
    Outcome::Refused { class: Class::SecretChanged, message, value: None }
}

/// Seals a value as the version after the stored one.
async fn sealed(
    gateway: &Gateway,
    secret: &OwnSecret,
    stored: Option<&StoredSecret>,
    value: &SecretString,
    by: &str,
) -> Result<NewSecret, Outcome> {
    let vault = |fault: &dyn std::fmt::Display| {
        tracing::error!(secret = %secret.place, %fault, "a secret could not be sealed");
        Outcome::failed(Class::Vault, fault)
    };
    let id = match stored {
        Some(stored) => BlobId { secret: stored.id, version: stored.version.saturating_add(1) },
        None => BlobId { secret: uuid::Uuid::new_v4().into_bytes(), version: 1 },
    };
    let context = context_of(&secret.place).map_err(|fault| vault(&fault))?;
    let plain = value.expose_secret().as_bytes();
    let sealed = gateway.vault.seal_secret(&context, id, plain).await;
    let sealed = sealed.map_err(|fault| vault(&fault))?;
    let place = secret.place.clone();
    Ok(NewSecret { place, id: id.secret, version: id.version, sealed, by: by.to_owned() })
}

async fn delete(gateway: &Gateway, trail: &mut Trail, secret: &OwnSecret, by: &str) -> Outcome {
    match gateway.directory.secret(&secret.place).await {
        Ok(Some(stored)) => trail.used(used(&stored, "delete")),
        Ok(None) => {}
        Err(fault) => return storage(&fault),
    }
    match gateway.directory.forget_secret(&secret.place, by).await {
        Ok(was_set) => done(&json!({ "was_set": was_set })),
        Err(fault) => storage(&fault),
    }
}

async fn meta(gateway: &Gateway, secret: &OwnSecret) -> Outcome {
    match gateway.directory.secret(&secret.place).await {
        Ok(stored) => done(&described(secret, stored.as_ref())),
        Err(fault) => storage(&fault),
    }
}

async fn list(gateway: &Gateway, secrets: &[OwnSecret]) -> Outcome {
    let mut all = Vec::with_capacity(secrets.len());
    for secret in secrets {
        match gateway.directory.secret(&secret.place).await {
            Ok(stored) => all.push(described(secret, stored.as_ref())),
            Err(fault) => return storage(&fault),
        }
    }
    done(&Value::from(all))
}

/// A secret as anybody may see it who may know of it: everything but the value. Times are Unix seconds.
fn described(secret: &OwnSecret, stored: Option<&StoredSecret>) -> Value {
    let declared = &secret.declared;
    let set = stored.filter(|stored| stored.sealed.is_some());
    let due = declared.rotation_hint_days.zip(set);
    let due = due.map(|(days, set)| set.set_ms.saturating_add(i64::from(days) * DAY_MS) / 1000);
    json!({
        "name": declared.name,
        "description": declared.description,
        "is_set": set.is_some() || environment(secret).is_some(),
        "required": declared.required,
        "scope": declared.scope.as_str(),
        "write_mode": declared.write_mode.as_str(),
        "max_bytes": declared.max_bytes,
        "set_at": set.map(|set| set.set_ms / 1000),
        "last_accessed_at": stored.and_then(|s| s.last_used_ms).map(|ms| ms / 1000),
        "last_accessed_by": stored.and_then(|s| s.last_used_by.as_deref()),
        "rotation_due_at": due,
    })
}

fn environment(secret: &OwnSecret) -> Option<SecretString> {
    let name = secret.declared.env_fallback.as_deref()?;
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(SecretString::from)
}

fn used(stored: &StoredSecret, purpose: &str) -> UsedSecret {
    named(&stored.id, &stored.place.name, stored.version, purpose)
}

fn named(id: &[u8; 16], name: &str, version: u32, purpose: &str) -> UsedSecret {
    let (id, version) = (hex::encode(id), u64::from(version));
    UsedSecret { id, name: name.to_owned(), version, purpose: purpose.to_owned() }
}

fn ended(outcome: Outcome) -> Dispatched {
    Dispatched::Ended(outcome)
}

fn done(value: &Value) -> Outcome {
    Outcome::Done { value: value.to_string().into() }
}

fn not_set() -> Outcome {
    let message = "the secret has no value".to_owned();
    Outcome::Refused { class: Class::SecretNotSet, message, value: None }
}

fn storage(fault: &DirectoryError) -> Outcome {
    tracing::error!(%fault, "the directory did not answer about a secret");
    Outcome::failed(Class::Storage, fault)
}

/// A key provider that is away passes by itself; anything else wants an operator.
fn not_opened(place: &crate::directory::SecretPlace, fault: &OpenError) -> Outcome {
    tracing::error!(secret = %place, %fault, "a secret does not open");
    Outcome::failed(Class::Vault, fault)
}
