//! `portcullis vault erase`: keys are destroyed for good, and a certificate says which.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use portcullis_policies::TenantId;
use portcullis_secrets::{DEADLINE, Destroyed, DestroyedKey, Erasure, KekVersion, KeyState};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::records::{CommandError, Shown};
use super::super::{print, time};
use crate::config::Settings;
use crate::directory::{Actor, Directory};
use crate::secrets::OpenedVault;

/// How often a running gateway wipes keys that had their time (`serve.rs`, `keep_house`).
const WIPED_WITHIN: Duration = Duration::from_secs(30);

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
}

/// Arguments of `portcullis vault erase`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Erase {
    #[command(flatten)]
    whose: Whose,
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
    /// By then no replica has an unwrapped key in memory any more.
    live_by: String,
    /// By then no copy of these keys opens any more, whoever has it; none: never by itself.
    final_by: Option<String>,
    by: String,
    secrets_forgotten: u64,
    keys: Vec<Key>,
    /// Copies of these keys in backups stay readable until these versions of the key-encryption key are
    /// destroyed, too; each such destruction is a record of the deployment's log.
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

impl Whose {
    /// Tenant and user, as ids.
    pub(super) async fn find(
        &self,
        directory: &Directory,
    ) -> Result<(String, Option<String>), CommandError> {
        match (&self.tenant, &self.user) {
            (Some(tenant), _) => Ok((tenant.to_string(), None)),
            (None, Some(user)) => {
                let user = directory.user(user).await?;
                Ok((user.tenant.to_string(), Some(user.id)))
            }
            (None, None) => Err(CommandError::WhichTenant),
        }
    }
}

/// Destroys and certifies.
pub(super) async fn run(
    settings: &Settings,
    opened: &OpenedVault,
    directory: &Directory,
    by: &Actor,
    whose: Erase,
) -> Result<Shown, CommandError> {
    let (tenant, user) = whose.whose.find(directory).await?;
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
    let forgotten = forgotten.map_err(|hold| {
        // Nothing is certified; asked again, the name must be free.
        whose.certificate.as_deref().map(std::fs::remove_file);
        CommandError::Held(hold)
    })?;
    let destroyed = opened.vault.destroy(&what).await?;
    // What was set in between is sealed under a key that is gone; a hold that came in between came too late.
    let late = directory.forget_secrets_of(&tenant, user.as_deref(), by).await?.unwrap_or_default();
    let known = opened.vault.store().kek_versions().await?;
    let final_by = final_by(settings, opened, &destroyed).await?;
    let certificate = certificate(shown, (&destroyed, &known), forgotten + late, by).effective(
        destroyed.at_ms,
        settings.key_cache,
        final_by,
    );
    let text = serde_json::to_string_pretty(&certificate).map_err(CommandError::Json)? + "\n";
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    let (count, whose_keys) = (destroyed.keys.len(), certificate.whose.as_str());
    let final_words = certificate.final_words();
    directory.note_erasure((&tenant, whose_keys), (&digest, count), &final_words, by).await?;
    if let Some(file) = &mut file {
        let kept = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        // Its digest is in the ledger: the text must not be lost.
        kept.inspect_err(|_| print::line(&text)).map_err(CommandError::Certificate)?;
    }
    let said = match &whose.certificate {
        Some(file) => format!("{count} keys are destroyed; the certificate is {}", file.display()),
        None => {
            format!("{text}\n{count} keys are destroyed; SHA-256 of this certificate: {digest}")
        }
    };
    let live_by = &certificate.live_by;
    let words = format!(
        "{said}\nunreadable here now, and in every replica by {live_by} UTC\nin old copies: {final_words}"
    );
    Shown::line(words, &serde_json::json!({ "sha256": digest, "certificate": certificate }))
}

/// When the last version that wrapped one of these keys is gone, if versions change by themselves.
async fn final_by(
    settings: &Settings,
    opened: &OpenedVault,
    destroyed: &Destroyed,
) -> Result<Option<i64>, CommandError> {
    let Some(bound) = settings.final_erasure else { return Ok(None) };
    let epochs = opened.vault.epochs(bound);
    let known = opened.vault.store().kek_versions().await?;
    let left = left_of(&known, destroyed);
    Ok(left.map(|version| epochs.final_at(version, destroyed.at_ms)).max())
}

/// Versions under which a copy of these keys may be wrapped: not only those of today, for a key is wrapped again
/// under each new one, and copies of the days before stay as they are.
fn left_of<'a>(
    known: &'a [KekVersion],
    destroyed: &Destroyed,
) -> impl Iterator<Item = &'a KekVersion> + use<'a> {
    let none = destroyed.keys.is_empty();
    known.iter().filter(move |version| !none && version.state != KeyState::Destroyed)
}

impl Certificate {
    fn effective(self, at_ms: i64, cache: Duration, final_by: Option<i64>) -> Self {
        // A question that was under way, and the next round of who wipes what had its time.
        let late = cache.saturating_add(DEADLINE).saturating_add(WIPED_WITHIN);
        let cache = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
        let live_by = time(at_ms.saturating_add(cache));
        Self { live_by, final_by: final_by.map(time), ..self }
    }

    /// When copies are unreadable, too.
    fn final_words(&self) -> String {
        let versions: Vec<String> =
            self.final_once_destroyed.iter().map(ToString::to_string).collect();
        match (&self.final_by, versions.is_empty()) {
            (_, true) => "there were no keys".to_owned(),
            (Some(at), _) => format!("unreadable by {at} UTC"),
            (None, _) => format!(
                "readable until somebody destroys key-encryption key version {}; \
                 `[key_provider] final_erasure` does it by itself",
                versions.join(", ")
            ),
        }
    }
}

fn open_new(path: Option<&Path>) -> Result<Option<File>, CommandError> {
    let Some(path) = path else { return Ok(None) };
    File::create_new(path).map(Some).map_err(CommandError::NoCertificate)
}

fn certificate(
    whose: String,
    (destroyed, known): (&Destroyed, &[KekVersion]),
    forgotten: u64,
    by: &Actor,
) -> Certificate {
    let mut wrapped: Vec<u32> = destroyed.keys.iter().map(|key| key.kek.kek_ver).collect();
    wrapped.extend(left_of(known, destroyed).map(|version| version.key.kek_ver));
    wrapped.sort_unstable();
    wrapped.dedup();
    Certificate {
        certificate: "portcullis key destruction, version 1",
        whose,
        destroyed_at: time(destroyed.at_ms),
        live_by: String::new(),
        final_by: None,
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
