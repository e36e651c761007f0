//! One configured app as the dispatcher knows it: files read, credentials fetched by reference.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, Uri};
use portcullis_kernel_adapter::catalogue::openapi;
use portcullis_kernel_adapter::catalogue::routes::{RouteSpec, RouteTable};
use portcullis_kernel_adapter::{
    App, Credential, CredentialValue, HttpUpstream, McpStdio, ProxyUpstream, Upstream,
};

use super::AppsError;
use crate::config::{self, EnvValue, Routes, SecretSource};

/// Reads what the app needs.
///
/// # Errors
/// [`AppsError`] with the app's id.
pub(super) fn app(app: &config::App) -> Result<App, AppsError> {
    Ok(App {
        id: app.id.clone(),
        name: app.name.clone(),
        tenant: app.tenant.clone(),
        tenant_argument: app.tenant_argument.clone(),
        owner_argument: app.owner_argument.clone(),
        secrets: Arc::default(),
        upstream: upstream(app)?,
    })
}

fn upstream(app: &config::App) -> Result<Upstream, AppsError> {
    Ok(match &app.upstream {
        config::Upstream::Manifest { url, .. } => Upstream::Http(http(app, url)?),
        config::Upstream::McpChild { program, args, env, cwd } => Upstream::McpStdio(McpStdio {
            command: program.into(),
            args: args.clone(),
            env: environment(app, env)?,
            dir: cwd.clone(),
        }),
        config::Upstream::McpHttp { url, headers } => {
            let mut upstream = http(app, url)?;
            for (name, source) in headers {
                let (header, value) = (header(app, name)?, value(app, source)?);
                // What the table of headers says of a header is stronger.
                upstream.credentials.retain(|credential| credential.header != header);
                upstream.credentials.push(Credential { header, prefix: String::new(), value });
            }
            Upstream::McpHttp(upstream)
        }
        config::Upstream::Proxy { url, routes } => Upstream::Proxy(ProxyUpstream {
            http: http(app, url)?,
            routes: Arc::new(route_table(app, routes)?),
        }),
        config::Upstream::Demo => {
            Upstream::Http(HttpUpstream { base: Uri::default(), credentials: Vec::new() })
        }
    })
}

fn http(app: &config::App, url: &Uri) -> Result<HttpUpstream, AppsError> {
    let credentials = match &app.credential {
        None => Vec::new(),
        Some(said) => {
            let (header, prefix) = (said.header.clone(), said.prefix.clone());
            vec![Credential { header, prefix, value: value(app, &said.value)? }]
        }
    };
    Ok(HttpUpstream { base: url.clone(), credentials })
}

fn value(app: &config::App, source: &SecretSource) -> Result<CredentialValue, AppsError> {
    match source {
        SecretSource::Vault(name) => Ok(CredentialValue::Lent(name.clone())),
        SecretSource::Given(reference) => {
            let source = |source| AppsError::Secret { app: app.id.to_string(), source };
            reference.read().map(CredentialValue::Fixed).map_err(source)
        }
    }
}

fn environment(
    app: &config::App,
    env: &std::collections::BTreeMap<String, EnvValue>,
) -> Result<Vec<(String, CredentialValue)>, AppsError> {
    let read = |(name, said): (&String, &EnvValue)| match said {
        EnvValue::Plain(text) => Ok((name.clone(), CredentialValue::from(text.clone()))),
        EnvValue::Secret(source) => Ok((name.clone(), value(app, source)?)),
    };
    env.iter().map(read).collect()
}

fn route_table(app: &config::App, routes: &Routes) -> Result<RouteTable, AppsError> {
    let specs = match routes {
        Routes::Table(routes) => routes.iter().map(route_spec).collect(),
        Routes::OpenApi(file) => {
            let bytes = read(app, file)?;
            openapi::routes(&bytes).map_err(|fault| wrong(app, [fault]))?
        }
    };
    RouteTable::new(specs).map_err(|faults| wrong(app, faults))
}

fn route_spec(route: &config::Route) -> RouteSpec {
    RouteSpec {
        method: route.method.to_string(),
        path: route.path.clone(),
        name: Some(route.name.clone()),
        description: format!("{} {}", route.method, route.path),
        action_type: route.action,
        scopes: route.scopes.clone(),
        path_params: Vec::new(),
        query: None,
    }
}

pub(super) fn read(app: &config::App, file: &Path) -> Result<Vec<u8>, AppsError> {
    std::fs::read(file).map_err(|source| AppsError::File {
        app: app.id.to_string(),
        file: file.display().to_string(),
        source,
    })
}

pub(super) fn wrong(
    app: &config::App,
    faults: impl IntoIterator<Item = impl Display>,
) -> AppsError {
    let lines: Vec<String> = faults.into_iter().map(|fault| fault.to_string()).collect();
    AppsError::Wrong { app: app.id.to_string(), mistakes: lines.join("\n  ") }
}

fn header(app: &config::App, name: &str) -> Result<HeaderName, AppsError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|fault| wrong(app, [fault]))
}
