//! The key-encryption key in a hardware security module, through PKCS#11.
//!
//! The key is made inside the token, sensitive and not extractable: `C_Encrypt` and `C_Decrypt` with
//! AES-256-GCM are all that is ever asked of it. Each version is an object of the configured label, whose
//! `CKA_ID` is the version (4 bytes, big-endian) and 12 random bytes; so a token with another key of the
//! same name is noticed.
//!
//! Wrapped bytes: `format (1, 0x02), nonce (12), ciphertext (64), tag (16)`; the associated data is the
//! digest of whose scope key it is.
//!
//! Nonces are random, so the number of wrappings under one version is bounded (module `budget`).
//! Everything blocks, so everything runs on Tokio's blocking threads. After any fault of the module the
//! sessions are dropped and the next question connects anew.

mod budget;
mod faults;
mod token;

use crate::provider::{
    KeyProvider, KeyRef, ProviderError, ProviderFault, WrapDigest, WrapText, Wrapped,
};
use crate::secret_ref::SecretRef;
use crate::single_use;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use token::{Token, Version};
use zeroize::Zeroizing;

/// Name of this provider in stored rows.
pub(crate) const PROVIDER: &str = "pkcs11";

const FORMAT: u8 = 0x02;
const NONCE: usize = 12;

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Settings {
    /// The vendor's library, for example `libsofthsm2.so`.
    pub module: PathBuf,
    /// Label of the token.
    pub token_label: String,
    /// Label of the key; made in the token when there is none.
    pub key_label: String,
    /// The user's PIN. Read anew at each connection, so a changed PIN needs no restart.
    pub pin: SecretRef,
    /// Wrappings under one version at most; [`Pkcs11Settings::MAX_WRAPS`] is the highest that is taken.
    pub max_wraps: u64,
}

/// A key in a token. Clones share the sessions; `Debug` shows labels only.
#[derive(Clone)]
pub struct Pkcs11 {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Pkcs11Settings,
    token: Mutex<Option<Arc<Token>>>,
}

impl Pkcs11Settings {
    /// NIST SP 800-38D section 8.3 allows 2^32 messages with random nonces under one key; half of it, so
    /// that replicas that reserve at the same instant stay below.
    pub const MAX_WRAPS: u64 = 1 << 31;
}

