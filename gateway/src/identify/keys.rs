//! Keys that sign and verify access tokens.
//!
//! The life of a key: *prepared* (published, so that every verifier has it), *signing* (exactly one),
//! *retiring* (published until its last token is dead and every JWKS cache of 300 s is over), *retired*.
//! Private parts are in the directory only sealed, bound to their key id (`sealer.rs`).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::{IdentityError, SealFault, Sealer};
use crate::directory::{Actor, Directory, DirectoryError, SigningKeyRow, SigningKeyState};

/// How often the ring is read again, so that what another replica did is seen.
pub(super) const RELOAD_AFTER: Duration = Duration::from_secs(10);

/// How soon an unknown key id may cause another reading: attackers can send as many as they like.
const RELOAD_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Size of a new signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySize {
    /// 2,048 bits.
    Rsa2048,
    /// 3,072 bits.
    Rsa3072,
}

/// A published key.
pub(crate) struct VerifyingKey {
    kid: String,
    parsed: ParsedPublicKey,
}

impl VerifyingKey {
    /// RSASSA-PKCS1-v1_5 with SHA-256; the key knows no other algorithm.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

/// The key that signs.
pub(crate) struct Signer {
    kid: String,
    pair: RsaKeyPair,
}

impl Signer {
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// SubjectPublicKeyInfo, which attackers can make from the JWKS.
    #[cfg(test)]
    pub(crate) fn public_der(&self) -> Vec<u8> {
        let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
            self.pair.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
        Some(signature)
    }
}

/// All keys that count, at one moment.
pub(crate) struct KeyRing {
    keys: Vec<VerifyingKey>,
    signer: Signer,
    pub(crate) jwks: bytes::Bytes,
    read_at: Instant,
}

impl KeyRing {
    pub(crate) fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }
}

/// The keys of this deployment, as read from the directory.
pub(crate) struct SigningKeys {
    directory: Directory,
    pub(super) sealer: Arc<dyn Sealer>,
    ring: ArcSwap<KeyRing>,
    reading: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}

impl SigningKeys {
    pub(crate) async fn open(
        directory: Directory,
        sealer: Arc<dyn Sealer>,
        size: KeySize,
    ) -> Result<Self, IdentityError> {
        if directory.signing_keys().await?.iter().all(|k| k.state != SigningKeyState::Signing) {
            make_first(&directory, sealer.as_ref(), size).await?;
        }
        let ring = ArcSwap::from_pointee(read_ring(&directory, sealer.as_ref()).await?);
        Ok(Self { directory, sealer, ring, reading: tokio::sync::Mutex::new(()) })
    }

    /// The ring, at most [`RELOAD_AFTER`] old while the directory answers.
    pub(crate) async fn current(&self) -> Arc<KeyRing> {
        let ring = self.ring.load_full();
        if ring.read_at.elapsed() < RELOAD_AFTER {
            return ring;
        }
        self.reread(RELOAD_AFTER).await
    }

    /// The ring, read again when it lacks `kid` (at most once a second).
    pub(crate) async fn containing(&self, kid: &str) -> Arc<KeyRing> {
        let ring = self.current().await;
        if ring.key(kid).is_some() {
            return ring;
        }
        self.reread(RELOAD_AT_MOST_EVERY).await
    }

    /// Reads again unless someone else just did; on failure the ring before stays in force.
    async fn reread(&self, older_than: Duration) -> Arc<KeyRing> {
        let _one_reader = self.reading.lock().await;
        if self.ring.load().read_at.elapsed() >= older_than
            && let Err(error) = self.read_now().await
        {
            tracing::warn!(%error, "signing keys could not be read again; the ones before stay");
        }
        self.ring.load_full()
    }

    /// Reads again, whenever they were read before.
    pub(crate) async fn reread_now(&self) {
        self.reread(Duration::ZERO).await;
    }

    pub(super) async fn read_now(&self) -> Result<(), IdentityError> {
        let ring = read_ring(&self.directory, self.sealer.as_ref()).await?;
        self.ring.store(Arc::new(ring));
        Ok(())
    }
}

/// Makes the first key; when another replica was faster, its key is the first one.
async fn make_first(
    directory: &Directory,
    sealer: &dyn Sealer,
    size: KeySize,
) -> Result<(), IdentityError> {
    let row = generate(sealer, size, SigningKeyState::Signing).await?;
    match directory.insert_signing_key(&row, &Actor::gateway()).await {
        Ok(()) | Err(DirectoryError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn generate(
    sealer: &dyn Sealer,
    size: KeySize,
    state: SigningKeyState,
) -> Result<SigningKeyRow, IdentityError> {
    let size = match size {
        KeySize::Rsa2048 => rsa::KeySize::Rsa2048,
        KeySize::Rsa3072 => rsa::KeySize::Rsa3072,
    };
    // Tenths of a second of pure computing: not on a thread that serves calls.
    let pair = tokio::task::spawn_blocking(move || RsaKeyPair::generate(size))
        .await
        .map_err(|_| IdentityError::Generate)?
        .map_err(|_| IdentityError::Generate)?;
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let kid = thumbprint(&public);
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| IdentityError::Generate)?;
    let sealed = sealer
        .seal(&kid, private.as_ref())
        .await
        .map_err(|SealFault| IdentityError::Sealed { kid: kid.clone() })?;
    Ok(SigningKeyRow { kid, state, modulus: public.n, exponent: public.e, sealed, changed_ms: 0 })
}

async fn read_ring(directory: &Directory, sealer: &dyn Sealer) -> Result<KeyRing, IdentityError> {
    let rows = directory.signing_keys().await?;
    let keys = rows.iter().map(read_public).collect::<Result<Vec<_>, _>>()?;
    let signing = rows
        .iter()
        .find(|row| row.state == SigningKeyState::Signing)
        .ok_or(IdentityError::NoSigningKey)?;
    let signer = Signer { kid: signing.kid.clone(), pair: open_private(signing, sealer).await? };
    Ok(KeyRing { jwks: jwks_of(&rows), keys, signer, read_at: Instant::now() })
}

fn read_public(row: &SigningKeyRow) -> Result<VerifyingKey, IdentityError> {
    let components = RsaPublicKeyComponents { n: &row.modulus, e: &row.exponent };
    let parsed = components
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| IdentityError::Sealed { kid: row.kid.clone() })?;
    Ok(VerifyingKey { kid: row.kid.clone(), parsed })
}

async fn open_private(
    row: &SigningKeyRow,
    sealer: &dyn Sealer,
) -> Result<RsaKeyPair, IdentityError> {
    let unusable = || IdentityError::Sealed { kid: row.kid.clone() };
    let private = sealer.open(&row.kid, &row.sealed).await.map_err(|SealFault| unusable())?;
    RsaKeyPair::from_pkcs8(private.expose_secret()).map_err(|_| unusable())
}

/// RFC 7517 section 5; `use` and `alg` as the SDK wants them (wire-contract 1.1).
fn jwks_of(rows: &[SigningKeyRow]) -> bytes::Bytes {
    let keys: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": row.kid,
                "n": URL_SAFE_NO_PAD.encode(&row.modulus),
                "e": URL_SAFE_NO_PAD.encode(&row.exponent),
            })
        })
        .collect();
    serde_json::json!({ "keys": keys }).to_string().into()
}

/// The key id is the RFC 7638 thumbprint, so it cannot name another key by accident.
fn thumbprint(public: &RsaPublicKeyComponents<Vec<u8>>) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let canonical =
        format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(&public.e), encode(&public.n));
    encode(&super::api_key::sha256(canonical.as_bytes()))
}
