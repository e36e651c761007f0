//! Call tokens: what one dispatched call lets its app's code do, once (wire-contract.md section 4).
//!
//! The text is `base64url(payload) "." base64url(HMAC-SHA256(secret, payload))`. Its user says its tenant.
//! Each is good for one request: the gateway, or a worker that holds the secret, makes one for each.
//!
//! INVARIANT: a call token counts once, over all replicas that share a Redis
//! (`call_tokens::count_once_and_for_their_app_user_and_kind_only`).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policies::AppId;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest text that is looked at (wire-contract.md 0.13).
const MAX_TEXT: usize = 2_048;

/// How long one lives that the gateway makes, in seconds; a slow handler must still be able to use it.
const LIFETIME: i64 = 300;

/// The longest life that is believed, in seconds: so long the guard against replays has to remember.
const MAX_LIFETIME: i64 = 3_600;

/// What kind of function was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolType {
    /// `skeleton_refresh_...` and `skeleton_alert_...`: these may read their section.
    Skeleton,
    /// `__panel__...`.
    Panel,
    /// Any other function of a name that no person calls.
    Tool,
    /// A function of the app.
    ChatFn,
}

/// The payload; its members in the order of their names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallClaims {
    /// The app whose code was called.
    pub app_id: AppId,
    /// Unix seconds; from then on it counts no more.
    pub exp: i64,
    /// Unix seconds.
    pub iat: i64,
    /// Names this token; counted once.
    pub jti: String,
    /// What kind of function was called.
    pub tool_type: ToolType,
    /// For whom.
    pub user_id: String,
}

/// Why a call token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallTokenFault {
    /// Too long, no dot, no base64, or no payload of ours.
    #[error("the call token is malformed")]
    Malformed,
    /// Signed by no secret of this deployment.
    #[error("the call token is not signed by this deployment")]
    Signature,
    /// Its time is over, or would never be.
    #[error("the call token has expired")]
    Expired,
    /// It was used before.
    #[error("the call token was used before; make one for each request")]
    Replayed,
}

impl CallTokenFault {
    /// Stable word for records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "call_token_malformed",
            Self::Signature => "call_token_signature",
            Self::Expired => "call_token_expired",
            Self::Replayed => "call_token_replayed",
        }
    }
}

/// Makes and checks call tokens under the secrets of the deployment.
pub struct CallTokens {
    /// The first signs, all verify.
    keys: Vec<hmac::Key>,
}

impl CallTokens {
    /// Under these secrets, the present one first and those before it behind.
    #[must_use]
    pub fn new(secrets: &[Zeroizing<Vec<u8>>]) -> Self {
        let key = |secret: &Zeroizing<Vec<u8>>| hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self { keys: secrets.iter().map(key).collect() }
    }

    /// A token for one request of the app's code; none without a secret or randomness.
    #[must_use]
    pub fn mint(
        &self,
        app: &AppId,
        user: &str,
        tool_type: ToolType,
        now: i64,
    ) -> Option<SecretString> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let claims = CallClaims {
            app_id: app.clone(),
            exp: now.saturating_add(LIFETIME),
            iat: now,
            jti: URL_SAFE_NO_PAD.encode(random),
            tool_type,
            user_id: user.to_owned(),
        };
        // Ids are ASCII, so that no character needs another spelling.
        let payload = serde_json::to_vec(&claims).ok()?;
        let tag = hmac::sign(self.keys.first()?, &payload);
        let (payload, tag) = (URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(tag));
        Some(format!("{payload}.{tag}").into())
    }

    /// What a token says, if it is whole and in time; whether it was used before the caller of this asks.
    ///
    /// # Errors
    /// The first fault, in the order of the contract.
    pub fn verify(&self, text: &str, now: i64) -> Result<CallClaims, CallTokenFault> {
        if text.len() > MAX_TEXT {
            return Err(CallTokenFault::Malformed);
        }
        let (payload, tag) = text.split_once('.').ok_or(CallTokenFault::Malformed)?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| CallTokenFault::Malformed);
        let (payload, tag) = (decode(payload)?, decode(tag)?);
        if !self.keys.iter().any(|key| hmac::verify(key, &payload, &tag).is_ok()) {
            return Err(CallTokenFault::Signature);
        }
        let claims: CallClaims =
            serde_json::from_slice(&payload).map_err(|_| CallTokenFault::Malformed)?;
        if !(16..=128).contains(&claims.jti.len()) {
            return Err(CallTokenFault::Malformed);
        }
        if claims.exp <= now || claims.exp > now.saturating_add(MAX_LIFETIME) {
            return Err(CallTokenFault::Expired);
        }
        Ok(claims)
    }
}

