//! The `[apps.<id>]` tables.

use super::{all_or_none, files, routes};
use crate::config::checker::{BY_REFERENCE, Checker};
use crate::config::document::At;
use crate::config::mistakes::Kind;
use crate::config::settings::{
    App, Credential, EnvValue, MAX_TIMEOUT, NewTools, Routes, ToolOverride, Upstream,
};
use crate::config::written;
use http::HeaderName;
use portcullis_policies::{AppId, OWN_APPS, ToolName};
use std::collections::BTreeMap;
use std::time::Duration;

const KINDS: &str = "give exactly one of `manifest`, `mcp`, `proxy` and `demo = true`";

pub(super) fn apps(
    c: &mut Checker<'_>,
    at: &At,
    written: BTreeMap<String, written::App>,
) -> Option<BTreeMap<AppId, App>> {
    let apps: Vec<Option<App>> =
        written.into_iter().map(|(id, written)| app(c, &at.key(&id), &id, written)).collect();
    apps.into_iter().map(|app| app.map(|app| (app.id.clone(), app))).collect()
}

fn app(c: &mut Checker<'_>, at: &At, id: &str, mut written: written::App) -> Option<App> {
    let id = app_id(c, at, id);
    let upstream = upstream(c, at, &mut written);
    let tenant =
        written.tenant.map(|text| c.parsed(&at.key("tenant"), &text, "one tenant, by its id"));
    let credential = written.credential.map(|form| credential(c, &at.key("credential"), form));
    let default = Duration::from_secs(30);
    let bounds = Duration::from_millis(1)..=MAX_TIMEOUT;
    let timeout = c.duration(&at.key("timeout"), written.timeout.as_ref(), default, bounds);
    let tools = tools(c, &at.key("tools"), id.as_ref(), written.tools);
    let app = App::new(id?, upstream?);
    Some(App {
        name: written.name.unwrap_or(app.name),
        tenant: all_or_none(tenant)?,
        tenant_argument: written.tenant_argument,
        owner_argument: written.owner_argument,
        credential: all_or_none(credential)?,
        timeout: timeout?,
        tools: tools?,
        new_tools: match written.new_tools {
            Some(written::NewToolsForm::Accept) => NewTools::Accept,
            Some(written::NewToolsForm::Quarantine) | None => NewTools::Quarantine,
        },
        ..app
    })
}

fn app_id(c: &mut Checker<'_>, at: &At, id: &str) -> Option<AppId> {
    if OWN_APPS.contains(&id) {
        let message = format!("the app id `{id}` is the gateway's own");
        c.wrong_key(Kind::Conflict, at, message, "rename the table");
        return None;
    }
    match id.parse() {
        Ok(id) => Some(id),
        Err(why) => {
            c.wrong_key(Kind::Value, at, format!("{why}"), "rename the table");
            None
        }
    }
}

fn upstream(c: &mut Checker<'_>, at: &At, written: &mut written::App) -> Option<Upstream> {
    one_kind(c, at);
    if c.is_written(&at.key("url")) && !c.is_written(&at.key("manifest")) {
        let message = format!("`{at}.url` belongs to `manifest`, and there is none");
        c.wrong_key(Kind::Conflict, &at.key("url"), message, "write it inside `mcp` or `proxy`");
    }
    if let Some(file) = written.manifest.take() {
        return manifest(c, at, &file, written.url.take());
    }
    if let Some(mcp) = written.mcp.take() {
        return self::mcp(c, &at.key("mcp"), mcp);
    }
    if let Some(proxy) = written.proxy.take() {
        return self::proxy(c, &at.key("proxy"), proxy);
    }
    demo(c, &at.key("demo"), written.demo)
}

/// Notes a mistake unless exactly one key says where the app runs.
fn one_kind(c: &mut Checker<'_>, at: &At) {
    let kinds = ["manifest", "mcp", "proxy", "demo"].map(|kind| at.key(kind));
    let mut kinds = kinds.iter().filter(|kind| c.is_written(kind));
    let (first, second) = (kinds.next(), kinds.next());
    match (first, second) {
        (Some(_), None) => {}
        (Some(_), Some(second)) => {
            let message = format!("`{at}` says more than once where the app runs");
            c.wrong_key(Kind::Conflict, second, message, KINDS);
        }
        (None, _) => {
            let message = format!("`{at}` does not say where the app runs");
            c.wrong_key(Kind::Missing, at, message, KINDS);
        }
    }
}

