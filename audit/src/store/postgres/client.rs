//! A connection to PostgreSQL for code that waits: it lives on a thread with a runtime of its own,
//! because callers may stand inside a runtime, where waiting for another one is not allowed.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::runtime::{Builder, Runtime};

use super::error::PgError;

/// What a connection is asked to do.
pub(crate) type Asked<'c, T> = Pin<Box<dyn Future<Output = Result<T, PgError>> + 'c>>;

type Work = Box<dyn FnOnce(&mut Link) + Send>;

/// How long one answer may take before the connection counts as lost.
pub(crate) const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// The same for reading, where one page may be large.
pub(crate) const READER_PATIENCE: Duration = Duration::from_secs(60);

/// How long the open of a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// The end of a connection that callers hold.
#[derive(Debug)]
pub(crate) struct Client {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's end.
struct Link {
    runtime: Runtime,
    options: PgConnectOptions,
    conn: Option<PgConnection>,
    patience: Duration,
}

impl Client {
    /// Connects. `settings` are sent at the start of every connection.
    pub(crate) fn open(options: PgConnectOptions, patience: Duration) -> Result<Self, PgError> {
        let lost = |error: std::io::Error| PgError::Lost(error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(lost)?;
        let options = options.disable_statement_logging();
        let mut link = Link { runtime, options, conn: None, patience };
        let (sender, jobs) = mpsc::channel::<Work>();
        let work = move || {
            while let Ok(job) = jobs.recv() {
                job(&mut link);
            }
            link.close();
        };
        let builder = std::thread::Builder::new().name("ledger-postgres".to_owned());
        let thread = builder.spawn(work).map_err(lost)?;
        let client = Self { work: Some(sender), thread: Some(thread) };
        client.connect()?;
        Ok(client)
    }

    /// Connects anew; the connection of before, if there is one, is dropped.
    pub(crate) fn connect(&self) -> Result<(), PgError> {
        self.on_thread(Link::connect)
    }

    /// Does `work` on the connection and waits for it. After [`PgError::Lost`] every call fails
    /// until [`Self::connect`].
    pub(crate) fn call<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> Asked<'c, T> + Send + 'static,
    ) -> Result<T, PgError> {
        self.on_thread(move |link| link.call(work))
    }

    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Link) -> Result<T, PgError> + Send + 'static,
    ) -> Result<T, PgError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let job: Work = Box::new(move |link| {
            let _ = reply.send(work(link)); // The caller waits below.
        });
        let sent = self.work.as_ref().is_some_and(|thread| thread.send(job).is_ok());
        let ended = || PgError::Lost("its thread has ended".to_owned());
        if !sent {
            return Err(ended());
        }
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.work.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say any more.
            let _ = thread.join();
        }
    }
}

impl Link {
    fn connect(&mut self) -> Result<(), PgError> {
        self.conn = None;
        let opening =
            async { tokio::time::timeout(CONNECT_PATIENCE, self.options.connect()).await };
        let conn = match self.runtime.block_on(opening) {
            Ok(Ok(conn)) => conn,
            // Whatever it was: there is no connection.
            Ok(Err(error)) => return Err(PgError::Lost(error.to_string())),
            Err(_) => return Err(PgError::Lost("it does not answer".to_owned())),
        };
        self.conn = Some(conn);
        Ok(())
    }

    fn call<T>(
        &mut self,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> Asked<'c, T>,
    ) -> Result<T, PgError> {
        let Some(conn) = self.conn.as_mut() else {
            return Err(PgError::Lost("there is no connection".to_owned()));
        };
        let patience = self.patience;
        let answer = async { tokio::time::timeout(patience, work(conn)).await };
        let answer = self.runtime.block_on(answer).unwrap_or_else(|_| {
            Err(PgError::Lost(format!("no answer within {} s", patience.as_secs())))
        });
        if matches!(answer, Err(PgError::Lost(_))) {
            // What was under way on it is unknown, so nothing more may be said on it.
            self.conn = None;
        }
        answer
    }

    fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            let bye = async { tokio::time::timeout(Duration::from_secs(1), conn.close()).await };
            let _ = self.runtime.block_on(bye); // The server notices the closed socket anyway.
        }
    }
}
