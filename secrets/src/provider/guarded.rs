//! A deadline around every question to a provider, so that nothing can hang on it.

use super::{KeyProvider, KeyRef, ProviderError, ProviderFault, WrapDigest, WrapText, Wrapped};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long the vault waits for one answer of a provider.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// A provider that always answers within the deadline, if only with an error.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    inner: Arc<dyn KeyProvider>,
    deadline: Duration,
}

impl Guarded {
    pub(crate) fn new(inner: Arc<dyn KeyProvider>, deadline: Duration) -> Self {
        Self { inner, deadline }
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    pub(crate) fn destruction_delay(&self) -> Duration {
        self.inner.destruction_delay()
    }

    pub(crate) async fn current(&self) -> Result<KeyRef, ProviderError> {
        self.timed(self.inner.current()).await
    }

    pub(crate) async fn wrap(
        &self,
        text: &WrapText,
        digest: &WrapDigest,
    ) -> Result<Wrapped, ProviderError> {
        self.timed(self.inner.wrap(text, digest)).await
    }

    pub(crate) async fn unwrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<WrapText, ProviderError> {
        self.timed(self.inner.unwrap(key, bytes, digest)).await
    }

    pub(crate) async fn rewrap(
        &self,
        key: &KeyRef,
        bytes: &[u8],
        digest: &WrapDigest,
    ) -> Result<Option<Wrapped>, ProviderError> {
        self.timed(self.inner.rewrap(key, bytes, digest)).await
    }

    pub(crate) async fn rotate(&self, from: &KeyRef) -> Result<KeyRef, ProviderError> {
        self.timed(self.inner.rotate(from)).await
    }

    pub(crate) async fn destroy_version(&self, key: &KeyRef) -> Result<(), ProviderError> {
        self.timed(self.inner.destroy_version(key)).await
    }

    pub(crate) async fn probe(&self) -> Result<(), ProviderError> {
        self.timed(self.inner.probe()).await
    }

    async fn timed<T>(
        &self,
        asked: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        match tokio::time::timeout(self.deadline, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(ProviderError::new(
                self.inner.kind(),
                ProviderFault::Timeout,
                format!("deadline {} ms", self.deadline.as_millis()),
            )),
        }
    }
}