fn demo(c: &mut Checker<'_>, at: &At, written: Option<bool>) -> Option<Upstream> {
    if written == Some(false) {
        c.wrong(Kind::Missing, at, format!("`{at}` turns the app off"), KINDS);
    }
    (written == Some(true)).then_some(Upstream::Demo)
}

fn manifest(c: &mut Checker<'_>, at: &At, file: &str, url: Option<String>) -> Option<Upstream> {
    let file = files::manifest(c, &at.key("manifest"), file);
    let at = at.key("url");
    let url = c.required(&at, url, "give the base address of the app's functions");
    let url = url.and_then(|url| c.url(&at, &url));
    Some(Upstream::Manifest { file: file?, url: url? })
}

fn mcp(c: &mut Checker<'_>, at: &At, written: written::Mcp) -> Option<Upstream> {
    let help = "give `command` for a server over stdio, or `url` for one over streamable HTTP";
    match (c.is_written(&at.key("command")), c.is_written(&at.key("url"))) {
        (true, false) => child(c, at, written),
        (false, true) => remote(c, at, written),
        (true, true) => {
            let message = format!("`{at}` has both a `command` and a `url`");
            c.wrong_key(Kind::Conflict, &at.key("url"), message, help);
            None
        }
        (false, false) => {
            let message = format!("`{at}` has neither a `command` nor a `url`");
            c.wrong_key(Kind::Missing, at, message, help);
            None
        }
    }
}

fn child(c: &mut Checker<'_>, at: &At, written: written::Mcp) -> Option<Upstream> {
    if !written.headers.is_empty() {
        let message = format!("`{at}.headers` belong to `url`, and this is a `command`");
        c.wrong_key(Kind::Conflict, &at.key("headers"), message, "use `env` instead");
    }
    let cwd = written.cwd.map(|text| c.folder(&at.key("cwd"), &text));
    let at_env = at.key("env");
    let env: Vec<Option<(String, EnvValue)>> = written
        .env
        .into_iter()
        .map(|(name, form)| env_value(c, &at_env.key(&name), form).map(|value| (name, value)))
        .collect();
    let mut words = written.command?.into_iter();
    let program = words.next().filter(|program| !program.trim().is_empty());
    if program.is_none() {
        let message = format!("`{at}.command` names no program");
        c.wrong(Kind::Value, &at.key("command"), message, "write `[\"program\", \"argument\"]`");
    }
    Some(Upstream::McpChild {
        program: program?,
        args: words.collect(),
        env: env.into_iter().collect::<Option<_>>()?,
        cwd: all_or_none(cwd)?,
    })
}

fn env_value(c: &mut Checker<'_>, at: &At, form: written::EnvForm) -> Option<EnvValue> {
    let name = at.last().unwrap_or_default();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.chars().next().is_none_or(|first| first.is_ascii_digit()) || !name.chars().all(allowed)
    {
        let help = "use letters, digits and `_`, not a digit first";
        c.wrong_key(Kind::Value, at, format!("`{name}` cannot name a variable"), help);
        return None;
    }
    match form {
        written::EnvForm::Plain(text) => c.plain(at, text).map(EnvValue::Plain),
        written::EnvForm::Secret(form) => c.secret(at, &form).map(EnvValue::Secret),
    }
}

