//! The key-encryption key in the transit engine of HashiCorp Vault or OpenBao.
//!
//! The service encrypts 64 bytes and gives back a text `vault:v<n>:...`, which is what the row holds. Its
//! `rewrap` takes no associated data, so none is used: the digest of whose scope key it is stands inside
//! the wrapped bytes and is compared after every unwrapping. So the service may wrap again by itself, and
//! the plaintext does not come out for it.
//!
//! A key is named `<mount>/<key>#<time at which the service made that version>`: a service that was set up
//! anew under the same name is noticed.
//!
//! The token is read anew when the service no longer accepts it, and renewed at half its lease. The
//! plaintext goes to the service in an HTTPS body, whose buffers belong to the HTTP library and are not
//! wiped. There are no redirects and there is no plain HTTP but to the own host.
//!
//! No real service could be installed where this was written: `tests/transit.rs` speaks to a stub that was
//! written from the public description of the interface, and knows nothing of a real one's habits.

mod client;
mod faults;

use crate::provider::{
    KeyProvider, KeyRef, ProviderError, ProviderFault, WrapDigest, WrapText, Wrapped,
};
use crate::secret_ref::SecretRef;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Name of this provider in stored rows.
pub(crate) const PROVIDER: &str = "transit";

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitSettings {
    /// Address of the service, such as `https://vault.example:8200`.
    pub address: String,
    /// Certificate authorities of the service in PEM, besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where the transit engine is mounted, usually `transit`.
    pub mount: String,
    /// Name of the key; it must exist, of type `aes256-gcm96`.
    pub key: String,
    /// A namespace of the service, when it has any.
    pub namespace: Option<String>,
    /// The token. Read anew when the service refuses the one at hand.
    pub token: SecretRef,
}

/// A key in a transit engine. `Debug` shows where it is, never the token.
#[derive(Debug)]
pub struct Transit {
    client: Client,
    mount: String,
    key: String,
}

/// The versions of the key, as the service tells them.
struct Versions {
    latest: u32,
    oldest: u32,
    /// When each was made, in the service's own words.
    made: BTreeMap<u32, String>,
}

impl Transit {
    /// Prepares the connection; the service is asked at the first question.
    ///
    /// # Errors
    /// [`ProviderError`]: `Denied` for an address that is not safe, `Other` for certificates that cannot
    /// be read.
    pub fn new(settings: TransitSettings) -> Result<Self, ProviderError> {
        let (mount, key) = (settings.mount.clone(), settings.key.clone());
        let safe = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if !safe(&key) || !mount.split('/').all(safe) {
            return Err(error(
                ProviderFault::Denied,
                "mount or key has letters that no path takes",
            ));
        }
        Ok(Self { client: Client::new(settings)?, mount, key })
    }

    async fn ask(&self, verb: &str, body: Value) -> Result<Value, ProviderError> {
        self.client.post(&format!("{}/{verb}/{}", self.mount, self.key), body).await
    }

    async fn versions(&self) -> Result<Versions, ProviderError> {
        let path = format!("{}/keys/{}", self.mount, self.key);
        let data = self.client.get(&path).await?;
        let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind != "aes256-gcm96" {
            let why = format!("the key is of type `{kind}`, and `aes256-gcm96` is wanted");
            return Err(error(ProviderFault::Denied, why));
        }
        let number = |name: &str| {
            let value = data.get(name).and_then(Value::as_u64).unwrap_or_default();
            u32::try_from(value).unwrap_or_default()
        };
        let keys = data.get("keys").and_then(Value::as_object);
        let made = keys.into_iter().flatten().filter_map(|(version, made)| {
            let made = made.as_str().map_or_else(|| made.to_string(), str::to_owned);
            Some((version.parse().ok()?, made))
        });
        let oldest = number("min_available_version").max(1);
        Ok(Versions { latest: number("latest_version"), oldest, made: made.collect() })
    }

    fn reference(&self, versions: &Versions, number: u32) -> Result<KeyRef, ProviderError> {
        let made = versions.made.get(&number);
        let made =
            made.ok_or_else(|| error(ProviderFault::KeyGone, format!("version {number}")))?;
        Ok(KeyRef { kek_id: format!("{}/{}#{made}", self.mount, self.key), kek_ver: number })
    }

    /// The bytes of a row from an answer, and the version that its text names.
    fn wrapped(&self, data: &Value, versions: &Versions) -> Result<Wrapped, ProviderError> {
        let text = data.get("ciphertext").and_then(Value::as_str).unwrap_or_default();
        let number = version_of(text)
            .ok_or_else(|| error(ProviderFault::Other, "the answer holds no wrapped key"))?;
        Ok(Wrapped { key: self.reference(versions, number)?, bytes: text.as_bytes().to_vec() })
    }

