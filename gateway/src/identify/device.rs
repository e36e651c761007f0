//! Sign-in for programs without a browser: they ask, a person approves elsewhere, they poll (wire-contract 1.3,
//! RFC 8628 with the challenge of RFC 7636).
//!
//! What a poll is told depends on the verifier first: who only saw the device code learns nothing by it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policies::Strength;
use secrecy::{ExposeSecret as _, SecretString};

use super::limit::{LoginLimiter, LoginLimits};
use super::sign_in::{Issued, SignInRefused};
use super::{Identity, Proof, sha256};
use crate::directory::{DeviceState, DirectoryError, NewDeviceCode, now_ms};
use crate::oauth::{Challenge, OAuthFault};
use crate::replicas::Redis;

const PREFIX: &str = "imp_dc_";
/// How long a sign-in waits for its person, in seconds.
const LIFETIME_S: u32 = 600;
/// Seconds between two polls, at first.
const INTERVAL_S: i64 = 5;
/// What a poll that comes too early adds.
const SLOWER_S: i64 = 5;
/// The longest that a program is told to wait.
const MAX_INTERVAL_S: i64 = 60;
/// A clock and a network are not exact to the millisecond.
const TOLERANCE_MS: i64 = 500;

/// Sign-ins that one address may ask for, and codes that it, or a person, may mistype, within a window.
const ASKS: u32 = 30;
const MISTYPED: u32 = 10;
const WINDOW: Duration = Duration::from_secs(600);

/// Bounds on sign-ins by device code.
#[derive(Debug)]
pub(super) struct DeviceLimits {
    asks: LoginLimiter,
    typed: LoginLimiter,
}

impl DeviceLimits {
    pub(super) fn new() -> Self {
        Self {
            asks: LoginLimiter::new("asked", LoginLimits::new(ASKS, WINDOW)),
            typed: LoginLimiter::new("code", LoginLimits::new(MISTYPED, WINDOW)),
        }
    }

    /// Counted over all replicas as well.
    pub(super) fn shared(self, redis: Option<&Arc<Redis>>) -> Self {
        let (asks, typed) = (self.asks.shared(redis.cloned()), self.typed.shared(redis.cloned()));
        Self { asks, typed }
    }

    pub(super) fn all(&self) -> [&LoginLimiter; 2] {
        [&self.asks, &self.typed]
    }
}

/// A sign-in that waits from now on.
#[derive(Debug)]
pub struct DeviceAsked {
    /// What the program polls with.
    pub device_code: SecretString,
    /// Seconds that it waits.
    pub expires_in: u32,
    /// Seconds between two polls.
    pub interval: i64,
}

/// What a poll is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevicePoll {
    /// The person has not decided: ask again after so many seconds.
    Waiting {
        /// Seconds.
        interval: i64,
        /// It came too early.
        too_early: bool,
    },
    /// The person approved: the token can be had.
    Approved,
}

