//! The configuration as the gateway uses it: every value checked, every path absolute or relative to the
//! working directory, every default filled in. Made by [`super::load`] or [`Settings::demo`] only.

mod apps;
mod rates;
mod redis;
mod witness;

pub use apps::{
    App, Credential, EnvValue, MAX_TIMEOUT, NewTools, Route, Routes, SecretSource, ToolOverride,
    Upstream,
};

pub use rates::{Rate, RateLimits, Rule};

pub use redis::{RedisSettings, RedisUrl};

pub use witness::{WitnessPolicy, WitnessSettings, Witnessing};

use crate::identify::ExternalIssuer;
use ipnet::IpNet;
use portcullis_policies::{AppId, TenantId};
use portcullis_secrets::{Pkcs11Settings, SecretRef, TransitSettings};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that `serve` needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where callers reach the gateway, and how much they may ask for.
    pub server: Server,
    /// Where files of the gateway are kept.
    pub data: Data,
    /// The key-encryption key.
    pub key_provider: KeyProvider,
    /// How long an unwrapped scope key may be used before the provider is asked again; five minutes at most.
    pub key_cache: Duration,
    /// From an erasure until no copy of the erased keys opens any more, at most; none: versions of the
    /// key-encryption key change by command only.
    pub final_erasure: Option<Duration>,
    /// Users, tenants, confirmations.
    pub directory: Directory,
    /// The ledger.
    pub ledger: Ledger,
    /// The rules.
    pub policies: Policies,
    /// Logins and tokens.
    pub identity: Identity,
    /// Pending confirmations.
    pub confirmation: Confirmation,
    /// Secrets of call tokens, the present one first; none: one that the gateway makes.
    pub call_tokens: Vec<SecretRef>,
    /// How often something may be done.
    pub limits: RateLimits,
    /// What replicas share besides their databases; none: there is one replica.
    pub redis: Option<RedisSettings>,
    /// What the gateway stands in front of.
    pub apps: BTreeMap<AppId, App>,
}

/// Where callers reach the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How callers name the gateway, without a final slash: `https://gate.example.org`. Stands in tokens
    /// and in what MCP clients discover. None: derived from the address that was bound.
    pub public_url: Option<String>,
    /// Networks of proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<IpNet>,
    /// Name of this replica in ledger records.
    pub replica: String,
    /// Certificate and key, both PEM files; none: plain HTTP.
    pub tls: Option<Tls>,
    /// Limits at the door.
    pub limits: Limits,
}

/// PEM files for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Limits at the door, so that no code further in has to worry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest request body in bytes; over it 413.
    pub body_bytes: usize,
    /// Longest request head in bytes; over it 431.
    pub header_bytes: usize,
    /// Deepest nesting of a JSON body.
    pub json_depth: usize,
    /// Open connections at most.
    pub connections: usize,
    /// Calls of one tenant in flight at most.
    pub calls_per_tenant: usize,
    /// Calls of one tenant that may wait for a place; over it 503.
    pub queue_per_tenant: usize,
    /// Time to receive a whole request head.
    pub header_timeout: Duration,
    /// Time for a whole call, at most 180 s.
    pub request_timeout: Duration,
    /// Time that calls in flight get to finish at shutdown.
    pub drain_timeout: Duration,
}

/// The folder for the gateway's own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The folder; made with mode 0700 when absent.
    pub dir: PathBuf,
}

/// The longest that an unwrapped scope key may be used before the provider is asked again.
pub(super) const KEY_CACHE: Duration = Duration::from_secs(300);

/// Where the key-encryption key lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProvider {
    /// A file of 32 bytes, mode 0600; made when absent.
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// A key in a hardware security module that never leaves it.
    Pkcs11(Pkcs11Settings),
    /// A key in the transit engine of Vault or OpenBao.
    Transit(TransitSettings),
    /// A key in AWS KMS.
    #[cfg(feature = "aws-kms")]
    AwsKms(portcullis_secrets::AwsKmsSettings),
}

impl KeyProvider {
    /// What it is and where, in one line; no secret.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::KeyFile { path } => path.display().to_string(),
            Self::Pkcs11(hsm) => format!("`{}` in token `{}`", hsm.key_label, hsm.token_label),
            Self::Transit(bao) => format!("{}/{} at {}", bao.mount, bao.key, bao.address),
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => format!("alias `{}` in {}", kms.alias, kms.region),
        }
    }
}

/// Users, tenants, confirmations.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where the address of a PostgreSQL database is; none: a SQLite file.
    pub postgres: Option<SecretRef>,
}

/// The ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Name of the deployment: the first part of every log's origin. Never change it once records exist.
    pub deployment: String,
    /// How long a call waits for its intent to be durable before it is refused.
    pub intent_deadline: Duration,
    /// Records that may wait for the writer.
    pub queue: usize,
    /// Where the address of a PostgreSQL database is; none: a SQLite file.
    pub postgres: Option<SecretRef>,
    /// Who watches from outside.
    pub witness: Witnessing,
}

