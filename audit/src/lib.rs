//! Nothing is done before it is written here, and nothing written here can change unnoticed.

pub mod canonical;
pub mod chain;
mod commitment;
pub mod crash;
mod entry;
mod error;
mod export;
mod fault;
mod head_file;
mod key_file;
mod ledger;
pub mod merkle;
pub mod note;
mod queue;
mod read;
mod receipt;
mod record;
mod recover;
mod store;
pub mod tiles;
pub mod verify;
mod wal;
mod writer;

pub use canonical::MAX_RECORD_BYTES;
pub use commitment::{Commitment, NoRandomness};
pub use entry::{
    Body, CallFields, DEPLOYMENT, Entry, Intent, Kind, OutcomeRecord, OutcomeStatus, PolicyRef,
    RecordRef, ResultRef, Retention, ToolRef, Who,
};
pub use error::{InvalidEntry, OpenError, ReadError, Unavailable};
pub use export::{Exported, export};
pub use fault::{Fault, FaultKind};
pub use key_file::load_key;
pub use ledger::{Ledger, LedgerOptions, OpenState, Opened, Status};
pub use read::{LogHead, Query, Reader, RecordRow};
pub use receipt::{Appended, IntentReceipt};
pub use record::{Draft, NotARecord, Place, Record, Stamp};
