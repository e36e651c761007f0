//! Secrets of apps: declared by their manifest, sealed by the vault, lent to their own code and to
//! nobody else (wire-contract.md section 2, ledger-and-vault.md section 6).
//!
//! # What it never does
//! It decides nothing: who may do what stands in `policies/rules/secrets.cedar`, and every deed comes
//! through the pipeline. It keeps no plaintext and writes none down.
//!
//! # The life of one lent value
//! 1. The door names app and secret; [`crate::resolve`] finds the declaration; the rules decide.
//! 2. The intent is durable: its receipt is what [`portcullis_secrets::Vault::lend`] costs.
//! 3. A `secret_use` record names secret, version and purpose, and is durable before the value is opened.
//! 4. The value is lent to the door, which writes it into the one answer; it is wiped when that is sent.
//!
//! # Invariants
//! - INVARIANT: a value is opened only after a durable intent and a durable `secret_use` record
//!   (`secrets::are_written_down_with_name_version_and_purpose_before_their_value_is_lent`).
//! - INVARIANT: no value is in a log, an error, a record or a database (`canaries::no_value_leaves_the_process`).

mod deeds;
mod epochs;
mod lent;
mod open;
mod own;
mod place;
mod upstream;
mod uses;

pub use deeds::carry_out;
pub use epochs::keep_turning;
pub use lent::LentValue;
pub use open::{Absent, OpenedVault, VaultOpenError, open_vault};
pub use own::OwnTools;
pub use place::context_of;
pub use upstream::{UpstreamLender, Upstreams};
pub use uses::{SecretUses, keep_noting};

/// The vault as the gateway uses it: a secret costs the receipt of a durable intent.
pub type Vault = portcullis_secrets::Vault<portcullis_audit::IntentReceipt>;
