//! Asks witnesses to cosign the heads of this deployment's logs, and stops admitting calls where the
//! policy says that nobody may act unwatched.
//!
//! None of this is on the way of a call: tasks look a few times a second at what the publisher has
//! shown. One task a witness, so that none waits for another; one more compares what is durable with
//! what a quorum has cosigned, and suspends the ledger or lets it go on.
//!
//! # Vocabulary
//! - **shown**: the checkpoint that the publisher wrote last.
//! - **target**: the shown checkpoint that all witnesses are asked for; it stays for a while, because
//!   a quorum counts on one and the same head only ([`board`]).
//! - **witnessed**: records under a head that a quorum has cosigned.
//! - **lag**: how long the oldest durable record has been waiting to be witnessed.
//!
//! # Failure
//! Under `required`, whatever goes wrong here ends in records that are not witnessed, and so in a
//! ledger that takes no intent. What was written before a start counts as waiting without end: a
//! gateway that is started again and again is not unwatched for longer.
//!
//! INVARIANT: without a quorum nothing is admitted under `required`
//! (`witnessed::without_a_quorum_nothing_is_admitted_until_it_is_back`).
//! INVARIANT: no witness delays another, or a call (`witnessed::a_witness_that_never_answers_delays_nothing`).

pub mod board;
mod head;
mod http;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_audit::Ledger;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{WitnessPolicy, Witnessing};
use board::{Board, Lag};

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_millis(250);

/// What witnesses have cosigned of this ledger.
#[derive(Debug)]
pub struct Watched {
    settings: Witnessing,
    ledger: Ledger,
    board: Mutex<Board>,
}

impl Watched {
    /// Begins the account for a ledger that was just opened, before anything else is written to it.
    /// Under `required`, what is in it has to be witnessed before the first call.
    #[must_use]
    pub fn new(settings: &Witnessing, ledger: &Ledger) -> Arc<Self> {
        let mut board = Board::new(settings.quorum, settings.max_lag);
        if settings.policy != WitnessPolicy::None {
            for log in ledger.logs() {
                board.was_there(&log.origin, log.durable);
            }
        }
        let watched =
            Self { settings: settings.clone(), ledger: ledger.clone(), board: Mutex::new(board) };
        watched.apply(&Lag::default(), &watched.lag());
        Arc::new(watched)
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Witnessing {
        &self.settings
    }

    /// What is not witnessed, and for how long.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.board().lag(Instant::now())
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far the logs are, and says what is too late.
    fn look(&self) -> Lag {
        let (logs, now) = (self.ledger.logs(), Instant::now());
        let mut board = self.board();
        for log in logs {
            board.durable(&log.origin, log.durable, now);
        }
        board.lag(now)
    }

    fn apply(&self, before: &Lag, lag: &Lag) {
        if self.settings.policy == WitnessPolicy::Required {
            match lag.too_late.then(|| lag.to_string()) {
                Some(why) => self.ledger.suspend(why),
                None => self.ledger.resume(),
            }
        }
        let policy = self.settings.policy.as_str();
        match (before.too_late, lag.too_late) {
            (false, true) => tracing::warn!(policy, log = lag.log, "{lag}"),
            (true, false) => tracing::info!(policy, "a quorum of witnesses has cosigned again"),
            _ => {}
        }
    }
}

/// The tasks; they end when this is dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// Starts to ask.
///
/// # Errors
/// When no HTTP client can be made.
pub fn start(watched: &Arc<Watched>) -> Result<Tasks, reqwest::Error> {
    if watched.settings.policy == WitnessPolicy::None {
        return Ok(Tasks::default());
    }
    let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(keep_account(Arc::clone(watched))))];
    for (index, witness) in watched.settings.witnesses.iter().enumerate() {
        let http = http::Client::new(witness)?;
        let worker = worker::Worker::new(index, http, Arc::clone(watched));
        tasks.push(AbortOnDropHandle::new(tokio::spawn(worker.run())));
    }
    Ok(Tasks { _tasks: tasks })
}

/// Without the account nobody would notice that a quorum is missing, so its end, by a bug of its own
/// or because the gateway stops, is the end of admitting.
struct Account(Arc<Watched>);

impl Drop for Account {
    fn drop(&mut self) {
        if self.0.settings.policy == WitnessPolicy::Required {
            self.0.ledger.suspend("the account of the witnesses has ended".to_owned());
        }
    }
}

async fn keep_account(watched: Arc<Watched>) {
    let account = Account(watched);
    let watched = &account.0;
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = watched.lag();
    loop {
        tick.tick().await;
        let lag = watched.look();
        watched.apply(&before, &lag);
        before = lag;
    }
}