    /// What a row holds, if it is a text of the version that the row names.
    fn text_of(key: &KeyRef, bytes: &[u8]) -> Result<String, ProviderError> {
        let text = std::str::from_utf8(bytes).ok().filter(|t| version_of(t) == Some(key.kek_ver));
        text.map(str::to_owned).ok_or_else(|| error(ProviderFault::Altered, key.to_string()))
    }

    /// Tells a wrong message from a wrong key: the service has one word for both.
    async fn blame(&self, key: &KeyRef, why: ProviderError) -> ProviderError {
        if why.fault() != ProviderFault::Altered {
            return why;
        }
        match self.versions().await.and_then(|all| self.reference(&all, key.kek_ver)) {
            Ok(have) if have == *key => why,
            Ok(have) => error(ProviderFault::WrongKey, format!("wanted {key}, have {have}")),
            Err(other) => other,
        }
    }

    async fn trim(&self, keep_from: u32) -> Result<(), ProviderError> {
        let path = format!("{}/keys/{}", self.mount, self.key);
        let bounds =
            json!({ "min_decryption_version": keep_from, "min_encryption_version": keep_from });
        self.client.post(&format!("{path}/config"), bounds).await?;
        let body = json!({ "min_available_version": keep_from });
        self.client.post(&format!("{path}/trim"), body).await.map(drop)
    }
}

#[async_trait]
impl KeyProvider for Transit {
    fn kind(&self) -> &'static str {
        PROVIDER
    }

    async fn current(&self) -> Result<KeyRef, ProviderError> {
        let versions = self.versions().await?;
        self.reference(&versions, versions.latest)
    }

    async fn wrap(&self, text: &WrapText, _: &WrapDigest) -> Result<Wrapped, ProviderError> {
        let plaintext = Zeroizing::new(STANDARD.encode(text.as_slice()));
        let data = self.ask("encrypt", json!({ "plaintext": plaintext.as_str() })).await?;
        self.wrapped(&data, &self.versions().await?)
    }

    async fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError> {
        let body = json!({ "ciphertext": Self::text_of(key, bytes)? });
        let data = match self.ask("decrypt", body).await {
            Ok(data) => data,
            Err(why) => return Err(self.blame(key, why).await),
        };
        let text = data.get("plaintext").and_then(Value::as_str).unwrap_or_default();
        let plain = Zeroizing::new(STANDARD.decode(text).unwrap_or_default());
        let altered = || error(ProviderFault::Altered, key.to_string());
        let plain = Zeroizing::new(<[u8; 64]>::try_from(plain.as_slice()).map_err(|_| altered())?);
        let (_, inside) = plain.split_at(32);
        if bool::from(subtle::ConstantTimeEq::ct_eq(inside, digest.as_slice())) {
            return Ok(plain);
        }
        Err(altered())
    }

    async fn rewrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        _: &WrapDigest,
    ) -> Result<Option<Wrapped>, ProviderError> {
        let body = json!({ "ciphertext": Self::text_of(key, bytes)? });
        match self.ask("rewrap", body).await {
            Ok(data) => self.wrapped(&data, &self.versions().await?).map(Some),
            Err(why) => Err(self.blame(key, why).await),
        }
    }

    async fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        let current = self.current().await?;
        if current != *from {
            return Ok(current);
        }
        let path = format!("{}/keys/{}/rotate", self.mount, self.key);
        self.client.post(&path, json!({})).await?;
        self.current().await
    }

    async fn destroy_version(&self, key: &KeyRef) -> Result<(), ProviderError> {
        let versions = self.versions().await?;
        if key.kek_ver < versions.oldest {
            return Ok(());
        }
        if key.kek_ver >= versions.latest {
            return Err(error(ProviderFault::Denied, "the newest version is in use"));
        }
        if key.kek_ver > versions.oldest {
            let why = format!("version {} is older and must go first", versions.oldest);
            return Err(error(ProviderFault::Denied, why));
        }
        if self.reference(&versions, key.kek_ver)? != *key {
            return Err(error(ProviderFault::WrongKey, key.to_string()));
        }
        self.trim(key.kek_ver.saturating_add(1)).await
    }

    async fn probe(&self) -> Result<(), ProviderError> {
        let text = Zeroizing::new([0xa5; 64]);
        let digest = [0xa5; 32];
        let wrapped = self.wrap(&text, &digest).await?;
        self.unwrap(&wrapped.key, &wrapped.bytes, &digest).await.map(drop)
    }
}

/// The number in `vault:v<n>:...`.
fn version_of(text: &str) -> Option<u32> {
    let (number, rest) = text.strip_prefix("vault:v")?.split_once(':')?;
    let version: u32 = number.parse().ok()?;
    (version > 0 && !rest.is_empty() && version.to_string() == number).then_some(version)
}

fn error(fault: ProviderFault, detail: impl Into<String>) -> ProviderError {
    ProviderError::new(PROVIDER, fault, detail)
}
