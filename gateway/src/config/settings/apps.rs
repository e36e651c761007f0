//! What the gateway stands in front of, as it uses it.

use http::{HeaderName, Method, Uri};
use portcullis_policies::{ActionType, AppId, TenantId};
use portcullis_secrets::SecretRef;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Longest time that one call of an upstream may take.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(180);

/// One app: where its tools come from and how they are reached.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// Its id: the part of every tool name before the slash.
    pub id: AppId,
    /// What people call it; the id when nothing else was given.
    pub name: String,
    /// The one tenant it serves; none: every tenant, and a call's target is the caller's own tenant.
    pub tenant: Option<TenantId>,
    /// The argument that names the target tenant, where the app knows tenants itself.
    pub tenant_argument: Option<String>,
    /// The argument that names the target's owner by id or e-mail, where the app knows people itself.
    pub owner_argument: Option<String>,
    /// Where it runs.
    pub upstream: Upstream,
    /// What the gateway shows to the upstream instead of the caller's credential.
    pub credential: Option<Credential>,
    /// Time for one call, at most [`MAX_TIMEOUT`].
    pub timeout: Duration,
    /// What the operator says about single tools, by function name.
    pub tools: BTreeMap<String, ToolOverride>,
    /// What happens to a tool that appears or changes upstream.
    pub new_tools: NewTools,
}

/// Where an app runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Upstream {
    /// Functions that an `imperal.json` describes, each reached by `POST {url}/{function}`.
    Manifest {
        /// The manifest.
        file: PathBuf,
        /// Base address, http or https.
        url: Uri,
    },
    /// An MCP server that the gateway starts and speaks to over stdio.
    McpChild {
        /// Program.
        program: String,
        /// Its arguments.
        args: Vec<String>,
        /// Its environment, beside `PATH`, `HOME` and the locale.
        env: BTreeMap<String, EnvValue>,
        /// Its working directory; none: the gateway's.
        cwd: Option<PathBuf>,
    },
    /// An MCP server over streamable HTTP.
    McpHttp {
        /// Its address, http or https.
        url: Uri,
        /// Headers of every request, by reference.
        headers: BTreeMap<String, SecretSource>,
    },
    /// Any HTTP service, behind `/proxy/{app}/...`.
    Proxy {
        /// Base address, http or https.
        url: Uri,
        /// Which requests there are.
        routes: Routes,
    },
    /// The demo app that the binary carries.
    Demo,
}

/// The requests of a proxied service.
#[derive(Debug, Clone, PartialEq)]
pub enum Routes {
    /// As listed.
    Table(Vec<Route>),
    /// As an OpenAPI 3 file says.
    OpenApi(PathBuf),
}

/// One kind of request of a proxied service; a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Function name of the tool.
    pub name: String,
    /// Method.
    pub method: Method,
    /// Path, begins with `/`; `{name}` matches one segment.
    pub path: String,
    /// What it does; none: by the method.
    pub action: Option<ActionType>,
    /// Scopes that it needs; empty: the default of the app.
    pub scopes: Vec<String>,
}

/// The value of an environment variable of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// Nothing secret.
    Plain(String),
    /// Given when the child starts.
    Secret(SecretSource),
}

/// What the gateway shows to an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    /// Header that carries it.
    pub header: HeaderName,
    /// Text before the secret, such as `Bearer `.
    pub prefix: String,
    /// Where the secret is.
    pub value: SecretSource,
}

/// Where a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file or a variable, read at the start.
    Given(SecretRef),
    /// In the vault under this name, lent for each use.
    Vault(String),
}

/// What the operator says about one tool; stronger than its manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolOverride {
    /// What it does.
    pub action: Option<ActionType>,
    /// Scopes that it needs.
    pub scopes: Option<Vec<String>>,
}

/// What happens to a tool that appears or changes upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewTools {
    /// Nobody can call it until an operator accepts it.
    #[default]
    Quarantine,
    /// It can be called at once.
    Accept,
}

impl App {
    /// An app with this id and upstream, and defaults otherwise.
    #[must_use]
    pub fn new(id: AppId, upstream: Upstream) -> Self {
        Self {
            name: id.to_string(),
            id,
            tenant: None,
            tenant_argument: None,
            owner_argument: None,
            upstream,
            credential: None,
            timeout: Duration::from_secs(30),
            tools: BTreeMap::new(),
            new_tools: NewTools::default(),
        }
    }

    /// The demo app. None only if its id were no app id, which a test rules out.
    #[must_use]
    pub fn demo() -> Option<Self> {
        let id = "notes".parse().ok()?;
        Some(Self::new(id, Upstream::Demo))
    }
}