fn remote(c: &mut Checker<'_>, at: &At, written: written::Mcp) -> Option<Upstream> {
    for (key, unused) in [("env", !written.env.is_empty()), ("cwd", written.cwd.is_some())] {
        if unused {
            let message = format!("`{at}.{key}` belongs to `command`, and this is a `url`");
            c.wrong_key(Kind::Conflict, &at.key(key), message, "leave it out");
        }
    }
    let at_headers = at.key("headers");
    let headers: Vec<_> = written
        .headers
        .into_iter()
        .map(|(name, form)| {
            let at = at_headers.key(&name);
            let header = header(c, &at, &name);
            let value = c.secret(&at, &form);
            Some((header?.to_string(), value?))
        })
        .collect();
    let url = c.url(&at.key("url"), &written.url?);
    Some(Upstream::McpHttp { url: url?, headers: headers.into_iter().collect::<Option<_>>()? })
}

fn proxy(c: &mut Checker<'_>, at: &At, written: written::Proxy) -> Option<Upstream> {
    let url = c.required(&at.key("url"), written.url, "give the base address of the service");
    let url = url.and_then(|url| c.url(&at.key("url"), &url));
    let (at_routes, at_openapi) = (at.key("routes"), at.key("openapi"));
    let help = "list the requests in `routes`, or name an OpenAPI file in `openapi`";
    let routes = match (c.is_written(&at_routes), c.is_written(&at_openapi)) {
        (true, false) => {
            written.routes.and_then(|forms| routes::routes(c, &at_routes, forms)).map(Routes::Table)
        }
        (false, true) => {
            let file = written.openapi.and_then(|file| files::openapi(c, &at_openapi, &file));
            file.map(Routes::OpenApi)
        }
        (true, true) => {
            let message = format!("`{at}` has both `routes` and `openapi`");
            c.wrong_key(Kind::Conflict, &at_openapi, message, help);
            None
        }
        (false, false) => {
            let message = format!("`{at}` has neither `routes` nor `openapi`");
            c.wrong_key(Kind::Missing, at, message, help);
            None
        }
    };
    Some(Upstream::Proxy { url: url?, routes: routes? })
}

fn credential(c: &mut Checker<'_>, at: &At, form: written::Credential) -> Option<Credential> {
    let name = form.header.as_deref().unwrap_or("authorization");
    let header = header(c, &at.key("header"), name);
    let at_value = at.key("value");
    let value = c.required(&at_value, form.value, BY_REFERENCE);
    let value = value.and_then(|form| c.secret(&at_value, &form));
    let prefix = form.prefix.unwrap_or_default();
    if prefix.chars().any(|letter| letter.is_control() || !letter.is_ascii()) {
        let message = format!("`{at}.prefix` cannot stand in a header");
        c.wrong(Kind::Value, &at.key("prefix"), message, "use printable ASCII, such as `Bearer `");
    }
    Some(Credential { header: header?, prefix, value: value? })
}

/// Hop-by-hop and framing headers are the transport's own: setting one would change what the upstream
/// takes for the request.
fn header(c: &mut Checker<'_>, at: &At, name: &str) -> Option<HeaderName> {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let help = "use a header of its own, such as `authorization` or `x-api-key`";
    let header = c.parsed::<HeaderName>(at, name, help)?;
    if FRAMING.contains(&header.as_str()) {
        c.wrong(Kind::Value, at, format!("`{header}` belongs to the transport"), help);
        return None;
    }
    Some(header)
}

pub(super) const FUNCTION: &str = "use 1 to 128 of A-Z, a-z, 0-9, `_`, `.`, `:`, `-` and `/`";

fn tools(
    c: &mut Checker<'_>,
    at: &At,
    app: Option<&AppId>,
    written: BTreeMap<String, written::Tool>,
) -> Option<BTreeMap<String, ToolOverride>> {
    for name in written.keys() {
        if app.is_some() && !is_function(name) {
            let at = at.key(name);
            c.wrong_key(Kind::Value, &at, format!("`{name}` cannot name a tool"), FUNCTION);
            return None;
        }
    }
    let tools = written.into_iter().map(|(name, tool)| {
        let action = tool.action.map(Into::into);
        (name, ToolOverride { action, scopes: tool.scopes })
    });
    Some(tools.collect())
}

/// Asks the vocabulary of the rules, so that there is one definition of a tool's name.
pub(super) fn is_function(name: &str) -> bool {
    "app".parse().is_ok_and(|app| ToolName::new(app, name).is_ok())
}
