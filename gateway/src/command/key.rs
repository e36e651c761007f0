//! `portcullis key`: API keys, whose text is printed once, and the keys that sign access tokens.

mod signing;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Deployment;
use super::records::{CommandError, Shown, with_deployment};
use crate::config::Settings;
use crate::directory::{Actor, ApiKey, Directory, NewApiKey};
use crate::identify::fresh_api_key;

/// Arguments of `portcullis key`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis key create imp_u_... --name ci --scope notes:read
  portcullis key signing rotate                 the next key of access tokens: publishes, waits, lets it sign
  portcullis key signing list                   which key is where, and when it may go on")]
pub struct KeyArgs {
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
    /// Keys of a user that still work
    List {
        /// Id of the user
        user: String,
    },
    /// Make a key; it is shown this once
    Create {
        /// Id of the user whose standing bounds the key
        user: String,
        /// Name for people
        #[arg(long)]
        name: String,
        /// What the key may do, never more than its user; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", default_value = "*")]
        scopes: Vec<String>,
    },
    /// Revoke a key for good; the next call with it is refused
    Revoke {
        /// Id of the key, `imp_k_...`
        key: String,
    },
    /// The keys that sign access tokens: publish the next one, let it sign, retire the one before
    Signing(signing::SigningArgs),
}

/// A key with its text, as it is shown once.
#[derive(Serialize)]
struct Fresh<'a> {
    key: &'a str,
    #[serde(flatten)]
    kept: &'a ApiKey,
}

/// Runs `portcullis key`.
#[must_use]
pub fn run(args: KeyArgs) -> ExitCode {
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
        Verb::List { user } => {
            directory.user(&user).await?;
            keys(&directory.api_keys(&user).await?)
        }
        Verb::Create { user, name, scopes } => create(user, name, scopes, directory, by).await,
        Verb::Signing(args) => signing::answer(args, settings, directory, by).await,
        Verb::Revoke { key } => {
            directory.revoke_api_key(&key, by).await?;
            Shown::line(format!("{key} is revoked"), &serde_json::json!({ "revoked": key }))
        }
    }
}

async fn create(
    user_id: String,
    name: String,
    scopes: Vec<String>,
    directory: &Directory,
    by: &Actor,
) -> Result<Shown, CommandError> {
    let text = fresh_api_key().map_err(|_| CommandError::Randomness)?;
    let (key_prefix, sha256) = (text.prefix(), text.sha256());
    let new = NewApiKey { user_id, name, key_prefix, sha256, scopes };
    let kept = directory.create_api_key(new, by).await?;
    let fresh = Fresh { key: text.expose(), kept: &kept };
    let words =
        format!("{}\n\nKeep it now: it cannot be shown again. Its id is {}.", fresh.key, kept.id);
    Shown::line(words, &fresh)
}

fn keys(keys: &[ApiKey]) -> Result<Shown, CommandError> {
    Shown::table(&["KEY", "NAME", "BEGINS WITH", "SCOPES"], keys, |key| {
        vec![key.id.clone(), key.name.clone(), key.key_prefix.clone(), key.scopes.join(" ")]
    })
}
