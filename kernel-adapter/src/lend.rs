//! Credentials that are lent for one use, and of which nothing is kept.
//!
//! Where the configuration names a value of the vault, the dispatcher holds its name only. It asks the
//! [`Lender`] for the value when a cleared call needs it, shows it to that call's upstream, and drops it
//! with the call. A value costs the receipt of a durable intent; what the gateway does of its own accord
//! has an intent of its own.
//!
//! INVARIANT: no lent value without the receipt of the call that uses it
//! (`a_lent_credential_is_asked_for_with_the_receipt_of_the_call`).
//! INVARIANT: without its credential nothing is sent
//! (`nothing_is_sent_when_the_credential_is_not_lent`).

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use portcullis_audit::IntentReceipt;
use secrecy::{ExposeSecret, SecretString};

use crate::app::{App, BadCredential, Credential, HttpUpstream, McpStdio, Upstream};
use crate::outcome::{Class, Outcome};

/// A value that the gateway shows an upstream: known since the start, or lent when it is used.
#[derive(Debug, Clone)]
pub enum CredentialValue {
    /// Read from a file or a variable at the start.
    Fixed(SecretString),
    /// In the vault under this name.
    Lent(String),
}

/// Which value was lent: the same pair is the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LentVersion {
    /// Random id of the secret.
    pub id: [u8; 16],
    /// Version of its value.
    pub version: u32,
}

/// A value on loan; wiped when dropped.
#[derive(Debug)]
pub struct Lent {
    /// The value.
    pub value: SecretString,
    /// Which one it is.
    pub version: LentVersion,
}

/// Lends the values that belong to apps. It records each use before it opens the value.
#[async_trait]
pub trait Lender: Send + Sync {
    /// Which value is there now; opens nothing.
    ///
    /// # Errors
    /// [`NotLent::NotSet`] when there is none.
    async fn version(&self, app: &App, name: &str) -> Result<LentVersion, NotLent>;

    /// Opens the value of an app for the call whose intent is durable.
    ///
    /// # Errors
    /// [`NotLent`]; then nothing may be sent.
    async fn lend(&self, receipt: &IntentReceipt, app: &App, name: &str) -> Result<Lent, NotLent>;
}

/// Why a value was not lent. The texts are for the operator and hold no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLent {
    /// It has no value; the text says how to give it one.
    #[error("{0}")]
    NotSet(String),
    /// The vault did not open it.
    #[error("the vault did not open it: {0}")]
    Vault(String),
    /// Directory or ledger did not answer, so it was not opened.
    #[error("it was not opened: {0}")]
    Storage(String),
    /// It was opened and cannot be sent.
    #[error(transparent)]
    Unusable(#[from] BadCredential),
    /// Nobody wrote down that it would be used.
    #[error("it is lent only once an intent is durable")]
    NoReceipt,
}

impl NotLent {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::NotSet(_) => Class::SecretNotSet,
            Self::Vault(_) | Self::NoReceipt => Class::Vault,
            Self::Storage(_) => Class::Storage,
            Self::Unusable(_) => Class::BadRequest,
        }
    }
}

impl From<NotLent> for Outcome {
    fn from(why: NotLent) -> Self {
        Self::failed(why.class(), why)
    }
}

/// Lends nothing: for a process without a ledger, which must not use what is in the vault.
#[derive(Debug, Clone, Copy)]
pub struct NoLender;

#[async_trait]
impl Lender for NoLender {
    async fn version(&self, app: &App, name: &str) -> Result<LentVersion, NotLent> {
        Err(NotLent::Vault(format!(
            "`{name}` of `{}` is lent by the running gateway only, which writes down each use",
            app.id
        )))
    }

    async fn lend(&self, _: &IntentReceipt, app: &App, name: &str) -> Result<Lent, NotLent> {
        self.version(app, name).await.and(Err(NotLent::NoReceipt))
    }
}

