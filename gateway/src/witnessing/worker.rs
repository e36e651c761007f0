//! Asks one witness about all logs, for as long as the gateway runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use portcullis_audit::LogStatus;
use portcullis_audit::witness::{AddCheckpoint, Answer, BadAnswer};

use super::board::{Head, Next};
use super::http::{Client, NoAnswer};
use super::{LOOK, Watched};

/// Logs that one witness is asked about at a time.
const AT_ONCE: usize = 8;

/// Requests for one head in a row: one, a second from the size that the witness says it has, and a
/// third when that has grown meanwhile. A witness that names other sizes for ever is not followed.
const TRIES: usize = 3;

/// How long a witness that failed is left alone; doubled each time, up to the most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far the clock of a witness may be ahead of ours: verifiers ignore cosignatures in the future.
const CLOCKS_DIFFER: u64 = 60;

/// One witness.
#[derive(Debug)]
pub(super) struct Worker {
    index: usize,
    client: Client,
    watched: Arc<Watched>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The witness as a whole: it can't be reached.
    witness: Pause,
    /// Single logs, by origin.
    logs: HashMap<String, LogMemory>,
}

#[derive(Debug, Default)]
struct LogMemory {
    /// What the witness cosigned last, as far as is known.
    size: u64,
    pause: Pause,
}

/// When something that failed is tried again.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
    /// What was said about it last, so that it is said once.
    why: String,
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
enum NotCosigned {
    #[error("{0}")]
    Unreachable(String),
    #[error(transparent)]
    Refused(#[from] BadAnswer),
    #[error("it names another size whenever it is asked")]
    Undecided,
    #[error("its clock is {0} s ahead")]
    Clock(u64),
    #[error("the shown checkpoint and its tiles: {0}")]
    Files(String),
}

impl NotCosigned {
    /// The witness has seen another history of the log than this one.
    const fn is_evidence(&self) -> bool {
        matches!(
            self,
            Self::Refused(BadAnswer::Ahead(_) | BadAnswer::OtherRoot(_) | BadAnswer::Refused(422))
        )
    }
}

impl From<NoAnswer> for NotCosigned {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Unreachable(why) => Self::Unreachable(why),
            NoAnswer::Bad(why) => Self::Refused(why),
        }
    }
}

impl Worker {
    pub(super) fn new(index: usize, client: Client, watched: Arc<Watched>) -> Self {
        Self { index, client, watched, memory: Mutex::default() }
    }

