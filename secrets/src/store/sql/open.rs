//! Opening the store: file, pragmas, migrations.

use super::{SqlStore, endings};
use crate::store::StoreError;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, Executor as _};
use std::path::Path;
use std::time::Duration;

/// Schema versions, embedded so that the binary needs no files.
static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// Keeps our schema versions apart from those of other parts in the same database.
const MIGRATIONS_TABLE: &str = "_scope_key_migrations";

/// The store is asked on a miss of the cache only, so few connections are enough.
const MAX_CONNECTIONS: u32 = 4;

/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

impl SqlStore {
    /// Opens the SQLite file at `path`, creating it with mode 0600 when it is absent, and brings its
    /// schema up to date. Keys that were destroyed stay so, also when a backup of the file was put back.
    ///
    /// # Errors
    /// [`StoreError::Exposed`] when others can read the file; [`StoreError::Open`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        ensure_private_file(path)?;
        let url = format!("sqlite:{}?mode=rw", path.display());
        // A writer that begins as a reader cannot wait for the lock (SQLITE_BUSY_SNAPSHOT).
        let mut store =
            Self::connect(&url, &path.display().to_string(), "BEGIN IMMEDIATE", true).await?;
        store.endings = Some(endings::beside(path));
        store.end_again().await?;
        Ok(store)
    }

    /// Opens a Postgres database by URL (`postgres://...`) and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`], which does not show the URL: it may hold a password.
    pub async fn open_url(url: &str) -> Result<Self, StoreError> {
        Self::connect(url, "the configured database", "BEGIN", false).await
    }

    async fn connect(
        url: &str,
        shown: &str,
        begin: &'static str,
        sqlite: bool,
    ) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .after_connect(|connection, _| Box::pin(prepare_connection(connection)))
            .connect(url)
            .await
            .map_err(|e| cannot_open(shown, &e))?;
        let mut migrations =
            Migrator::with_migrations(MIGRATIONS.iter().cloned().collect::<Vec<_>>());
        migrations.dangerous_set_table_name(MIGRATIONS_TABLE);
        migrations.run(&pool).await.map_err(|e| cannot_open(shown, &e))?;
        Ok(Self { pool, begin, sqlite, endings: None })
    }

    /// Waits for running questions and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore").field("sqlite", &self.sqlite).finish_non_exhaustive()
    }
}

/// Pragmas of one SQLite connection. `secure_delete` overwrites what is deleted or replaced with zeros;
/// `synchronous=FULL` because a key that sealed something must not be lost when the power goes.
async fn prepare_connection(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    if connection.backend_name() != "SQLite" {
        return Ok(());
    }
    for pragma in [
        "PRAGMA busy_timeout = 5000",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA secure_delete = ON",
        "PRAGMA foreign_keys = ON",
        "PRAGMA trusted_schema = OFF",
    ] {
        connection.execute(pragma).await?;
    }
    Ok(())
}

/// The journal files of SQLite inherit the mode of the main file, so it must be right from the start.
fn ensure_private_file(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let shown = path.display().to_string();
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| cannot_open(&shown, &e))?;
    let mode = file.metadata().map_err(|e| cannot_open(&shown, &e))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(StoreError::Exposed { path: shown });
    }
    Ok(())
}

fn cannot_open(path: &str, source: &impl std::fmt::Display) -> StoreError {
    StoreError::Open { path: path.to_owned(), detail: source.to_string() }
}
