//! An app of the catalogue and where its worker is.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, Method, Uri};
use portcullis_policies::{AppId, TenantId, ToolName};

use crate::catalogue::routes::{RouteMatch, RouteRefusal, RouteTable};
use crate::lend::CredentialValue;
use crate::secret::SecretDeclaration;

/// One app: a set of tools behind one upstream.
#[derive(Debug, Clone)]
pub struct App {
    /// Unique id, the first part of every tool name.
    pub id: AppId,
    /// Name for people.
    pub name: String,
    /// The tenant that owns it; `None` serves every tenant, and the target is the caller's.
    pub tenant: Option<TenantId>,
    /// Name of an argument that says on whose things a call works, where the app has one; the
    /// gateway reads it and the rules compare it with the caller's tenant.
    pub tenant_argument: Option<String>,
    /// Name of an argument that says whose things a call works on, by the person's id or e-mail, where the app has one;
    /// the rules compare it with the person in whose name the call is made.
    pub owner_argument: Option<String>,
    /// Secrets that its manifest declares; only these can be stored for it and lent to it.
    pub secrets: Arc<[SecretDeclaration]>,
    /// Where its worker is.
    pub upstream: Upstream,
}

impl App {
    /// The declaration of a secret; `None` when the manifest has none of that name.
    pub fn secret(&self, name: &str) -> Option<&SecretDeclaration> {
        self.secrets.iter().find(|declared| declared.name == name)
    }

    /// The tool that a request to this proxied app is. `target` is path and query below the app's
    /// prefix, as on the wire.
    ///
    /// # Errors
    /// When no route matches, when the request could be read in two ways, or when the app is not
    /// proxied.
    pub fn route(
        &self,
        method: &Method,
        target: &str,
    ) -> Result<(ToolName, RouteMatch), RouteRefusal> {
        let proxy = self.upstream.as_proxy().ok_or(RouteRefusal::NoRoute)?;
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let found = proxy.routes.find(method, path, query)?;
        let name = ToolName::new(self.id.clone(), &found.function);
        Ok((name.map_err(|_| RouteRefusal::NoRoute)?, found))
    }
}

/// How an app's worker is reached.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Functions over HTTP: `POST {base}/{function}`, the arguments as JSON.
    Http(HttpUpstream),
    /// An MCP server that the gateway starts and speaks to over stdin and stdout.
    McpStdio(McpStdio),
    /// An MCP server over streamable HTTP.
    McpHttp(HttpUpstream),
    /// Any HTTP service behind a route table.
    Proxy(ProxyUpstream),
    /// Nobody: the gateway carries its calls out itself. Never dispatched.
    Own,
}

/// An HTTP service and the credentials that the gateway shows it.
#[derive(Debug, Clone)]
pub struct HttpUpstream {
    /// `http://` or `https://` with host; a path is a prefix. No query.
    pub base: Uri,
    /// Sent with every request; the caller's own credential never is.
    pub credentials: Vec<Credential>,
}

/// A proxied HTTP service.
#[derive(Debug, Clone)]
pub struct ProxyUpstream {
    /// The service.
    pub http: HttpUpstream,
    /// Which requests are tools; what is not here is not forwarded.
    pub routes: Arc<RouteTable>,
}

/// How to start an MCP server.
#[derive(Debug, Clone)]
pub struct McpStdio {
    /// Program, absolute or searched in `PATH`.
    pub command: PathBuf,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment of the child beside `PATH`, `HOME` and `LANG`. Nothing else of the gateway's
    /// environment is passed on: it may hold the secrets of others.
    pub env: Vec<(String, CredentialValue)>,
    /// Working directory; the gateway's own where `None`.
    pub dir: Option<PathBuf>,
}

/// A header that authenticates the gateway to an upstream, for instance `authorization`.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Name of the header.
    pub header: HeaderName,
    /// Text before the value, such as `Bearer ` with its space.
    pub prefix: String,
    /// The value, or where it is lent from. Debug output shows none.
    pub value: CredentialValue,
}

/// A credential that cannot be sent as a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the credential for header {0} holds characters that a header cannot carry; look for line breaks where it was set"
)]
pub struct BadCredential(pub(crate) HeaderName);

impl Upstream {
    /// The proxied service, if it is one.
    pub fn as_proxy(&self) -> Option<&ProxyUpstream> {
        match self {
            Upstream::Proxy(p) => Some(p),
            _ => None,
        }
    }
}
