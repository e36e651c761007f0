//! One configured app as the dispatcher knows it: files read, credentials fetched by reference.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, Uri};
use portcullis_kernel_adapter::catalogue::openapi;
use portcullis_kernel_adapter::catalogue::routes::{RouteSpec, RouteTable};
use portcullis_kernel_adapter::{App, Credential, HttpUpstream, McpStdio, ProxyUpstream, Upstream};
use secrecy::{ExposeSecret, SecretString};

use super::AppsError;
use crate::config::{self, EnvValue, Routes};

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
            if let Some((name, value)) = headers.iter().next() {
                let value = value.read().map_err(|source| secret(app, source))?;
                upstream.credential = Some(Credential { header: header(app, name)?, value });
            }
            Upstream::McpHttp(upstream)
        }
        config::Upstream::Proxy { url, routes } => Upstream::Proxy(ProxyUpstream {
            http: http(app, url)?,
            routes: Arc::new(route_table(app, routes)?),
        }),
        config::Upstream::Demo => {
            Upstream::Http(HttpUpstream { base: Uri::default(), credential: None })
        }
    })
}

fn http(app: &config::App, url: &Uri) -> Result<HttpUpstream, AppsError> {
    let credential = match &app.credential {
        None => None,
        Some(said) => {
            let value = said.value.read().map_err(|source| secret(app, source))?;
            let whole = format!("{}{}", said.prefix, value.expose_secret());
            Some(Credential { header: said.header.clone(), value: SecretString::from(whole) })
        }
    };
    Ok(HttpUpstream { base: url.clone(), credential })
}

fn environment(
    app: &config::App,
    env: &std::collections::BTreeMap<String, EnvValue>,
) -> Result<Vec<(String, SecretString)>, AppsError> {
    let read = |(name, value): (&String, &EnvValue)| match value {
        EnvValue::Plain(text) => Ok((name.clone(), SecretString::from(text.clone()))),
        EnvValue::Secret(reference) => {
            let value = reference.read().map_err(|source| secret(app, source))?;
            Ok((name.clone(), value))
        }
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

fn secret(app: &config::App, source: portcullis_secrets::SecretRefError) -> AppsError {
    AppsError::Secret { app: app.id.to_string(), source }
}

fn header(app: &config::App, name: &str) -> Result<HeaderName, AppsError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|fault| wrong(app, [fault]))
}
