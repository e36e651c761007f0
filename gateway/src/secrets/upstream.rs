//! Credentials of upstreams: values that operators set, lent to the dispatcher call by call.
//!
//! A value is found at the place of the app's configuration, never of the call: tenant of the app (or the
//! deployment), owner `__upstream__`, app and name. So no caller and no app can name another's value.
//!
//! INVARIANT: the record of a use is durable before the value is opened
//! (`upstream_credentials::each_use_is_on_record_before_the_outcome`).

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use portcullis_audit::{DEPLOYMENT, IntentReceipt, Ledger, UsedSecret};
use portcullis_kernel_adapter::{App, Lender, Lent, LentVersion, NotLent};
use portcullis_policies::TenantId;
use portcullis_secrets::{BlobId, Lease};
use secrecy::SecretString;

use super::{SecretUses, Vault, context_of};
use crate::directory::{Directory, SecretOwner, SecretPlace, StoredSecret};
use crate::record::{self, Trail};

/// What a credential is used for, in records.
const UPSTREAM: &str = "upstream";

/// The parts that lending takes.
#[derive(Clone, Copy)]
pub struct Upstreams<'a> {
    /// Where the sealed values are.
    pub(crate) directory: &'a Directory,
    /// Where each use is written down.
    pub(crate) ledger: &'a Ledger,
    /// Opens them.
    vault: &'a Vault,
    /// Where the last use is noted.
    uses: &'a SecretUses,
}

impl<'a> Upstreams<'a> {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        directory: &'a Directory,
        ledger: &'a Ledger,
        vault: &'a Vault,
        uses: &'a SecretUses,
    ) -> Self {
        Self { directory, ledger, vault, uses }
    }
}

/// Lends for one call or one deed of the gateway, whose trail it knows.
pub struct UpstreamLender<'a> {
    parts: Upstreams<'a>,
    trail: &'a Trail,
    used: Mutex<Vec<UsedSecret>>,
}

impl<'a> UpstreamLender<'a> {
    /// A lender for the call of `trail`.
    #[must_use]
    pub fn new(parts: Upstreams<'a>, trail: &'a Trail) -> Self {
        Self { parts, trail, used: Mutex::default() }
    }

    /// What was lent, for the records that follow.
    #[must_use]
    pub fn into_used(self) -> Vec<UsedSecret> {
        self.used.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find(&self, place: &SecretPlace) -> Result<(StoredSecret, Vec<u8>), NotLent> {
        let stored = self.parts.directory.secret(place).await.map_err(|fault| {
            tracing::error!(credential = %place, %fault, "the directory did not answer");
            NotLent::Storage(fault.to_string())
        })?;
        let found = stored.and_then(|stored| stored.sealed.clone().map(|sealed| (stored, sealed)));
        found.ok_or_else(|| {
            let (app, name) = (&place.app, &place.name);
            let message = format!(
                "the credential `{name}` of `{app}` has no value: set it with `portcullis secret set {app} {name} --upstream`"
            );
            tracing::error!("{message}");
            NotLent::NotSet(message)
        })
    }

    async fn record(&self, used: UsedSecret, receipt: &IntentReceipt) -> Result<(), NotLent> {
        let mut trail = self.trail.clone();
        trail.used(used.clone());
        let written = record::secret_use(self.parts.ledger, &trail, receipt).await;
        written.map_err(|refusal| NotLent::Storage(refusal.to_string()))?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(used);
        Ok(())
    }

    /// Who used it, beside the value: `app/function`.
    fn user(&self, app: &App) -> String {
        self.trail.tool_name().unwrap_or_else(|| app.id.to_string())
    }
}

#[async_trait]
impl Lender for UpstreamLender<'_> {
    async fn version(&self, app: &App, name: &str) -> Result<LentVersion, NotLent> {
        let (stored, _) = self.find(&place_of(app, name)).await?;
        Ok(LentVersion { id: stored.id, version: stored.version })
    }

    async fn lend(&self, receipt: &IntentReceipt, app: &App, name: &str) -> Result<Lent, NotLent> {
        let place = place_of(app, name);
        let (stored, sealed) = self.find(&place).await?;
        let (id, version) = (hex::encode(stored.id), u64::from(stored.version));
        let purpose = UPSTREAM.to_owned();
        let used = UsedSecret { id, name: name.to_owned(), version, purpose };
        self.record(used, receipt).await?;
        let unopened = |fault: &dyn std::fmt::Display| {
            tracing::error!(credential = %place, %fault, "a credential does not open");
            NotLent::Vault(fault.to_string())
        };
        let context = context_of(&place).map_err(|fault| unopened(&fault))?;
        let blob = BlobId { secret: stored.id, version: stored.version };
        let lease = self.parts.vault.lend(receipt, &context, blob, &sealed).await;
        let value = text_of(&lease.map_err(|fault| unopened(&fault))?);
        self.parts.uses.note(&place, &self.user(app));
        Ok(Lent {
            value: value.ok_or_else(|| unopened(&"it is not text"))?,
            version: LentVersion { id: stored.id, version: stored.version },
        })
    }
}

/// Where the value of an app's credential is kept.
fn place_of(app: &App, name: &str) -> SecretPlace {
    SecretPlace {
        tenant: app.tenant.as_ref().map_or(DEPLOYMENT, TenantId::as_str).to_owned(),
        owner: SecretOwner::Upstream,
        app: app.id.to_string(),
        name: name.to_owned(),
    }
}

fn text_of(lease: &Lease) -> Option<SecretString> {
    lease.with(|value| std::str::from_utf8(value).ok().map(SecretString::from))
}
