//! Nothing is done before it is written here, and nothing written here can change unnoticed.
//!
//! This crate never decides, never dispatches, never sees a payload or a name of a person, and
//! never serves a network. It trusts the file system (or PostgreSQL) to keep an fsync, and nothing else.
//!
//! # Vocabulary
//!
//! - **record**: canonical bytes of one fact (intent, outcome, decision, ...), at most 65,535 B.
//! - **log**: the records of one tenant, or of the deployment itself, numbered by `seq`.
//! - **leaf**: `SHA-256(0x00 || record)`; each record carries the leaf of the one before (`prev`).
//! - **receipt**: proof that an intent is durable; an action needs one, only the ledger makes one.
//! - **sealed**: the ledger takes no new intents, and says why; **suspended**: the same for a while,
//!   by the word of who opened it.
//! - **spool**: side files of outcomes that are late; from there the next start appends them. What it
//!   can't append is **kept aside**.
//! - **replica**: one of several processes that write to one PostgreSQL database.
//! - **epoch**: one run of a replica; `w.epoch` of what it wrote. It holds a **lease** on it.
//! - **head**: size and Merkle root of a log; signed as a checkpoint when it is exported.
//! - **count**: the numbered records of one session, begun anew by each run of a writer.
//! - **disclosure**: the key of one field of a record, and its payload, for whoever is to check it.
//! - **key record**: by it, and by the word of both, a new key takes over from the one that signed.
//! - **prune**: to take away the bytes of a whole expired prefix of a log; leaf hashes stay.
//! - **witness**: somebody outside who cosigns a head after checking that the log only grew.
//!
//! # The life of an intent
//!
//! 1. [`Ledger::intent`] renders the caller's share of the record and puts it into the bounded
//!    queue ([`Unavailable::Full`] when that is at its bound).
//! 2. The one writer takes what waits, up to 256 records of all tenants; a lone one waits for no timer.
//! 3. It gives each its place: `seq` and `prev` of its log, from memory; with PostgreSQL from the
//!    head row that it locks.
//! 4. One `COMMIT`, one fsync for all of them.
//! 5. The head file is noted, the receipt is minted, the caller goes on.
//! 6. [`Ledger::outcome`] closes the intent the same way.
//! 7. An outcome that is late is spooled, and no intent is taken until it is in the log after all.
//! 8. What nobody closed is closed as unknown: at once when its caller was refused by deadline,
//!    at the next start when the process died.
//!
//! # Invariants
//!
//! - INVARIANT: a receipt exists only for a record on disk
//!   (`an_intent_is_on_disk_before_its_receipt_exists`).
//! - INVARIANT: nothing acknowledged is lost by `kill -9`
//!   (`kill_dash_nine_loses_nothing_acknowledged_and_leaves_no_orphan_open`,
//!   `every_crash_point_of_the_writer_loses_nothing_acknowledged`).
//! - INVARIANT: an intent refused by deadline never stays open
//!   (`an_intent_refused_by_deadline_never_stays_open`).
//! - INVARIANT: after a failed commit no intent is taken (`a_failed_commit_seals_the_ledger_for_good`).
//! - INVARIANT: a file that is taken from under a running ledger is missed within seconds
//!   (`every_file_that_a_running_ledger_holds_is_missed_when_it_is_harmed`).
//! - INVARIANT: an outcome that is not durable stops new intents
//!   (`an_outcome_that_is_late_seals_the_ledger_until_it_is_on_disk`).
//! - INVARIANT: an outcome that is in the spool is in the log after the next start, once, and nobody
//!   without the log key makes one there (`every_crash_point_of_the_spool_loses_no_spooled_outcome`,
//!   `nobody_without_the_log_key_makes_an_outcome`).
//! - INVARIANT: every changed bit is noticed and its record named
//!   (`every_flipped_bit_of_a_record_names_that_record`).
//! - INVARIANT: what may be done once is begun once, whoever asks for it at the same moment
//!   (`what_may_be_done_once_is_begun_once_for_its_tool`,
//!   `what_may_be_done_once_is_begun_once_over_all_replicas`).
//! - INVARIANT: a value has one byte form (`whatever_parses_is_already_canonical`).
//! - INVARIANT: absent, empty, torn, forged and locked are never confused
//!   (`absent_empty_and_whole_are_three_answers`, `a_vanished_database_is_torn_and_not_absent`).
//! - INVARIANT: what is written is accepted by verifiers that share no code with us, and what was
//!   changed is rejected by them (`go_accepts_a_written_log_and_rejects_every_change` and its
//!   sisters).
//! - INVARIANT: what is suspended takes no intent and every outcome, and can be resumed
//!   (`a_suspended_ledger_takes_outcomes_but_no_intents_until_it_is_resumed`).
//! - INVARIANT: replicas leave one history, and who lost its lease writes nothing more
//!   (`three_replicas_leave_one_contiguous_history`,
//!   `a_replica_that_slept_past_its_lease_is_refused`).
//! - INVARIANT: where a standby is waited for, a receipt exists only when it has the record too
//!   (`without_its_standby_no_intent_is_acknowledged_and_with_it_service_resumes`,
//!   `a_commit_that_was_cut_off_its_standby_is_not_acknowledged_when_it_is_found_again`).
//! - INVARIANT: a database that goes away hangs nobody
//!   (`a_server_stopped_under_load_refuses_in_time_and_service_resumes_by_itself`).
//! - INVARIANT: bytes go only after an export that covers them and a record that two people approved,
//!   and what is gone without one is missed (`what_expired_goes_and_what_stays_verifies`,
//!   `what_is_gone_without_a_prune_record_is_missed`).
//! - INVARIANT: a key takes over only by the word of the one before, and the one before signs no head
//!   over that (`a_key_that_one_alone_vouches_for_is_refused_and_named`,
//!   `after_a_rotation_no_head_is_signed_by_the_old_key`,
//!   `killed_at_any_step_it_goes_on_and_no_head_is_told_in_two_ways`).
//! - INVARIANT: what was promised survives a power loss
//!   (`a_power_loss_at_random_moments_loses_nothing_acknowledged`).
//! - INVARIANT: within a count no number is ever missing, whatever crashed or was refused
//!   (`what_many_callers_write_at_once_is_numbered_without_a_gap`,
//!   `numbers_that_were_given_back_are_given_again`).
//! - INVARIANT: what a record commits to is checked with its key, and without one nothing can be tried
//!   (`each_field_is_checked_against_the_record_and_no_other`,
//!   `low_entropy_arguments_cannot_be_guessed_from_a_bundle_without_keys`).
//! - INVARIANT: a witness cosigns one history only (`whatever_is_asked_only_one_history_is_cosigned`).
//!
//! # Failure
//!
//! Callers hear [`Unavailable`], the log hears the storage's own words, and readiness hears
//! [`Status::sealed`]. A failed commit is fatal for the running ledger: it is never retried on the
//! same file handle. A changed tail, a missing record or a missing guard refuses the start.
//!
//! With PostgreSQL ([`Postgres`]) a database that is away is waited for: intents are refused
//! meanwhile, outcomes are kept, spooled when they are late, and written when it is back. The spool is
//! the replica's own, so an intent that another one closed as unknown meanwhile stays so; what was spooled
//! is kept aside then. A lease that was lost, or a head that is
//! not the one acknowledged, seals for good.
//!
//! An outcome that is late is worth a file only because its process may die. Nothing is spooled before a
//! deadline, so what a crash takes within it is closed as unknown as ever. On a full disk the reserve
//! pays for the spool; where there is none (PostgreSQL) the outcome stays in memory and the disk is tried
//! again. Bytes for 64 MiB are the bound; beyond it outcomes stay in memory, too.
//!
//! The triggers in `store/*.sql` stop accidents. They do not stop somebody who owns the file: that
//! one is caught by an export checked against a head that was seen before.
//!
//! # Where to begin
//!
//! [`entry`](Intent) for what goes in, `ledger.rs` for the verbs, `writer.rs` for the order of
//! things, `writer/replicas.rs` for what changes when others write too, `spool.rs` for what is late,
//! `recover.rs` for the start, `verify/check.rs` for what an auditor relies on. What an
//! outsider can check alone is in [`merkle`], [`note`], [`policy`], [`tlog_proof`] and [`witness`]:
//! C2SP and RFC 9162 as pure functions, under the names that they have there.

