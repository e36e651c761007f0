//! `[key_provider]`: where the key-encryption key is.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_secrets::{KeyFile, KeyFileError, Pkcs11Settings, SecretRef, TransitSettings};

use super::super::checker::Checker;
use super::super::document::At;
use super::super::mistakes::Kind;
use super::super::settings::{Data, KEY_CACHE, KeyProvider, SecretSource};
use super::super::written::SecretForm;
use super::super::written::keys::{self as written, KeyProviderKind};

/// Name of key or alias where none is written.
const KEY: &str = "portcullis";

/// Shortest and longest time within which an erasure is final: backups open for less than half of it, and
/// ledger-and-vault.md 5.9 wants an end within 30 days. AWS KMS deletes a key seven days after it was told to.
const FINAL_ERASURE: RangeInclusive<Duration> =
    Duration::from_secs(2 * 86_400)..=Duration::from_secs(30 * 86_400);
const FINAL_ERASURE_IN_KMS: RangeInclusive<Duration> =
    Duration::from_secs(20 * 86_400)..=*FINAL_ERASURE.end();

/// The provider, how long unwrapped scope keys are kept, and within which time an erasure is final.
pub(super) fn key_provider(
    c: &mut Checker<'_>,
    at: &At,
    written: written::KeyProvider,
    data: &Data,
) -> Option<(KeyProvider, Duration, Option<Duration>)> {
    let bounds = Duration::from_secs(1)..=KEY_CACHE;
    let cache = c.duration(&at.key("cache"), written.cache.as_ref(), KEY_CACHE, bounds);
    let bounds = match written.kind {
        Some(KeyProviderKind::AwsKms) => FINAL_ERASURE_IN_KMS,
        _ => FINAL_ERASURE,
    };
    let final_erasure = written.final_erasure.as_ref().map(|written| {
        c.duration(&at.key("final_erasure"), Some(written), *FINAL_ERASURE.end(), bounds)
    });
    let provider = match written.kind.unwrap_or_default() {
        KeyProviderKind::KeyFile => key_file(c, at, written.path, data),
        KeyProviderKind::Pkcs11 => pkcs11(c, &at.key("pkcs11"), written.pkcs11.unwrap_or_default()),
        KeyProviderKind::Transit => {
            transit(c, &at.key("transit"), written.transit.unwrap_or_default())
        }
        KeyProviderKind::AwsKms => {
            aws_kms(c, &at.key("aws_kms"), written.aws_kms.unwrap_or_default())
        }
    };
    let final_erasure = match final_erasure {
        None => None,
        Some(checked) => Some(checked?),
    };
    Some((provider?, cache?, final_erasure))
}

/// A key file that is there has to be usable; one that is absent is made at the first start.
fn key_file(
    c: &mut Checker<'_>,
    at: &At,
    path: Option<String>,
    data: &Data,
) -> Option<KeyProvider> {
    let path = path.map_or_else(|| data.key_file(), |path| c.path(&path));
    match KeyFile::open(&path) {
        Ok(_) | Err(KeyFileError::Absent { .. }) => Some(KeyProvider::KeyFile { path }),
        Err(why) => {
            c.wrong(Kind::Secret, &at.key("path"), why.to_string(), "");
            None
        }
    }
}

fn pkcs11(c: &mut Checker<'_>, at: &At, written: written::Pkcs11) -> Option<KeyProvider> {
    let help = "name the vendor's library, such as `/usr/lib/softhsm/libsofthsm2.so`";
    let module = c.required(&at.key("module"), written.module, help);
    let module = module.and_then(|text| c.file(&at.key("module"), &text));
    let help = "name the token by its label; `softhsm2-util --show-slots` lists those of SoftHSM";
    let token = c.required(&at.key("token"), written.token, help);
    let pin = secret(c, &at.key("pin"), written.pin);
    Some(KeyProvider::Pkcs11(Pkcs11Settings {
        module: module?,
        token_label: token?,
        key_label: written.key.unwrap_or_else(|| KEY.to_owned()),
        pin: pin?,
        max_wraps: Pkcs11Settings::MAX_WRAPS,
    }))
}

fn transit(c: &mut Checker<'_>, at: &At, written: written::Transit) -> Option<KeyProvider> {
    let help = "write the address of the service, such as `https://vault.example:8200`";
    let address = c.required(&at.key("address"), written.address, help);
    let address = address.filter(|text| c.url(&at.key("address"), text).is_some());
    let ca_file: Option<Option<PathBuf>> =
        written.ca_file.map(|text| c.file(&at.key("ca_file"), &text));
    let token = secret(c, &at.key("token"), written.token);
    Some(KeyProvider::Transit(TransitSettings {
        address: address?,
        ca_file: match ca_file {
            None => None,
            Some(file) => Some(file?),
        },
        mount: written.mount.unwrap_or_else(|| "transit".to_owned()),
        key: written.key.unwrap_or_else(|| KEY.to_owned()),
        namespace: written.namespace,
        token: token?,
    }))
}

#[cfg(feature = "aws-kms")]
fn aws_kms(c: &mut Checker<'_>, at: &At, written: written::AwsKms) -> Option<KeyProvider> {
    let help = "write the region, such as `eu-central-1`";
    let region = c.required(&at.key("region"), written.region, help);
    let endpoint =
        written.endpoint.map(|text| c.url(&at.key("endpoint"), &text).map(|_| text.clone()));
    let access_key_id = secret(c, &at.key("access_key_id"), written.access_key_id);
    let secret_access_key = secret(c, &at.key("secret_access_key"), written.secret_access_key);
    let session_token =
        written.session_token.map(|form| outside(c, &at.key("session_token"), &form));
    Some(KeyProvider::AwsKms(portcullis_secrets::AwsKmsSettings {
        region: region?,
        endpoint: match endpoint {
            None => None,
            Some(url) => Some(url?),
        },
        alias: written.alias.unwrap_or_else(|| KEY.to_owned()),
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: match session_token {
            None => None,
            Some(token) => Some(token?),
        },
    }))
}

#[cfg(not(feature = "aws-kms"))]
fn aws_kms(c: &mut Checker<'_>, at: &At, _: written::AwsKms) -> Option<KeyProvider> {
    let at = at.parent().unwrap_or_default().key("kind");
    let message = "this program was built without AWS KMS".to_owned();
    c.wrong(Kind::Value, &at, message, "build it with `--features aws-kms`");
    None
}

/// A secret that has to be there.
fn secret(c: &mut Checker<'_>, at: &At, form: Option<SecretForm>) -> Option<SecretRef> {
    let help = "give it by reference: `{ file = \"path\" }` or `{ env = \"NAME\" }`";
    let form = c.required(at, form, help)?;
    outside(c, at, &form)
}

/// A reference to a place outside the vault: what opens the vault cannot be in it.
pub(super) fn outside(c: &mut Checker<'_>, at: &At, form: &SecretForm) -> Option<SecretRef> {
    match c.secret(at, form)? {
        SecretSource::Given(reference) => Some(reference),
        SecretSource::Vault(_) => {
            let message = format!("`{at}` cannot be in the vault: it is what opens the vault");
            let help = "give it as `{ file = \"path\" }` or as `{ env = \"NAME\" }`";
            c.wrong(Kind::Value, at, message, help);
            None
        }
    }
}
