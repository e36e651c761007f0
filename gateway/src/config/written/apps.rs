//! Apps as typed.

use crate::config::units::TimeSpan;
use portcullis_policies::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One app. Exactly one of `manifest`, `mcp`, `proxy` and `demo` says where it runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    /// What people call it.
    pub(crate) name: Option<String>,
    /// An `imperal.json`; its functions are reached below `url`.
    pub(crate) manifest: Option<String>,
    /// Base address of the functions of `manifest`.
    pub(crate) url: Option<String>,
    /// An MCP server: `{ command = ["program", "argument"] }` or `{ url = "https://..." }`.
    pub(crate) mcp: Option<Mcp>,
    /// Any HTTP service, behind `/proxy/{app}/...`.
    pub(crate) proxy: Option<Proxy>,
    /// The demo app that the binary carries.
    pub(crate) demo: Option<bool>,
    /// The one tenant that the app serves. Without it, every tenant.
    pub(crate) tenant: Option<String>,
    /// The argument that names the target tenant, where the app knows tenants itself.
    pub(crate) tenant_argument: Option<String>,
    /// The argument that names the target's owner by id or e-mail, where the app knows people itself; who is another
    /// person needs the scope `APP:others`.
    pub(crate) owner_argument: Option<String>,
    /// What the gateway shows to the upstream instead of the caller's credential.
    pub(crate) credential: Option<Credential>,
    /// Time for one call, at most 180s.
    #[schemars(extend("default" = "30s"))]
    pub(crate) timeout: Option<TimeSpan>,
    /// What happens to a tool that appears or changes upstream.
    #[schemars(extend("default" = "quarantine"))]
    pub(crate) new_tools: Option<NewToolsForm>,
    /// What the operator says about single tools, by function name.
    #[serde(default)]
    pub(crate) tools: BTreeMap<String, Tool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mcp {
    /// Program and arguments of a server that speaks MCP over stdio.
    #[schemars(length(min = 1))]
    pub(crate) command: Option<Vec<String>>,
    /// Environment of the program.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, EnvForm>,
    /// Working directory of the program.
    pub(crate) cwd: Option<String>,
    /// Address of a server that speaks MCP over streamable HTTP.
    pub(crate) url: Option<String>,
    /// Headers of every request to `url`.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, SecretForm>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxy {
    /// Base address of the service.
    pub(crate) url: Option<String>,
    /// The requests that there are, one tool each.
    pub(crate) routes: Option<Vec<RouteForm>>,
    /// An OpenAPI 3 file instead of `routes`.
    pub(crate) openapi: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteForm {
    /// Function name of the tool.
    pub(crate) name: String,
    /// HTTP method.
    pub(crate) method: MethodForm,
    /// Path, begins with `/`; `{name}` matches one segment.
    #[schemars(
        regex(pattern = r"^/"),
        extend("x-help" = "write the path from its first slash, such as `/invoices/{id}`")
    )]
    pub(crate) path: String,
    /// What it does. By the method otherwise: GET read, POST, PUT and PATCH write, DELETE destructive.
    pub(crate) action: Option<Action>,
    /// Scopes that it needs.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    /// Header that carries it.
    #[schemars(extend("default" = "authorization"))]
    pub(crate) header: Option<String>,
    /// Where the secret is.
    pub(crate) value: Option<SecretForm>,
    /// Text before the secret, such as `Bearer ` with its space.
    pub(crate) prefix: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    /// What it does: stronger than its manifest, and recorded in the ledger.
    pub(crate) action: Option<Action>,
    /// Scopes that it needs.
    pub(crate) scopes: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Read,
    Write,
    Destructive,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NewToolsForm {
    Quarantine,
    Accept,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum MethodForm {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// Where a secret is: `{ vault = "name" }`, `{ file = "path" }` or `{ env = "NAME" }`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "minProperties" = 1,
    "maxProperties" = 1,
    "x-secret" = true,
    "x-help" = "secrets are given by reference: `{ vault = \"name\" }`, `{ file = \"path\" }` or `{ env = \"NAME\" }`",
))]
pub(crate) struct SecretForm {
    /// A file that holds the secret; one final line break is not part of it.
    pub(crate) file: Option<String>,
    /// An environment variable of the gateway.
    pub(crate) env: Option<String>,
    /// A value of the vault, lent for each use; `portcullis secret set APP NAME --upstream` stores it.
    #[schemars(
        regex(pattern = r"^[a-z][a-z0-9_]{0,62}$"),
        extend("x-help" = "name it with 1 to 63 of a-z, 0-9 and `_`, a letter first")
    )]
    pub(crate) vault: Option<String>,
}

/// The value of an environment variable: plain text, or where a secret is.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum EnvForm {
    Plain(String),
    Secret(SecretForm),
}

/// The schema of a secret's reference, except that text is possible, too. Written out so that there is
/// no `anyOf`, whose errors name no place.
impl JsonSchema for EnvForm {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvForm".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = SecretForm::json_schema(generator);
        schema.insert("type".to_owned(), serde_json::json!(["string", "object"]));
        schema.remove("x-secret");
        schema.insert("description".to_owned(), "Plain text, or where a secret is.".into());
        schema
    }
}

impl From<Action> for ActionType {
    fn from(action: Action) -> Self {
        match action {
            Action::Read => Self::Read,
            Action::Write => Self::Write,
            Action::Destructive => Self::Destructive,
        }
    }
}