pub mod canonical;
pub mod chain;
mod commitment;
pub mod crash;
pub mod disclose;
mod entry;
mod error;
mod export;
mod fault;
pub mod fork;
mod full;
mod head_file;
mod held_files;
mod key_file;
pub mod keys;
mod ledger;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod promise;
pub mod prune;
mod publish;
mod published;
mod queue;
mod read;
mod receipt;
mod record;
mod recover;
mod reserve;
pub mod rotate;
mod session_seq;
mod spool;
mod store;
pub mod tiles;
pub mod tlog_proof;
pub mod verify;
mod wal;
pub mod witness;
mod writer;

pub use canonical::MAX_RECORD_BYTES;
pub use commitment::{Commitment, NoRandomness, fresh_key};
pub use entry::{
    Body, CallFields, DEPLOYMENT, Entry, Intent, Kind, OutcomeRecord, OutcomeStatus, PolicyRef,
    RecordRef, ResultRef, Retention, ToolRef, UsedSecret, Who,
};
pub use error::{InvalidEntry, OpenError, ReadError, Unavailable};
pub use export::{Exported, Watch, export, export_with};
pub use fault::{Fault, FaultKind, printable};
pub use key_file::load_key;
pub use ledger::{Ledger, LedgerOptions, LogStatus, OpenState, Opened, Postgres, Status};
pub use publish::folder::write_whole;
pub use published::{PublishedLogs, ShownHead, read_tile};
pub use read::{LogHead, Query, Reader, RecordRow};
pub use receipt::{Appended, IntentReceipt};
pub use record::{CountedRecord, Draft, NotARecord, Place, PruneNote, Record, Stamp};
pub use session_seq::{Counted, MOST_COUNTS, SessionSeq};
pub use store::postgres::{TLS_HELP, Transport};
