//! From the configured apps to the catalogue: manifests and route tables are read, MCP servers are
//! asked, the operator's word is applied and written down.

mod accepted;
mod asker;
mod lists;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use portcullis_audit::Ledger;
use portcullis_kernel_adapter::catalogue::mcp::McpTool;
use portcullis_kernel_adapter::catalogue::overrides::{Overrides, ToolOverride};
use portcullis_kernel_adapter::catalogue::quarantine::{AcceptedTools, NewTools};
use portcullis_kernel_adapter::manifest::{Manifest, Profile};
use portcullis_kernel_adapter::{
    App, Built, Catalogue, CatalogueBuilder, DiscoverError, Dispatcher, NoLender, SecretDeclaration,
};
use portcullis_policies::ToolName;
use tokio::time::Instant;

use crate::config::{self, Settings};
use crate::directory::Directory;
use crate::gateway::Gateway;
use crate::record;
use crate::secrets::Upstreams;
use asker::Asker;

pub use accepted::{accept, forget, load as accepted_tools};
pub use lists::Lists;

/// How long an MCP server may take to list its tools at start.
const DISCOVERY: Duration = Duration::from_secs(30);

/// Why an app can't be served as configured.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AppsError {
    /// A file of the app can't be read.
    #[error("app `{app}`: {file} cannot be read: {source}")]
    File {
        /// The app.
        app: String,
        /// Which file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A manifest, a route table or an OpenAPI file is wrong; every mistake is listed.
    #[error("app `{app}`: {mistakes}")]
    Wrong {
        /// The app.
        app: String,
        /// Every mistake, a line each.
        mistakes: String,
    },
    /// A credential can't be read.
    #[error("app `{app}`: {source}")]
    Secret {
        /// The app.
        app: String,
        /// Which reference, and why; never the value.
        source: portcullis_secrets::SecretRefError,
    },
    /// The MCP server does not list its tools.
    #[error("app `{app}`: {source}")]
    NotReached {
        /// The app.
        app: String,
        /// Why not.
        source: DiscoverError,
    },
    /// The accepted tools can't be read or written.
    #[error(transparent)]
    Directory(#[from] crate::directory::DirectoryError),
    /// The operator's overrides could not be written down, so they may not apply.
    #[error("the ledger could not record the catalogue: {0}")]
    Ledger(String),
}

/// Builds the first catalogue of all configured apps; overrides and quarantined tools are in the
/// ledger when this returns.
///
/// # Errors
/// When an app's own files are wrong. An MCP server that can't be reached is no error: its app is
/// there with the tools that were accepted before, and the log says why.
pub async fn catalogue(
    settings: &Settings,
    dispatcher: &Dispatcher,
    upstreams: Upstreams<'_>,
    lists: &Lists,
) -> Result<Arc<Catalogue>, AppsError> {
    let (directory, ledger) = (upstreams.directory, upstreams.ledger);
    let before = accepted::load(directory).await?;
    let asker = Asker { dispatcher, upstreams: Some(upstreams), lists };
    let built = build_with(settings, before, &asker).await?;
    write_down(ledger, lists, &built).await?;
    store(directory, built).await
}

/// Builds the catalogue again while the gateway serves; writes nothing down.
///
/// # Errors
/// As [`catalogue`].
pub async fn rebuild(gateway: &Gateway) -> Result<Built, AppsError> {
    let accepted = accepted::load(&gateway.directory).await?;
    let (dispatcher, lists) = (&gateway.dispatcher, &gateway.freshness.lists);
    let asker = Asker { dispatcher, upstreams: Some(gateway.upstreams()), lists };
    build_with(&gateway.settings, accepted, &asker).await
}

/// Writes down what [`rebuild`] found, as far as the ledger does not have it yet.
///
/// # Errors
/// When ledger or directory can't.
pub async fn keep(gateway: &Gateway, built: Built) -> Result<Arc<Catalogue>, AppsError> {
    write_down(&gateway.ledger, &gateway.freshness.lists, &built).await?;
    store(&gateway.directory, built).await
}

async fn write_down(ledger: &Ledger, lists: &Lists, built: &Built) -> Result<(), AppsError> {
    let new = lists.unrecorded(built);
    record::catalogue(ledger, &new.overridden, &new.quarantined)
        .await
        .map_err(AppsError::Ledger)?;
    lists.recorded(built);
    Ok(())
}

async fn store(directory: &Directory, built: Built) -> Result<Arc<Catalogue>, AppsError> {
    for problem in &built.problems {
        tracing::warn!(subject = problem.subject, "{}", problem.message);
    }
    accepted::store_new(directory, &built.newly_accepted).await?;
    Ok(Arc::new(built.catalogue))
}

/// Reads and asks all configured apps; writes nothing down, so it borrows nothing from the vault: an app
/// that needs it is there with the tools that were accepted before.
///
/// # Errors
/// When an app's own files are wrong.
pub async fn build(
    settings: &Settings,
    accepted: AcceptedTools,
    dispatcher: &Dispatcher,
) -> Result<Built, AppsError> {
    let asker = Asker { dispatcher, upstreams: None, lists: &Lists::default() };
    build_with(settings, accepted, &asker).await
}

async fn build_with(
    settings: &Settings,
    accepted: AcceptedTools,
    asker: &Asker<'_>,
) -> Result<Built, AppsError> {
    let mut builder = CatalogueBuilder::new(accepted, NewTools::Quarantine);
    for app in settings.apps.values() {
        add(&mut builder, app, asker).await?;
    }
    Ok(builder.build(&overrides(settings)))
}

async fn add(
    builder: &mut CatalogueBuilder,
    app: &config::App,
    asker: &Asker<'_>,
) -> Result<(), AppsError> {
    let known = upstream::app(app)?;
    builder.accept_new_tools(match app.new_tools {
        config::NewTools::Accept => NewTools::Accept,
        config::NewTools::Quarantine => NewTools::Quarantine,
    });
    match &app.upstream {
        config::Upstream::Manifest { file, .. } => {
            let bytes = upstream::read(app, file)?;
            let manifest = Manifest::read(&bytes, Profile::Load)
                .map_err(|faults| upstream::wrong(app, faults.findings))?;
            builder.add_manifest_app(known, &manifest);
        }
        config::Upstream::Proxy { .. } => builder.add_proxy_app(known),
        config::Upstream::McpChild { .. } | config::Upstream::McpHttp { .. } => {
            add_mcp(builder, known, asker).await;
        }
        // The gateway points it at a manifest when it starts the built-in app.
        config::Upstream::Demo => {
            builder.add_unreachable_app(known, "the gateway that hosts it does not run")
        }
    }
    Ok(())
}

/// The secrets that an app's manifest declares; none for an app without a manifest.
///
/// # Errors
/// When the manifest can't be read or is wrong.
pub fn declared_secrets(app: &config::App) -> Result<Vec<SecretDeclaration>, AppsError> {
    let config::Upstream::Manifest { file, .. } = &app.upstream else { return Ok(Vec::new()) };
    let bytes = upstream::read(app, file)?;
    let manifest = Manifest::read(&bytes, Profile::Load)
        .map_err(|faults| upstream::wrong(app, faults.findings))?;
    Ok(manifest.secrets)
}

/// The tools of an MCP app as its server lists them now.
///
/// # Errors
/// [`AppsError::NotReached`], also for an app that is no MCP server: the operator's own files are
/// their acceptance.
pub async fn discover(
    app: &config::App,
    dispatcher: &Dispatcher,
) -> Result<Vec<McpTool>, AppsError> {
    let known = Arc::new(upstream::app(app)?);
    let found = dispatcher.discover(&known, Instant::now() + DISCOVERY, &NoLender, None).await;
    found.map_err(|source| AppsError::NotReached { app: app.id.to_string(), source })
}

async fn add_mcp(builder: &mut CatalogueBuilder, app: App, asker: &Asker<'_>) {
    let (shared, lists) = (Arc::new(app.clone()), asker.lists);
    match asker.ask(&shared).await {
        Ok(tools) => {
            lists.came(&app.id, &tools);
            builder.add_mcp_app(app, &tools);
        }
        Err(fault) => match lists.stayed_away(&app.id) {
            Some(tools) => builder.add_mcp_app(app, &tools),
            None => builder.add_unreachable_app(app, &fault.to_string()),
        },
    }
}

fn overrides(settings: &Settings) -> Overrides {
    let mut overrides = Overrides::default();
    for app in settings.apps.values() {
        for (function, said) in &app.tools {
            let Ok(name) = ToolName::new(app.id.clone(), function) else { continue };
            let said = ToolOverride { action_type: said.action, scopes: said.scopes.clone() };
            overrides.tools.insert(name, said);
        }
    }
    overrides
}
