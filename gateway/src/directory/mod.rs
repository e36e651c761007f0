//! The directory: who exists, what they may do, and what waits for an answer.
//!
//! It never decides anything (the rules do) and never keeps a secret in the clear: passwords are
//! argon2id strings, API keys are SHA-256 digests, signing keys and pending arguments are sealed by
//! the caller before they come here.
//!
//! Vocabulary: a *tenant* owns *roles* and *users*; a *standing* is what the directory says of a user
//! **now** (role, scopes, settings); a *change* is a numbered note of every edit.
//!
//! The life of a change: 1. [`Writing`](change::Writing) takes the write lock and the next version;
//! 2. the rows are written with that version; 3. the note goes to the outbox in the same transaction;
//! 4. the commit makes cached standings stale; 5. the gateway appends the note to the ledger.
//!
//! INVARIANT: a standing is never older than [`STANDING_TTL`], and never older than a change made
//! through the same handle (`a_role_change_is_seen_by_the_next_question`,
//! `a_change_by_another_process_is_seen_within_a_second`).
//! INVARIANT: a change is in force on every replica within a second, at once where they share a Redis
//! (`replicas::refuse_a_deactivated_user_everywhere_within_a_second`).
//! INVARIANT: a confirmation is executed at most once
//! (`of_many_claims_of_one_confirmation_exactly_one_wins`).
//! INVARIANT: no change without a note (`every_change_leaves_a_note`).
//!
//! Begin reading at [`Directory::open`], then `standing.rs`.

mod accepted;
mod agencies;
mod approvals;
mod change;
mod confirmation_states;
mod confirmations;
mod credentials;
mod device_codes;
mod disabled_apps;
mod error;
mod external;
mod follow;
mod holds;
mod keys;
mod leases;
mod oauth_clients;
mod oauth_grants;
mod open;
mod people;
mod refresh;
mod roles;
mod row;
mod scope_names;
mod scopes;
mod secrets;
mod service_tokens;
mod settings;
mod sign_in_states;
mod signing;
mod spent;
mod standing;
mod tenants;
#[cfg(test)]
mod tests;
mod totp;
mod users;

pub use accepted::{AcceptedTool, SeenTool};
pub(crate) use agencies::check_settings;
pub use agencies::{Agency, AgencySettings};
pub use approvals::{ApprovalVerdict, StoredApproval};
pub use change::{Actor, Change, ERASED, SCOPES_ROTATED};
pub use confirmation_states::ConfirmationPlace;
pub use confirmations::{Confirmation, ConfirmationState, NewConfirmation, fresh_confirmation_id};
pub use device_codes::{DeviceCode, DeviceState, NewDeviceCode, PendingDevice};
pub use error::DirectoryError;
pub use external::{ExternalIdentity, ExternalSubject};
pub use holds::Hold;
pub use keys::{ApiKey, NewApiKey};
pub use leases::{CARRY, Lease};
pub use oauth_clients::OAuthClient;
pub use oauth_grants::{GrantEnd, NewOAuthGrant, OAuthCode, OAuthGrant, OAuthRefresh};
pub use open::Directory;
pub use people::{EffectiveScopes, UserPatch};
pub use refresh::{NewRefreshToken, RefreshUse};
pub use roles::{Cascade, ConfirmationPolicy, NewRole, Role, RoleFacts, RolePatch};
pub use scope_names::{NewScope, ScopeName, ScopePatch};
pub(crate) use scopes::{beyond, check_scopes, common};
pub use secrets::{NewSecret, SecretOwner, SecretPlace, SecretUsed, StoredSecret};
pub use service_tokens::{NewServiceToken, ServicePurpose, ServiceToken};
pub use settings::{SettingFacts, UserSettings};
pub use sign_in_states::SignInState;
pub use signing::{SigningKeyRow, SigningKeyState};
pub use standing::{STANDING_TTL, Standing};
pub use tenants::{Tenant, TenantFacts, TenantPatch, fresh_tenant_id};
pub use totp::StoredTotp;
pub use users::{NewUser, User, UserFilter};

/// Unix milliseconds, now.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A fresh id: `prefix` and 32 lowercase hex digits, 122 of their 128 bits random.
pub(crate) fn fresh_id(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}