/// Why there is no sign-in, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum OAuthRefused {
    /// In the words of OAuth.
    #[error(transparent)]
    OAuth(#[from] OAuthFault),
    /// As for any sign-in.
    #[error(transparent)]
    SignIn(#[from] SignInRefused),
}

impl From<DirectoryError> for OAuthRefused {
    fn from(fault: DirectoryError) -> Self {
        match fault {
            DirectoryError::NotFound { .. } => OAuthFault::InvalidGrant.into(),
            DirectoryError::Inactive { .. } => OAuthFault::InvalidGrant.into(),
            DirectoryError::Conflict { .. } => SignInRefused::Busy.into(),
            other => SignInRefused::from(other).into(),
        }
    }
}

impl Identity {
    /// Begins a sign-in for a program that says what it is; `user_code_mac` is what the person will type, digested.
    ///
    /// # Errors
    /// See [`OAuthRefused`].
    pub async fn ask_device(
        &self,
        user_code_mac: [u8; 32],
        challenge: &Challenge,
        program: String,
        source: IpAddr,
    ) -> Result<DeviceAsked, OAuthRefused> {
        let asks = self.program_asks(source).await;
        asks.map_err(|retry_after| SignInRefused::TooMany { retry_after })?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|_| SignInRefused::Unavailable(None))?;
        let device_code = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let new = NewDeviceCode {
            device_sha256: sha256(device_code.as_bytes()),
            user_code_mac,
            challenge: challenge.to_string(),
            program,
            source: source.to_canonical().to_string(),
            expires_ms: now_ms().saturating_add(i64::from(LIFETIME_S) * 1_000),
        };
        self.directory.ask_device(new, INTERVAL_S).await?;
        let device_code = device_code.into();
        Ok(DeviceAsked { device_code, expires_in: LIFETIME_S, interval: INTERVAL_S })
    }

    /// What to tell a program that polls. A wrong verifier is told before anything else.
    ///
    /// # Errors
    /// See [`OAuthRefused`]; each is final.
    pub async fn poll_device(
        &self,
        device_code: &SecretString,
        verifier: &SecretString,
    ) -> Result<DevicePoll, OAuthRefused> {
        let digest = sha256(device_code.expose_secret().as_bytes());
        let found = self.directory.device_code(digest).await?;
        if !found.challenge.parse::<Challenge>()?.fits(verifier.expose_secret()) {
            return Err(OAuthFault::InvalidGrant.into());
        }
        match found.state {
            DeviceState::Denied => return Err(OAuthFault::AccessDenied.into()),
            DeviceState::Used => return Err(OAuthFault::InvalidGrant.into()),
            _ if found.expires_ms <= now_ms() => return Err(OAuthFault::ExpiredToken.into()),
            DeviceState::Approved => return Ok(DevicePoll::Approved),
            DeviceState::Pending => {}
        }
        let earliest = found.polled_ms.map_or(i64::MIN, |polled| {
            polled.saturating_add(found.interval_s.saturating_mul(1_000)) - TOLERANCE_MS
        });
        let too_early = now_ms() < earliest;
        let slower = if too_early { SLOWER_S } else { 0 };
        let interval = found.interval_s.saturating_add(slower).min(MAX_INTERVAL_S);
        self.directory.note_device_poll(digest, interval).await?;
        Ok(DevicePoll::Waiting { interval, too_early })
    }

    /// Uses an approval up for a session of the person who gave it. The verifier is checked again: the token depends
    /// on nothing that was asked a moment ago.
    ///
    /// # Errors
    /// See [`OAuthRefused`].
    pub async fn redeem_device(
        &self,
        device_code: &SecretString,
        verifier: &SecretString,
    ) -> Result<Issued, OAuthRefused> {
        let digest = sha256(device_code.expose_secret().as_bytes());
        let found = self.directory.device_code(digest).await?;
        if !found.challenge.parse::<Challenge>()?.fits(verifier.expose_secret()) {
            return Err(OAuthFault::InvalidGrant.into());
        }
        let (user, strength) = self.directory.use_device(digest).await?;
        let standing = self.directory.principal(&user).await.map_err(inactive)?;
        self.directory.note_login(&user).await?;
        // Known for as long as it is refreshed: a program must not answer what it was asked.
        let strength = Strength { device: true, ..strength };
        let session = self.fresh_session(&standing, &strength).await?;
        Ok(self.issue(standing, session, strength, |jti| Proof::DeviceCode { jti }).await?)
    }

    /// Counts one thing that a program asks for before anybody has signed it in.
    ///
    /// # Errors
    /// How long to wait when this address asked too often.
    pub async fn program_asks(&self, source: IpAddr) -> Result<(), Duration> {
        self.devices.asks.try_once(source, &source.to_canonical().to_string()).await
    }

    /// Counts one code that a person typed, before it is looked for.
    ///
    /// # Errors
    /// How long to wait when too many were wrong.
    pub async fn user_code_typed(&self, source: IpAddr, user: &str) -> Result<(), Duration> {
        self.devices.typed.try_once(source, user).await
    }

    /// Gives a try back whose code was there.
    pub async fn user_code_was_right(&self, source: IpAddr, user: &str) {
        self.devices.typed.succeeded(source, user).await;
    }
}

/// Who was switched off between approval and poll gets what a person who said no gives.
fn inactive(fault: DirectoryError) -> OAuthRefused {
    match fault {
        DirectoryError::NotFound { .. } | DirectoryError::Inactive { .. } => {
            OAuthFault::AccessDenied.into()
        }
        other => other.into(),
    }
}
