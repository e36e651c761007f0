//! `portcullis ledger witness`: watches from outside that logs only grow (c2sp.org/tlog-witness).
//!
//! It needs nothing of a deployment: a folder, and the keys of the logs that it watches. Whoever
//! runs it promises one thing: of each log it cosigns one history only, whatever happens to the
//! machine of the log or, by `kill -9`, to its own.
//!
//! ```text
//! <folder>/cosigner        seed of the key, 32 bytes, mode 0600
//! <folder>/vkey            the verifier key, for policies
//! <folder>/logs/<id>.note  the last cosigned checkpoint of a log
//! <folder>/forks/          proofs that a log signed two histories
//! <folder>/lock            held while it runs
//! ```
//!
//! The protocol is `portcullis_audit::witness`; here are the socket, the clock and the storage.
//!
//! INVARIANT: what is cosigned is on disk before, and stays the smallest that is cosigned next
//! (`witnessed::a_witness_that_was_killed_goes_on_and_never_back`).
//! INVARIANT: what a newer key has signed is followed by nothing of an older one, also after a restart
//! (`state::tests::a_key_that_was_replaced_stays_so_after_a_restart`).
//! INVARIANT: a damaged memory is never taken for an empty one
//! (`state::tests::a_damaged_note_refuses_the_start`).

mod door;
mod key;
mod seen;
mod state;
mod trust;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_audit::note::Cosigner;
use portcullis_audit::witness::MAX_REQUEST_BYTES;
use tokio::net::TcpListener;

use crate::edge::{self, EdgeOptions, Limits, Malformed, OnMalformed, Recorded, Recording};

pub use state::Witness;
pub use trust::{Trust, TrustError};

/// Why a witness does not start.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WitnessError {
    /// The folder, or a file in it.
    #[error("`{}`: {source}", path.display())]
    #[diagnostic(help("the folder must be writable, and on a disk of its own machine"))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another witness works in the folder.
    #[error("another witness works in `{}`", .0.display())]
    #[diagnostic(help("stop it, or give this one a folder and so a key of its own"))]
    Locked(PathBuf),
    /// The key.
    #[error("the witness's key `{}` cannot be used: {why}", path.display())]
    #[diagnostic(help(
        "put the file back from a backup; a witness with a new key is another witness, and starts in an empty folder"
    ))]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another name than the one that the key was made for.
    #[error("this witness is `{made}`, not `{given}`")]
    #[diagnostic(help("leave `--name` out: the name is part of the key that policies hold"))]
    Name {
        /// The name that it has.
        made: String,
        /// The name that was given.
        given: String,
    },
    /// A note of what was cosigned is damaged.
    #[error("`{}` does not hold the last cosigned checkpoint of a log: {why}", path.display())]
    #[diagnostic(help(
        "without it this witness could cosign a second history; put the file back from a backup, or begin anew in an empty folder, under a new key"
    ))]
    Damaged {
        /// The note.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The listening socket.
    #[error("cannot listen on {address}: {source}")]
    #[diagnostic(help("another process may have the port; choose one with `--listen`"))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The witness's key, made when the folder is new.
///
/// # Errors
/// [`WitnessError`].
pub fn cosigner(folder: &Path, name: Option<&str>) -> Result<Cosigner, WitnessError> {
    state::make_folder(folder)?;
    key::open(folder, name)
}

/// A witness that listens.
pub struct Listening {
    listener: TcpListener,
    witness: Arc<Witness>,
    /// Where.
    pub address: SocketAddr,
}

impl Listening {
    /// Binds the address.
    ///
    /// # Errors
    /// [`WitnessError::Listen`].
    pub async fn bind(address: SocketAddr, witness: Witness) -> Result<Self, WitnessError> {
        let fault = |source| WitnessError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self { listener, witness: Arc::new(witness), address })
    }

    /// Serves until `stop` resolves; what is being answered then is answered.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let options = EdgeOptions {
            limits: limits(),
            tls: None,
            trusted: edge::TrustedProxies::default(),
            on_malformed: Arc::new(Unheard),
        };
        let drained = edge::serve(self.listener, door::router(self.witness), options, stop).await;
        tracing::info!(?drained, "no more connections");
    }
}

/// Requests are small and answered at once; who is slower than this is not a log.
fn limits() -> Limits {
    Limits {
        max_connections: 1024,
        max_requests: 64,
        max_waiting: 256,
        max_body_bytes: MAX_REQUEST_BYTES as u64,
        body_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        drain_deadline: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// What is malformed is refused and nobody is told: this is no gateway.
struct Unheard;

impl OnMalformed for Unheard {
    fn record(&self, _: Malformed) -> Recording<'_> {
        Box::pin(async { Recorded::Written })
    }
}
