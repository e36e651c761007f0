//! The parts of a running gateway, built once and shared by all calls.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_audit::Ledger;
use portcullis_kernel_adapter::Dispatcher;
use portcullis_policies::Channel;
use tokio_util::task::TaskTracker;

use crate::cached::Cached;
use crate::config::Settings;
use crate::directory::Directory;
use crate::edge::{JsonLimits, PerTenant, StrictJson};
use crate::forms::FormTokens;
use crate::guard::Turns;
use crate::identify::{Caller, ConnectionFacts as PresentedFrom, Identity, Proof};
use crate::in_force::InForce;
use crate::knock::Knock;
use crate::limits::Limits;
use crate::pseudonym::Pseudonyms;
use crate::record::Bounded;
use crate::refresh::Freshness;
use crate::refusal::Refusal;
use crate::replicas::Redis;
use crate::rules::Rules;
use crate::secrets::{OwnTools, SecretUses, Upstreams, Vault};
use crate::witnessing::Watched;

/// Everything that a call needs; nothing here is lost when a replica dies.
pub struct Gateway {
    /// The configuration, checked.
    pub settings: Settings,
    /// Users, tenants, roles, confirmations.
    pub directory: Directory,
    /// Credentials and signing keys.
    pub identity: Identity,
    /// The ledger; nothing is dispatched that is not in it.
    pub ledger: Ledger,
    /// Seals what is stored.
    pub vault: Arc<Vault>,
    /// Rules and catalogue in force.
    pub rules: Arc<Rules>,
    /// Reaches the apps.
    pub dispatcher: Dispatcher,
    /// What the catalogue was made from.
    pub freshness: Freshness,
    /// How many calls of a tenant may be in flight and waiting.
    pub calls: PerTenant,
    /// The gateway's own tools.
    pub own: OwnTools,
    /// Uses of secrets that are not shown beside them yet.
    pub secret_uses: SecretUses,
    /// Names for people in the ledger.
    pub pseudonyms: Pseudonyms,
    /// Tokens of the forms of our own pages.
    pub forms: FormTokens,
    /// What sessions tried and failed at a moment ago.
    pub turns: Turns,
    /// How many refusals of unknown callers get a record of their own.
    pub strangers: Bounded,
    /// How often something may be done.
    pub limits: Limits,
    /// What replicas share besides their databases.
    pub redis: Option<Arc<Redis>>,
    /// What the code of apps keeps.
    pub cached: Cached,
    /// What witnesses have cosigned of the ledger.
    pub watched: Arc<Watched>,
    /// Calls that go on although their client may be gone; the end of the gateway waits for them.
    pub tasks: TaskTracker,
}

impl Gateway {
    /// Who asks, proved by the one credential of the request; every hint must agree.
    ///
    /// # Errors
    /// A refusal that says which; nothing else of the request is looked at before.
    pub async fn identify(&self, knock: &Knock) -> Result<Caller, Refusal> {
        let facts = PresentedFrom {
            source: knock.request.source,
            query: knock.query.as_deref(),
            in_call: knock.in_call,
        };
        let caller = self.identity.identify(&knock.credentials, &facts).await?;
        // A page is for the person who signed in: no program, and no app in the person's name.
        let program = caller.strength().device;
        let signed_in = matches!(caller.proof(), Proof::AccessToken { .. }) && !program;
        if knock.request.channel == Channel::Page && !signed_in {
            return Err(Refusal::InvalidCredential("no_session"));
        }
        if let Some(user) = &knock.hints.user {
            caller.agrees_on_user("user_id", user)?;
        }
        Ok(caller)
    }

    /// Who asks, once more: somebody who had to wait may have lost more than time meanwhile.
    ///
    /// # Errors
    /// As [`Self::identify`].
    pub async fn identify_again(&self, knock: &Knock, caller: &Caller) -> Result<Caller, Refusal> {
        match caller.proof() {
            // It counts once, and has counted.
            Proof::CallToken { .. } => Ok(self.identity.again(caller).await?),
            _ => self.identify(knock).await,
        }
    }

    /// What lends credentials to upstreams.
    #[must_use]
    pub fn upstreams(&self) -> Upstreams<'_> {
        Upstreams::new(&self.directory, &self.ledger, &self.vault, &self.secret_uses)
    }

    /// The snapshot that decides now.
    ///
    /// # Errors
    /// [`Refusal::NoRules`] before the first set is loaded.
    pub fn in_force(&self) -> Result<Arc<InForce>, Refusal> {
        self.rules.current().ok_or(Refusal::NoRules)
    }

    /// Parses JSON strictly: within the limits, no duplicate keys, the exact bytes kept.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] or [`Refusal::MalformedBody`] with the place.
    pub fn json(&self, bytes: Bytes) -> Result<StrictJson, Refusal> {
        let limits = &self.settings.server.limits;
        let limits = JsonLimits { max_bytes: limits.body_bytes, max_depth: limits.json_depth };
        StrictJson::parse(bytes, limits).map_err(|fault| {
            if fault.is_too_large() {
                Refusal::BodyTooLarge { limit: limits.max_bytes }
            } else {
                Refusal::MalformedBody(fault.to_string())
            }
        })
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("listen", &self.settings.server.listen)
            .finish_non_exhaustive()
    }
}
