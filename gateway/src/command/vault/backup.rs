//! `portcullis vault backup`: copies of the sealed secrets and of the keys that sealed them, taken while
//! calls go on; the ledger is not among them, it is exported. The key-encryption key is not among them: a backup alone opens nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_secrets::{Epochs, KeyRef};
use serde_json::json;
use sqlx::Connection as _;

use super::super::records::{CommandError, Shown};
use crate::config::Settings;
use crate::directory::{Actor, Directory};
use crate::secrets::OpenedVault;

/// Copies the table of scope keys, the directory and the small sealed files into a new folder.
pub(super) async fn run(
    settings: &Settings,
    opened: &OpenedVault,
    directory: &Directory,
    by: &Actor,
    to: &Path,
) -> Result<Shown, CommandError> {
    let current = opened.vault.current_kek().await?;
    new_folder(to).map_err(|source| CommandError::Backup { path: to.to_owned(), source })?;
    // Values before keys: a value that is newer than every copied key would not open.
    let mut made = Vec::new();
    // A directory in PostgreSQL is backed up by the tools of that database.
    let directory_file =
        settings.directory.postgres.is_none().then(|| settings.data.directory_db());
    for file in directory_file.into_iter().chain([settings.data.scope_keys()]) {
        made.push(copy_database(&file, to).await?);
    }
    for file in ["pseudonyms", "ledger-signing"] {
        made.push(copy_file(&settings.data.keys_dir().join(file), to)?);
    }
    let endings = settings.data.keys_dir().join("scope-keys.db.endings");
    if endings.exists() {
        made.push(copy_file(&endings, to)?);
    }
    // Of a rotation that has not come to its end: the ledger may know no other key already.
    let next = settings.data.keys_dir().join("ledger-signing.next");
    if next.exists() {
        made.push(copy_file(&next, to)?);
    }
    directory.note_vault_change("vault.backup", &to.display().to_string(), by).await?;
    let epochs = settings.final_erasure.map(|bound| opened.vault.epochs(bound));
    let words = words(&made, &current, epochs);
    Shown::line(words, &json!({ "files": made, "wrapped_under": current.to_string() }))
}

fn words(made: &[PathBuf], current: &KeyRef, epochs: Option<Epochs>) -> String {
    let days = |span: Duration| span.as_secs() / 86_400;
    let lives = epochs.map_or_else(
        || {
            "Let this copy go within 30 days: keys that are\ndestroyed meanwhile live on in it.".to_owned()
        },
        |epochs| {
            let (least, most) = (days(epochs.term()), days(epochs.final_within));
            format!("That version is destroyed in {least} to {most} days;\nthen this copy opens nothing.")
        },
    );
    let mut lines: Vec<String> = made.iter().map(|file| file.display().to_string()).collect();
    lines.push(format!(
        "\nTo restore: stop the gateway; remove the `-wal` and `-shm` files beside the databases; put `directory.sqlite` into the data\n\
         folder and the others into its `keys/`; start. The ledger is not in it: export that, it is what an auditor keeps.\n\
         Leave `keys/scope-keys.db.endings` as it is, or put this one there where there is none: by it, keys that are\n\
         destroyed meanwhile stay destroyed.\n\
         It opens with key {current} only; back that up elsewhere. {lives}"
    ));
    lines.join("\n")
}

/// SQLite's own consistent copy, taken beside running writers.
async fn copy_database(from: &Path, to: &Path) -> Result<PathBuf, CommandError> {
    let target = to.join(from.file_name().unwrap_or_default());
    let fault = |source: sqlx::Error| CommandError::Backup {
        path: target.clone(),
        source: std::io::Error::other(source),
    };
    sqlx::any::install_default_drivers();
    let url = format!("sqlite:{}?mode=ro", from.display());
    let mut connection = sqlx::AnyConnection::connect(&url).await.map_err(fault)?;
    let copy = sqlx::query("VACUUM INTO $1").bind(target.display().to_string());
    copy.execute(&mut connection).await.map_err(fault)?;
    connection.close().await.map_err(fault)?;
    private(&target)
}

fn copy_file(from: &Path, to: &Path) -> Result<PathBuf, CommandError> {
    let target = to.join(from.file_name().unwrap_or_default());
    let copied = std::fs::copy(from, &target);
    copied.map_err(|source| CommandError::Backup { path: target.clone(), source })?;
    private(&target)
}

/// The files are opened again only when nobody else can read them.
fn private(file: &Path) -> Result<PathBuf, CommandError> {
    use std::os::unix::fs::PermissionsExt as _;
    let done = std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::File::open(file)?.sync_all());
    done.map_err(|source| CommandError::Backup { path: file.to_owned(), source })?;
    Ok(file.to_owned())
}

/// A folder that was not there before: a backup never mixes with another one.
fn new_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}
