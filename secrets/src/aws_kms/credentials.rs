//! Credentials from references, read anew every few minutes, so that replaced ones need no restart.

use super::AwsKmsSettings;
use crate::secret_ref::SecretRefError;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use secrecy::ExposeSecret as _;
use std::time::{Duration, SystemTime};

const READ_AGAIN: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Referenced(pub(super) AwsKmsSettings);

impl Referenced {
    fn read(&self) -> std::result::Result<Credentials, SecretRefError> {
        let id = self.0.access_key_id.read()?;
        let secret = self.0.secret_access_key.read()?;
        let session = self.0.session_token.as_ref().map(crate::SecretRef::read).transpose()?;
        Ok(Credentials::new(
            id.expose_secret(),
            secret.expose_secret(),
            session.map(|token| token.expose_secret().to_owned()),
            Some(SystemTime::now() + READ_AGAIN),
            "portcullis",
        ))
    }
}

impl ProvideCredentials for Referenced {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let read: Result = self.read().map_err(CredentialsError::provider_error);
        future::ProvideCredentials::ready(read)
    }
}
