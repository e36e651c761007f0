//! Moves the WAL into the database on a connection and thread of its own, so that no caller
//! waits for it; and notices when a file under a running ledger is taken away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::OpenError;
use crate::head_file::HeadFile;
use crate::held_files::HeldFiles;
use crate::queue::Shared;
use crate::reserve::Reserve;
use crate::store::{self, sqlite};

/// Above this many bytes the WAL is emptied, which holds the writer up for one sync of the rest.
/// Below, passive checkpoints never hold it up, but also never shorten a WAL under steady load.
const WAL_LIMIT: u64 = 32 * 1024 * 1024;

/// How often the files are looked for when there is nothing to move.
const LOOK: Duration = Duration::from_secs(1);

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Checkpointing {
    pub(crate) ticks: SyncSender<()>,
    pub(crate) thread: JoinHandle<()>,
}

impl Checkpointing {
    pub(crate) fn tick(&self) {
        // A full channel means that a checkpoint is due already.
        let _ = self.ticks.try_send(());
    }

    pub(crate) fn end(self) {
        drop(self.ticks);
        if self.thread.join().is_err() {
            tracing::error!("the WAL checkpointer ended by a panic");
        }
    }
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    conn: Connection,
    path: PathBuf,
    held: HeldFiles,
    head_file: HeadFile,
    reserve: Arc<Reserve>,
    shared: Arc<Shared>,
}

impl Checkpointer {
    pub(crate) fn open(
        path: &Path,
        head_file: HeadFile,
        reserve: Arc<Reserve>,
        shared: Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let conn = sqlite::connect(path)?;
        // A checkpoint that waits for readers would hold the write lock meanwhile.
        conn.busy_timeout(Duration::from_millis(50))?;
        let held = HeldFiles::of(path).map_err(|error| {
            OpenError::Storage(format!("a file of the ledger is gone: {error}"))
        })?;
        Ok(Self { conn, path: path.to_owned(), held, head_file, reserve, shared })
    }

    /// Works until the writer lets go of its end.
    pub(crate) fn run(mut self, ticks: &Receiver<()>) {
        loop {
            match ticks.recv_timeout(LOOK) {
                Ok(()) => self.checkpoint(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.shared.sealed().is_none()
                && let Some(harm) = self.held.look()
            {
                self.shared.seal(format!("{harm}; restart to verify and go on"));
            }
        }
        self.empty();
    }

    fn checkpoint(&mut self) {
        self.pragma("PRAGMA wal_checkpoint(PASSIVE)");
        let wal = store::beside(&self.path, "-wal");
        if std::fs::metadata(wal).is_ok_and(|meta| meta.len() > WAL_LIMIT) {
            self.empty();
        }
        if let Err(error) = self.head_file.sync() {
            self.shared.seal(format!("the head file cannot be synced ({error})"));
        }
    }

    fn empty(&mut self) {
        self.held.journal_is_emptied();
        self.pragma("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    /// A checkpoint that could not finish because somebody reads is tried again at the next tick;
    /// one that failed to write or sync leaves the file in doubt.
    fn pragma(&self, sql: &str) {
        let busy = |error: &rusqlite::Error| {
            matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
            )
        };
        match self.conn.query_row(sql, [], |_| Ok(())) {
            // What cannot be moved stays in the WAL; the writer notices by itself.
            Err(error) if crate::full::is_full(&error, &self.reserve) => {}
            Err(error) if !busy(&error) => {
                self.shared.seal(format!("moving the WAL failed ({error})"));
            }
            _ => {}
        }
    }
}
