//! `portcullis vault erase`: keys are destroyed for good, and a certificate says which.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use portcullis_policies::TenantId;
use portcullis_secrets::{Destroyed, DestroyedKey, Erasure};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::records::{CommandError, Shown};
use super::super::{print, time};
use crate::directory::{Actor, Directory};
use crate::secrets::OpenedVault;

/// Whose keys; exactly one.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group(ArgGroup::new("whom").required(true).args(["tenant", "user"])))]
pub(super) struct Whose {
    /// All keys of a tenant and of its users
    #[arg(long)]
    tenant: Option<TenantId>,
    /// All keys of one user, in every app: the user's id
    #[arg(long)]
    user: Option<String>,
    /// Where the certificate goes; printed where this is absent
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Yes, for good
    #[arg(long)]
    yes: bool,
}

/// What was destroyed. Its digest is in the ledger, so that nobody can write another one later.
#[derive(Serialize)]
struct Certificate {
    certificate: &'static str,
    whose: String,
    destroyed_at: String,
    by: String,
    secrets_forgotten: u64,
    keys: Vec<Key>,
    /// Copies of these keys in backups stay readable until these versions are destroyed, too.
    final_once_destroyed: Vec<u32>,
}

#[derive(Serialize)]
struct Key {
    id: String,
    tenant: String,
    user: String,
    app: String,
    version: u32,
    wrapped_under: u32,
}

/// Destroys and certifies.
pub(super) async fn run(
    opened: &OpenedVault,
    directory: &Directory,
    by: &Actor,
    whose: Whose,
) -> Result<Shown, CommandError> {
    let (tenant, user) = match (&whose.tenant, &whose.user) {
        (Some(tenant), _) => (tenant.to_string(), None),
        (None, Some(user)) => {
            let user = directory.user(user).await?;
            (user.tenant.to_string(), Some(user.id))
        }
        (None, None) => return Err(CommandError::WhichTenant),
    };
    let shown = user.clone().unwrap_or_else(|| tenant.clone());
    if !whose.yes {
        return Err(CommandError::NotSure(shown));
    }
    let what = match &user {
        None => Erasure::Tenant(tenant.clone()),
        Some(user) => Erasure::User { tenant: tenant.clone(), user: user.clone() },
    };
    // A certificate that could not be kept is found before anything is destroyed.
    let mut file = open_new(whose.certificate.as_deref())?;
    // Values first: a crash in between leaves keys that open nothing, not values without a certificate.
    let forgotten = directory.forget_secrets_of(&tenant, user.as_deref(), by).await?;
    let destroyed = opened.vault.destroy(&what).await?;
    // What was set in between is sealed under a key that is gone.
    let forgotten = forgotten + directory.forget_secrets_of(&tenant, user.as_deref(), by).await?;
    let certificate = certificate(shown, &destroyed, forgotten, by);
    let text = serde_json::to_string_pretty(&certificate).map_err(CommandError::Json)? + "\n";
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    directory.note_erasure(&tenant, &certificate.whose, &digest, destroyed.keys.len(), by).await?;
    if let Some(file) = &mut file {
        let kept = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        // Its digest is in the ledger: the text must not be lost.
        kept.inspect_err(|_| print::line(&text)).map_err(CommandError::Certificate)?;
    }
    let count = destroyed.keys.len();
    let words = match &whose.certificate {
        Some(file) => format!("{count} keys are destroyed; the certificate is {}", file.display()),
        None => {
            format!("{text}\n{count} keys are destroyed; SHA-256 of this certificate: {digest}")
        }
    };
    Shown::line(words, &serde_json::json!({ "sha256": digest, "certificate": certificate }))
}

fn open_new(path: Option<&Path>) -> Result<Option<File>, CommandError> {
    let Some(path) = path else { return Ok(None) };
    File::create_new(path).map(Some).map_err(CommandError::NoCertificate)
}

fn certificate(whose: String, destroyed: &Destroyed, forgotten: u64, by: &Actor) -> Certificate {
    let mut wrapped: Vec<u32> = destroyed.keys.iter().map(|key| key.kek.kek_ver).collect();
    wrapped.sort_unstable();
    wrapped.dedup();
    Certificate {
        certificate: "portcullis key destruction, version 1",
        whose,
        destroyed_at: time(destroyed.at_ms),
        by: by.to_string(),
        secrets_forgotten: forgotten,
        keys: destroyed.keys.iter().map(key).collect(),
        final_once_destroyed: wrapped,
    }
}

fn key(key: &DestroyedKey) -> Key {
    Key {
        id: key.sk_id.to_string(),
        tenant: key.scope.tenant().to_owned(),
        user: key.scope.user().to_owned(),
        app: key.scope.extension().to_owned(),
        version: key.sk_ver,
        wrapped_under: key.kek.kek_ver,
    }
}
