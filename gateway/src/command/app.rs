//! `portcullis app`: the configured apps and their tools as they are now, and the operator's word on
//! a tool that changed.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use portcullis_kernel_adapter::catalogue::quarantine::GONE;
use portcullis_kernel_adapter::{
    ActionSource, App, Built, Dispatcher, DispatcherOptions, Tool, ToolState, Upstream,
};
use portcullis_policies::{AppId, ToolName, scope};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::records::operator;
use super::{Deployment, block_on, catalogue, print};
use crate::apps::{self, AppsError};
use crate::config::Settings;
use crate::deployment_keys::DeploymentKeys;
use crate::directory::DirectoryError;
use crate::identify::{Identity, IdentityError};
use crate::open::{identity_settings, open_directory};
use crate::secrets::{Absent, VaultOpenError, open_vault};

/// Arguments of `portcullis app`.
#[derive(Debug, Args)]
pub struct AppArgs {
    #[command(flatten)]
    deployment: Deployment,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every tool of every app, with what it does, who says so, and what it needs
    List,
    /// One app, with its tools and what changed in those that wait
    Show {
        /// Its id
        app: AppId,
    },
    /// A token by which an app's own code acts for one user, as `ctx.secrets` of the SDK wants it; shown
    /// this once, good for as long as an access token is
    Token {
        /// The app
        app: AppId,
        /// Id of the user for whom it acts
        #[arg(long)]
        user: String,
    },
    /// Accept a tool as its MCP server describes it now
    Accept {
        /// The tool, `app/function`
        tool: ToolName,
        /// Accept that its server lists it no more: the catalogue forgets it
        #[arg(long)]
        gone: bool,
    },
}

/// Why a command on the apps failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum AppError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apps(#[from] AppsError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Vault(#[from] VaultOpenError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("no app `{0}` is configured")]
    #[diagnostic(help(
        "`portcullis app list --config FILE` lists them; name the file by --config"
    ))]
    NoApp(AppId),
    #[error("the server of `{}` lists no tool `{}` now", .0.app(), .0.function())]
    #[diagnostic(help(
        "`portcullis app show` lists what it has; `portcullis app accept --gone` accepts that it is gone"
    ))]
    NoTool(ToolName),
    #[error("the server of `{}` lists the tool `{}`", .0.app(), .0.function())]
    #[diagnostic(help("accept it as it is now, without --gone"))]
    StillThere(ToolName),
    #[error("no tool `{0}` was accepted")]
    #[diagnostic(help("`portcullis app show` lists what waits"))]
    NeverAccepted(ToolName),
}

/// Runs `portcullis app`.
#[must_use]
pub fn run(args: AppArgs) -> ExitCode {
    let settings = match args.deployment.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match block_on(act(&settings, args.verb, args.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => print::fault(fault),
    }
}

async fn act(settings: &Settings, verb: Verb, json: bool) -> Result<(), AppError> {
    match verb {
        Verb::Token { app, user } => token(settings, &app, &user, json).await?,
        Verb::List => list(&catalogue::discover(settings).await?, json),
        Verb::Show { app } => {
            let known = settings.apps.get(&app).ok_or_else(|| AppError::NoApp(app.clone()))?;
            let mut only = settings.clone();
            only.apps = [(app, known.clone())].into();
            show(&catalogue::discover(&only).await?, json);
        }
        Verb::Accept { tool, gone } => accept(settings, &tool, gone, json).await?,
    }
    Ok(())
}

async fn token(settings: &Settings, app: &AppId, user: &str, json: bool) -> Result<(), AppError> {
    if !settings.apps.contains_key(app) {
        return Err(AppError::NoApp(app.clone()));
    }
    let vault = open_vault(settings, Absent::Refuse).await?.vault;
    let directory = open_directory(settings).await?;
    let keys = Arc::new(DeploymentKeys::new(vault));
    let identity = Identity::open(directory, keys, identity_settings(settings)).await?;
    let made = identity.extension_token(user, app).await?;
    let text = made.token.expose_secret();
    if json {
        print::json(&json!({ "token": text, "expires_in": made.expires_in }));
    } else {
        print::line(text);
    }
    Ok(())
}

fn list(built: &Built, json: bool) {
    if json {
        print::json(&whole(built));
        return;
    }
    let rows: Vec<Vec<String>> = built.catalogue.tools().map(|tool| row(tool)).collect();
    print::line(print::table(&["TOOL", "ACTION", "SAYS", "NEEDS", "STATE"], &rows));
    catalogue::print_problems(&built.problems);
}

fn show(built: &Built, json: bool) {
    if json {
        print::json(&whole(built));
        return;
    }
    for app in built.catalogue.apps() {
        let tenant = app.tenant.as_ref().map_or("every tenant".to_owned(), ToString::to_string);
        let rows = [("app", app.id.to_string()), ("name", app.name.clone()), ("tenant", tenant)];
        for (what, value) in rows.into_iter().chain([("upstream", upstream(app))]) {
            print::line(format_args!("{what:<10}{value}"));
        }
        print::line("");
    }
    list(built, false);
    for tool in built.catalogue.tools() {
        if let ToolState::Quarantined { difference } = &tool.state {
            let name = tool.name();
            let (accept, how) = match difference == GONE {
                true => (
                    "take the rules that name it out of your policies; then accept that it is \
                     gone, which takes it out of the catalogue, with",
                    "--gone ",
                ),
                false => ("accept it with", ""),
            };
            let difference = print::plain(difference);
            print::line(format_args!(
                "\n{name} waits: {difference}\n  {accept}: portcullis app accept {how}{name}"
            ));
        }
    }
}

fn row(tool: &Tool) -> Vec<String> {
    vec![
        tool.name().to_string(),
        tool.spec.action_type.to_string(),
        says(tool.action_source).to_owned(),
        needs(tool),
        state(tool).to_owned(),
    ]
}

/// Who said what the tool does.
fn says(source: ActionSource) -> &'static str {
    match source {
        ActionSource::Manifest => "manifest",
        ActionSource::McpHints => "mcp hints",
        ActionSource::RouteMethod => "route method",
        ActionSource::Operator => "operator",
        ActionSource::Missing => "nobody",
    }
}