/// Asks for the credentials of one app, for one use.
#[derive(Clone, Copy)]
pub(crate) struct Borrower<'a> {
    pub(crate) app: &'a App,
    pub(crate) lender: &'a dyn Lender,
    /// None for a deed that has no intent: it gets fixed values only.
    pub(crate) receipt: Option<&'a IntentReceipt>,
}

/// What was borrowed, and which values it was.
pub(crate) struct Borrowed<T> {
    pub(crate) what: T,
    pub(crate) versions: Vec<LentVersion>,
}

/// Headers with credentials, each marked sensitive.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

impl Borrower<'_> {
    /// The headers that authenticate the gateway to an HTTP upstream.
    pub(crate) async fn headers(&self, how: &HttpUpstream) -> Result<Borrowed<Headers>, NotLent> {
        let mut borrowed = Borrowed { what: Vec::new(), versions: Vec::new() };
        for credential in &how.credentials {
            let value = self.value(&credential.value, &mut borrowed.versions).await?;
            borrowed.what.push((credential.header.clone(), credential.header_value(&value)?));
        }
        Ok(borrowed)
    }

    /// The environment of a child.
    pub(crate) async fn environment(
        &self,
        how: &McpStdio,
    ) -> Result<Borrowed<Vec<(String, SecretString)>>, NotLent> {
        let mut borrowed = Borrowed { what: Vec::new(), versions: Vec::new() };
        for (name, value) in &how.env {
            let value = self.value(value, &mut borrowed.versions).await?;
            borrowed.what.push((name.clone(), value));
        }
        Ok(borrowed)
    }

    /// Which values are there now, in the order in which they would be lent.
    pub(crate) async fn versions(&self) -> Result<Vec<LentVersion>, NotLent> {
        let mut versions = Vec::new();
        for name in self.app.upstream.lent() {
            versions.push(self.lender.version(self.app, name).await?);
        }
        Ok(versions)
    }

    async fn value(
        &self,
        value: &CredentialValue,
        versions: &mut Vec<LentVersion>,
    ) -> Result<SecretString, NotLent> {
        match value {
            CredentialValue::Fixed(value) => Ok(value.clone()),
            CredentialValue::Lent(name) => {
                let receipt = self.receipt.ok_or(NotLent::NoReceipt)?;
                let lent = self.lender.lend(receipt, self.app, name).await?;
                versions.push(lent.version);
                Ok(lent.value)
            }
        }
    }
}

impl Credential {
    /// The header value with a value of today, marked sensitive so that no log of headers shows it.
    ///
    /// # Errors
    /// When the secret holds bytes that no header may carry.
    fn header_value(&self, value: &SecretString) -> Result<HeaderValue, BadCredential> {
        let value = value.expose_secret();
        let mut whole =
            zeroize::Zeroizing::new(Vec::with_capacity(self.prefix.len() + value.len()));
        whole.extend_from_slice(self.prefix.as_bytes());
        whole.extend_from_slice(value.as_bytes());
        let mut header =
            HeaderValue::from_bytes(&whole).map_err(|_| BadCredential(self.header.clone()))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

impl Upstream {
    /// Names of the values that are lent to it.
    pub(crate) fn lent(&self) -> Vec<&str> {
        let values: Vec<&CredentialValue> = match self {
            Self::Http(how) | Self::McpHttp(how) => {
                how.credentials.iter().map(|c| &c.value).collect()
            }
            Self::Proxy(how) => how.http.credentials.iter().map(|c| &c.value).collect(),
            Self::McpStdio(how) => how.env.iter().map(|(_, value)| value).collect(),
            Self::Own => Vec::new(),
        };
        let lent = values.into_iter().filter_map(|value| match value {
            CredentialValue::Lent(name) => Some(name.as_str()),
            CredentialValue::Fixed(_) => None,
        });
        lent.collect()
    }
}

impl From<String> for CredentialValue {
    fn from(value: String) -> Self {
        Self::Fixed(value.into())
    }
}
