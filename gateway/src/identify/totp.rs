//! Codes that change every thirty seconds as a second factor (RFC 6238), with recovery codes for the day when the phone
//! is gone.
//!
//! The secret is sealed like a signing key and is shown once, when it is offered. Who only holds a session cannot enrol:
//! the password is asked for, so that a thief cannot lock the person out with a factor of their own.
//!
//! INVARIANT: a code counts once (`a_code_that_was_seen_is_no_code_any_more`).
//! INVARIANT: a second factor is asked for only after the right password (`a_stranger_learns_nothing_of_second_factors`).

use std::net::IpAddr;

use portcullis_policies::Strength;
use secrecy::{ExposeSecret as _, SecretString};
use totp_rs::{Builder, Secret, Totp};

use super::account::AccountRefused;
use super::api_key::sha256;
use super::password::Checked;
use super::sign_in::SignInRefused;
use super::{Caller, Identity, Proof, SealFault, now_seconds, strength};
use crate::directory::{Actor, DirectoryError, StoredTotp};

/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;
/// Bytes of randomness in each: 80 bits, so that a digest without salt is enough.
const RECOVERY_BYTES: usize = 10;
/// Who issues the codes, as authenticator apps show it.
const ISSUER: &str = "Portcullis";
/// Longest code that is looked at.
const MAX_CODE: usize = 64;

/// A second factor that is offered to a person. Both parts are shown this once.
#[derive(Debug)]
pub struct TotpOffer {
    /// The secret in base32, for typing.
    pub secret: SecretString,
    /// The same as an `otpauth://` URL, for a QR code.
    pub url: SecretString,
}

impl Identity {
    /// Offers a second factor. It is asked for once its owner has shown a code of it.
    ///
    /// # Errors
    /// See [`AccountRefused`]; a wrong password counts like a failed sign-in.
    pub async fn offer_totp(
        &self,
        caller: &Caller,
        password: SecretString,
        source: IpAddr,
    ) -> Result<TotpOffer, AccountRefused> {
        let account = own_account(caller)?;
        self.try_once(source, &account).await?;
        let stored = self.directory.password_of(caller.user_id()).await;
        let stored = stored.map_err(SignInRefused::from)?.ok_or(AccountRefused::NoPassword)?;
        let Checked::Right { .. } = self.passwords.check(password, Some(stored)).await? else {
            return Err(AccountRefused::WrongPassword);
        };
        self.logins.succeeded(source, &account).await;
        let mut random = zeroize::Zeroizing::new([0; 20]);
        getrandom::fill(&mut *random).map_err(|_| SignInRefused::Unavailable(None))?;
        let name = seal_name(caller.user_id());
        let sealed = self.sealer.seal(&name, &*random).await;
        let sealed = sealed.map_err(|SealFault| SignInRefused::Unavailable(None))?;
        let by = Actor::user(caller.user_id());
        let kept = self.directory.offer_totp(caller.user_id(), &sealed, &by).await;
        kept.map_err(AccountRefused::Directory)?;
        let totp = totp_of(&*random, caller.email())?;
        let url = totp.to_url().map_err(|_| SignInRefused::Unavailable(None))?;
        Ok(TotpOffer { secret: totp.secret().to_base32().into(), url: url.into() })
    }

    /// Begins to ask for the offered factor, whose code the person shows; gives the recovery codes, this once.
    ///
    /// # Errors
    /// See [`AccountRefused`]; wrong codes count.
    pub async fn confirm_totp(
        &self,
        caller: &Caller,
        code: &SecretString,
        source: IpAddr,
    ) -> Result<Vec<SecretString>, AccountRefused> {
        let account = own_account(caller)?;
        self.try_once(source, &account).await?;
        let user = caller.user_id();
        let offered = self.directory.totp(user).await.map_err(SignInRefused::from)?;
        let Some(offered) = offered.filter(|totp| !totp.confirmed) else {
            let nothing = DirectoryError::NotFound { what: "second factor that was offered" };
            return Err(AccountRefused::Directory(nothing));
        };
        self.count_code(user).await?;
        let step = self.step_of(user, &offered, code).await?.ok_or(AccountRefused::WrongCode)?;
        let codes = (0..RECOVERY_CODES).map(|_| fresh_recovery_code());
        let codes = codes.collect::<Result<Vec<_>, _>>()?;
        let digests: Vec<_> = codes.iter().map(recovery_digest).collect();
        let by = Actor::user(user);
        let shown = (offered.sealed.as_slice(), step);
        let confirmed = self.directory.confirm_totp(user, shown, &digests, &by).await;
        confirmed.map_err(AccountRefused::Directory)?;
        self.logins.succeeded(source, &account).await;
        Ok(codes)
    }

