//! Builds the parts of a gateway, in order; each needs the ones before it.

use std::path::Path;
use std::sync::Arc;

use portcullis_audit::{Ledger, LedgerOptions, Postgres};
use portcullis_secrets::{ExposeSecret as _, SecretRef};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::apps::{self, AppsError};
use crate::cached::Cached;
use crate::config::Settings;
use crate::deployment_keys::{DeploymentKeyError, DeploymentKeys};
use crate::directory::{Directory, DirectoryError};
use crate::edge::{Bounds, PerTenant};
use crate::forms::FormTokens;
use crate::gateway::Gateway;
use crate::guard::Turns;
use crate::identify::{CallTokens, Identity, IdentityError, IdentitySettings, LoginLimits};
use crate::limits::Limits;
use crate::oauth::{MCP, base_url};
use crate::pseudonym::Pseudonyms;
use crate::record::{Bounded, STRANGERS_PER_SECOND};
use crate::refresh::Freshness;
use crate::replicas::{Once, Redis, RedisOpenError};
use crate::rules::{Rules, RulesError, RulesOptions};
use crate::secrets::{Absent, OwnTools, SecretUses, Upstreams, VaultOpenError, open_vault};
use crate::witnessing::Watched;

/// Why the gateway does not start, sorted by the part that can't.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OpenError {
    /// The data folder.
    #[error("the data folder {dir} cannot be used: {source}")]
    DataDir {
        /// Which folder.
        dir: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The vault: its key provider, its table of scope keys, or the two together.
    #[error(transparent)]
    Vault(#[from] VaultOpenError),
    /// A key of the deployment.
    #[error(transparent)]
    DeploymentKey(#[from] DeploymentKeyError),
    /// The ledger: torn, forged, locked or unwritable.
    #[error(transparent)]
    Ledger(#[from] portcullis_audit::OpenError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Signing keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The Redis that replicas share.
    #[error(transparent)]
    Redis(#[from] RedisOpenError),
    /// An app's manifest, routes or credential.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apps(#[from] AppsError),
    /// The first policy set.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rules(#[from] RulesError),
    /// A secret of call tokens.
    #[error("`call_tokens.secrets`: {0}")]
    CallTokens(String),
    /// The gateway's own tools: a fault of the program.
    #[error("the gateway's own tools cannot be read: {0}; report this as a defect")]
    OwnTools(String),
    /// What asks the witnesses.
    #[error("the witnesses cannot be asked: {0}")]
    Witnesses(#[from] reqwest::Error),
    /// The listening socket or its certificate.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How long a call may wait for a place of its tenant: longer, and its caller is told to come back.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Opens everything but the listening socket.
///
/// # Errors
/// The first part that can't be opened; what was opened before it is closed again.
pub async fn open(settings: Settings) -> Result<Arc<Gateway>, OpenError> {
    make_private_dir(&settings.data.dir)?;
    make_private_dir(&settings.data.keys_dir())?;
    let vault = open_vault(&settings, Absent::Make).await?.vault;
    let keys = DeploymentKeys::new(Arc::clone(&vault));
    let dir = settings.data.keys_dir();
    let pseudonyms = Pseudonyms::new(&keys.in_file(&dir.join("pseudonyms"), "pseudonyms").await?);
    let forms = FormTokens::new(&keys.in_file(&dir.join("forms"), "forms").await?);
    let (ledger, opened) = Ledger::open(ledger_options(&settings)?)?;
    tracing::info!(?opened, "ledger open");
    // Before anything else is written: what is there now has to be witnessed first.
    let watched = Watched::new(&settings.ledger.witness, &ledger);
    let directory = open_directory(&settings).await?;
    let redis = settings.redis.as_ref().map(Redis::new).transpose()?.map(Arc::new);
    let calls = call_tokens(&settings, &keys).await?;
    let identity =
        Identity::open(directory.clone(), Arc::new(keys), identity_settings(&settings)).await?;
    let identity = identity.with_calls(calls, Once::new(redis.clone())).bounded_by(redis.as_ref());
    let freshness = Freshness::default();
    let dispatcher = freshness.dispatcher();
    let secret_uses = SecretUses::default();
    let upstreams = Upstreams::new(&directory, &ledger, &vault, &secret_uses);
    let catalogue = apps::catalogue(&settings, &dispatcher, upstreams, &freshness.lists).await?;
    let rules = Rules::open(rules_options(&settings), catalogue, ledger.clone()).await?;
    let limits = &settings.server.limits;
    Ok(Arc::new(Gateway {
        calls: PerTenant::new(Bounds {
            inside: limits.calls_per_tenant,
            waiting: limits.queue_per_tenant,
            wait: PATIENCE.min(limits.request_timeout),
        }),
        directory,
        identity,
        ledger,
        vault,
        rules: Arc::new(rules),
        dispatcher,
        freshness,
        own: OwnTools::new().map_err(OpenError::OwnTools)?,
        secret_uses,
        pseudonyms,
        forms,
        turns: Turns::default(),
        strangers: Bounded::new(STRANGERS_PER_SECOND),
        limits: Limits::new(&settings.limits, redis.clone()),
        cached: Cached::new(redis.clone()),
        redis,
        watched,
        tasks: TaskTracker::new(),
        settings,
    }))
}

/// Call tokens under the secrets of these settings, or under one that the deployment made for itself.
async fn call_tokens(settings: &Settings, keys: &DeploymentKeys) -> Result<CallTokens, OpenError> {
    if settings.call_tokens.is_empty() {
        let file = settings.data.keys_dir().join("call-tokens");
        return Ok(CallTokens::new(&[keys.in_file(&file, "call-tokens").await?]));
    }
    let mut secrets = Vec::new();
    for reference in &settings.call_tokens {
        let secret = reference.read().map_err(|why| OpenError::CallTokens(why.to_string()))?;
        secrets.push(Zeroizing::new(secret.expose_secret().as_bytes().to_vec()));
    }
    Ok(CallTokens::new(&secrets))
}

/// The directory of these settings: in PostgreSQL, or in a file that is made when it is absent.
///
/// # Errors
/// When it can't be opened; the text holds no address.
pub async fn open_directory(settings: &Settings) -> Result<Directory, DirectoryError> {
    let Some(address) = &settings.directory.postgres else {
        return Directory::open(&settings.data.directory_db()).await;
    };
    let address = address.read().map_err(|why| DirectoryError::Open {
        path: "`directory.postgres`".to_owned(),
        source: Box::new(why),
    })?;
    Directory::open_url(address.expose_secret().trim()).await
}

/// The same, unless it is a file that is not there: looking does not make one.
///
/// # Errors
/// As [`open_directory`].
pub async fn look_at_directory(settings: &Settings) -> Result<Option<Directory>, DirectoryError> {
    let is_there = settings.directory.postgres.is_some() || settings.data.directory_db().exists();
    if is_there { open_directory(settings).await.map(Some) } else { Ok(None) }
}

/// The ledger of these settings.
///
/// # Errors
/// When the address of its database can't be read.
pub fn ledger_options(settings: &Settings) -> Result<LedgerOptions, portcullis_audit::OpenError> {
    let (path, key) = (settings.data.ledger_db(), settings.data.ledger_key());
    let address = settings.ledger.postgres.as_ref().map(SecretRef::read).transpose();
    let address = address
        .map_err(|why| portcullis_audit::OpenError::Options(format!("`ledger.postgres`: {why}")))?;
    Ok(LedgerOptions {
        postgres: address.map(|address| Postgres::new(address.expose_secret().trim())),
        replica: settings.server.replica.clone(),
        queue: settings.ledger.queue,
        deadline: settings.ledger.intent_deadline,
        ..LedgerOptions::new(path, &settings.ledger.deployment, key)
    })
}

/// What identification needs of the settings.
#[must_use]
pub fn identity_settings(settings: &Settings) -> IdentitySettings {
    let identity = &settings.identity;
    IdentitySettings {
        issuer: identity.issuer.clone().unwrap_or_else(|| settings.ledger.deployment.clone()),
        resource: base_url(&settings.server, None).map(|base| base + MCP),
        login_limits: LoginLimits::new(identity.login_attempts, identity.login_window),
        token_lifetime: identity.token_lifetime,
        issuers: identity.issuers.clone(),
        ..IdentitySettings::default()
    }
}

fn rules_options(settings: &Settings) -> RulesOptions {
    let policies = &settings.policies;
    RulesOptions {
        dir: policies.dir.clone(),
        require_proof: policies.require_proof,
        receipt: policies.proof_receipt.clone(),
        solver: policies.solver.clone(),
        shadow: policies.shadow_dir.clone(),
    }
}

/// Only this user may look into the folder: it holds keys and databases.
fn make_private_dir(dir: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| OpenError::DataDir { dir: dir.display().to_string(), source })
}
