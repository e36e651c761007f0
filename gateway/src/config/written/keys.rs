//! `[key_provider]` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::units::TimeSpan;
use super::SecretForm;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyProvider {
    /// Kind of provider.
    #[schemars(extend("default" = "key-file"))]
    pub(crate) kind: Option<KeyProviderKind>,
    /// The key file: 32 bytes, mode 0600, made when absent. `keys/kek` in the data folder by default.
    pub(crate) path: Option<String>,
    /// How long an unwrapped scope key may be used before the provider is asked again.
    #[schemars(extend("default" = "5m"))]
    pub(crate) cache: Option<TimeSpan>,
    /// From an erasure until no copy of the erased keys opens any more, at most: the gateway then makes the next
    /// version of the key-encryption key after 45 % of this time, and destroys the old one after as much again.
    /// A backup of the scope keys opens for that second span at least. From 2 to 30 days. The key must be of this
    /// deployment alone: another one that shares it would lose what it wrapped. Without this
    /// versions change by `portcullis vault rotate`, `retire` and `destroy-version` only.
    pub(crate) final_erasure: Option<TimeSpan>,
    /// What `kind = "pkcs11"` needs.
    pub(crate) pkcs11: Option<Pkcs11>,
    /// What `kind = "transit"` needs.
    pub(crate) transit: Option<Transit>,
    /// What `kind = "aws-kms"` needs.
    pub(crate) aws_kms: Option<AwsKms>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pkcs11 {
    /// The vendor's library, such as `libsofthsm2.so`.
    pub(crate) module: Option<String>,
    /// Label of the token.
    pub(crate) token: Option<String>,
    /// Label of the key; made in the token, not exportable, when there is none.
    #[schemars(extend("default" = "portcullis"))]
    pub(crate) key: Option<String>,
    /// The user's PIN.
    pub(crate) pin: Option<SecretForm>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transit {
    /// Address of Vault or OpenBao; https, or http to the own host.
    pub(crate) address: Option<String>,
    /// Certificate authorities in PEM, besides those of the system.
    pub(crate) ca_file: Option<String>,
    /// Where the engine is mounted.
    #[schemars(extend("default" = "transit"))]
    pub(crate) mount: Option<String>,
    /// Name of the key, of type `aes256-gcm96`; it must exist.
    #[schemars(extend("default" = "portcullis"))]
    pub(crate) key: Option<String>,
    /// A namespace of the service.
    pub(crate) namespace: Option<String>,
    /// The token.
    pub(crate) token: Option<SecretForm>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(feature = "aws-kms"),
    expect(dead_code, reason = "checked for its form, and refused by a build without it")
)]
pub(crate) struct AwsKms {
    /// Region, such as `eu-central-1`.
    pub(crate) region: Option<String>,
    /// A private endpoint instead of the region's.
    pub(crate) endpoint: Option<String>,
    /// Name of the alias without `alias/`; it must exist.
    #[schemars(extend("default" = "portcullis"))]
    pub(crate) alias: Option<String>,
    /// Access key id.
    pub(crate) access_key_id: Option<SecretForm>,
    /// Secret access key.
    pub(crate) secret_access_key: Option<SecretForm>,
    /// Session token of temporary credentials.
    pub(crate) session_token: Option<SecretForm>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyProviderKind {
    #[default]
    KeyFile,
    Pkcs11,
    Transit,
    AwsKms,
}