/// The rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// Folder with `rules/` and `invariants/`; none: those that the binary carries.
    pub dir: Option<PathBuf>,
    /// Refuse rules whose invariants were not proved.
    pub require_proof: bool,
    /// Load the folder again when a file in it changes.
    pub watch: bool,
    /// The solver's executable; none: `cvc5` on the search path, where there is one.
    pub solver: Option<PathBuf>,
    /// A proof receipt made elsewhere.
    pub proof_receipt: Option<PathBuf>,
    /// A candidate set that is evaluated and recorded, and decides nothing.
    pub shadow_dir: Option<PathBuf>,
}

/// Logins and tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `iss` of the tokens; none: the public URL.
    pub issuer: Option<String>,
    /// How long a token is valid, at most 24 h.
    pub token_lifetime: Duration,
    /// Failed logins of one user, or from one address, within `login_window` before it has to wait.
    pub login_attempts: u32,
    /// See `login_attempts`.
    pub login_window: Duration,
    /// Tenants in which strangers may make an account for themselves.
    pub registration: Vec<TenantId>,
    /// Identity providers whose tokens are believed.
    pub issuers: Vec<ExternalIssuer>,
}

/// Pending confirmations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// How long a question may be answered.
    pub ttl: Duration,
    /// How a person may be asked inside an MCP client.
    pub elicitation: Elicitation,
}

/// How a person may be asked inside an MCP client, where the client can ask at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Elicitation {
    /// By a form, where the client holds the person's own token; else by an address.
    #[default]
    Form,
    /// By an address that leads to the page.
    Url,
    /// Not at all.
    Off,
}

impl Settings {
    /// What an empty configuration file means: files in `dir`, the rules of the binary, no apps.
    #[must_use]
    pub fn defaults(dir: &Path) -> Self {
        let data = Data { dir: dir.to_owned() };
        Self {
            server: Server::default(),
            key_provider: KeyProvider::KeyFile { path: data.key_file() },
            key_cache: KEY_CACHE,
            final_erasure: None,
            data,
            directory: Directory::default(),
            ledger: Ledger::default(),
            policies: Policies::default(),
            identity: Identity::default(),
            confirmation: Confirmation::default(),
            call_tokens: Vec::new(),
            limits: RateLimits::default(),
            redis: None,
            apps: BTreeMap::new(),
        }
    }

    /// The show of `portcullis demo`: everything in one folder, any free port, the demo app.
    #[must_use]
    pub fn demo(dir: &Path) -> Self {
        let mut settings = Self::defaults(dir);
        settings.server.listen.set_port(0);
        settings.ledger.deployment = "demo".to_owned();
        settings.apps.extend(App::demo().map(|app| (app.id.clone(), app)));
        settings
    }
}

impl Server {
    /// Whether anybody but this machine can reach it in plain text.
    #[must_use]
    pub fn is_public_plain_http(&self) -> bool {
        self.tls.is_none() && !self.listen.ip().is_loopback()
    }
}

impl Data {
    /// SQLite file of users, tenants, confirmations and the catalogue.
    #[must_use]
    pub fn directory_db(&self) -> PathBuf {
        self.dir.join("directory.sqlite")
    }

    /// SQLite file of the ledger.
    #[must_use]
    pub fn ledger_db(&self) -> PathBuf {
        self.dir.join("ledger.sqlite")
    }

    /// Folder of the key files, mode 0700.
    #[must_use]
    pub fn keys_dir(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// Default place of the key-encryption key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.keys_dir().join("kek")
    }

    /// The table of wrapped scope keys: an SQLite file of its own, so that it can be backed up, and let go, by itself.
    #[must_use]
    pub fn scope_keys(&self) -> PathBuf {
        self.keys_dir().join("scope-keys.db")
    }

    /// Ed25519 seed that signs the ledger's checkpoints.
    #[must_use]
    pub fn ledger_key(&self) -> PathBuf {
        self.keys_dir().join("ledger-signing")
    }

    /// RSA key that signs access tokens, sealed.
    #[must_use]
    pub fn token_key(&self) -> PathBuf {
        self.keys_dir().join("token-signing")
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: None,
            trusted_proxies: Vec::new(),
            replica: "local".to_owned(),
            tls: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            header_bytes: 32 << 10,
            json_depth: 64,
            connections: 1024,
            calls_per_tenant: 256,
            queue_per_tenant: 1024,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            deployment: "portcullis".to_owned(),
            intent_deadline: Duration::from_secs(2),
            queue: 4096,
            postgres: None,
            witness: Witnessing::default(),
        }
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            dir: None,
            require_proof: false,
            watch: true,
            solver: None,
            proof_receipt: None,
            shadow_dir: None,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            issuer: None,
            token_lifetime: Duration::from_secs(15 * 60),
            login_attempts: 10,
            login_window: Duration::from_secs(5 * 60),
            registration: Vec::new(),
            issuers: Vec::new(),
        }
    }
}

impl Default for Confirmation {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(10 * 60), elicitation: Elicitation::default() }
    }
}
