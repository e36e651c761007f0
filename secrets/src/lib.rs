//! Values at rest are sealed to one tenant, user, extension and name; plaintext is lent, never stored and
//! never logged.
//!
//! # What it never does
//! It makes no network call but through a [`KeyProvider`] and a [`ScopeKeyStore`], reads no configuration
//! and knows no other crate of this workspace. It gives out no key, and no plaintext outside a closure. It
//! opens no secret for anyone who does not hold the proof that its user has chosen.
//!
//! # Vocabulary
//! - **Key-encryption key** ([`KeyProvider`]): wraps scope keys, nothing else; in versions, in a file
//!   ([`KeyFile`]), a security module (feature `pkcs11`), the transit engine of Vault or OpenBao (feature
//!   `transit`) or AWS KMS (feature `aws-kms`). It never leaves its provider.
//! - **Epoch** ([`Epochs`]): how long one version of it wraps before the next one takes over by itself.
//! - **Scope key** ([`WrappedScopeKey`]): 32 random bytes for each tenant, user and extension.
//! - **Context** ([`Context`], and [`SecretContext`] for secrets): what a value is bound to; built from the
//!   authorised request, never from the row that holds the value.
//! - **Proof**: what [`Vault::lend`] costs; the type parameter of [`Vault`].
//! - **Blob**: the sealed bytes, format `SEV1` (module `envelope`).
//! - **Lease** ([`Lease`]): plaintext on loan.
//! - **Reference** ([`SecretRef`]): where the configuration says that a secret is.
//!
//! # The life of one value
//! 1. [`Vault::seal`] (or [`Vault::seal_secret`]) takes the scope's key from its cache, or from the
//!    [`ScopeKeyStore`] through the provider, or makes and stores a new one. Calls that miss at once share
//!    one question; every question to a provider has a deadline.
//! 2. The value is padded to a bucket; a key for this one blob is derived over a hedged salt and the context.
//! 3. The blob carries a commitment to that key; header and context are authenticated with the text.
//! 4. [`Vault::open`] (or [`Vault::lend`]) derives again under the caller's context, compares the commitment in constant time,
//!    and only then decrypts.
//! 5. The plaintext is a [`Lease`]: looked at in a closure, wiped on drop.
//!
//! Keys change while calls go on (module `rotation`): a version of the key-encryption key is made, each
//! scope key is wrapped again, read back and swapped, and the old version goes when nothing needs it. A
//! scope key goes pending, active, decrypt-only, retired, destroyed.
//!
//! # Invariants
//! - INVARIANT: a secret opens only for whoever holds the vault's proof
//!   (`tests/compile_fail.rs::a_secret_does_not_open_without_the_proof`).
//! - INVARIANT: one ciphertext never opens under two keys
//!   (`envelope::two_keys::one_ciphertext_under_two_keys_is_refused_by_the_commitment`).
//! - INVARIANT: without the provider nothing new opens, and each fault reads differently
//!   (`vault::tests::a_provider_that_fails_closes_the_vault_and_each_fault_reads_differently`).
//! - INVARIANT: a rotation that is killed leaves every value readable
//!   (`tests/kill.rs::killed_at_any_step_of_a_rotation_every_value_opens_and_it_goes_on`).
//! - INVARIANT: a key version goes only when nothing needs it
//!   (`rotation::tests::a_version_goes_step_by_step_and_never_while_something_needs_it`).
//! - INVARIANT: a destroyed scope key is not in the store's files any more
//!   (`store::sql::tests::a_destroyed_key_is_not_in_the_file_or_its_journal`).
//! - INVARIANT: no table in a file undoes a destruction when it is restored beside what this crate keeps there,
//!   and no copy opens once its version is gone
//!   (`rotation::epoch::tests::what_was_erased_opens_from_no_restored_table_and_from_no_copy_once_its_version_is_gone`).
//! - INVARIANT: a destruction that was begun is finished
//!   (`tests/kill.rs::an_erasure_that_is_killed_is_finished_when_the_table_is_opened_next`).
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
//! read is never taken for an empty one. Without the provider nothing opens once the cache has expired. What protects against other processes of the same user (memory
//! locking, core dumps) is the business of the binary that holds the vault.
//!
//! Begin reading at `vault.rs`, then `keys.rs`, `envelope.rs` and `rotation.rs`. The format for other
//! implementations is `tests/vectors/FORMAT.md`.

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod cache;
mod context;
mod crash;
mod envelope;
mod key_file;
mod keys;
mod lease;
mod padding;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod provider;
mod rotation;
mod scope_key;
mod secret_ref;
mod single_use;
mod store;
#[cfg(feature = "transit")]
mod transit;
mod vault;

#[cfg(feature = "aws-kms")]
pub use aws_kms::{AwsKms, AwsKmsSettings};
pub use context::{Context, InvalidContext, MAX_PART, Purpose, Scope, SecretContext};
pub use envelope::{BlobId, HEADER, Malformed};
pub use key_file::{KeyFile, KeyFileError};
pub use keys::KeyError;
pub use lease::Lease;
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11, Pkcs11Settings};
pub use provider::{
    DEADLINE, KeyProvider, KeyRef, ProviderError, ProviderFault, WrapDigest, WrapText, Wrapped,
};
pub use rotation::{
    Epochs, Guards, KekRotation, Pace, Progress, RotateError, ScopeRotation, Stepped,
};
pub use scope_key::{KeyState, ScopeKeyId, WrappedScopeKey};
pub use secrecy::{ExposeSecret, SecretString};
pub use secret_ref::{MAX_SECRET, NotAReference, SecretName, SecretRef, SecretRefError};
pub use single_use::NoRandomness;
pub use store::{
    Destroyed, DestroyedKey, Erasure, KekUse, KekVersion, MemoryStore, ReplicaReport, Rewrapped,
    ScopeKeyStore, SqlStore, StoreError,
};
#[cfg(feature = "transit")]
pub use transit::{Transit, TransitSettings};
pub use vault::{OpenError, ResealError, SealError, Vault};
