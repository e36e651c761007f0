//! Moves the WAL into the database on a connection and thread of its own, so that no caller
//! waits for it; and notices when a file under a running ledger is taken away.
//!
//! Above its bound ([`LedgerOptions::journal`](crate::LedgerOptions::journal)) the WAL begins anew, which holds
//! the writer up for one sync of the rest. Below, passive checkpoints never hold it up, but under steady load
//! also never catch up. It is written over instead of cut: a file that keeps its length is synced in one write
//! to the disk, where one that grows has its inode written too. Only one that grew far beyond its bound, while
//! somebody read for long, is cut.

use std::path::Path;
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
use crate::store::sqlite;

/// How many times its bound the WAL may grow before it is cut.
const LONG: u64 = 4;

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

/// What SQLite says of a checkpoint.
#[derive(Clone, Copy, Debug)]
struct Checkpointed {
    /// Somebody reads or writes, so that not everything was done.
    busy: bool,
    /// How many pages stand in the WAL.
    pages: i64,
}

impl Checkpointed {
    fn bytes(self) -> u64 {
        u64::try_from(self.pages).unwrap_or_default().saturating_mul(sqlite::PAGE.into())
    }
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    conn: Connection,
    held: HeldFiles,
    head_file: HeadFile,
    reserve: Arc<Reserve>,
    shared: Arc<Shared>,
    /// Bytes above which the WAL begins anew.
    bound: u64,
}

impl Checkpointer {
    pub(crate) fn open(
        (path, bound): (&Path, u64),
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
        Ok(Self { conn, held, head_file, reserve, shared, bound })
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
        // Whoever copies the files finds everything in one.
        if self.cut().is_some_and(|cut| cut.busy) {
            tracing::warn!(
                "somebody reads the ledger: its newest records stay in the journal beside it until \
                 it is opened and closed again"
            );
        }
    }

    fn checkpoint(&mut self) {
        // On a full disk the database would grow into the room that is kept for outcomes.
        if !self.shared.is_full() {
            self.move_pages();
        }
        if let Err(error) = self.head_file.sync() {
            self.shared.seal(format!("the head file cannot be synced ({error})"));
        }
    }

    fn move_pages(&mut self) {
        let moved = self.pragma("PRAGMA wal_checkpoint(PASSIVE)");
        if self.held.journal_length() > self.bound.saturating_mul(LONG) {
            self.cut();
        } else if moved.is_some_and(|moved| moved.bytes() > self.bound) {
            self.pragma("PRAGMA wal_checkpoint(RESTART)");
        }
    }

    fn cut(&mut self) -> Option<Checkpointed> {
        let length = self.held.journal_length();
        self.held.expect_journal(0);
        let cut = self.pragma("PRAGMA wal_checkpoint(TRUNCATE)");
        if cut.is_none_or(|cut| cut.busy) {
            self.held.expect_journal(length);
        }
        cut
    }

    /// Nothing when it failed. A checkpoint that could not finish because somebody reads is tried again
    /// at the next tick; one that failed to write or sync leaves the file in doubt.
    fn pragma(&self, sql: &str) -> Option<Checkpointed> {
        let busy = |error: &rusqlite::Error| {
            matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
            )
        };
        let said = |row: &rusqlite::Row<'_>| {
            Ok(Checkpointed { busy: row.get::<_, i64>(0)? != 0, pages: row.get(1)? })
        };
        match self.conn.query_row(sql, [], said) {
            Ok(checkpointed) => return Some(checkpointed),
            // What cannot be moved stays in the WAL; the writer notices by itself.
            Err(error) if crate::full::is_full(&error, &self.reserve) => {}
            Err(error) if !busy(&error) => {
                self.shared.seal(format!("moving the WAL failed ({error})"));
            }
            Err(_) => {}
        }
        None
    }
}