impl Pkcs11 {
    /// Connects, logs in and makes the first version of the key when the token has none.
    ///
    /// # Errors
    /// [`ProviderError`], sorted by fault.
    pub async fn open(settings: Pkcs11Settings) -> Result<Self, ProviderError> {
        let this = Self { inner: Arc::new(Inner { settings, token: Mutex::default() }) };
        this.off_thread(|inner| {
            let token = inner.connected()?;
            if token.versions()?.is_empty() {
                token.make(1)?;
            }
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// Runs what blocks where it blocks nobody.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl Fn(&Inner) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || inner.with_recovery(&work)).await;
        done.unwrap_or_else(|lost| Err(error(ProviderFault::Other, lost.to_string())))
    }
}

impl Inner {
    /// Connects anew and asks once more when the first answer says that the module was away.
    fn with_recovery<T>(
        &self,
        work: impl Fn(&Self) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        match work(self) {
            Err(fault) if fault.fault() == ProviderFault::Unreachable => {
                self.disconnect();
                let again = work(self);
                if again.as_ref().is_err_and(|e| e.fault() == ProviderFault::Unreachable) {
                    self.disconnect();
                }
                again
            }
            done => done,
        }
    }

    fn connected(&self) -> Result<Arc<Token>, ProviderError> {
        let mut slot = self.slot();
        if let Some(token) = slot.as_ref() {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(Token::connect(&self.settings)?);
        *slot = Some(Arc::clone(&token));
        Ok(token)
    }

    fn disconnect(&self) {
        if let Some(token) = self.slot().take() {
            token.close();
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Token>>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> Result<(Arc<Token>, Version), ProviderError> {
        let token = self.connected()?;
        let newest = token.versions()?.into_iter().next_back();
        let newest = newest.ok_or_else(|| error(ProviderFault::KeyGone, "no key of this label"))?;
        Ok((token, newest))
    }

    fn find(&self, key: &KeyRef) -> Result<(Arc<Token>, Version), ProviderError> {
        let token = self.connected()?;
        if let Some(version) = token.known(key) {
            return Ok((token, version));
        }
        let versions = token.versions()?;
        let same_number = versions.iter().any(|version| version.number == key.kek_ver);
        if let Some(version) = versions.into_iter().find(|version| version.is(key)) {
            return Ok((token, version));
        }
        let fault = if same_number { ProviderFault::WrongKey } else { ProviderFault::KeyGone };
        Err(error(fault, key.to_string()))
    }

    fn wrap(&self, text: &WrapText, digest: &WrapDigest) -> Result<Wrapped, ProviderError> {
        let (token, version) = self.newest()?;
        token.spend(&version)?;
        let mut nonce: [u8; NONCE] =
            single_use::random().map_err(|why| error(ProviderFault::Other, why.to_string()))?;
        let head = [&[FORMAT], nonce.as_slice()].concat();
        let sealed = token.encrypt(&version, &mut nonce, digest, text.as_slice())?;
        Ok(Wrapped { key: version.reference(), bytes: [head, sealed].concat() })
    }

    fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError> {
        let altered = || error(ProviderFault::Altered, key.to_string());
        let (token, version) = self.find(key)?;
        let (format, rest) = bytes.split_first().ok_or_else(altered)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or_else(altered)?;
        if *format != FORMAT || sealed.len() != 64 + 16 {
            return Err(altered());
        }
        let text = token.decrypt(&version, &mut nonce.clone(), digest, sealed)?;
        let text: &[u8; 64] = text.as_slice().try_into().map_err(|_| altered())?;
        Ok(Zeroizing::new(*text))
    }

    fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        let (token, newest) = self.newest()?;
        if !newest.is(from) {
            return Ok(newest.reference());
        }
        token.make(newest.number.saturating_add(1))?;
        // Two processes that rotate at once make two keys of one number; all agree on one of them.
        Ok(self.newest()?.1.reference())
    }

    fn destroy(&self, key: &KeyRef) -> Result<(), ProviderError> {
        if self.newest()?.1.is(key) {
            return Err(error(ProviderFault::Denied, "the newest version is in use"));
        }
        match self.find(key) {
            Ok((token, version)) => token.destroy(&version),
            Err(gone) if gone.fault() == ProviderFault::KeyGone => Ok(()),
            Err(other) => Err(other),
        }
    }
}

#[async_trait]
impl KeyProvider for Pkcs11 {
    fn kind(&self) -> &'static str {
        PROVIDER
    }

    async fn current(&self) -> Result<KeyRef, ProviderError> {
        self.off_thread(|inner| Ok(inner.newest()?.1.reference())).await
    }

    async fn wrap(&self, text: &WrapText, digest: &WrapDigest) -> Result<Wrapped, ProviderError> {
        let (text, digest) = (text.clone(), *digest);
        self.off_thread(move |inner| inner.wrap(&text, &digest)).await
    }

    async fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError> {
        let (key, bytes, digest) = (key.clone(), bytes.to_vec(), *digest);
        self.off_thread(move |inner| inner.unwrap(&key, &bytes, &digest)).await
    }

    async fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        let from = from.clone();
        self.off_thread(move |inner| inner.rotate(&from)).await
    }

    async fn destroy_version(&self, key: &KeyRef) -> Result<(), ProviderError> {
        let key = key.clone();
        self.off_thread(move |inner| inner.destroy(&key)).await
    }
}

impl std::fmt::Debug for Pkcs11 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11")
            .field("token", &self.inner.settings.token_label)
            .field("key", &self.inner.settings.key_label)
            .finish_non_exhaustive()
    }
}

fn error(fault: ProviderFault, detail: impl Into<String>) -> ProviderError {
    ProviderError::new(PROVIDER, fault, detail)
}
