//! `portcullis vault rotate` and `rotate-scopes`: with a progress bar on a terminal, to be called again
//! when broken off.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portcullis_policies::{AppId, TenantId};
use portcullis_secrets::{BlobId, Pace, Scope};
use serde_json::json;

use super::super::records::{CommandError, Shown};
use super::is_meant;
use crate::directory::{Actor, Directory, SCOPES_ROTATED, SecretPlace};
use crate::secrets::{OpenedVault, context_of};

/// Longer than a running gateway takes to read a note.
const NOTICED: Duration = Duration::from_millis(750);
/// Secrets that are read at once.
const PAGE: u32 = 256;

/// Which scopes get new keys; all that hold secrets when nothing is named.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only those of this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Only those of this app
    #[arg(long)]
    app: Option<AppId>,
}

/// Makes the next version of the key-encryption key, or finishes a rotation that was broken off.
pub(super) async fn kek(
    opened: &OpenedVault,
    directory: &Directory,
    by: &Actor,
) -> Result<Shown, CommandError> {
    let bar = bar("scope keys");
    let done = opened
        .vault
        .rotate_kek(Pace::default(), &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        })
        .await?;
    bar.finish_and_clear();
    directory.note_vault_change("vault.rotate", &done.current.to_string(), by).await?;
    let emptied: Vec<u32> = done.emptied.iter().map(|key| key.kek_ver).collect();
    let mut words = format!("{} wraps now; {} scope keys were moved", done.current, done.moved);
    for version in &emptied {
        words.push_str(&format!(
            "\nversion {version} wraps nothing any more: `portcullis vault retire {version}`"
        ));
    }
    let current = done.current.kek_ver;
    Shown::line(words, &json!({ "current": current, "moved": done.moved, "emptied": emptied }))
}

/// Gives each scope that is meant a new key, then seals its secrets again under it.
pub(super) async fn scopes(
    opened: &OpenedVault,
    directory: &Directory,
    by: &Actor,
    which: &Which,
) -> Result<Shown, CommandError> {
    let secrets = meant(directory, which).await?;
    let scopes: BTreeSet<Scope> = secrets
        .iter()
        .filter_map(|place| context_of(place).ok())
        .map(|c| c.scope().clone())
        .collect();
    let bar = bar("scopes");
    bar.set_length(scopes.len() as u64 + secrets.len() as u64);
    for scope in &scopes {
        opened.vault.rotate_scope_key(scope).await?;
        bar.inc(1);
    }
    let count = scopes.len();
    directory.note_vault_change(SCOPES_ROTATED, &format!("{count} scopes"), by).await?;
    // The running gateway reads the note and forgets the old keys; what it sealed until then comes after.
    tokio::time::sleep(NOTICED).await;
    let (mut resealed, mut failed) = (0_u64, Vec::new());
    for place in &secrets {
        match reseal(opened, directory, place).await {
            Ok(done) => resealed += u64::from(done),
            // One value that does not open keeps no other one under its old key.
            Err(fault) => failed.push(format!("{} {place}: {fault}", place.tenant)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let all = secrets.len();
    let mut words =
        format!("{count} scopes have new keys; {resealed} of {all} secrets were sealed again");
    for failure in &failed {
        words.push_str(&format!("\nnot sealed again: {failure}"));
    }
    let json = json!({ "scopes": count, "resealed": resealed, "secrets": all, "failed": failed });
    Ok(Shown::line(words, &json)?.partly(!failed.is_empty()))
}

async fn meant(directory: &Directory, which: &Which) -> Result<Vec<SecretPlace>, CommandError> {
    let (mut places, mut after) = (Vec::new(), None);
    loop {
        let page = directory.secrets_page(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(places) };
        after = Some(last.place.clone());
        let (tenant, app) = (which.tenant.as_ref(), which.app.as_ref());
        let meant = page
            .into_iter()
            .map(|stored| stored.place)
            .filter(|place| is_meant(tenant, app, (&place.tenant, &place.app)));
        places.extend(meant);
    }
}

/// False when somebody set a new value meanwhile: that is sealed under the new key already.
async fn reseal(
    opened: &OpenedVault,
    directory: &Directory,
    place: &SecretPlace,
) -> Result<bool, CommandError> {
    let Some(stored) = directory.secret(place).await? else { return Ok(false) };
    let Some(sealed) = &stored.sealed else { return Ok(false) };
    let context = context_of(place).map_err(|_| CommandError::Name)?;
    let id = BlobId { secret: stored.id, version: stored.version };
    match opened.vault.reseal_secret(&context, id, sealed).await? {
        Some(again) => Ok(directory.reseal_secret(&stored, &again).await?),
        None => Ok(false),
    }
}

/// A bar on a terminal, nothing elsewhere.
fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