    pub(super) async fn run(self) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let logs = futures_util::stream::iter(self.watched.ledger.logs());
            logs.for_each_concurrent(AT_ONCE, |log| self.look_at(log)).await;
        }
    }

    async fn look_at(&self, log: LogStatus) {
        if self.memory().is_paused(&log.origin, Instant::now()) {
            return;
        }
        let done = match self.wanted(&log).await {
            Ok(None) => return,
            Ok(Some(head)) => self.cosign(&head).await,
            Err(why) => Err(why),
        };
        match done {
            Ok(()) => self.went_well(&log.origin),
            Err(why) => self.failed(&log.origin, &why),
        }
    }

    /// The head that this witness is to be asked for.
    async fn wanted(&self, log: &LogStatus) -> Result<Option<Arc<Head>>, NotCosigned> {
        let next = || self.watched.board().next(self.index, &log.origin, log.shown, Instant::now());
        let mut wanted = next();
        if wanted == Next::Read {
            let (origin, folder) = (log.origin.clone(), log.folder.clone());
            let head = blocking(move || Head::read(&origin, &folder)).await?;
            self.watched.board().propose(head, Instant::now());
            wanted = next();
        }
        match wanted {
            Next::Ask(head) => Ok(Some(head)),
            Next::Nothing | Next::Read => Ok(None),
        }
    }

    async fn cosign(&self, head: &Arc<Head>) -> Result<(), NotCosigned> {
        let known = self.memory().logs.get(&head.checkpoint.origin).map_or(0, |log| log.size);
        let mut old = known.min(head.checkpoint.size);
        for _ in 0..TRIES {
            let of = Arc::clone(head);
            let proof = blocking(move || of.proof_from(old)).await?;
            let request = AddCheckpoint::new(old, proof, &head.note)
                .map_err(|why| NotCosigned::Files(why.to_string()))?;
            match self.client.ask(&request).await? {
                Answer::Cosigned { lines, unix_seconds } => {
                    return self.take(head, lines, unix_seconds).await;
                }
                Answer::ProveFrom { size } => old = size,
            }
        }
        Err(NotCosigned::Undecided)
    }

    async fn take(&self, head: &Arc<Head>, lines: String, time: u64) -> Result<(), NotCosigned> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        if time > now.saturating_add(CLOCKS_DIFFER) {
            return Err(NotCosigned::Clock(time - now));
        }
        let (ledger, of) = (self.watched.ledger.clone(), Arc::clone(head));
        let add = move || {
            let head = &of.checkpoint;
            ledger.add_cosignatures(&head.origin, &head.text(), &lines)
        };
        if let Err(why) = blocking(add).await {
            // It counts all the same: the witness will cosign no other history.
            tracing::warn!(log = head.checkpoint.origin, %why, "a cosignature cannot be shown");
        }
        let size = head.checkpoint.size;
        self.memory().logs.entry(head.checkpoint.origin.clone()).or_default().size = size;
        self.watched.board().cosigned(self.index, head);
        Ok(())
    }

    fn went_well(&self, origin: &str) {
        let mut memory = self.memory();
        let log = memory.logs.get_mut(origin).map(|log| log.pause.end());
        if memory.witness.end() || log == Some(true) {
            tracing::info!(witness = self.client.name, log = origin, "the witness cosigns again");
        }
    }

    fn failed(&self, origin: &str, why: &NotCosigned) {
        let mut memory = self.memory();
        let pause = match why {
            NotCosigned::Unreachable(_) => &mut memory.witness,
            _ => &mut memory.logs.entry(origin.to_owned()).or_default().pause,
        };
        let is_new = pause.begin(Instant::now(), why.to_string());
        drop(memory);
        let (witness, log) = (&self.client.name, origin);
        match why {
            _ if !is_new => {}
            _ if why.is_evidence() => tracing::error!(
                witness, log, %why,
                "the witness has cosigned another history of this log: was an older copy put back?"
            ),
            // The publisher and this task passed each other; the next look finds all of it.
            NotCosigned::Files(_) => tracing::debug!(witness, log, %why, "not asked"),
            _ => tracing::warn!(witness, log, %why, "the witness did not cosign"),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn is_paused(&self, origin: &str, now: Instant) -> bool {
        let log = self.logs.get(origin).map(|log| &log.pause);
        [Some(&self.witness), log].into_iter().flatten().any(|pause| pause.is_on(now))
    }
}

impl Pause {
    fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Begins or lengthens the pause; true when this reason is a new one. What fails beside another
    /// that failed already lengthens nothing.
    fn begin(&mut self, now: Instant, why: String) -> bool {
        if !self.is_on(now) {
            self.length = (self.length * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.until = Some(now + self.length);
        }
        let is_new = self.why != why;
        self.why = why;
        is_new
    }

    /// Forgets what went wrong; true when something had.
    fn end(&mut self) -> bool {
        let was = std::mem::take(self);
        !was.why.is_empty()
    }
}

/// Runs what waits for the disk where it holds nobody up.
async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, NotCosigned>
where
    T: Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|why| NotCosigned::Files(why.to_string()))?
        .map_err(|why| NotCosigned::Files(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_what_fails_beside_lengthens_nothing() {
        let (mut pause, mut now) = (Pause::default(), Instant::now());
        let mut lengths = Vec::new();
        for _ in 0..6 {
            let was_known = !pause.why.is_empty();
            assert_eq!(pause.begin(now, "no answer".to_owned()), !was_known);
            for _ in 0..AT_ONCE {
                assert!(!pause.begin(now, "no answer".to_owned()));
            }
            lengths.push(pause.length.as_millis());
            assert!(pause.is_on(now));
            now += pause.length;
            assert!(!pause.is_on(now));
        }
        assert_eq!(lengths, [500, 1000, 2000, 4000, 5000, 5000]);
        assert!(pause.end());
        assert!(!pause.end());
    }
}
