//! Which logs a witness watches: single ones, and all logs of a deployment, whose tenants come and
//! go.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_audit::DEPLOYMENT;
use portcullis_audit::chain::{origin, tenant_of};
use portcullis_audit::note::VerifierKey;

/// Type byte before an Ed25519 public key in a verifier key.
const ED25519: u8 = 0x01;

/// The keys that a witness trusts, each for the origins that it may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    logs: Vec<VerifierKey>,
    deployments: Vec<(String, [u8; 32])>,
}

/// A key that is none.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{given}` is not {what}")]
#[diagnostic(help("`portcullis ledger key` prints the keys of a deployment, and how to use them"))]
pub struct TrustError {
    given: String,
    what: &'static str,
}

impl Trust {
    /// Trusts one log; the name of its verifier key is its origin.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn log(&mut self, vkey: &str) -> Result<(), TrustError> {
        let what = "the verifier key of a log (`origin+id+key`, type 0x01)";
        let key =
            VerifierKey::parse(vkey).map_err(|_| TrustError { given: vkey.to_owned(), what })?;
        self.logs.push(key);
        Ok(())
    }

    /// Trusts every log of the deployment `name`: its own and those of its tenants. `key` is the
    /// verifier key of any of them, or the public key in base64.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn deployment(&mut self, name: &str, key: &str) -> Result<(), TrustError> {
        let fault = |given: &str, what| TrustError { given: given.to_owned(), what };
        let what = "the name of a deployment: 1 to 64 letters, digits, `_`, `.` or `-`";
        // The origin of its own log says whether it can be the name of one.
        if tenant_of(name, &origin(name, DEPLOYMENT)).is_none() {
            return Err(fault(name, what));
        }
        let what = "a public key: the verifier key of a log, or 32 bytes in base64";
        let public = public_key(key).ok_or_else(|| fault(key, what))?;
        self.deployments.push((name.to_owned(), public));
        Ok(())
    }

    /// True when no log is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.deployments.is_empty()
    }

    /// The keys that may sign for an origin, in the order in which they were given, which has the newest
    /// first; none for a log that is not watched.
    #[must_use]
    pub fn keys_of(&self, origin: &str) -> Vec<VerifierKey> {
        let single = self.logs.iter().filter(|key| key.name() == origin).cloned();
        let within = self.deployments.iter().filter(|(name, _)| tenant_of(name, origin).is_some());
        let made = within.filter_map(|(_, public)| VerifierKey::of_public(origin, *public).ok());
        single.chain(made).collect()
    }
}

fn public_key(text: &str) -> Option<[u8; 32]> {
    if let Ok(key) = VerifierKey::parse(text) {
        return Some(*key.public());
    }
    let bytes = BASE64.decode(text).ok()?;
    match bytes.split_first() {
        Some((&ED25519, key)) if bytes.len() == 33 => key.try_into().ok(),
        _ => bytes.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_audit::note::LogKey;

    #[test]
    fn a_deployment_is_its_own_log_and_those_of_its_tenants_and_nothing_else() {
        let key = LogKey::from_seed(&[7; 32]).unwrap();
        let mut trust = Trust::default();
        trust.deployment("acme", &key.vkey("acme/deployment")).unwrap();
        for origin in ["acme/deployment", "acme/t/default", "acme/t/imp_t_x-1", "acme/t/a.b"] {
            let keys: Vec<String> = trust.keys_of(origin).iter().map(|k| k.to_string()).collect();
            assert_eq!(keys, [key.vkey(origin)]);
        }
        for origin in [
            "acme",
            "acme/",
            "acme/export",
            "acme/t/",
            "acme/t/a/b",
            "acme/t/a b",
            "acme2/t/a",
            "b",
        ] {
            assert_eq!(trust.keys_of(origin), [], "{origin}");
        }
    }

    #[test]
    fn a_key_may_be_given_as_any_of_its_forms() {
        let vkey = LogKey::from_seed(&[7; 32]).unwrap().vkey("acme/t/x");
        let typed = vkey.rsplit('+').next().unwrap().to_owned();
        let public = BASE64.encode(VerifierKey::parse(&vkey).unwrap().public());
        for form in [&vkey, &public] {
            let mut trust = Trust::default();
            trust.deployment("acme", form).unwrap();
            assert_eq!(trust.keys_of("acme/t/x")[0].to_string(), vkey);
        }
        // The last part of a verifier key, unless its base64 has a `+` of its own.
        if BASE64.decode(&typed).is_ok_and(|bytes| bytes.len() == 33) {
            assert_eq!(public_key(&typed), Some(*VerifierKey::parse(&vkey).unwrap().public()));
        }
        for bad in ["", "x", "AAAA", &vkey.replace("acme", "acne")] {
            assert!(Trust::default().deployment("acme", bad).is_err(), "{bad}");
            assert!(Trust::default().log(bad).is_err(), "{bad}");
        }
        assert!(Trust::default().deployment("a/b", &vkey).is_err());
    }
}
