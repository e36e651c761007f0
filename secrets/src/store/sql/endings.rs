//! What must outlive a restored table: which keys were destroyed, and how far the key-encryption key's versions are.
//!
//! A table of last week holds the keys that were destroyed since, as if nobody had. So each destruction is
//! written to a file beside the table first, which no restore replaces (a backup has a copy, for a folder that
//! has none), and is done again whenever the table is opened. A table that a server keeps has no such file. It holds ids and times, one JSON object a line; nothing in it is secret, and
//! nothing in it names a person.

use super::SqlStore;
use crate::provider::KeyRef;
use crate::scope_key::{KeyState, ScopeKeyId};
use crate::store::{KekVersion, StoreError, now_ms};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Ids in one question; SQLite takes more.
const AT_ONCE: usize = 500;

/// One line of the file. Fields are short: an erased tenant may have had a million keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Ending {
    /// A scope key was destroyed.
    Destroyed(ScopeKeyId),
    /// A version of the key-encryption key came so far.
    Version { provider: String, kek_id: String, kek_ver: u32, state: KeyState, changed_ms: i64 },
}

impl Ending {
    pub(super) fn of_version(version: &KekVersion) -> Self {
        let KeyRef { kek_id, kek_ver } = version.key.clone();
        let (provider, changed_ms) = (version.kek_provider.clone(), version.changed_ms);
        Self::Version { provider, kek_id, kek_ver, state: version.state, changed_ms }
    }
}

/// Where the endings of a table are.
pub(super) fn beside(table: &Path) -> PathBuf {
    let mut name = table.as_os_str().to_owned();
    name.push(".endings");
    PathBuf::from(name)
}

impl SqlStore {
    /// Writes endings durably, before the table says the same. Nothing where a server keeps the table.
    pub(super) async fn keep(&self, endings: Vec<Ending>) -> Result<(), StoreError> {
        let Some(path) = self.endings.clone() else { return Ok(()) };
        if endings.is_empty() {
            return Ok(());
        }
        let written = tokio::task::spawn_blocking(move || {
            append(&path, &endings).map_err(|fault| cannot(&path, &fault))
        });
        written
            .await
            .map_err(|fault| StoreError::Open { path: String::new(), detail: fault.to_string() })?
    }

    /// Does again what the table does not know of: destroyed keys are destroyed, versions are as far as they were.
    pub(super) async fn end_again(&self) -> Result<(), StoreError> {
        let Some(path) = &self.endings else { return Ok(()) };
        let Some(endings) = read(path).map_err(|fault| cannot(path, &fault))? else {
            return self.begin_endings().await;
        };
        let mut ids = Vec::new();
        for ending in endings {
            match ending {
                Ending::Destroyed(id) => ids.push(id),
                Ending::Version { provider, kek_id, kek_ver, state, changed_ms } => {
                    let key = KeyRef { kek_id, kek_ver };
                    let known = KekVersion { kek_provider: provider, key, state, changed_ms };
                    self.upsert_kek_state(&known).await?;
                }
            }
        }
        self.destroy_ids(&ids).await
    }

    /// A table of before there was such a file, or one whose file was lost: what the table knows is kept.
    async fn begin_endings(&self) -> Result<(), StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT sk_id FROM scope_keys WHERE state = 'destroyed' ORDER BY sk_id",
        )
        .fetch_all(&self.pool)
        .await?;
        let ids = ids.into_iter().map(|id| ScopeKeyId::try_from(id).map(Ending::Destroyed));
        let mut endings: Vec<Ending> =
            ids.collect::<Result<_, _>>().map_err(|_| StoreError::Corrupt { column: "sk_id" })?;
        endings.extend(self.read_kek_versions().await?.iter().map(Ending::of_version));
        self.keep(endings).await
    }

    async fn destroy_ids(&self, ids: &[ScopeKeyId]) -> Result<(), StoreError> {
        let mut again = 0;
        for ids in ids.chunks(AT_ONCE) {
            let places: Vec<String> = (2..ids.len() + 2).map(|n| format!("${n}")).collect();
            // Only numbers of places are put together; values are bound. Zeros of the same length, so that the
            // row is rewritten where it stands.
            let text = format!(
                "UPDATE scope_keys SET wrapped = substr(hex(zeroblob(length(wrapped))), 1, length(wrapped)), \
                 state = 'destroyed', changed_ms = $1 WHERE state <> 'destroyed' AND sk_id IN ({})",
                places.join(", ")
            );
            let mut query = sqlx::query(AssertSqlSafe(text)).bind(now_ms());
            for id in ids {
                query = query.bind(id.to_string());
            }
            again += query.execute(&self.pool).await?.rows_affected();
        }
        if again == 0 {
            return Ok(());
        }
        tracing::warn!(
            keys = again,
            "the table of scope keys held keys that had been destroyed (a backup was restored, or an erasure was broken off); they are destroyed again"
        );
        self.cut_journal().await
    }
}

/// Every whole line; none when there is no file. A last line without its end was never acknowledged.
fn read(path: &Path) -> io::Result<Option<Vec<Ending>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let lines = bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    let endings = lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from));
    endings.collect::<io::Result<_>>().map(Some)
}

/// All lines and one fsync, or an error; what a crash left half is cut first.
fn append(path: &Path, endings: &[Ending]) -> io::Result<()> {
    let mut text = Vec::new();
    for ending in endings {
        serde_json::to_writer(&mut text, ending)?;
        text.push(b'\n');
    }
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    cut_torn(&mut file)?;
    file.write_all(&text)?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn cut_torn(file: &mut File) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if whole < bytes.len() {
        file.set_len(u64::try_from(whole).unwrap_or_default())?;
    }
    Ok(())
}

fn cannot(path: &Path, fault: &io::Error) -> StoreError {
    let detail =
        format!("{fault}; it says which keys were destroyed, so nothing is opened without it");
    StoreError::Open { path: path.display().to_string(), detail }
}
