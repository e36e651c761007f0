//! Values at rest are sealed to one tenant, user, extension and name; plaintext is lent, never stored and
//! never logged.
//!
//! # What it never does
//! It makes no network call, reads no configuration and knows no other crate of this workspace. It gives
//! out no key, and no plaintext outside a closure.
//!
//! # Vocabulary
//! - **Key-encryption key** ([`KeyFile`]): 32 bytes in a file of the operator; wraps scope keys, nothing else.
//! - **Scope key** ([`WrappedScopeKey`]): 32 random bytes for each tenant, user and extension.
//! - **Context** ([`Context`]): what a value is bound to; built from the authorised request, never from the
//!   row that holds the value.
//! - **Blob**: the sealed bytes, format `SEV1` (module `envelope`).
//! - **Lease** ([`Lease`]): plaintext on loan.
//! - **Reference** ([`SecretRef`]): where the configuration says that a secret is.
//!
//! # The life of one value
//! 1. [`Vault::seal`] takes the scope's key from its cache, or from the [`ScopeKeyStore`] through the
//!    key-encryption key, or makes and stores a new one.
//! 2. The value is padded to a bucket; a key for this one blob is derived over a hedged salt and the context.
//! 3. The blob carries a commitment to that key; header and context are authenticated with the text.
//! 4. [`Vault::open`] derives again under the caller's context, compares the commitment in constant time,
//!    and only then decrypts.
//! 5. The plaintext is a [`Lease`]: looked at in a closure, wiped on drop.
//!
//! # Invariants
//! - INVARIANT: a blob opens only under the context it was sealed for
//!   (`envelope::tests::a_blob_moved_to_any_other_context_does_not_open`).
//! - INVARIANT: no bit of a blob can change unnoticed (`envelope::tests::every_flipped_bit_is_refused`).
//! - INVARIANT: different plaintexts get different keys even when the random generator repeats itself
//!   (`envelope::tests::repeated_randomness_gives_different_keys`).
//! - INVARIANT: a scope key's row serves its own scope only (`vault::tests::swapped_rows_are_refused`).
//! - INVARIANT: opening never panics (`vault::tests::opening_anything_never_panics`).
//! - INVARIANT: the format does not drift (`envelope::tests::the_vectors_are_reproduced_byte_for_byte`).
//!
//! # Failure
//! Every failure is an error that names the cause and what to do, never the value. A store that cannot be
//! read is never taken for an empty one. What protects against other processes of the same user (memory
//! locking, core dumps) is the business of the binary that holds the vault.
//!
//! Begin reading at `vault.rs`, then `envelope.rs`.

mod cache;
mod context;
mod envelope;
mod key_file;
mod lease;
mod padding;
mod scope_key;
mod secret_ref;
mod single_use;
mod store;
mod vault;

pub use context::{Context, InvalidContext, MAX_PART, Purpose, Scope};
pub use envelope::{BlobId, HEADER, Malformed};
pub use key_file::{KeyFile, KeyFileError};
pub use lease::Lease;
pub use scope_key::{KeyState, ScopeKeyId, UnwrapError, WrappedScopeKey};
pub use secrecy::{ExposeSecret, SecretString};
pub use secret_ref::{MAX_SECRET, NotAReference, SecretName, SecretRef, SecretRefError};
pub use single_use::NoRandomness;
pub use store::{FileStore, MemoryStore, ScopeKeyStore, StoreError};
pub use vault::{KeyError, OpenError, SealError, Vault};
