//! The one who asks, proved; only this module's parent can make one.

use std::sync::Arc;

use portcullis_policies::{AppId, Principal, PrincipalKind, Strength, TenantId};

use super::{ToolType, Unidentified};
use crate::directory::Standing;

/// How a caller proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// An access token of ours.
    AccessToken {
        /// Its `jti`: names the session in records.
        jti: String,
    },
    /// Email and password, a moment ago.
    Password {
        /// `jti` of the token that this sign-in issues.
        jti: String,
    },
    /// A refresh token, a moment ago.
    RefreshToken {
        /// `jti` of the token that this refresh issues.
        jti: String,
    },
    /// A sign-in by a program that the person approved in a browser, a moment ago.
    DeviceCode {
        /// `jti` of the token that it gives.
        jti: String,
    },
    /// A token of what a person granted a program; the grant's id is the id of the principal.
    Grant {
        /// Its `jti`.
        jti: String,
    },
    /// A token of ours that lets an app's code act for a user.
    ExtensionToken {
        /// Its `jti`.
        jti: String,
    },
    /// A token of an issuer that the operator trusts.
    ExternalToken {
        /// The issuer's name and the token's `jti`, for records.
        session: String,
    },
    /// A call token: the code of an app, in one call for a user, once.
    CallToken {
        /// Its `jti`.
        jti: String,
        /// What kind of function was called.
        tool_type: ToolType,
    },
    /// An API key; its id is the id of the principal.
    ApiKey,
    /// A service token; its id is the id of the principal.
    ServiceToken,
}

/// An identified caller. Made by identification only; what it may do is not in it but in the rules.
#[derive(Debug, Clone)]
pub struct Caller {
    standing: Arc<Standing>,
    proof: Proof,
    strength: Arc<Strength>,
}

impl Caller {
    /// Somebody who did not sign in, or of whose sign-in nothing is known.
    pub(super) fn new(standing: Arc<Standing>, proof: Proof) -> Self {
        Self { standing, proof, strength: Arc::default() }
    }

    /// A person in a session that was begun so. A program has no session, whatever its credential says.
    pub(super) fn signed_in(
        standing: Arc<Standing>,
        proof: Proof,
        strength: impl Into<Arc<Strength>>,
    ) -> Self {
        let caller = Self::new(standing, proof);
        match caller.standing.principal.kind {
            PrincipalKind::User => Self { strength: strength.into(), ..caller },
            PrincipalKind::Service => caller,
        }
    }

    /// How this session was signed in; empty for programs.
    #[must_use]
    pub fn strength(&self) -> &Arc<Strength> {
        &self.strength
    }

    /// What the directory says of the caller now; the rules see [`Self::strength`] beside it.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.standing.principal
    }

    /// Id of the principal: of the user, or of the API key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.standing.principal.id
    }

    /// Grows with every change that touches the principal; equal ids and versions are equal principals.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.standing.version
    }

    /// The user who acts: the principal itself, or the owner of the API key.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.standing.user_id
    }

    /// The caller's tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.standing.principal.tenant
    }

    /// The app whose code or service acts; `None` for people and API keys.
    #[must_use]
    pub fn extension(&self) -> Option<&AppId> {
        self.standing.app.as_ref()
    }

    /// Whether it speaks for the platform and no user of its own: its acting user is free inside the tenant.
    #[must_use]
    pub fn is_platform(&self) -> bool {
        self.proof == Proof::ServiceToken && self.standing.user_id.starts_with("__")
    }

    /// The same caller, with this person as the user who acts; what it may do stays its own, and what the person wants
    /// to be asked, or has switched off, counts.
    pub(super) fn on_behalf_of(self, person: &Standing) -> Self {
        let (user_id, email) = (person.user_id.clone(), person.email.clone());
        let of_person = Principal::clone(&person.principal);
        let principal = Principal {
            agency: of_person.agency,
            disabled_apps: of_person.disabled_apps,
            confirm_writes: of_person.confirm_writes,
            confirm_tools: of_person.confirm_tools,
            unconfirmed_tools: of_person.unconfirmed_tools,
            unattended: false,
            person: of_person.person,
            ..Principal::clone(&self.standing.principal)
        };
        let (principal, version) = (Arc::new(principal), self.standing.version.max(person.version));
        let own = Standing::clone(&self.standing);
        let standing = Standing { principal, version, user_id, email, ..own };
        Self { standing: Arc::new(standing), ..self }
    }

    /// Email of the user who acts.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.standing.email
    }

    /// How the caller proved who they are.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Whether the session is of one call only.
    #[must_use]
    pub const fn is_once(&self) -> bool {
        matches!(self.proof, Proof::CallToken { .. })
    }

    /// Names the session in records: the token's `jti`, or the id of the key.
    #[must_use]
    pub fn session(&self) -> &str {
        match &self.proof {
            Proof::AccessToken { jti }
            | Proof::Password { jti }
            | Proof::RefreshToken { jti }
            | Proof::DeviceCode { jti }
            | Proof::Grant { jti }
            | Proof::ExtensionToken { jti }
            | Proof::CallToken { jti, .. } => jti,
            Proof::ExternalToken { session } => session,
            Proof::ApiKey | Proof::ServiceToken => &self.standing.principal.id,
        }
    }

    /// Checks a client's word for its user (`X-Acting-User`, `user_id`): it must be the acting user.
    pub fn agrees_on_user(&self, hint: &'static str, user: &str) -> Result<(), Unidentified> {
        agree(hint, user == self.user_id())
    }

    /// Checks a client's word for its app (`X-Ext-Id`, `X-Extension-ID`): it must be the token's.
    pub fn agrees_on_extension(&self, hint: &'static str, app: &str) -> Result<(), Unidentified> {
        agree(hint, self.extension().is_some_and(|ours| ours.as_str() == app))
    }

    /// Checks a client's word for its tenant (`X-Tenant-ID`, `tenant_id`): it must be the caller's.
    pub fn agrees_on_tenant(&self, hint: &'static str, tenant: &str) -> Result<(), Unidentified> {
        agree(hint, tenant == self.tenant().as_str())
    }
}

fn agree(hint: &'static str, same: bool) -> Result<(), Unidentified> {
    if same { Ok(()) } else { Err(Unidentified::HintDiffers { hint }) }
}
