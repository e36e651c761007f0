//! `portcullis vault`: the keys under everything that is sealed. Works with and without a running
//! gateway; calls go on meanwhile.

mod backup;
mod erase;
mod hold;
mod rotate;
mod status;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_policies::{AppId, TenantId};
use portcullis_secrets::{Guards, KeyRef};

use super::Deployment;
use super::records::{CommandError, Shown, with_deployment};
use crate::config::Settings;
use crate::directory::{Actor, Directory};
use crate::secrets::{Absent, OpenedVault, open_vault};

/// Arguments of `portcullis vault`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis vault status                       which key versions are in use, and by whom
  portcullis vault rotate                       a new key-encryption key version; broken off, call it again
  portcullis vault retire 1                     once `status` shows nothing under version 1
  portcullis vault destroy-version 1            once no backup of the scope keys needs it
  portcullis vault erase --user imp_u_...       destroys a user's keys for good, prints the certificate
  portcullis vault hold --tenant imp_t_... --reason \"case 12\"   nobody erases them until `vault lift`

With `[key_provider] final_erasure = \"30d\"` a running gateway rotates, retires and destroys versions by itself,
so that no copy of erased keys opens after that time, and no backup of the scope keys either.")]
pub struct VaultArgs {
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
    /// The key provider, its versions, what each wraps, and which replicas are behind
    Status,
    /// Make the next version of the key-encryption key and wrap every scope key under it
    Rotate,
    /// Give scopes a new key and seal their secrets again under it
    RotateScopes(rotate::Which),
    /// Retire a version that wraps nothing any more
    Retire {
        /// Number of the version
        version: u32,
    },
    /// Destroy a retired version at its provider, for good
    DestroyVersion {
        /// Number of the version
        version: u32,
        /// How many days backups of the scope keys are kept
        #[arg(long, default_value_t = 30)]
        backups_kept_days: u64,
    },
    /// Copy what is sealed and the keys that sealed it, without the key-encryption key
    Backup {
        /// A folder that is not there yet
        #[arg(long, value_name = "FOLDER")]
        to: std::path::PathBuf,
    },
    /// Destroy the keys of a tenant or of one user for good: what they sealed becomes unreadable
    Erase(erase::Erase),
    /// Keep the keys of a tenant or of one user from being erased (a legal hold)
    Hold(hold::Holding),
    /// Lift a hold
    Lift(erase::Whose),
    /// List what is held
    Holds,
}

/// Runs `portcullis vault`.
#[must_use]
pub fn run(args: VaultArgs) -> ExitCode {
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
    let opened = open_vault(settings, Absent::Refuse).await?;
    match verb {
        Verb::Status => status::show(&opened, settings.final_erasure).await,
        Verb::Rotate => rotate::kek(&opened, directory, by).await,
        Verb::RotateScopes(which) => rotate::scopes(&opened, directory, by, &which).await,
        Verb::Retire { version } => {
            let key = find(&opened, version).await?;
            opened.vault.retire_kek(&key, Guards::default()).await?;
            directory.note_vault_change("vault.retire", &key.to_string(), by).await?;
            Shown::line(format!("{key} is retired"), &serde_json::json!({ "retired": version }))
        }
        Verb::DestroyVersion { version, backups_kept_days } => {
            let key = find(&opened, version).await?;
            let kept = std::time::Duration::from_secs(backups_kept_days.saturating_mul(86_400));
            let guards = Guards { backups_kept: kept, ..Guards::default() };
            opened.vault.destroy_kek_version(&key, guards).await?;
            directory.note_vault_change("vault.destroy_version", &key.to_string(), by).await?;
            Shown::line(format!("{key} is destroyed"), &serde_json::json!({ "destroyed": version }))
        }
        Verb::Backup { to } => backup::run(settings, &opened, directory, by, &to).await,
        Verb::Erase(whose) => erase::run(settings, &opened, directory, by, whose).await,
        Verb::Hold(what) => hold::hold(directory, by, &what).await,
        Verb::Lift(whose) => hold::lift(directory, by, &whose).await,
        Verb::Holds => hold::list(directory).await,
    }
}

/// A version that the store has seen.
async fn find(opened: &OpenedVault, version: u32) -> Result<KeyRef, CommandError> {
    let versions = opened.vault.store().kek_versions().await?;
    let found = versions.into_iter().find(|known| known.key.kek_ver == version);
    found.map(|known| known.key).ok_or(CommandError::NoVersion(version))
}

/// Whether a scope is among those that are meant.
fn is_meant(tenant: Option<&TenantId>, app: Option<&AppId>, of: (&str, &str)) -> bool {
    tenant.is_none_or(|t| t.as_str() == of.0) && app.is_none_or(|a| a.as_str() == of.1)
}
