//! Nothing is done before it is written here, and nothing written here can change unnoticed.

pub mod canonical;
pub mod chain;
mod commitment;
pub mod crash;
mod entry;
mod error;
mod fault;
mod head_file;
mod key_file;
mod ledger;
pub mod merkle;
pub mod note;
mod queue;
mod receipt;
mod record;
mod recover;
mod store;
mod wal;
mod writer;

pub use canonical::MAX_RECORD_BYTES;
pub use commitment::{Commitment, NoRandomness};
pub use entry::{
    Body, CallFields, DEPLOYMENT, Entry, Intent, Kind, OutcomeRecord, OutcomeStatus, PolicyRef,
    RecordRef, ResultRef, Retention, ToolRef, Who,
};
pub use error::{InvalidEntry, OpenError, ReadError, Unavailable};
pub use fault::{Fault, FaultKind};
pub use ledger::{Ledger, LedgerOptions, OpenState, Opened, Status};
pub use receipt::{Appended, IntentReceipt};
pub use record::{Draft, NotARecord, Place, Record, Stamp};