impl fmt::Debug for CallTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallTokens({} secrets)", self.keys.len())
    }
}

impl ToolType {
    /// The kind of a function, by its name (wire-contract.md 5.1).
    #[must_use]
    pub fn of(function: &str) -> Self {
        match function {
            name if name.starts_with("skeleton_") => Self::Skeleton,
            name if name.starts_with("__panel__") => Self::Panel,
            name if name.starts_with("__") => Self::Tool,
            _ => Self::ChatFn,
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn tokens(secrets: &[&[u8]]) -> CallTokens {
        CallTokens::new(&secrets.iter().map(|s| Zeroizing::new(s.to_vec())).collect::<Vec<_>>())
    }

    fn minted(by: &CallTokens) -> String {
        let token = by.mint(&"notes".parse().unwrap(), "imp_u_1", ToolType::ChatFn, NOW);
        token.unwrap().expose_secret().to_owned()
    }

    /// As a worker of the contract writes it: `json.dumps(sort_keys=True, separators=(",", ":"))`.
    fn signed(secret: &[u8], payload: &str) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), payload.as_bytes());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(tag))
    }

    #[test]
    fn the_payload_is_written_as_the_contract_says_and_read_back() {
        let by = tokens(&[b"secret"]);
        let text = minted(&by);
        let payload = URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap();
        let payload = String::from_utf8(payload).unwrap();
        let claims = by.verify(&text, NOW).unwrap();
        assert_eq!(
            payload,
            format!(
                r#"{{"app_id":"notes","exp":{},"iat":{NOW},"jti":"{}","tool_type":"chat_fn","user_id":"imp_u_1"}}"#,
                NOW + LIFETIME,
                claims.jti
            )
        );
        assert_eq!(signed(b"secret", &payload), text);
        assert!(claims.jti.len() >= 16);
        assert_ne!(minted(&by), minted(&by));
    }

    #[test]
    fn the_secrets_before_still_verify_and_no_others_do() {
        let text = minted(&tokens(&[b"old"]));
        assert!(tokens(&[b"new", b"old"]).verify(&text, NOW).is_ok());
        assert_eq!(tokens(&[b"new"]).verify(&text, NOW).unwrap_err(), CallTokenFault::Signature);
    }

    #[test]
    fn what_is_not_whole_or_not_in_time_does_not_count() {
        let by = tokens(&[b"secret"]);
        let text = minted(&by);
        let fault = |text: &str, now| by.verify(text, now).unwrap_err();
        assert_eq!(fault(&text, NOW + LIFETIME), CallTokenFault::Expired);
        assert!(by.verify(&text, NOW + LIFETIME - 1).is_ok());
        for malformed in ["", "x", "a.b.c", "****.****", &format!("{text}="), &"x".repeat(3_000)] {
            assert_ne!(by.verify(malformed, NOW).err(), None, "{malformed}");
        }
        let (payload, tag) = text.split_once('.').unwrap();
        assert_eq!(fault(&format!("{payload}A.{tag}"), NOW), CallTokenFault::Signature);
        assert_eq!(fault(&format!("{payload}.AAAA"), NOW), CallTokenFault::Signature);
        let of = |payload: &str| fault(&signed(b"secret", payload), NOW);
        let whole = |exp: i64, more: &str| {
            format!(
                r#"{{"app_id":"notes","exp":{exp},"iat":{NOW},"jti":"0123456789abcdef","tool_type":"chat_fn","user_id":"u"{more}}}"#
            )
        };
        assert!(by.verify(&signed(b"secret", &whole(NOW + 60, "")), NOW).is_ok());
        assert_eq!(of(&whole(NOW + 60, r#","user_id":"v""#)), CallTokenFault::Malformed);
        assert_eq!(of(&whole(NOW + 60, r#","more":1"#)), CallTokenFault::Malformed);
        assert_eq!(of(&whole(NOW, "")), CallTokenFault::Expired);
        assert_eq!(of(&whole(i64::MAX, "")), CallTokenFault::Expired);
        assert_eq!(
            of(&whole(NOW + 60, "").replace("0123456789abcdef", "short")),
            CallTokenFault::Malformed
        );
        assert_eq!(of("[]"), CallTokenFault::Malformed);
    }
}
