//! The key-encryption key in AWS KMS.
//!
//! A version is a KMS key of its own: the alias names the newest, the tag `portcullis-version` counts, and
//! the id of the key stands in each row. (KMS's own rotation shows no versions and destroys none.) The
//! encryption context is `portcullis` = the digest in hex: KMS binds it, its trail shows nothing else.
//!
//! The SDK retries nothing here: the vault has a deadline, and a throttled or expired answer should be
//! seen as what it is.

mod credentials;
mod faults;

use crate::provider::{
    KeyProvider, KeyRef, ProviderError, ProviderFault, WrapDigest, WrapText, Wrapped,
};
use crate::secret_ref::SecretRef;
use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{Region, SharedCredentialsProvider};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::Tag;
use faults::sorted;
use std::time::Duration;
use zeroize::{Zeroize as _, Zeroizing};

/// Name of this provider in stored rows.
pub(crate) const PROVIDER: &str = "aws-kms";

const VERSION_TAG: &str = "portcullis-version";

/// Days until KMS really deletes a key; its shortest and safest choice differ, this is the shortest.
const DELETION_DAYS: i32 = 7;

/// Ends what nobody waits for any more; the vault's own deadline is shorter.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKmsSettings {
    /// Region, such as `eu-central-1`.
    pub region: String,
    /// Another address than that of the region, for a private endpoint.
    pub endpoint: Option<String>,
    /// Name of the alias without `alias/`. It, or the key behind it, must exist.
    pub alias: String,
    /// Access key id. Read anew every few minutes.
    pub access_key_id: SecretRef,
    /// Secret access key.
    pub secret_access_key: SecretRef,
    /// Session token of temporary credentials.
    pub session_token: Option<SecretRef>,
}

/// A key in AWS KMS. `Debug` shows the alias only.
pub struct AwsKms {
    client: Client,
    alias: String,
}

impl AwsKms {
    /// Prepares the client; KMS is asked at the first question.
    #[must_use]
    pub fn new(settings: AwsKmsSettings) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
        let mut config = aws_sdk_kms::Config::builder()
            .region(Region::new(settings.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let alias = settings.alias.clone();
        let credentials = SharedCredentialsProvider::new(credentials::Referenced(settings));
        let client = Client::from_conf(config.credentials_provider(credentials).build());
        Self { client, alias }
    }

    /// With a client of the caller's own making, for roles and other sources of credentials. Turn its
    /// retries off.
    #[must_use]
    pub fn with_client(client: Client, alias: &str) -> Self {
        Self { client, alias: alias.to_owned() }
    }

    fn alias(&self) -> String {
        format!("alias/{}", self.alias)
    }

    async fn newest(&self) -> Result<KeyRef, ProviderError> {
        let described = self.client.describe_key().key_id(self.alias()).send().await;
        let described = described.map_err(sorted)?;
        let id = described.key_metadata().map(|metadata| metadata.key_id().to_owned());
        let kek_id = id.ok_or_else(|| error(ProviderFault::KeyGone, self.alias()))?;
        let tags = self.client.list_resource_tags().key_id(&kek_id).send().await;
        let tags = tags.map_err(sorted)?;
        let tag = tags.tags().iter().find(|tag| tag.tag_key() == VERSION_TAG);
        let kek_ver = tag.and_then(|tag| tag.tag_value().parse().ok()).unwrap_or(1);
        Ok(KeyRef { kek_id, kek_ver })
    }

    async fn make(&self, version: u32) -> Result<(), ProviderError> {
        let tag = Tag::builder().tag_key(VERSION_TAG).tag_value(version.to_string()).build();
        let tag = tag.map_err(|why| error(ProviderFault::Other, why.to_string()))?;
        let made = self.client.create_key().tags(tag).send().await.map_err(sorted)?;
        let id = made.key_metadata().map(|metadata| metadata.key_id().to_owned());
        let id = id.ok_or_else(|| error(ProviderFault::Other, "no key was made"))?;
        let moved = self.client.update_alias().alias_name(self.alias()).target_key_id(id);
        moved.send().await.map(drop).map_err(sorted)
    }
}

#[async_trait]
impl KeyProvider for AwsKms {
    fn kind(&self) -> &'static str {
        PROVIDER
    }

    async fn current(&self) -> Result<KeyRef, ProviderError> {
        self.newest().await
    }

    async fn wrap(&self, text: &WrapText, digest: &WrapDigest) -> Result<Wrapped, ProviderError> {
        let key = self.newest().await?;
        let request = self
            .client
            .encrypt()
            .key_id(&key.kek_id)
            .encryption_context(PRODUCT, hex::encode(digest))
            .plaintext(Blob::new(text.to_vec()));
        let answer = request.send().await.map_err(sorted)?;
        let bytes = answer.ciphertext_blob.map(Blob::into_inner).unwrap_or_default();
        Ok(Wrapped { key, bytes })
    }

    async fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError> {
        let request = self
            .client
            .decrypt()
            .key_id(&key.kek_id)
            .encryption_context(PRODUCT, hex::encode(digest))
            .ciphertext_blob(Blob::new(bytes));
        let answer = request.send().await.map_err(sorted)?;
        let mut plain = answer.plaintext.map(Blob::into_inner).unwrap_or_default();
        let text = <[u8; 64]>::try_from(plain.as_slice()).map(Zeroizing::new);
        plain.zeroize();
        text.map_err(|_| error(ProviderFault::Altered, key.to_string()))
    }

    async fn rewrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<Option<Wrapped>, ProviderError> {
        let (new, bound) = (self.newest().await?, hex::encode(digest));
        let request = self
            .client
            .re_encrypt()
            .source_key_id(&key.kek_id)
            .source_encryption_context(PRODUCT, &bound)
            .destination_key_id(&new.kek_id)
            .destination_encryption_context(PRODUCT, &bound)
            .ciphertext_blob(Blob::new(bytes));
        let answer = request.send().await.map_err(sorted)?;
        let bytes = answer.ciphertext_blob.map(Blob::into_inner).unwrap_or_default();
        Ok(Some(Wrapped { key: new, bytes }))
    }

    async fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        let current = self.newest().await?;
        if current != *from {
            return Ok(current);
        }
        self.make(from.kek_ver.saturating_add(1)).await?;
        // Two replicas that rotate at once make two keys; the alias says which one counts.
        self.newest().await
    }

    fn destruction_delay(&self) -> Duration {
        // KMS may take up to a day longer than it was told.
        Duration::from_secs(u64::from(DELETION_DAYS.unsigned_abs() + 1) * 86_400)
    }

    /// KMS deletes a key seven days after it was asked to, and refuses to use it at once.
    async fn destroy_version(&self, key: &KeyRef) -> Result<(), ProviderError> {
        // By the key alone: a version is a tag, and a tag can be lost.
        if self.newest().await?.kek_id == key.kek_id {
            return Err(error(ProviderFault::Denied, "the newest version is in use"));
        }
        let asked = self.client.schedule_key_deletion().key_id(&key.kek_id);
        match asked.pending_window_in_days(DELETION_DAYS).send().await.map_err(sorted) {
            Ok(_) => Ok(()),
            // Asked before: it is on its way, or gone.
            Err(gone) if gone.fault() == ProviderFault::KeyGone => Ok(()),
            Err(other) => Err(other),
        }
    }
}

const PRODUCT: &str = "portcullis";

impl std::fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsKms").field("alias", &self.alias).finish_non_exhaustive()
    }
}

fn error(fault: ProviderFault, detail: impl Into<String>) -> ProviderError {
    ProviderError::new(PROVIDER, fault, detail)
}
