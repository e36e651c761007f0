//! `portcullis secret`: values of declared secrets and of upstream credentials. A value comes from the
//! terminal or from standard input, never from an argument: arguments are seen by every process.

use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use portcullis_policies::{AppId, TenantId};
use portcullis_secrets::BlobId;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::records::{CommandError, Shown, read_secret, with_deployment};
use super::{Deployment, time};
use crate::apps;
use crate::config::Settings;
use crate::directory::{Actor, Directory, NewSecret, SecretOwner, SecretPlace, StoredSecret};
use crate::secrets::{Absent, context_of, open_vault};

/// Arguments of `portcullis secret`.
#[derive(Debug, Args)]
pub struct SecretArgs {
    #[command(flatten)]
    deployment: Deployment,
    /// Print one JSON value
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Which secrets of an app have a value, when each was used last and by what; never a value
    List {
        /// The app
        app: AppId,
        #[command(flatten)]
        whose: Whose,
    },
    /// Store a value, replacing the one before; asked for at the terminal
    Set {
        /// The app
        app: AppId,
        /// Name of the secret
        name: String,
        #[command(flatten)]
        whose: Whose,
        /// Read the value from standard input instead, without its final line break
        #[arg(long)]
        stdin: bool,
    },
    /// Forget a value
    Delete {
        /// The app
        app: AppId,
        /// Name of the secret
        name: String,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Whose value is meant; exactly one.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group(ArgGroup::new("whose").required(true).args(["user", "shared", "upstream"])))]
struct Whose {
    /// A user's own value: the user's id
    #[arg(long)]
    user: Option<String>,
    /// The value that all users of the app share in a tenant
    #[arg(long)]
    shared: bool,
    /// The credential that the gateway shows the app's upstream, `{ vault = "NAME" }` in the configuration
    #[arg(long)]
    upstream: bool,
    /// The tenant of a shared value [default: the app's own]
    #[arg(long, requires = "shared")]
    tenant: Option<TenantId>,
}

/// One line of `secret list`.
#[derive(Serialize)]
struct Line {
    name: String,
    is_set: bool,
    version: u32,
    set_at: String,
    set_by: String,
    last_used_at: String,
    last_used_by: String,
}

/// Runs `portcullis secret`.
#[must_use]
pub fn run(args: SecretArgs) -> ExitCode {
    with_deployment(&args.deployment, args.json, async |settings, directory, by| {
        answer(args.verb, settings, directory, by).await
    })
}

async fn answer(
    verb: Verb,
    settings: &Settings,
    directory: &Directory,
    by: &Actor,
) -> Result<Shown, CommandError> {
    match verb {
        Verb::List { app, whose } => {
            let place = place(settings, directory, &app, "", &whose).await?;
            let stored = directory.secrets_of(&place.tenant, &place.owner, &place.app).await?;
            let lines: Vec<Line> = stored.iter().map(line).collect();
            let head = ["NAME", "SET", "VERSION", "SET AT", "BY", "LAST USED", "BY"];
            Shown::table(&head, &lines, |line| {
                let set = if line.is_set { "yes" } else { "no" };
                let texts = [&line.set_at, &line.set_by, &line.last_used_at, &line.last_used_by];
                let mut cells = vec![line.name.clone(), set.to_owned(), line.version.to_string()];
                cells.extend(texts.into_iter().cloned());
                cells
            })
        }
        Verb::Set { app, name, whose, stdin } => {
            let place = place(settings, directory, &app, &name, &whose).await?;
            let limit = declared_limit(settings, &place)?;
            let value = read_secret(stdin, limit)?;
            let version = store(settings, directory, &place, &value, by).await?;
            let words = format!("{place} is stored, version {version}");
            Shown::line(
                words,
                &serde_json::json!({ "secret": place.to_string(), "version": version }),
            )
        }
        Verb::Delete { app, name, whose } => {
            let place = place(settings, directory, &app, &name, &whose).await?;
            let was_set = directory.forget_secret_by(&place, by).await?;
            let words = if was_set { "is forgotten" } else { "had no value" };
            let json = serde_json::json!({ "secret": place.to_string(), "was_set": was_set });
            Shown::line(format!("{place} {words}"), &json)
        }
    }
}

/// Where the value is: the user must exist, the app must be configured.
async fn place(
    settings: &Settings,
    directory: &Directory,
    app: &AppId,
    name: &str,
    whose: &Whose,
) -> Result<SecretPlace, CommandError> {
    let known = settings.apps.get(app).ok_or_else(|| CommandError::NoApp(app.clone()))?;
    let of_app = whose.tenant.as_ref().or(known.tenant.as_ref()).map(ToString::to_string);
    let (tenant, owner) = match &whose.user {
        Some(user) => {
            let user = directory.user(user).await?;
            (user.tenant.to_string(), SecretOwner::User(user.id))
        }
        None if whose.upstream => {
            (of_app.unwrap_or_else(|| "deployment".to_owned()), SecretOwner::Upstream)
        }
        None => (of_app.ok_or(CommandError::WhichTenant)?, SecretOwner::App),
    };
    Ok(SecretPlace { tenant, owner, app: app.to_string(), name: name.to_owned() })
}

/// How long the value may be: what the manifest declares, or the most that any secret may have.
fn declared_limit(settings: &Settings, place: &SecretPlace) -> Result<usize, CommandError> {
    if !is_name(&place.name) {
        return Err(CommandError::Name);
    }
    if place.owner == SecretOwner::Upstream {
        return Ok(portcullis_kernel_adapter::secret::MAX_SECRET_BYTES);
    }
    let app = settings.apps.values().find(|app| app.id.as_str() == place.app);
    let declared = match app {
        Some(app) => apps::declared_secrets(app)?,
        None => Vec::new(),
    };
    let found = declared.iter().find(|declared| declared.name == place.name);
    found.map(|declared| declared.max_bytes).ok_or_else(|| CommandError::NotDeclared {
        secret: place.to_string(),
        declared: declared.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// As manifests and the configuration name secrets.
fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 63 && name.bytes().all(fits)
}

/// Seals the value as the next version and stores it.
async fn store(
    settings: &Settings,
    directory: &Directory,
    place: &SecretPlace,
    value: &SecretString,
    by: &Actor,
) -> Result<u32, CommandError> {
    let vault = open_vault(settings, Absent::Make).await?.vault;
    let stored = directory.secret(place).await?;
    let id = match &stored {
        Some(stored) => BlobId { secret: stored.id, version: stored.version.saturating_add(1) },
        None => BlobId { secret: uuid::Uuid::new_v4().into_bytes(), version: 1 },
    };
    let context = context_of(place).map_err(|_| CommandError::Name)?;
    let sealed = vault.seal_secret(&context, id, value.expose_secret().as_bytes()).await?;
    let (place, by_text) = (place.clone(), by.to_string());
    let new = NewSecret { place, id: id.secret, version: id.version, sealed, by: by_text };
    if directory.set_secret_by(&new, by).await? {
        Ok(id.version)
    } else {
        Err(CommandError::Changed)
    }
}

fn line(stored: &StoredSecret) -> Line {
    Line {
        name: stored.place.name.clone(),
        is_set: stored.sealed.is_some(),
        version: stored.version,
        set_at: time(stored.set_ms),
        set_by: stored.set_by.clone(),
        last_used_at: stored.last_used_ms.map(time).unwrap_or_default(),
        last_used_by: stored.last_used_by.clone().unwrap_or_default(),
    }
}