    /// Takes the second factor away from a person who shows a code or a recovery code.
    ///
    /// # Errors
    /// See [`AccountRefused`]; wrong codes count.
    pub async fn remove_totp(
        &self,
        caller: &Caller,
        code: &SecretString,
        source: IpAddr,
    ) -> Result<(), AccountRefused> {
        let account = own_account(caller)?;
        self.try_once(source, &account).await?;
        let user = caller.user_id();
        let stored = self.directory.totp(user).await.map_err(SignInRefused::from)?;
        let Some(stored) = stored.filter(|totp| totp.confirmed) else {
            let nothing = DirectoryError::NotFound { what: "second factor" };
            return Err(AccountRefused::Directory(nothing));
        };
        if !self.spends_code(user, &stored, code).await? {
            return Err(AccountRefused::WrongCode);
        }
        let removed = self.directory.remove_totp(user, &Actor::user(user)).await;
        removed.map_err(AccountRefused::Directory)?;
        self.logins.succeeded(source, &account).await;
        Ok(())
    }

    /// What a right password comes to: one factor, or two when the account has a second one and its code is right.
    pub(super) async fn with_second_factor(
        &self,
        user: &str,
        code: Option<&SecretString>,
    ) -> Result<Strength, SignInRefused> {
        let stored = self.directory.totp(user).await?;
        let Some(stored) = stored.filter(|totp| totp.confirmed) else {
            return Ok(strength::by_password());
        };
        let code = code.ok_or(SignInRefused::SecondFactorMissing)?;
        if self.spends_code(user, &stored, code).await? {
            Ok(strength::by_password_and_code())
        } else {
            Err(SignInRefused::SecondFactorWrong)
        }
    }

    /// Whether it is a code of the moment or a recovery code, and nobody used it before.
    async fn spends_code(
        &self,
        user: &str,
        stored: &StoredTotp,
        code: &SecretString,
    ) -> Result<bool, SignInRefused> {
        if !is_code(code) {
            // So many bits are not guessed; what is wrong is bounded as any wrong sign-in is.
            let digest = recovery_digest(code);
            return Ok(self.directory.spend_recovery_code(user, digest).await?);
        }
        self.count_code(user).await?;
        match self.step_of(user, stored, code).await? {
            Some(step) => Ok(self.directory.spend_totp_step(user, step).await?),
            None => Ok(false),
        }
    }

    async fn count_code(&self, user: &str) -> Result<(), SignInRefused> {
        let tried = self.directory.try_totp(user).await?;
        tried.map_err(|retry_after| SignInRefused::TooMany { retry_after })
    }

    /// The step whose code this is: the one of now or one beside it.
    async fn step_of(
        &self,
        user: &str,
        stored: &StoredTotp,
        code: &SecretString,
    ) -> Result<Option<i64>, SignInRefused> {
        let opened = self.sealer.open(&seal_name(user), &stored.sealed).await;
        let secret = opened.map_err(|SealFault| SignInRefused::Unavailable(None))?;
        let totp = totp_of(secret.expose_secret(), "")?;
        if !is_code(code) {
            return Ok(None);
        }
        let now = u64::try_from(now_seconds()).unwrap_or_default();
        let step = totp.check(code.expose_secret().trim(), now);
        Ok(step.and_then(|step| i64::try_from(step).ok()))
    }

    async fn try_once(&self, source: IpAddr, account: &str) -> Result<(), SignInRefused> {
        let tried = self.logins.try_once(source, account).await;
        tried.map_err(|retry_after| SignInRefused::TooMany { retry_after })
    }
}

/// Only a person who signed in has a second factor of their own.
fn own_account(caller: &Caller) -> Result<String, AccountRefused> {
    match caller.proof() {
        Proof::AccessToken { .. } => Ok(format!("{}/{}", caller.tenant(), caller.email())),
        _ => Err(AccountRefused::NoPassword),
    }
}

fn totp_of(secret: &[u8], account: &str) -> Result<Totp, SignInRefused> {
    // The library takes no colon in a name, which would end it in the URL.
    let account = account.replace(':', " ");
    let secret = Secret::new(secret.into());
    let builder = Builder::new().with_secret(secret).with_account_name(account);
    builder.with_issuer(Some(ISSUER)).build().map_err(|_| SignInRefused::Unavailable(None))
}

/// The name to which the secret is sealed: opened for anybody else it fails.
fn seal_name(user: &str) -> String {
    format!("totp:{user}")
}

fn is_code(code: &SecretString) -> bool {
    let code = code.expose_secret().trim();
    code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit())
}

/// `abcd-efgh-ijkl-mnop`
fn fresh_recovery_code() -> Result<SecretString, SignInRefused> {
    let mut random = zeroize::Zeroizing::new([0; RECOVERY_BYTES]);
    getrandom::fill(&mut *random).map_err(|_| SignInRefused::Unavailable(None))?;
    let text = zeroize::Zeroizing::new(Secret::new((*random).into()).to_base32().to_lowercase());
    let mut code = String::with_capacity(text.len() + 3);
    for (at, letter) in text.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            code.push('-');
        }
        code.push(letter);
    }
    Ok(code.into())
}

/// People type capitals, blanks and no dashes.
fn recovery_digest(code: &SecretString) -> [u8; 32] {
    let letters = code.expose_secret().chars().take(MAX_CODE).filter(char::is_ascii_alphanumeric);
    let plain =
        zeroize::Zeroizing::new(letters.map(|c| c.to_ascii_lowercase()).collect::<String>());
    sha256(plain.as_bytes())
}
