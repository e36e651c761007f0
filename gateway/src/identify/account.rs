//! A person makes an account, or changes its password.

use std::net::IpAddr;

use portcullis_policies::TenantId;
use secrecy::SecretString;

use super::password::Checked;
use super::sign_in::{Issued, SignInRefused};
use super::{Caller, Identity, PasswordFault, Proof, strength};
use crate::directory::{Actor, DirectoryError, NewUser};

/// The role of everybody who registers; it is made with the tenant.
const ROLE: &str = "user";

/// A stranger who wants an account.
#[derive(Debug)]
pub struct Registration {
    /// A tenant that is open to strangers.
    pub tenant: TenantId,
    /// As typed.
    pub email: String,
    /// As typed; 8 to 128 characters.
    pub password: SecretString,
}

/// A person who wants another password.
#[derive(Debug)]
pub struct PasswordChange {
    /// The password of now, as typed.
    pub current: SecretString,
    /// The one from now on, as typed; 8 to 128 characters.
    pub new: SecretString,
    /// Where the wish comes from.
    pub source: IpAddr,
}

/// Why there is no account, or no other password.
#[derive(Debug, thiserror::Error)]
pub enum AccountRefused {
    /// Not 8 to 128 characters.
    #[error("a password has 8 to 128 characters")]
    PasswordLength,
    /// Not an email, or one that has an account in the tenant.
    #[error(transparent)]
    Directory(DirectoryError),
    /// The password of now is another.
    #[error("the current password is wrong")]
    WrongPassword,
    /// No code of the second factor, or one that was used before.
    #[error("the code is wrong or was used before")]
    WrongCode,
    /// It is no person who signed in here by password.
    #[error("only a person who signed in by password changes it")]
    NoPassword,
    /// As for a sign-in.
    #[error(transparent)]
    SignIn(SignInRefused),
}

impl Identity {
    /// Makes an account with the role `user` and signs in. How many an address makes, the limits bound.
    ///
    /// # Errors
    /// See [`AccountRefused`].
    pub async fn register(&self, new: Registration) -> Result<Issued, AccountRefused> {
        let hash = self.passwords.hash(new.password).await?;
        let user = NewUser {
            tenant: new.tenant,
            email: new.email,
            role: ROLE.to_owned(),
            scopes: Vec::new(),
            password_hash: Some(hash),
            attributes: None,
            agency_id: None,
        };
        let by = Actor::registration();
        let user =
            self.directory.create_user(user, &by).await.map_err(AccountRefused::Directory)?;
        let standing = self.directory.principal(&user.id).await.map_err(SignInRefused::from)?;
        self.directory.note_login(&user.id).await.map_err(SignInRefused::from)?;
        let strength = strength::by_password();
        let session = self.fresh_session(&standing, &strength).await?;
        Ok(self.issue(standing, session, strength, |jti| Proof::Password { jti }).await?)
    }

    /// Gives a person another password, and ends all their sessions.
    ///
    /// # Errors
    /// See [`AccountRefused`]; a wrong password counts like a failed sign-in.
    pub async fn change_password(
        &self,
        caller: &Caller,
        change: PasswordChange,
    ) -> Result<(), AccountRefused> {
        if !matches!(caller.proof(), Proof::AccessToken { .. }) {
            return Err(AccountRefused::NoPassword);
        }
        let account = format!("{}/{}", caller.tenant(), caller.email());
        let tried = self.logins.try_once(change.source, &account).await;
        tried.map_err(|retry_after| SignInRefused::TooMany { retry_after })?;
        let stored = self.directory.password_of(caller.user_id()).await;
        let stored = stored.map_err(SignInRefused::from)?.ok_or(AccountRefused::NoPassword)?;
        let checked = self.passwords.check(change.current, Some(stored)).await?;
        let Checked::Right { .. } = checked else { return Err(AccountRefused::WrongPassword) };
        self.logins.succeeded(change.source, &account).await;
        let hash = self.passwords.hash(change.new).await?;
        let by = Actor::user(caller.user_id());
        let set = self.directory.set_password_hash(caller.user_id(), &hash, &by).await;
        Ok(set.map_err(SignInRefused::from)?)
    }
}

impl From<PasswordFault> for AccountRefused {
    fn from(fault: PasswordFault) -> Self {
        match fault {
            PasswordFault::Length => Self::PasswordLength,
            other => Self::SignIn(other.into()),
        }
    }
}

impl From<SignInRefused> for AccountRefused {
    fn from(refused: SignInRefused) -> Self {
        Self::SignIn(refused)
    }
}