fn needs(tool: &Tool) -> String {
    let need = scope::required(&tool.spec);
    match need.fallback.split_first() {
        Some((first, others)) => format!("{first} (or {})", others.join(", ")),
        None => need.all.join(" "),
    }
}

fn state(tool: &Tool) -> &'static str {
    if tool.is_active() { "active" } else { "quarantined" }
}

/// Without addresses of credentials, arguments or environment: these may name secrets.
fn upstream(app: &App) -> String {
    match &app.upstream {
        Upstream::Own => "the gateway itself".to_owned(),
        Upstream::Http(http) => format!("functions at {}", http.base),
        Upstream::McpHttp(http) => format!("MCP server at {}", http.base),
        Upstream::McpStdio(child) => format!("MCP server `{}` over stdio", child.command.display()),
        Upstream::Proxy(proxy) => format!("proxy to {}", proxy.http.base),
    }
}

fn whole(built: &Built) -> Value {
    let of_app = |app: &App| {
        let tools = built.catalogue.tools().filter(|tool| tool.name().app() == &app.id);
        json!({
            "id": app.id, "name": app.name, "tenant": app.tenant, "upstream": upstream(app),
            "tools": tools.map(|tool| of_tool(tool)).collect::<Vec<_>>(),
        })
    };
    let all: Vec<Value> = built.catalogue.apps().map(|app| of_app(app)).collect();
    json!({ "apps": all, "problems": built.problems })
}

fn of_tool(tool: &Tool) -> Value {
    let need = scope::required(&tool.spec);
    let difference = match &tool.state {
        ToolState::Active => None,
        ToolState::Quarantined { difference } => Some(difference),
    };
    json!({
        "name": tool.name(), "description": tool.spec.description,
        "action_type": tool.spec.action_type, "action_source": tool.action_source,
        "scopes": need.all, "any_of_scopes": need.fallback,
        "state": state(tool), "difference": difference,
    })
}

async fn accept(
    settings: &Settings,
    tool: &ToolName,
    gone: bool,
    json: bool,
) -> Result<(), AppError> {
    let app = settings.apps.get(tool.app());
    let app = app.ok_or_else(|| AppError::NoApp(tool.app().clone()))?;
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let found = apps::discover(app, &dispatcher).await;
    dispatcher.close().await;
    let listed = found?.into_iter().find(|of| of.name == tool.function());
    let listed = match (listed, gone) {
        (Some(listed), false) => listed,
        (None, false) => return Err(AppError::NoTool(tool.clone())),
        (Some(_), true) => return Err(AppError::StillThere(tool.clone())),
        (None, true) => return forget(settings, tool, json).await,
    };
    let directory = open_directory(settings).await?;
    let accepted = apps::accept(&directory, tool.app(), &listed, &operator()).await;
    directory.close().await;
    accepted?;
    let (action, _) = listed.action_type();
    if json {
        print::json(&json!({ "accepted": tool, "action_type": action }));
    } else {
        print::line(format_args!("{tool} is accepted as it is now ({action})"));
    }
    Ok(())
}

/// Accepts that a server no longer lists a tool.
async fn forget(settings: &Settings, tool: &ToolName, json: bool) -> Result<(), AppError> {
    let directory = open_directory(settings).await?;
    let forgotten = apps::forget(&directory, tool, &operator()).await;
    directory.close().await;
    if !forgotten? {
        return Err(AppError::NeverAccepted(tool.clone()));
    }
    if json {
        print::json(&json!({ "accepted": tool, "gone": true }));
    } else {
        print::line(format_args!(
            "{tool} is accepted as gone: its server does not list it, and the next catalogue will not have it"
        ));
    }
    Ok(())
}
