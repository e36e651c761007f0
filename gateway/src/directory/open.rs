//! Opening the directory: file, pragmas, migrations.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AnyPool, Executor as _};

use super::DirectoryError;
use super::standing::StandingCache;

/// Schema versions, embedded so that the binary needs no files.
static MIGRATIONS: Migrator = sqlx::migrate!("src/directory/migrations");

/// How a change of a file begins.
const BEGIN_FILE: &str = "BEGIN IMMEDIATE";

/// Connections of one replica. Calls are served from the cache of standings, so few are enough.
const MAX_CONNECTIONS: u32 = 8;

/// How long a question waits for a connection, and how long a shared database may think about one.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A handle on the directory; clones share the connections and the cache.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

struct Inner {
    pool: AnyPool,
    begin: &'static str,
    standings: StandingCache,
    changed: tokio::sync::Notify,
    questions: AtomicU64,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

impl Directory {
    /// Opens the SQLite file at `path`, creating it with mode 0600 when it is absent, and brings its
    /// schema up to date. Refuses a file that other accounts can read.
    pub async fn open(path: &Path) -> Result<Self, DirectoryError> {
        ensure_private_file(path)?;
        let url = format!("sqlite:{}?mode=rw", path.display());
        // A writer that begins as a reader cannot wait for the lock (SQLITE_BUSY_SNAPSHOT).
        Self::connect(&url, &path.display().to_string(), BEGIN_FILE).await
    }

    /// Opens a Postgres database by URL (`postgres://...`) and brings its schema up to date.
    pub async fn open_url(url: &str) -> Result<Self, DirectoryError> {
        Self::connect(url, "the configured database", "BEGIN").await
    }

    async fn connect(url: &str, shown: &str, begin: &'static str) -> Result<Self, DirectoryError> {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            // A connection to a file does not break by itself; one over a network may have.
            .test_before_acquire(begin != BEGIN_FILE)
            .after_connect(|connection, _| Box::pin(prepare_connection(connection)))
            .connect(url)
            .await
            .map_err(|e| cannot_open(shown, e))?;
        MIGRATIONS.run(&pool).await.map_err(|e| cannot_open(shown, e))?;
        let (standings, changed) = (StandingCache::new(), tokio::sync::Notify::new());
        let questions = AtomicU64::new(0);
        Ok(Self { inner: Arc::new(Inner { pool, begin, standings, changed, questions }) })
    }

    /// Waits for running questions and closes the connections.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    /// How often the database was asked something through this handle.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.inner.questions.load(Ordering::Relaxed)
    }

    /// The connections; whoever takes them asks one question.
    pub(crate) fn pool(&self) -> &AnyPool {
        self.inner.questions.fetch_add(1, Ordering::Relaxed);
        &self.inner.pool
    }

    pub(crate) fn begin_statement(&self) -> &'static str {
        self.inner.begin
    }

    /// Wakes who tells other replicas that something was changed here.
    #[must_use]
    pub fn changed(&self) -> &tokio::sync::Notify {
        &self.inner.changed
    }

    /// Whether other replicas use the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.begin != BEGIN_FILE
    }

    pub(crate) fn standings(&self) -> &StandingCache {
        &self.inner.standings
    }
}

/// Pragmas of one SQLite connection. `synchronous=FULL` because a claimed confirmation must stay
/// claimed when the power goes.
async fn prepare_connection(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    if connection.backend_name() != "SQLite" {
        let millis = PATIENCE.as_millis();
        let bounds = format!("SET statement_timeout = {millis}; SET lock_timeout = {millis}");
        return connection.execute(sqlx::AssertSqlSafe(bounds)).await.map(|_| ());
    }
    for pragma in [
        "PRAGMA busy_timeout = 5000",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        // What was overwritten or deleted leaves no bytes in free pages.
        "PRAGMA secure_delete = ON",
    ] {
        connection.execute(pragma).await?;
    }
    Ok(())
}

/// The journal files of SQLite inherit the mode of the main file, so it must be right from the start.
fn ensure_private_file(path: &Path) -> Result<(), DirectoryError> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let shown = path.display().to_string();
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| cannot_open(&shown, e))?;
    let mode = file.metadata().map_err(|e| cannot_open(&shown, e))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(DirectoryError::Exposed { path: shown });
    }
    Ok(())
}

fn cannot_open(
    path: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DirectoryError {
    DirectoryError::Open { path: path.to_owned(), source: source.into() }
}
