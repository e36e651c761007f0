//! The Redis that replicas share.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_secrets::{ExposeSecret as _, SecretRef, SecretRefError};
use zeroize::Zeroizing;

/// One Redis for all replicas of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Where it is.
    pub url: RedisUrl,
    /// The only authorities that may vouch for it, a PEM file; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// First part of every name in it.
    pub prefix: String,
}

/// The address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisUrl {
    /// As written; holds no password.
    Plain(String),
    /// Where it is to be read.
    Given(SecretRef),
}

impl RedisSettings {
    /// How long one answer may take, and the first part of every name, unless the file says otherwise.
    pub(crate) const DEFAULTS: (Duration, &'static str) =
        (Duration::from_millis(100), "portcullis");

    /// The Redis at this address, everything else as by default.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let (timeout, prefix) = Self::DEFAULTS;
        Self {
            url: RedisUrl::Plain(url.to_owned()),
            ca_file: None,
            timeout,
            prefix: prefix.to_owned(),
        }
    }
}

impl RedisUrl {
    /// The address; wiped when it is dropped.
    ///
    /// # Errors
    /// When the reference leads nowhere.
    pub fn read(&self) -> Result<Zeroizing<String>, SecretRefError> {
        match self {
            Self::Plain(url) => Ok(Zeroizing::new(url.clone())),
            Self::Given(reference) => {
                let url = reference.read()?;
                Ok(Zeroizing::new(url.expose_secret().trim().to_owned()))
            }
        }
    }
}
