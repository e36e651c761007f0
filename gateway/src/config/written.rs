//! The configuration as typed. Every key is optional here: what is missing is decided, and reported with
//! its place, when [`super::Settings`] is made. The comments are the help texts of the JSON Schema.

mod apps;
pub(super) mod issuers;
pub(super) mod keys;
pub(super) mod rates;
pub(super) mod redis;
pub(super) mod witness;

pub(super) use apps::{
    App, Credential, EnvForm, Mcp, MethodForm, NewToolsForm, Proxy, RouteForm, SecretForm, Tool,
};

pub(super) use rates::{Rate, RateForm, RateLimits};
pub(super) use redis::Redis;

use super::units::{Bytes, TimeSpan};
use keys::KeyProvider;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use witness::Witnessing;

/// Configuration of Portcullis. Every key has a default; an empty file is a valid one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// Where callers reach the gateway, and limits at the door.
    #[serde(default)]
    pub(super) server: Server,
    /// The folder for the gateway's own files.
    #[serde(default)]
    pub(super) data: Data,
    /// Where the key-encryption key lives.
    #[serde(default)]
    pub(super) key_provider: KeyProvider,
    /// Users, tenants, confirmations.
    #[serde(default)]
    pub(super) directory: Directory,
    /// The append-only ledger.
    #[serde(default)]
    pub(super) ledger: Ledger,
    /// The Cedar rules.
    #[serde(default)]
    pub(super) policies: Policies,
    /// Logins and tokens.
    #[serde(default)]
    pub(super) identity: Identity,
    /// Pending confirmations.
    #[serde(default)]
    pub(super) confirmation: Confirmation,
    /// Tokens by which the code of an app reaches what it keeps.
    #[serde(default)]
    pub(super) call_tokens: CallTokens,
    /// How often something may be done.
    #[serde(default)]
    pub(super) limits: RateLimits,
    /// What replicas share besides their databases.
    #[serde(default)]
    pub(super) redis: Redis,
    /// What the gateway stands in front of, by app id: 2 to 64 of a-z, 0-9 and `-`.
    #[serde(default)]
    pub(super) apps: BTreeMap<String, App>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// Address and port to listen on, such as `127.0.0.1:8080` or `[::]:8443`.
    #[schemars(extend("default" = "127.0.0.1:8080"))]
    pub(super) listen: Option<String>,
    /// How callers name the gateway, such as `https://gate.example.org`: an origin, without a path.
    pub(super) public_url: Option<String>,
    /// Networks of proxies in front of the gateway, such as `["10.1.0.0/16"]`. Of their requests the client is the
    /// rightmost address in `X-Forwarded-For` that is none of them; nobody else's header counts.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<String>,
    /// Name of this replica in ledger records.
    #[schemars(extend("default" = "local"))]
    pub(super) replica: Option<String>,
    /// Serve HTTPS with this certificate.
    pub(super) tls: Option<Tls>,
    /// Limits at the door.
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// PEM file with the certificate chain, leaf first.
    pub(super) cert: Option<String>,
    /// PEM file with the private key.
    pub(super) key: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Longest request body.
    #[schemars(extend("default" = "1MiB"))]
    pub(super) body_bytes: Option<Bytes>,
    /// Longest request head.
    #[schemars(extend("default" = "32KiB"))]
    pub(super) header_bytes: Option<Bytes>,
    /// Deepest nesting of a JSON body.
    #[schemars(range(min = 1, max = 128), extend("default" = 64))]
    pub(super) json_depth: Option<u32>,
    /// Open connections at most.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1024))]
    pub(super) connections: Option<u32>,
    /// Calls of one tenant in flight at most.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 256))]
    pub(super) calls_per_tenant: Option<u32>,
    /// Calls of one tenant that may wait for a place.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 1024))]
    pub(super) queue_per_tenant: Option<u32>,
    /// Time to receive a whole request head.
    #[schemars(extend("default" = "10s"))]
    pub(super) header_timeout: Option<TimeSpan>,
    /// Time for a whole call, at most 180s.
    #[schemars(extend("default" = "60s"))]
    pub(super) request_timeout: Option<TimeSpan>,
    /// Time that calls in flight get to finish at shutdown.
    #[schemars(extend("default" = "30s"))]
    pub(super) drain_timeout: Option<TimeSpan>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// The folder; relative paths in this file are relative to the file.
    #[schemars(extend("default" = "portcullis-data"))]
    pub(super) dir: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// Name of the deployment: the first part of every log's origin. Never change it once records exist.
    #[schemars(extend("default" = "portcullis"))]
    pub(super) deployment: Option<String>,
    /// How long a call waits for its intent to be durable before it is refused.
    #[schemars(extend("default" = "2s"))]
    pub(super) intent_deadline: Option<TimeSpan>,
    /// Records that may wait for the writer.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 4096))]
    pub(super) queue: Option<u32>,
    /// Address of a PostgreSQL database that any number of replicas share, `postgres://user:password@host/database`,
    /// in place of the SQLite file. Each replica needs a name of its own (`server.replica`) and the same key file.
    /// On another machine its address ends with `?sslmode=verify-full&sslrootcert=/path/to/ca.pem`, or says
    /// `?sslmode=disable`.
    pub(super) postgres: Option<SecretForm>,
    /// Who watches from outside that the logs only grow.
    #[serde(default)]
    pub(super) witness: Witnessing,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Directory {
    /// Address of a PostgreSQL database that any number of replicas share, in place of the SQLite file. It may be the
    /// one of the ledger, and says the same about TLS.
    pub(super) postgres: Option<SecretForm>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Policies {
    /// Folder with `rules/` and `invariants/`. Without it, the rules that the binary carries.
    pub(super) dir: Option<String>,
    /// Refuse rules whose invariants were not proved.
    #[schemars(extend("default" = false))]
    pub(super) require_proof: Option<bool>,
    /// Load the folder again when a file in it changes.
    #[schemars(extend("default" = true))]
    pub(super) watch: Option<bool>,
    /// The solver's executable. Without it, `cvc5` from the search path, where there is one.
    pub(super) solver: Option<String>,
    /// A proof receipt made elsewhere by `portcullis policy prove`.
    pub(super) proof_receipt: Option<String>,
    /// A candidate set of rules that is evaluated and recorded, and decides nothing.
    pub(super) shadow_dir: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// `iss` of the tokens. The public URL by default.
    pub(super) issuer: Option<String>,
    /// How long a token is valid, at most 24h.
    #[schemars(extend("default" = "15m"))]
    pub(super) token_lifetime: Option<TimeSpan>,
    /// Failed logins within `login_window` before a user or an address has to wait.
    #[schemars(range(min = 1, max = 1000), extend("default" = 10))]
    pub(super) login_attempts: Option<u32>,
    /// See `login_attempts`.
    #[schemars(extend("default" = "5m"))]
    pub(super) login_window: Option<TimeSpan>,
    /// Tenants in which strangers may make an account for themselves; none by default.
    #[serde(default)]
    pub(super) registration: Vec<String>,
    /// Identity providers whose tokens are believed, by a name of 1 to 32 of a-z, 0-9 and `-`.
    #[serde(default)]
    pub(super) issuers: BTreeMap<String, issuers::ExternalIssuer>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallTokens {
    /// Secrets that workers share to make call tokens themselves: the present one first, those before it behind.
    /// Without any the gateway makes one for itself, and a token for each call.
    #[serde(default)]
    pub(super) secrets: Vec<SecretForm>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    /// How long a question may be answered.
    #[schemars(extend("default" = "10m"))]
    pub(super) ttl: Option<TimeSpan>,
    /// How a person may be asked inside an MCP client that can ask: `form`, where the client holds the person's own
    /// token, and by an address else; `url`: only by an address that leads to the page; `off`: not at all.
    #[schemars(extend("default" = "form"))]
    pub(super) elicitation: Option<ElicitationForm>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ElicitationForm {
    Form,
    Url,
    Off,
}
